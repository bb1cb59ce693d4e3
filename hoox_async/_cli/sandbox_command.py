"""``sandbox``: the local server of the API, until Ctrl-C."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from hoox_async import ConfigurationError, Endpoint

from .exit_codes import Exit
from .options import Output, command
from .signals import stopping
from .terminal import Terminal
from .text import amount, counted, in_credits

if TYPE_CHECKING:
    from hoox_async.sandbox import Fault, Sandbox

_SHOWN = Output()


def sandbox(
    *,
    port: int = 0,
    credits: Decimal = Decimal(1_000_000),
    speed: float = 10.0,
    requests_per_minute: Annotated[int, Parameter(name=["--requests-per-minute", "--rpm"])] = 100,
    failures: float = 0.0,
    latency: float = 0.0,
    fault: tuple[str, ...] = (),
    vocabulary: Literal["both", "completed", "ready"] = "both",
    seed: int = 0,
    output: Output = _SHOWN,
) -> int:
    """Serve a local stand-in of the API until Ctrl-C.

    Nothing costs anything there, and all is forgotten at the end.

    Parameters
    ----------
    port
        The port on 127.0.0.1; a free one unless given.
    credits
        What the workspace has at first (1,000,000).
    speed
        How many times faster than the real API looks are made (10). One takes about 40 s there.
    requests_per_minute
        The workspace's quota (100).
    failures
        The share of looks that fail, from 0 to 1 (0).
    latency
        How many seconds pass between a request and its answer (0).
    fault
        What goes wrong with one request, as endpoint:fault:number, such as edit:drop_after:3 for the third
        edit; can be given several times. Endpoints: create, edit, status, avatar, look, list, picture.
        Faults:
        drop_before, drop_after, hang_before, hang, error_500_before, error_500_after, bad_gateway,
        rate_limited, rate_limited_retry_after, truncated, drop_in_body, slow_body, teapot, redirect, huge,
        deep_json, not_json. A paid one that goes through and seems not to: drop_after, hang, error_500_after.
    vocabulary
        The words of a status: completed and failed, or ready and error; both, as the API uses them, unless
        given.
    seed
        A number that rules ids, the key, times and chances: the same seed, the same sandbox (0).
    """
    _check(
        port=port, credits=credits, speed=speed, requests_per_minute=requests_per_minute, failures=failures
    )
    if not 0 <= latency < float("inf"):
        raise ConfigurationError(f"--latency {latency:g}: expected seconds from 0 on")
    from hoox_async.sandbox import Sandbox

    served = Sandbox(
        port=port,
        credits=credits,
        speed=speed,
        requests_per_minute=requests_per_minute,
        failures=failures,
        latency=latency,
        faults=[_fault(text) for text in fault],
        vocabulary=vocabulary,
        seed=seed,
    )
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(served, output.terminal()))
    return Exit.READY


def _check(*, port: int, credits: Decimal, speed: float, requests_per_minute: int, failures: float) -> None:
    if not 0 <= port <= 65535:
        raise ConfigurationError(f"--port {port}: expected a number from 0 to 65535")
    if not credits.is_finite() or credits < 0:
        raise ConfigurationError(f"--credits {credits}: expected a number from 0 on")
    if not 0 < speed < float("inf"):
        raise ConfigurationError(f"--speed {speed:g}: expected a number above 0")
    if requests_per_minute < 1:
        raise ConfigurationError(f"--requests-per-minute {requests_per_minute}: expected a number from 1")
    if not 0 <= failures <= 1:
        raise ConfigurationError(f"--failures {failures:g}: expected a share from 0 to 1")


def _fault(text: str) -> tuple[str, int, Fault]:
    """Endpoint, number of the call and fault of ``edit:drop_after:3``; the number is 1 if it is left out."""
    from hoox_async.sandbox import Fault

    endpoint, _, rest = text.partition(":")
    name, _, number = rest.partition(":")
    faults = {known.lower(): fault for known, fault in vars(Fault).items() if isinstance(fault, Fault)}
    found = faults.get(name.lower().replace("-", "_"))
    if found is None or found is Fault.REFUSED:
        usable = ", ".join(sorted(faults.keys() - {"refused"}))
        raise ConfigurationError(f"--fault {text}: {name or 'nothing'} is no fault; expected one of {usable}")
    endpoints = (*Endpoint, "picture")
    if endpoint not in endpoints:
        raise ConfigurationError(
            f"--fault {text}: {endpoint or 'nothing'} is no endpoint; expected one of {', '.join(endpoints)}"
        )
    if number and not (number.isascii() and number.isdigit() and int(number) > 0):
        raise ConfigurationError(f"--fault {text}: expected the number of a call, from 1")
    return endpoint, int(number or 1), found


async def _serve(served: Sandbox, terminal: Terminal) -> None:
    with stopping() as stop:
        async with served:
            terminal.record("sandbox", base_url=served.base_url, api_key=served.api_key)
            terminal.result(f"base URL  {served.base_url}")
            terminal.result(f"API key   {served.api_key}")
            terminal.say("Try it in another terminal (the key is worth nothing elsewhere):")
            terminal.say(f"  export HOOX_API_KEY={served.api_key}")
            terminal.say("  " + command("check", "--base-url", served.base_url))
            terminal.say("Ctrl-C ends it.")
            await stop.requested.wait()
            left = amount(served.space.balance)
            terminal.say(
                f"\n{counted(len(served.requests), 'request')}, {counted(len(served.ledger), 'look')}, "
                f"{in_credits(served.credits_spent)} spent, {left} left"
            )
