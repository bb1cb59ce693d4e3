"""``sandbox``: serves a local imitation of the API until Ctrl-C."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

import attrs
from cyclopts import Parameter

from hoox_async import ConfigurationError, Endpoint
from hoox_async._checks import option
from hoox_async._core.formatting import format_amount, format_count, format_credits

from ..exit_codes import Exit
from ..options import Output
from ..signals import stop_on_signals
from ..terminal import Terminal, command_line, one_line

if TYPE_CHECKING:
    from hoox_async.sandbox import Fault, Sandbox


_LEDGER_SECONDS = 0.2
_CREDITS = Decimal(1_000_000)


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class SandboxOptions:
    """What the sandbox is like.

    Parameters
    ----------
    port
        The port on 127.0.0.1 (a free one).
    credits
        The credits that the workspace starts with (1,000,000).
    speed
        How many times faster than on the real API looks are made (10). A real look takes about 40 s.
    requests_per_minute
        The workspace's quota of requests a minute (100).
    failures
        The share of looks that fail, from 0 to 1 (0).
    latency
        Seconds between a request and its answer (0).
    fault
        A fault of one request, as endpoint:fault:number; edit:drop_after:3 is for the third edit. Repeatable.
        Endpoints: create, edit, status, avatar, look, list, picture. Faults:
        drop_before, drop_after, hang_before, hang, error_500_before, error_500_after, bad_gateway,
        rate_limited, rate_limited_retry_after, truncated, drop_in_body, slow_body, teapot, redirect, huge,
        deep_json, not_json. With drop_after, hang and error_500_after a paid request is charged, though the
        client gets no good answer.
    vocabulary
        The words that statuses use: completed and failed, or ready and error (both, as the API does).
    small_pictures
        Deliver every picture with 540 x 960 pixels, whatever was paid for.
    copies
        How an edit of a public avatar copies it into the workspace: one copy of each avatar, a new copy each
        time, or none (one).
    seed
        Determines ids, the key, times and failures: the same seed gives the same sandbox (a random one).
    api_key
        The key that it accepts (one that follows from the seed).
    ledger
        Write a line for each look that is paid for: its credits, its ids and its prompt.
    """

    port: int = 0
    credits: Decimal | None = _CREDITS  # without `| None`, cyclopts lets an error of Decimal pass
    speed: float = 10.0
    requests_per_minute: Annotated[int, Parameter(name=["--requests-per-minute", "--rpm"])] = 100
    failures: float = 0.0
    latency: float = 0.0
    fault: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    vocabulary: Literal["both", "completed", "ready"] = "both"
    small_pictures: Annotated[bool, Parameter(negative=())] = False
    copies: Literal["none", "one", "each"] = "one"
    seed: int | None = None
    api_key: str | None = None
    ledger: Annotated[bool, Parameter(negative=())] = False

    def check(self) -> None:
        """Raise `ConfigurationError` for a number out of range."""
        option.whole("--port", self.port, least=0, most=65535)
        if self.credits is not None:
            option.credits("--credits", self.credits)
        option.number("--speed", self.speed, above=True)
        option.whole("--rpm", self.requests_per_minute, least=1)
        option.number("--failures", self.failures, most=1)
        option.number("--latency", self.latency)
        if self.seed is not None:
            option.whole("--seed", self.seed, least=0)

    def sandbox(self, seed: int) -> Sandbox:
        """The sandbox, which does not serve yet. Raises `ConfigurationError` for an unknown fault."""
        from hoox_async.sandbox import AnswerForms, Sandbox

        return Sandbox(
            port=self.port,
            credits=_CREDITS if self.credits is None else self.credits,
            speed=self.speed,
            requests_per_minute=self.requests_per_minute,
            failures=self.failures,
            latency=self.latency,
            faults=[_fault(text) for text in self.fault],
            vocabulary=self.vocabulary,
            forms=AnswerForms(thumbnail="small" if self.small_pictures else "full", copies=self.copies),
            seed=seed,
            api_key=self.api_key,
        )


def sandbox(*, options: SandboxOptions = SandboxOptions(), output: Output = Output()) -> int:
    """Serve a local imitation of the API until Ctrl-C.

    It costs nothing, and everything it holds is gone when it ends. Each one has another key, so that a store
    of an earlier one does not open.

    - `hoox-async sandbox --speed 100 --fault edit:drop_after:3`
    """
    options.check()
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    served = options.sandbox(seed)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(served, output.terminal(), seed, ledger=options.ledger))
    return Exit.READY


def _fault(text: str) -> tuple[str, int, Fault]:
    """Parse ``edit:drop_after:3`` into endpoint, number of the call (1 if left out) and fault."""
    from hoox_async.sandbox import Fault

    endpoint, _, rest = text.partition(":")
    name, _, number = rest.partition(":")
    faults = {known.lower(): fault for known, fault in vars(Fault).items() if isinstance(fault, Fault)}
    found = faults.get(name.lower().replace("-", "_"))
    if found is None or found is Fault.REFUSED:
        usable = ", ".join(sorted(faults.keys() - {"refused"}))
        raise ConfigurationError(
            f"--fault {text}: {name or 'nothing'} is not a fault; expected one of {usable}"
        )
    endpoints = (*Endpoint, "picture")
    if endpoint not in endpoints:
        usable = ", ".join(endpoints)
        raise ConfigurationError(
            f"--fault {text}: {endpoint or 'nothing'} is not an endpoint; expected one of {usable}"
        )
    if number and not (number.isascii() and number.isdigit() and int(number) > 0):
        raise ConfigurationError(f"--fault {text}: expected the number of a call, 1 or more")
    return endpoint, int(number or 1), found


async def _serve(served: Sandbox, terminal: Terminal, seed: int, *, ledger: bool) -> None:
    with stop_on_signals() as stop:
        async with served:
            terminal.record("sandbox", base_url=served.base_url, api_key=served.api_key, seed=seed)
            terminal.result(f"base URL  {served.base_url}")
            terminal.result(f"API key   {served.api_key}")
            terminal.result(f"seed      {seed}")
            terminal.say("Try it in another terminal (the key is worth nothing elsewhere):")
            terminal.say(f"  export HOOX_API_KEY={served.api_key}")
            terminal.say("  " + command_line("check", "--base-url", served.base_url))
            terminal.say("Ctrl-C ends it. Its looks are gone then: delete the stores that were made with it.")
            if ledger:
                await _show_charges(served, stop.requested, terminal)
            await stop.requested.wait()
            left = format_amount(served.space.balance)
            terminal.say(
                f"\n{format_count(len(served.requests), 'request')}, "
                f"{format_count(len(served.ledger), 'look')}, "
                f"{format_credits(served.credits_spent)} spent, {left} left"
            )


async def _show_charges(served: Sandbox, stop: asyncio.Event, terminal: Terminal) -> None:
    """Write each charge soon after it was made, until the sandbox is to stop."""
    shown, is_last = 0, False
    while not is_last:
        is_last = stop.is_set()
        for charge in served.ledger[shown:]:
            shown += 1
            made = {"endpoint": charge.request["endpoint"], "prompt": charge.request.get("prompt")}
            terminal.record("charge", ref=str(charge.ref), credits=format(charge.credits, "f"), **made)
            prompt = one_line(str(made["prompt"] or "from images"), 60)
            credits = format_credits(charge.credits)
            terminal.result(f"{shown:5}  {credits}  {made['endpoint']}  {charge.ref}  {prompt}")
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LEDGER_SECONDS)
