"""``unknowns`` and ``resolve``: list the paid requests whose outcome is not known, and decide about them."""

from __future__ import annotations

import asyncio
import json
import webbrowser
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from cyclopts import Parameter

from hoox_async import (
    ConfigurationError,
    HooxError,
    HooxSession,
    InvalidRequest,
    LookDetails,
    LookJob,
    LookRef,
    Outcome,
    OutcomeState,
    StoreLocked,
    Unknown,
)
from hoox_async._core.formatting import format_count, format_credits

from ..exit_codes import Exit, code_of, is_access
from ..json_output import error_record, unknown_record
from ..options import Output, StoreConnection, check_writable
from ..stores import (
    AnyStore,
    StoreArgument,
    beside,
    campaign_name,
    key_words,
    read_outcomes,
    read_report,
    store_of,
    store_words,
)
from ..terminal import Terminal, one_line, require_modules, shorten_list
from ..unknown_requests import find_unknowns, recorded_unknowns, resolve_words, with_new_avatars

_FOUND_ELSEWHERE = {
    "copies": "looks of the copy that the API made of the public avatar",
    "name": "looks of the workspace's avatars of the same name: a public avatar is copied when it is edited",
}
DECISIONS_FORMAT = "hoox-async decisions 2"
Verdict = LookRef | Literal["resend", "drop"]


def unknowns(
    store: StoreArgument,
    *,
    page: Path | None = None,
    open_page: Annotated[bool, Parameter(name="--open", negative=())] = False,
    connection: StoreConnection = StoreConnection(),
    output: Output = Output(),
) -> int:
    """List the requests that may have been paid for.

    Shows each with the looks that may be its result. Takes one status request for each avatar; of a store
    that a running program has open, or in PostgreSQL without a page, it shows what is recorded, without any
    request.

    - `hoox-async unknowns campaign.toml --open`

    Parameters
    ----------
    page
        Write a page in this folder that shows the pictures of those looks, to decide by looking.
    open_page
        Write the page (in FILE.unknowns, if --page names no folder) and open it in the browser.
    """
    terminal, path = output.terminal(), store_of(store, connection.location)
    folder = _page_folder(page, path) if page is not None or open_page else None
    if folder is not None:
        require_modules("report", {"jinja2": "Jinja2", "PIL": "Pillow"}, "the page")
    try:
        found, looks = asyncio.run(find_unknowns(connection, path, with_looks=folder is not None))
    except StoreLocked as error:
        terminal.notice(f"{error}. Nothing is asked for; what is recorded:")
        found, looks = asyncio.run(recorded_unknowns(path)), []
    for unknown in found:
        terminal.record("unknown", **unknown_record(unknown))
        if not output.json:
            _show_unknown(unknown, terminal)
    if not found:
        terminal.say("nothing is unknown")
    if folder is not None:
        page = asyncio.run(_write_page(path, folder, looks, resolve_words(store, connection)))
        terminal.record("page", page=str(page))
        terminal.result(str(page))
        if open_page and not webbrowser.open(page.resolve().as_uri()):
            terminal.notice("no browser could be started: open the page yourself")
    if not found:
        return Exit.READY
    _show_next(found, store, connection, terminal, has_page=folder is not None)
    return Exit.UNFINISHED


def _show_next(
    found: list[Unknown], store: str, connection: StoreConnection, terminal: Terminal, *, has_page: bool
) -> None:
    """Show the commands that decide. ``store`` is as it was typed."""
    connected = connection.arguments()
    if not has_page and any(unknown.candidates for unknown in found):
        shown = store_words(store, connection.location)
        terminal.suggest("To decide by looking at the pictures:", "unknowns", *shown, "--open", *connected)
    how = "Decide on the page, save the decisions, and run" if has_page else "To decide about one (it asks)"
    text = f"{format_count(len(found), 'request')} may have been paid for. {how}:"
    words = key_words(store, "@decisions.json" if has_page else found[0].key, connection.location)
    terminal.suggest(text, "resolve", *words, *connected)


def _show_unknown(unknown: Unknown, terminal: Terminal) -> None:
    sent = f", sent {unknown.sent_at:%Y-%m-%d %H:%M:%S} UTC" if unknown.sent_at else ""
    terminal.result(f"{unknown.key}  ({format_credits(unknown.request.credits)}{sent})")
    prompt = getattr(unknown.request, "prompt", None)
    if prompt:
        terminal.result(f"  {one_line(prompt, 74)}")
    if unknown.delivered is not None:
        terminal.result(f"  it was paid: a delivery has named its look, {unknown.delivered}, but no avatar")
    for number, ref in enumerate(unknown.candidates, 1):
        terminal.result(f"  {number}  {ref}")
    if unknown.candidates_from in _FOUND_ELSEWHERE:
        terminal.result(f"  {_FOUND_ELSEWHERE[unknown.candidates_from]}")
    if not unknown.candidates:
        terminal.result("  no look was found that could be its result")
    if unknown.older:
        older = format_count(len(unknown.older), "older look")
        terminal.result(f"  {older} left out: listed before it was sent")
    for avatar_id in unknown.unlisted:
        terminal.result(f"  the looks of {avatar_id} were not listed before it was sent: they may be older")


def _page_folder(page: Path | None, store: AnyStore) -> Path:
    """The folder of the page. Raises `ConfigurationError` for the name of a file."""
    if page is None:
        return beside(store, f"{campaign_name(store)}.unknowns")
    if page.suffix.lower() in (".html", ".htm") or page.is_file():
        raise ConfigurationError(f"--page {page}: name a folder; the page is index.html in it")
    check_writable("--page", page)
    return page


