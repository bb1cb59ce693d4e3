"""Carries out a file of decisions about unknowns, as the page of unknowns and the contact sheet save it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hoox_async import (
    ConfigurationError,
    HooxError,
    HooxSession,
    InvalidRequest,
    LookJob,
    LookRef,
    Outcome,
    OutcomeState,
)

from .exit_codes import Exit, code_of, is_access
from .json_output import error_record
from .options import StoreConnection, command_line
from .stores import AnyStore, read_report
from .terminal import Terminal
from .text import format_count, format_credits

FORMAT = "hoox-async decisions 2"
Verdict = LookRef | Literal["resend", "drop"]


class Decision(NamedTuple):
    """A decision about one attempt of the unknown ``key``; None is the last one, whichever that is."""

    key: str
    attempt: str | None
    verdict: Verdict


class Plan(NamedTuple):
    """What a file of decisions comes to.

    ``to_do`` are the decisions to carry out, those that pay last, and ``cost`` what those cost. ``settled``
    are of requests that are not unknown any more; ``outdated`` of requests that were sent once more since.
    """

    to_do: tuple[Decision, ...]
    settled: tuple[Decision, ...]
    outdated: tuple[Decision, ...]
    cost: Decimal


def parse_verdict(text: str) -> Verdict:
    """Read ``resend``, ``drop`` or a look. Raises `ConfigurationError` and `InvalidRequest`."""
    word = text.strip()
    if word == "resend":
        return "resend"
    if word == "drop":
        return "drop"
    if ":" in word:
        return LookRef.parse(word)
    raise ConfigurationError(f"verdict {word!r}: expected avatar_id:look_id, resend or drop")


def parse_decisions(text: str) -> list[Decision]:
    """Read the text of a file of decisions. No key and no look may occur twice.

    Raises `ConfigurationError` for anything else, and `InvalidRequest` for what names no look.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"it is no JSON ({error})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ConfigurationError(f'it is no file of decisions: expected "format": "{FORMAT}"')
    entries = content.get("decisions")
    if not isinstance(entries, list):
        raise ConfigurationError('"decisions": expected a list')
    decisions = [_decision(entry, number) for number, entry in enumerate(entries, 1)]
    _refuse_duplicates("the key", [decision.key for decision in decisions])
    _refuse_duplicates("the look", [str(d.verdict) for d in decisions if isinstance(d.verdict, LookRef)])
    return decisions


def _decision(entry: Any, number: int) -> Decision:
    if not isinstance(entry, dict):
        raise ConfigurationError(f'decision {number}: expected the texts "key", "attempt" and "verdict"')
    for name in ("key", "attempt", "verdict"):
        if not isinstance(value := entry.get(name), str) or not value:
            raise ConfigurationError(
                f"decision {number}: {name} {value!r}: expected a text that is not empty"
            )
    try:
        verdict = parse_verdict(entry["verdict"])
    except (ConfigurationError, InvalidRequest) as error:
        raise ConfigurationError(f"decision {number}, {entry['key']}: {error}") from None
    return Decision(entry["key"], entry["attempt"], verdict)


def _refuse_duplicates(what: str, texts: Sequence[str]) -> None:
    for text in texts:
        if texts.count(text) > 1:
            raise ConfigurationError(f"{what} {text} occurs twice")


def make_plan(decisions: Iterable[Decision], outcomes: Mapping[str, Outcome]) -> Plan:
    """Sort the decisions by what the store says now: done twice, a file pays once.

    Raises `ConfigurationError` for a key that the store does not have: the file is another store's.
    """
    to_do, settled, outdated = list[Decision](), list[Decision](), list[Decision]()
    for decision in decisions:
        outcome = outcomes.get(decision.key)
        if outcome is None:
            raise ConfigurationError(f"{decision.key}: the store has no such request; is it another store's?")
        if outcome.state is not OutcomeState.UNKNOWN:
            settled.append(decision)
        elif outcome.attempt != decision.attempt:
            outdated.append(decision)
        else:
            to_do.append(decision)
    again = [decision for decision in to_do if decision.verdict == "resend"]
    return Plan(
        tuple(sorted(to_do, key=lambda decision: decision.verdict == "resend")),
        tuple(settled),
        tuple(outdated),
        sum((outcomes[decision.key].request.credits for decision in again), Decimal(0)),
    )


