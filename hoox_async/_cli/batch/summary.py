"""Shows how a run ended and what to type next, and gives the exit code."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from hoox_async import BatchReport, BudgetExceeded, HooxError, KeyConflict, Outcome, OutcomeState, WaitTimeout
from hoox_async._core.formatting import format_count, format_credits

from ..exit_codes import Exit, is_access
from ..json_output import reason
from ..pictures import is_in_4k
from ..terminal import Terminal, one_line, shorten_list, shown_path
from .run import PictureTarget, RunResult

_EXPLAINED = (
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


class NextCommands(NamedTuple):
    """Commands to continue with, as they are typed.

    ``again`` runs the same again, ``uncapped`` does so with a cap that is high enough, ``accept_small``
    although the pictures at 4K are too small. ``unknowns`` lists what may have been paid for, and ``report``
    writes the contact sheet.
    """

    again: str
    uncapped: str
    accept_small: str
    unknowns: str
    report: str


def exit_code(result: RunResult) -> Exit:
    """The exit code for a run."""
    if any(outcome.state is OutcomeState.UNSENT and is_access(outcome.error) for outcome in result.outcomes):
        return Exit.ACCESS
    if result.interrupted or result.missing or any(outcome.state in _OPEN for outcome in result.outcomes):
        return Exit.UNFINISHED
    return Exit.FAILED if any(outcome.state in _BAD for outcome in result.outcomes) else Exit.READY


def show_summary(
    result: RunResult,
    terminal: Terminal,
    *,
    pictures: PictureTarget | None,
    next_commands: NextCommands | None = None,
) -> Exit:
    """Show the summary of a run that was not interrupted, and what to type next."""
    report, code = BatchReport(result.outcomes), exit_code(result)
    can_resume = code in (Exit.UNFINISHED, Exit.ACCESS)
    resume = next_commands.again if next_commands is not None and can_resume else None
    terminal.record(
        "summary",
        counts={state.value: count for state, count in report.counts.items()},
        credits=format(report.credits_spent, "f"),
        credits_failed=format(report.costs.failed, "f"),
        at_risk=format(report.credits_at_risk, "f"),
        median_seconds=report.median_seconds,
        slowest_seconds=report.slowest_seconds,
        pictures=len(result.pictures),
        pictures_missing=len(result.missing),
        pictures_smaller=len(result.smaller),
        exit=int(code),
        resume=resume,
    )
    terminal.result(str(report))
    for line in _reasons(result.outcomes):
        terminal.result(line)
    if pictures is not None:
        missing = f"; {len(result.missing):,} could not be saved" if result.missing else ""
        saved = format_count(len(result.pictures), "picture")
        terminal.result(f"{saved} in {shown_path(pictures.folder)}{missing}")
        if result.smaller:
            terminal.result(small_pictures_line(result.smaller, report))
    if next_commands is not None and not can_resume and report.ready:
        terminal.say("The contact sheet, to choose from:")
        terminal.say(f"  {next_commands.report}")
    if next_commands is not None and resume is not None:
        for line in _next(result, next_commands):
            terminal.notice(line)
    return code


def show_interrupted(
    terminal: Terminal,
    *,
    stored: Mapping[str, Outcome],
    keys: set[str],
    next_commands: NextCommands,
) -> Exit:
    """Show what an interrupted run has paid. ``stored`` are the outcomes of the store, by key."""
    chosen = [stored[key] for key in keys & stored.keys()]
    costs = BatchReport(stored.values()).costs
    count = {state: sum(outcome.state is state for outcome in chosen) for state in OutcomeState}
    settled = len(chosen) - count[OutcomeState.UNSENT]
    terminal.record(
        "stopped",
        spent=format(costs.spent, "f"),
        credits_failed=format(costs.failed, "f"),
        at_risk=format(costs.at_risk, "f"),
        ready=count[OutcomeState.READY],
        failed=count[OutcomeState.FAILED],
        in_flight=count[OutcomeState.PENDING],
        unknown=count[OutcomeState.UNKNOWN],
        not_sent=len(keys) - settled,
        resume=next_commands.again,
    )
    terminal.result(f"stopped: {costs}")
    parts = [f"{count[OutcomeState.READY]:,} ready", f"{count[OutcomeState.FAILED]:,} failed"]
    parts.append(f"{count[OutcomeState.PENDING]:,} in flight (paid; nothing is lost)")
    terminal.result(", ".join([*parts, f"{len(keys) - settled:,} not sent"]))
    if count[OutcomeState.UNKNOWN]:
        terminal.result(
            f"{count[OutcomeState.UNKNOWN]:,} may have been paid for; see: {next_commands.unknowns}"
        )
    terminal.result("Go on with:")
    terminal.result(f"  {next_commands.again}")
    return Exit.UNFINISHED


def _reasons(outcomes: tuple[Outcome, ...]) -> list[str]:
    """Why looks are not ready: each reason once, with the first keys it applies to."""
    found: dict[tuple[OutcomeState, str], dict[str, str]] = {}
    for outcome in outcomes:
        if outcome.state in _EXPLAINED and outcome.error is not None:
            why = _why(outcome, outcome.error)
            source = str(getattr(outcome.request, "source", ""))
            general = why.replace(f"its source {source!r} ", "its source ")
            if isinstance(outcome.error, KeyConflict):
                general = "its content was changed after it was sent"
            found.setdefault((outcome.state, general), {})[outcome.key] = why
    lines = []
    for (state, general), whys in sorted(found.items(), key=lambda entry: _EXPLAINED.index(entry[0][0])):
        why = general if len(set(whys.values())) > 1 else next(iter(whys.values()))
        lines.append(f"  {state}: {shorten_list(whys, 3)}: {one_line(why)}")
        if any(isinstance(outcome.error, KeyConflict) and outcome.key in whys for outcome in outcomes):
            lines.append(
                "    what was paid for is kept by --changed keep, and paid for anew by --changed redo"
            )
    more = len(lines) - _MOST_REASONS
    return lines if more <= 0 else [*lines[:_MOST_REASONS], f"  and {format_count(more, 'more reason')}"]


def _why(outcome: Outcome, error: HooxError) -> str:
    """Why one look is not ready, in the same words for all that have the same reason."""
    if isinstance(error, WaitTimeout) and error.cause is not None:
        return f"not known to be done after {error.seconds:g} s: {error.cause}"
    why = reason(error).removeprefix(f"{outcome.key}: ")
    if outcome.look is not None:
        why = why.removeprefix(f"{outcome.look.ref}: ")
    return why.replace(outcome.key, "…")


def _is_held(outcome: Outcome) -> bool:
    return is_in_4k(outcome) and outcome.state is OutcomeState.UNSENT


def small_pictures_line(smaller: Mapping[str, str], report: BatchReport) -> str:
    """How many pictures have fewer pixels than was paid for, what they cost, and which they are."""
    cost = sum((outcome.credits for outcome in report if outcome.key in smaller), Decimal(0))
    sizes = shorten_list((f"{key} ({size})" for key, size in smaller.items()), 3)
    are = "picture is" if len(smaller) == 1 else "pictures are"
    return f"{len(smaller):,} {are} smaller than was paid for ({format_credits(cost)}): {sizes}"


def _next(result: RunResult, next_commands: NextCommands) -> list[str]:
    still = [outcome for outcome in result.outcomes if outcome.state in _OPEN]
    lines: list[str] = []
    if any(outcome.state is OutcomeState.UNKNOWN for outcome in still):
        lines = ["Decide about what may have been paid for:", f"  {next_commands.unknowns}"]
    if any(isinstance(outcome.error, BudgetExceeded) for outcome in still):
        return [
            *lines,
            "The cap of credits is reached. With a cap that is enough for all of them:",
            f"  {next_commands.uncapped}",
        ]
    if result.held_4k and any(_is_held(outcome) for outcome in still):
        lines += ["No more looks are made at 4K, as the pictures are too small. To make them all the same:"]
        lines += [f"  {next_commands.accept_small}"]
        still = [outcome for outcome in still if not _is_held(outcome)]
    if lines and not result.missing and all(outcome.state is OutcomeState.UNKNOWN for outcome in still):
        return lines  # running it again would change nothing
    return [*lines, "Not finished. Go on with:", f"  {next_commands.again}"]
