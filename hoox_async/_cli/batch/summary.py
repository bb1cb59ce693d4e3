"""How a run ended, in words and as an exit code, and what to type next."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from hoox_async import BatchReport, Outcome, OutcomeState

from ..exit_codes import Exit, cap_reached, is_access
from ..json_output import reason
from ..terminal import Terminal, shown_path
from ..text import counted, in_credits, listed, one_line
from .execution import Pictures, Ran

_TOLD = (
    OutcomeState.FAILED,
    OutcomeState.REJECTED,
    OutcomeState.SKIPPED,
    OutcomeState.UNSENT,
    OutcomeState.PENDING,
    OutcomeState.UNKNOWN,
)
_OPEN = (OutcomeState.UNSENT, OutcomeState.PENDING, OutcomeState.UNKNOWN)
_BAD = (OutcomeState.FAILED, OutcomeState.REJECTED, OutcomeState.SKIPPED)
_MOST_REASONS = 8


class Then(NamedTuple):
    """Commands to go on with: the same run again, the same with a cap that is high enough, and the list
    of what may have been paid for."""

    again: str
    uncapped: str
    unknowns: str


def exit_code(ran: Ran) -> Exit:
    """The exit code for a run."""
    if any(outcome.state is OutcomeState.UNSENT and is_access(outcome.error) for outcome in ran.outcomes):
        return Exit.ACCESS
    if ran.interrupted or ran.missing or any(outcome.state in _OPEN for outcome in ran.outcomes):
        return Exit.UNFINISHED
    return Exit.FAILED if any(outcome.state in _BAD for outcome in ran.outcomes) else Exit.READY


def tell_end(ran: Ran, terminal: Terminal, *, pictures: Pictures | None, then: Then | None = None) -> Exit:
    """Tell how a run ended that was not interrupted, and what to type next."""
    report, code = BatchReport(ran.outcomes), exit_code(ran)
    resume = then.again if then is not None and code is Exit.UNFINISHED else None
    terminal.record(
        "summary",
        counts={state.value: count for state, count in report.counts.items()},
        credits=format(report.credits_spent, "f"),
        at_risk=format(report.credits_at_risk, "f"),
        median_seconds=report.median_seconds,
        slowest_seconds=report.slowest_seconds,
        pictures=len(ran.pictures),
        pictures_missing=len(ran.missing),
        exit=int(code),
        resume=resume,
    )
    terminal.result(str(report))
    for line in _reasons(ran.outcomes):
        terminal.result(line)
    if pictures is not None:
        missing = f"; {len(ran.missing):,} could not be saved" if ran.missing else ""
        saved = counted(len(ran.pictures), "picture")
        terminal.result(f"{saved} in {shown_path(pictures.folder)}{missing}")
    if then is not None and resume is not None:
        for line in _next(ran, then):
            terminal.say(line)
    return code


def tell_stop(
    terminal: Terminal,
    *,
    known: Mapping[str, Outcome],
    keys: set[str],
    then: Then,
) -> Exit:
    """Tell how an interrupted run left things. ``known`` is what the store says now."""
    mine = [known[key] for key in keys & known.keys()]
    spent = sum((outcome.credits for outcome in known.values()), Decimal(0))
    at_risk = sum((outcome.at_risk for outcome in known.values()), Decimal(0))
    count = {state: sum(outcome.state is state for outcome in mine) for state in OutcomeState}
    settled = len(mine) - count[OutcomeState.UNSENT]
    terminal.record(
        "stopped",
        spent=format(spent, "f"),
        at_risk=format(at_risk, "f"),
        ready=count[OutcomeState.READY],
        failed=count[OutcomeState.FAILED],
        in_flight=count[OutcomeState.PENDING],
        unknown=count[OutcomeState.UNKNOWN],
        not_sent=len(keys) - settled,
        resume=then.again,
    )
    risk = f", {in_credits(at_risk)} at risk" if at_risk else ""
    terminal.result(f"stopped: {in_credits(spent)} spent{risk}")
    parts = [f"{count[OutcomeState.READY]:,} ready", f"{count[OutcomeState.FAILED]:,} failed"]
    parts.append(f"{count[OutcomeState.PENDING]:,} in flight (paid; nothing is lost)")
    terminal.result(", ".join([*parts, f"{len(keys) - settled:,} not sent"]))
    if count[OutcomeState.UNKNOWN]:
        terminal.result(f"{count[OutcomeState.UNKNOWN]:,} may have been paid for; see: {then.unknowns}")
    terminal.result("Go on with:")
    terminal.result(f"  {then.again}")
    return Exit.UNFINISHED


def _reasons(outcomes: tuple[Outcome, ...]) -> list[str]:
    """Why some did not become ready: the same reason once, with the keys."""
    found: dict[tuple[OutcomeState, str], list[str]] = {}
    for outcome in outcomes:
        if outcome.state in _TOLD and outcome.error is not None:
            why = reason(outcome.error).removeprefix(f"{outcome.key}: ")
            found.setdefault((outcome.state, why.replace(outcome.key, "…")), []).append(outcome.key)
    lines = [
        f"  {state}: {listed(keys, 3)}: {one_line(why)}"
        for (state, why), keys in sorted(found.items(), key=lambda entry: _TOLD.index(entry[0][0]))
    ]
    more = len(lines) - _MOST_REASONS
    return lines if more <= 0 else [*lines[:_MOST_REASONS], f"  and {more:,} reasons more"]


def _next(ran: Ran, then: Then) -> list[str]:
    still = [outcome for outcome in ran.outcomes if outcome.state in _OPEN]
    lines: list[str] = []
    if any(outcome.state is OutcomeState.UNKNOWN for outcome in still):
        lines = ["What may have been paid for is settled by you:", f"  {then.unknowns}"]
    if any(cap_reached(outcome.error) for outcome in still):
        return [
            *lines,
            "The cap of credits is reached. A cap for all of them would be:",
            f"  {then.uncapped}",
        ]
    if lines and not ran.missing and all(outcome.state is OutcomeState.UNKNOWN for outcome in still):
        return lines  # run again as it is, it would come to the same
    return [*lines, "Not finished. Go on with:", f"  {then.again}"]
