"""``unknowns`` and ``resolve``: paid requests whose outcome is not known."""

from __future__ import annotations

import asyncio
from typing import Literal

from hoox_async import ConfigurationError, InvalidRequest, LookJob, LookRef, Unknown

from .exit_codes import Exit
from .json_output import unknown_record
from .options import Output, StoreConnection, command_line
from .stores import AnyStore, DatabaseStore, read_unknowns, resolve_words, store_of
from .terminal import Terminal
from .text import format_count, format_credits, one_line, shorten_list

_DEFAULT_CONNECTION = StoreConnection()
_DEFAULT_OUTPUT = Output()
_Verdict = LookRef | Literal["resend", "drop"]


def unknowns(
    store: str, *, connection: StoreConnection = _DEFAULT_CONNECTION, output: Output = _DEFAULT_OUTPUT
) -> int:
    """List the requests that may have been paid for.

    Shows each with the looks that may be its result. Takes one status request for each avatar; of a store in
    PostgreSQL it shows what is recorded, without any request and without a key.

    Parameters
    ----------
    store
        The store (FILE.hoox.db or a postgresql:// URL), or the campaign file beside it. Also as --store.
    """
    terminal, path = output.terminal(), store_of(store, connection.workspace)
    found = asyncio.run(_list(connection, path))
    for unknown in found:
        terminal.record("unknown", **unknown_record(unknown))
        if not output.json:
            _show(unknown, terminal)
    if not found:
        terminal.say("nothing is unknown")
        return Exit.READY
    terminal.say(
        f"{format_count(len(found), 'request')} may have been paid for. To decide about one (it asks):"
    )
    terminal.say("  " + command_line("resolve", *resolve_words(path, found[0].key), *connection.arguments()))
    return Exit.UNFINISHED


def resolve(
    store: str,
    key: str,
    verdict: str | None = None,
    *,
    connection: StoreConnection = _DEFAULT_CONNECTION,
    output: Output = _DEFAULT_OUTPUT,
) -> int:
    """Decide about a request that may have been paid for.

    Without a verdict it shows the request with the looks that may be its result, and asks.

    - `hoox-async resolve campaign.toml alex/podcast`
    - `hoox-async resolve campaign.toml alex/podcast resend`

    Parameters
    ----------
    store
        The store (FILE.hoox.db or a postgresql:// URL), or the campaign file beside it. Also as --store.
    key
        The request's key, as `unknowns` shows it.
    verdict
        avatar_id:look_id names the look that is its result. resend sends it again and pays for that. drop
        gives it up; what it may have cost stays counted as at risk.
    """
    terminal, path = output.terminal(), store_of(store, connection.workspace)
    if verdict is not None:
        decided = _parse_verdict(verdict)
        return asyncio.run(_settle(connection, path, key, decided, terminal))
    unknown = _find(asyncio.run(_list(connection, path)), key)
    terminal.record("unknown", **unknown_record(unknown))
    if not output.json:
        _show(unknown, terminal)
    if not terminal.can_ask:
        raise ConfigurationError("nobody can be asked: give the verdict as avatar_id:look_id, resend or drop")
    return asyncio.run(_settle(connection, path, key, _ask(unknown, terminal), terminal))


async def _list(connection: StoreConnection, store: AnyStore) -> list[Unknown]:
    if isinstance(store, DatabaseStore):
        return await read_unknowns(store)
    async with connection.session(store=store, poll="awaited") as session:
        return await session.unknowns()


async def _settle(
    connection: StoreConnection, store: AnyStore, key: str, verdict: _Verdict, terminal: Terminal
) -> int:
    async with connection.session(store=store) as session:
        job: LookJob | None = None
        if verdict == "drop":
            await session.drop(key)
        elif verdict == "resend":
            job = await session.resend(key)
        else:
            job = await session.resolve(key, verdict)
        terminal.record("resolved", key=key, verdict=str(verdict), ref=str(job.ref) if job else None)
        terminal.result(_decision_text(key, verdict, job))
    return Exit.READY


def _decision_text(key: str, verdict: _Verdict, job: LookJob | None) -> str:
    if job is None:
        return f"{key} is dropped; what it may have cost stays counted as at risk"
    if verdict == "resend":
        credits = f" ({format_credits(job.credits)})" if job.credits is not None else ""
        return f"{key} was sent again and accepted: {job.ref}{credits}"
    return f"{key} is {job.ref}"


def _find(listed: list[Unknown], key: str) -> Unknown:
    for unknown in listed:
        if unknown.key == key:
            return unknown
    known = f"expected one of {shorten_list(unknown.key for unknown in listed)}" if listed else "none is"
    raise ConfigurationError(f"{key}: its outcome is not unknown; {known}")


def _parse_verdict(text: str) -> _Verdict:
    word = text.strip()
    if word == "resend":
        return "resend"
    if word == "drop":
        return "drop"
    if ":" in word:
        return LookRef.parse(word)
    raise ConfigurationError(f"verdict {word!r}: expected avatar_id:look_id, resend or drop")


def _show(unknown: Unknown, terminal: Terminal) -> None:
    sent = f", sent {unknown.sent_at:%Y-%m-%d %H:%M:%S} UTC" if unknown.sent_at else ""
    terminal.result(f"{unknown.key}  ({format_credits(unknown.request.credits)}{sent})")
    prompt = getattr(unknown.request, "prompt", None)
    if prompt:
        terminal.result(f"  {one_line(prompt, 74)}")
    for number, ref in enumerate(unknown.candidates, 1):
        terminal.result(f"  {number}  {ref}")
    if not unknown.candidates:
        terminal.result("  no look was found that could be its result")


def _ask(unknown: Unknown, terminal: Terminal) -> _Verdict:
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
            return _parse_verdict(answer)
        except (InvalidRequest, ConfigurationError) as error:
            terminal.notice(str(error))