async def _write_page(
    store: AnyStore, folder: Path, looks: Sequence[LookDetails], resolve_command: list[str]
) -> Path:
    """Write the page of the store's unknowns. Raises `StoreError` and `OSError`."""
    report = with_new_avatars(await read_report(store), looks)
    return await report.write_unknowns_page(
        folder, title=campaign_name(store), candidates=looks, resolve_command=resolve_command
    )


def resolve(
    store: StoreArgument,
    key: str,
    verdict: str | None = None,
    *,
    attempt: str | None = None,
    yes: Annotated[bool, Parameter(negative=())] = False,
    connection: StoreConnection = StoreConnection(),
    output: Output = Output(),
) -> int:
    """Decide about a request that may have been paid for.

    Without a verdict it shows the request with the looks that may be its result, and asks.

    - `hoox-async resolve campaign.toml alex/podcast`
    - `hoox-async resolve campaign.toml alex/podcast resend`
    - `hoox-async resolve campaign.toml @decisions.json`

    Parameters
    ----------
    key
        The request's key, as `unknowns` shows it. @FILE carries out the decisions in a file that was saved on
        the page of `unknowns` or on the contact sheet; a decision is carried out once.
    verdict
        avatar_id:look_id names the look that is its result. resend sends it again and pays for that. drop
        gives it up; what it may have cost stays counted as at risk.
    attempt
        The attempt that was decided about, as `unknowns --json` shows it: if it was sent again since, nothing
        is done. A file has it for each decision.
    yes
        Don't ask before the decisions of a file are paid for.
    """
    terminal, path = output.terminal(), store_of(store, connection.location)
    if verdict is None and key.startswith("@"):
        return _carry_out_file(Path(key[1:]), path, store, connection, terminal, yes=yes)
    if verdict is not None:
        decided = Decision(key, attempt, parse_verdict(verdict))
        return asyncio.run(_settle_one(connection, path, decided, terminal))
    unknown = _find(asyncio.run(find_unknowns(connection, path))[0], key)
    terminal.record("unknown", **unknown_record(unknown))
    if not output.json:
        _show_unknown(unknown, terminal)
    if not terminal.can_ask:
        raise ConfigurationError(
            "nothing was done, as nobody can be asked: give the verdict as avatar_id:look_id, resend or drop"
        )
    decided = Decision(key, unknown.attempt, _ask(unknown, terminal))
    return asyncio.run(_settle_one(connection, path, decided, terminal))


async def _settle_one(
    connection: StoreConnection, store: AnyStore, decision: Decision, terminal: Terminal
) -> int:
    async with connection.session(store=store) as session:
        await _settle(session, decision, terminal)
    return Exit.READY


def _find(listed: list[Unknown], key: str) -> Unknown:
    for unknown in listed:
        if unknown.key == key:
            return unknown
    known = f"expected one of {shorten_list(unknown.key for unknown in listed)}" if listed else "none is"
    raise ConfigurationError(f"{key}: its outcome is not unknown; {known}")


def _ask(unknown: Unknown, terminal: Terminal) -> Verdict:
    choice = "the number of its look, " if unknown.candidates else ""
    while True:
        answer = terminal.ask(
            f"Which one is it? ({choice}avatar_id:look_id, resend or drop; empty: decide later)"
        )
        if not answer:
            raise KeyboardInterrupt
        if answer.isdigit() and 1 <= int(answer) <= len(unknown.candidates):
            return unknown.candidates[int(answer) - 1]
        try:
            return parse_verdict(answer)
        except (InvalidRequest, ConfigurationError) as error:
            terminal.notice(str(error))


# --- a file of decisions ------------------------------------------------------------------------


class Decision(NamedTuple):
    """A decision about one attempt of the unknown ``key``; None is the last one, whichever that is."""

    key: str
    attempt: str | None
    verdict: Verdict


class DecisionPlan(NamedTuple):
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
    if not isinstance(content, dict) or content.get("format") != DECISIONS_FORMAT:
        raise ConfigurationError(f'it is no file of decisions: expected "format": "{DECISIONS_FORMAT}"')
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


def plan_decisions(decisions: Iterable[Decision], outcomes: Mapping[str, Outcome]) -> DecisionPlan:
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
    return DecisionPlan(
        tuple(sorted(to_do, key=lambda decision: decision.verdict == "resend")),
        tuple(settled),
        tuple(outdated),
        sum((outcomes[decision.key].request.credits for decision in again), Decimal(0)),
    )


def _carry_out_file(
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
        terminal.suggest("The campaign goes on with:", "batch", given, *connection.arguments())
    return Exit.UNFINISHED if code is Exit.READY and plan.outdated else code


def _read(file: Path) -> list[Decision]:
    try:
        return parse_decisions(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror or error}") from None
    except (ConfigurationError, InvalidRequest, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: {error}") from None


async def _plan(decisions: Iterable[Decision], store: AnyStore) -> DecisionPlan:
    return plan_decisions(decisions, await read_outcomes(store))


def _show(plan: DecisionPlan, terminal: Terminal) -> None:
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


def _consent(plan: DecisionPlan, terminal: Terminal, *, yes: bool) -> bool:
    if yes or not plan.cost:
        return True
    cost = format_credits(plan.cost)
    return terminal.agrees(
        f"Spend {cost}?",
        if_nobody=f"nothing was done: making them again costs {cost}, and nobody can be asked; add --yes",
    )


async def _carry_out(
    plan: DecisionPlan, store: AnyStore, connection: StoreConnection, terminal: Terminal
) -> Exit:
    worst = Exit.READY
    async with connection.session(store=store) as session:
        # another process may have had the store until now, while the user was asked
        to_do = (await _plan(plan.to_do, store)).to_do
        for position, decision in enumerate(to_do):
            try:
                await _settle(session, decision, terminal)
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


async def _settle(session: HooxSession, decision: Decision, terminal: Terminal) -> None:
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
