"""``unknowns`` and ``resolve``: paid requests whose outcome is not known."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hoox_async import ConfigurationError, InvalidRequest, StoreLocked, Unknown

from .decisions import Decision, Verdict, carry_out, parse_verdict, settle
from .exit_codes import Exit
from .json_output import unknown_record
from .options import Output, StoreConnection, command_line
from .stores import AnyStore, DatabaseStore, key_words, read_unknowns, store_of, store_words
from .terminal import Terminal
from .text import format_count, format_credits, one_line, shorten_list
from .unknowns_page import page_folder, read_looks, require_page_modules, resolve_words, show_page, write_page

_FOUND_ELSEWHERE = {
    "copies": "looks of the copy that the API made of the public avatar",
    "name": "looks of the workspace's avatars of the same name: a public avatar is copied when it is edited",
}
_DEFAULT_CONNECTION = StoreConnection()
_DEFAULT_OUTPUT = Output()


def unknowns(
    store: str,
    *,
    page: Path | None = None,
    open_page: Annotated[bool, Parameter(name="--open", negative=())] = False,
    connection: StoreConnection = _DEFAULT_CONNECTION,
    output: Output = _DEFAULT_OUTPUT,
) -> int:
    """List the requests that may have been paid for.

    Shows each with the looks that may be its result. Takes one status request for each avatar; of a store in
    PostgreSQL, or one that a running program has open, it shows what is recorded, without any request.

    - `hoox-async unknowns campaign.toml --open`

    Parameters
    ----------
    store
        The store (FILE.hoox.db or a postgresql:// URL), or the campaign file beside it. Also as --store.
    page
        Write a page in this folder that shows the pictures of those looks, to decide by looking.
    open_page
        Write the page (in FILE.unknowns, if --page names no folder) and open it in the browser.
    """
    terminal, path = output.terminal(), store_of(store, connection.location)
    folder = page_folder(page, path) if page is not None or open_page else None
    if folder is not None:
        require_page_modules()
    try:
        found, written = asyncio.run(_list(connection, path, folder, store))
    except StoreLocked as error:
        terminal.notice(f"{error}. Nothing is asked for; what is recorded:")
        found, written = asyncio.run(_recorded(connection, path, folder, store))
    for unknown in found:
        terminal.record("unknown", **unknown_record(unknown))
        if not output.json:
            _show(unknown, terminal)
    if not found:
        terminal.say("nothing is unknown")
    if written is not None:
        terminal.record("page", page=str(written))
        terminal.result(str(written))
        if open_page:
            show_page(written, terminal)
    if not found:
        return Exit.READY
    _show_next(found, store, connection, terminal, has_page=written is not None)
    return Exit.UNFINISHED


def _show_next(
    found: list[Unknown], store: str, connection: StoreConnection, terminal: Terminal, *, has_page: bool
) -> None:
    """Show the commands that decide. ``store`` is as it was typed."""
    shown = store_words(store, connection.location)
    if not has_page and any(unknown.candidates for unknown in found):
        terminal.notice("To decide by looking at the pictures:")
        terminal.notice("  " + command_line("unknowns", *shown, "--open", *connection.arguments()))
    how = "Decide on the page, save the decisions, and run" if has_page else "To decide about one (it asks)"
    key = "@decisions.json" if has_page else found[0].key
    terminal.notice(f"{format_count(len(found), 'request')} may have been paid for. {how}:")
    words = key_words(store, key, connection.location)
    terminal.notice("  " + command_line("resolve", *words, *connection.arguments()))


def resolve(
    store: str,
    key: str,
    verdict: str | None = None,
    *,
    attempt: str | None = None,
    yes: Annotated[bool, Parameter(negative=())] = False,
    connection: StoreConnection = _DEFAULT_CONNECTION,
    output: Output = _DEFAULT_OUTPUT,
) -> int:
    """Decide about a request that may have been paid for.

    Without a verdict it shows the request with the looks that may be its result, and asks.

    - `hoox-async resolve campaign.toml alex/podcast`
    - `hoox-async resolve campaign.toml alex/podcast resend`
    - `hoox-async resolve campaign.toml @decisions.json`

    Parameters
    ----------
    store
        The store (FILE.hoox.db or a postgresql:// URL), or the campaign file beside it. Also as --store.
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
        return carry_out(Path(key[1:]), path, store, connection, terminal, yes=yes)
    if verdict is not None:
        decided = Decision(key, attempt, parse_verdict(verdict))
        return asyncio.run(_settle(connection, path, decided, terminal))
    unknown = _find(asyncio.run(_list(connection, path))[0], key)
    terminal.record("unknown", **unknown_record(unknown))
    if not output.json:
        _show(unknown, terminal)
    if not terminal.can_ask:
        raise ConfigurationError(
            "nothing was done, as nobody can be asked: give the verdict as avatar_id:look_id, resend or drop"
        )
    decided = Decision(key, unknown.attempt, _ask(unknown, terminal))
    return asyncio.run(_settle(connection, path, decided, terminal))


async def _list(
    connection: StoreConnection, store: AnyStore, folder: Path | None = None, given: str | None = None
) -> tuple[list[Unknown], Path | None]:
    """The unknowns, and the page where one was asked for. ``given`` is the store as it was typed."""
    if isinstance(store, DatabaseStore):
        return await _recorded(connection, store, folder, given)
    async with connection.session(store=store, poll="awaited") as session:
        found = await session.unknowns()
        if folder is None:
            return found, None
        looks = await read_looks(session, found)
        words = resolve_words(given or str(store), connection)
        return found, await write_page(store, folder, looks, words)


async def _recorded(
    connection: StoreConnection, store: AnyStore, folder: Path | None, given: str | None
) -> tuple[list[Unknown], Path | None]:
    """As `_list`, from the store alone: without a request, and while another process has it open."""
    found = await read_unknowns(store)
    words = resolve_words(given or str(store), connection)
    return found, await write_page(store, folder, [], words) if folder is not None else None


async def _settle(
    connection: StoreConnection, store: AnyStore, decision: Decision, terminal: Terminal
) -> int:
    async with connection.session(store=store) as session:
        await settle(session, decision, terminal)
    return Exit.READY


def _find(listed: list[Unknown], key: str) -> Unknown:
    for unknown in listed:
        if unknown.key == key:
            return unknown
    known = f"expected one of {shorten_list(unknown.key for unknown in listed)}" if listed else "none is"
    raise ConfigurationError(f"{key}: its outcome is not unknown; {known}")


def _show(unknown: Unknown, terminal: Terminal) -> None:
    sent = f", sent {unknown.sent_at:%Y-%m-%d %H:%M:%S} UTC" if unknown.sent_at else ""
    terminal.result(f"{unknown.key}  ({format_credits(unknown.request.credits)}{sent})")
    prompt = getattr(unknown.request, "prompt", None)
    if prompt:
        terminal.result(f"  {one_line(prompt, 74)}")
    for number, ref in enumerate(unknown.candidates, 1):
        terminal.result(f"  {number}  {ref}")
    if unknown.candidates_from in _FOUND_ELSEWHERE:
        terminal.result(f"  {_FOUND_ELSEWHERE[unknown.candidates_from]}")
    if not unknown.candidates:
        terminal.result("  no look was found that could be its result")


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