def carry_out(
    file: Path, store: AnyStore, given: str, connection: StoreConnection, terminal: Terminal, *, yes: bool
) -> int:
    """Show what the decisions come to, ask before anything is paid, and carry them out.

    ``given`` is the store as it was typed. Raises `ConfigurationError`, and what a session raises.
    """
    decisions = _read(file)
    plan = asyncio.run(_plan(decisions, store))
    _show(plan, terminal)
    if not plan.to_do:
        return Exit.UNFINISHED if plan.outdated else Exit.READY
    if not _consent(plan, terminal, yes=yes):
        terminal.say("nothing was done")
        return Exit.UNFINISHED
    try:
        code = asyncio.run(_carry_out(plan, store, connection, terminal))
    except KeyboardInterrupt:
        terminal.notice("interrupted; the same command goes on, and pays for nothing twice")
        return Exit.UNFINISHED
    is_campaign = isinstance(store, Path) and Path(given) != store
    if is_campaign and any(decision.verdict != "drop" for decision in plan.to_do):
        terminal.notice("The campaign goes on with:")
        terminal.notice("  " + command_line("batch", given, *connection.arguments()))
    return Exit.UNFINISHED if code is Exit.READY and plan.outdated else code


def _read(file: Path) -> list[Decision]:
    try:
        return parse_decisions(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror or error}") from None
    except (ConfigurationError, InvalidRequest, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: {error}") from None


async def _plan(decisions: Iterable[Decision], store: AnyStore) -> Plan:
    return make_plan(decisions, {outcome.key: outcome for outcome in await read_report(store)})


def _show(plan: Plan, terminal: Terminal) -> None:
    for decision in plan.settled:
        terminal.record("unchanged", key=decision.key, reason="settled")
    for decision in plan.outdated:
        terminal.record("unchanged", key=decision.key, reason="sent_again")
        terminal.notice(f"{decision.key}: it was sent once more after this was decided; look again")
    if plan.settled:
        terminal.say(f"{format_count(len(plan.settled), 'request')} settled already: nothing to do")
    for decision in plan.to_do:
        terminal.say(f"{decision.key}: {_as_words(decision.verdict)}")


def _as_words(verdict: Verdict) -> str:
    if verdict == "resend":
        return "make it again"
    return "leave it" if verdict == "drop" else f"it is {verdict}"


def _consent(plan: Plan, terminal: Terminal, *, yes: bool) -> bool:
    if yes or not plan.cost:
        return True
    if not terminal.can_ask:
        raise ConfigurationError(
            f"nothing was done: making them again costs {format_credits(plan.cost)}, and nobody can be "
            "asked; add --yes"
        )
    return terminal.ask(f"Spend {format_credits(plan.cost)}? [y/N]").lower() in ("y", "yes")


async def _carry_out(plan: Plan, store: AnyStore, connection: StoreConnection, terminal: Terminal) -> Exit:
    worst = Exit.READY
    async with connection.session(store=store) as session:
        # another process may have had the store until now, while the user was asked
        to_do = (await _plan(plan.to_do, store)).to_do
        for position, decision in enumerate(to_do):
            try:
                await settle(session, decision, terminal)
            except HooxError as error:
                now = await _plan([decision], store)
                if isinstance(error, InvalidRequest) and not now.to_do:  # another one decided meanwhile
                    _show(now, terminal)
                    worst = max(worst, Exit.UNFINISHED if now.outdated else Exit.READY)
                    continue
                code = code_of(error)
                worst = max(worst, code)
                terminal.record("error", key=decision.key, **error_record(error))
                terminal.notice(str(error) if decision.key in str(error) else f"{decision.key}: {error}")
                if code is not Exit.USE or is_access(error):  # the next one would meet it too
                    left = len(to_do) - position - 1
                    if left:
                        terminal.notice(f"{format_count(left, 'decision')} not carried out: run this again")
                    break
    return worst


async def settle(session: HooxSession, decision: Decision, terminal: Terminal) -> None:
    """Carry out one decision and say so. Raises what the session's methods raise."""
    key, attempt, verdict = decision
    job: LookJob | None = None
    if verdict == "drop":
        await session.drop(key, attempt=attempt)
    elif verdict == "resend":
        job = await session.resend(key, attempt=attempt)
    else:
        job = await session.resolve(key, verdict, attempt=attempt)
    terminal.record("resolved", key=key, verdict=str(verdict), ref=str(job.ref) if job else None)
    terminal.result(_decision_text(key, verdict, job))


def _decision_text(key: str, verdict: Verdict, job: LookJob | None) -> str:
    if job is None:
        return f"{key} is dropped; what it may have cost stays counted as at risk"
    if verdict == "resend":
        credits = f" ({format_credits(job.credits)})" if job.credits is not None else ""
        return f"{key} was sent again and accepted: {job.ref}{credits}"
    return f"{key} is {job.ref}"
