"""``demo``: avatars, looks, pictures and a contact sheet, without a key and without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from statistics import median

from hoox_async import BatchReport, BatchRunner, ConfigurationError, Outcome
from hoox_async.sandbox import Sandbox

from ..batch.counters import Tally
from ..batch.execution import Pictures, Ran, Running
from ..batch.picture_index import MANIFEST
from ..exit_codes import Exit
from ..options import Output
from ..terminal import Terminal, require, shown_path
from ..text import amount, counted, duration, in_credits
from .content import AVATARS, items

_SHOWN = Output()
_SPEED = 16.0
_PER_MINUTE = 1200
_FAILURES = 0.05
_SEED = 72619
"""With this seed six people who are easy to tell apart come out, and three of the looks don't."""


def demo(*, out: Path = Path("hoox-demo"), output: Output = _SHOWN) -> int:
    """Make 6 avatars and 60 looks on a sandbox, with a contact sheet.

    Takes some 15 seconds; needs no key, no credits, no network.

    Parameters
    ----------
    out
        The folder for the pictures and the contact sheet (hoox-demo).
    """
    terminal = output.terminal()
    require("all", {"PIL": "Pillow", "jinja2": "Jinja2"}, "the demo")
    if out.exists() and not (out / MANIFEST).exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigurationError(f"--out {out}: expected a folder that is new, empty, or an earlier demo's")
    return asyncio.run(_demo(out, terminal))


async def _demo(out: Path, terminal: Terminal) -> int:
    wanted = items()
    tally = Tally(len(wanted), len(wanted), pace=60 / _PER_MINUTE, max_credits=None)
    async with Sandbox(
        speed=_SPEED, requests_per_minute=_PER_MINUTE, failures=_FAILURES, seed=_SEED
    ) as sandbox:
        terminal.say(
            f"{counted(len(AVATARS), 'avatar')} and {counted(len(wanted) - len(AVATARS), 'edit')} "
            f"on a sandbox, {_SPEED:g} times as fast as the real API"
        )
        session = sandbox.session(hooks=[tally])
        pictures = Pictures(out, _name_of, replace=True)
        ran = await Running(session, BatchRunner(session), wanted, tally, terminal, pictures).run()
    if ran.interrupted:
        terminal.say(f"stopped; what was saved is in {shown_path(out)}")
        return Exit.UNFINISHED
    report = BatchReport(ran.outcomes)
    sheet = await report.write_contact_sheet(
        out / "contact-sheet", title="hoox-async demo", pictures=ran.pictures, download=False
    )
    _tell(report, ran, out, sheet, terminal)
    return Exit.READY


def _name_of(outcome: Outcome) -> PurePosixPath:
    avatar, _, scene = outcome.key.partition("/")
    return PurePosixPath(avatar, scene or "avatar")


def _tell(report: BatchReport, ran: Ran, out: Path, sheet: Path, terminal: Terminal) -> None:
    rows = []
    for avatar in AVATARS:
        mine = [o for o in report if o.key.partition("/")[0] == avatar]
        rows.append([avatar, *_figures(mine), shown_path(out / avatar)])
    rows.append(["all", *_figures(tuple(report)), ""])
    terminal.record(
        "demo",
        ready=len(report.ready),
        failed=len(report.failed),
        credits=format(report.credits_spent, "f"),
        seconds=round(ran.seconds, 1),
        pictures=len(ran.pictures),
        folder=str(out),
        sheet=str(sheet),
    )
    if not terminal.as_json:
        columns = ["avatar", "ready", "failed", "credits", "median", "slowest", "pictures"]
        terminal.table(columns, rows, numbers=columns[1:6], total=True)
    terminal.result(
        f"{counted(len(ran.pictures), 'picture')} in {shown_path(out)} after {duration(ran.seconds)}; "
        f"{in_credits(report.credits_spent)} of the sandbox spent"
    )
    for outcome in report.failed:
        terminal.say(f"  {outcome.key} failed, as some do: {outcome.look.error if outcome.look else ''}")
    terminal.result(f"contact sheet: {sheet}")


def _figures(outcomes: Sequence[Outcome]) -> list[str]:
    found = BatchReport(outcomes)
    middle = median(found.seconds) if found.seconds else None
    slowest = found.slowest_seconds
    return [
        str(len(found.ready)),
        str(len(found.failed)),
        amount(found.credits_spent),
        duration(middle) if middle is not None else "",
        duration(slowest) if slowest is not None else "",
    ]
