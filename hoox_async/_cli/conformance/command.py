"""Asks, runs the check, prints the report and saves it."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

from hoox_async import ConfigurationError, HooxSession, Timeouts
from hoox_async.testing import RecordingTransport

from ..exit_codes import Exit
from ..options import Connection
from ..signals import run_until, stop_on_signals
from ..terminal import Terminal
from .observations import Observations
from .options import ConformanceOptions
from .receiver import REFUSED, Receiver
from .report import Report, build_report
from .steps import MOST_REQUESTS, NAME, Check, Plan

_TIMEOUTS = Timeouts(connect=10.0, read=20.0, answer=60.0)
_REAL_HOST = "app.hoox.video"
_REAL_URL = f"https://{_REAL_HOST}/api/public/v1"
_DOCUMENTED_KEY = r"hx_live_[0-9a-f]{64}"
_REFRESH = 0.2  # seconds
_SPREAD = 6.0
"""Seconds between the first and the last read: so long, a quota's reset shows how it moves."""


def run_conformance(options: ConformanceOptions, connection: Connection, terminal: Terminal) -> int:
    """Do the check and return the exit code: 0 if nothing failed and nothing that matters differs."""
    key = connection.key()
    base_url = (connection.base_url or _REAL_URL).rstrip("/")
    receiver = None if options.public_url is None else Receiver(options.public_url, *options.address())
    transport = RecordingTransport(key, base_url=base_url, timeouts=_TIMEOUTS)
    hub = None if receiver is None else receiver.hub
    session = connection.session(
        key=key, transport=transport, timeouts=_TIMEOUTS, webhooks=hub, poll="awaited"
    )
    seen = Observations(key_has_documented_form=re.fullmatch(_DOCUMENTED_KEY, key.strip()) is not None)
    plan = Plan(options.image, options.avatar, _SPREAD, options.delivery_wait)
    check = Check(session, transport, plan, seen, base_url=base_url, receiver=receiver)
    if not _consent(options, base_url, connection.rpm, terminal):
        terminal.say("nothing was sent")
        return Exit.UNFINISHED
    ended = asyncio.run(_run(check, session, receiver, terminal))
    report = build_report(
        seen,
        version=_version(),
        now=datetime.now(UTC),
        is_real=urlsplit(base_url).hostname == _REAL_HOST,
        tried_to_make=any(answer.endpoint.paid for answer in seen.in_order()),
    )
    _show(report, options.out, terminal)
    if seen.made is not None:
        terminal.notice(f"the avatar {seen.made.avatar_id} ({NAME!r}) stays until you delete it on the site")
    if ended is not Exit.READY:
        return ended
    return Exit.FAILED if report.failed or report.important else Exit.READY


async def _run(check: Check, session: HooxSession, receiver: Receiver | None, terminal: Terminal) -> Exit:
    """Do the steps until the end or a signal. `Exit.READY` unless they were stopped before the end."""
    with stop_on_signals(lambda: terminal.notice("stopping; the report says what was seen so far")) as stop:
        async with receiver or nullcontext(), session:
            await run_until(stop.requested, _shown(check, terminal))
        return Exit.UNFINISHED if stop.requested.is_set() else check.exit


async def _shown(check: Check, terminal: Terminal) -> None:
    """Run the check, and show its step where stderr is a terminal."""
    if not terminal.live:
        await check.run()
        return
    with terminal.err.status("checking") as status:
        work = asyncio.create_task(check.run())
        try:
            while not work.done():
                status.update(f"checking: {check.step}")
                await asyncio.wait([work], timeout=_REFRESH)
            await work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


def _consent(options: ConformanceOptions, base_url: str, rpm: int, terminal: Terminal) -> bool:
    """Tell what will happen, and ask unless --yes was given."""
    picture = "the pictures that you named." if options.image else "pictures of the public catalogue."
    lines = [
        f"This check talks to {base_url}:",
        f"- about {MOST_REQUESTS} requests of the workspace's {rpm} a minute, in about half a minute",
        f"- makes one avatar, {NAME!r}, from {picture}",
        "  That costs 0 credits by the vendor's price list. The API cannot delete it:",
        "  delete it on the site afterwards. Compare your credits there, before and after.",
        "- sends no prompt, no edit and nothing else that could cost credits",
        "- one of the requests has a wrong API key, to see how that is refused",
    ]
    if options.public_url is not None:
        lines += [
            f"- waits for deliveries on {options.listen}, {options.delivery_wait:g} s at most, and answers",
            f"  the first {REFUSED} with 503, to see when they are sent again",
        ]
    lines.append("The report holds no API key, token, address, id or name.")
    if options.yes:
        terminal.say("\n".join(lines))
        return True
    terminal.notice("\n".join(lines))  # whoever is asked has to see what for
    if not terminal.can_ask:
        raise ConfigurationError(
            "nobody can be asked whether to make the avatar: add --yes. Nothing was sent"
        )
    return terminal.ask("Go on? [y/N]").lower() in ("y", "yes")


def _show(report: Report, out: Path | None, terminal: Terminal) -> None:
    as_json = report.as_json()
    terminal.record("conformance", **as_json)
    text = report.as_text()
    if not terminal.as_json:
        terminal.result(text.rstrip("\n"))
    if out is not None:
        content = json.dumps(as_json, indent=2) + "\n" if out.suffix == ".json" else text
        try:
            out.write_text(content, encoding="utf-8")
        except OSError as error:
            if terminal.as_json:
                terminal.notice(text)
            raise ConfigurationError(f"--out {out}: {error.strerror or error}; the report is above") from None
        terminal.say(f"saved {out}")
    terminal.say(report.summary())
    terminal.say("It holds no secret: please send it to the maintainers, also if nothing differs.")


def _version() -> str:
    try:
        return version("hoox-async")
    except PackageNotFoundError:
        return "unknown"
