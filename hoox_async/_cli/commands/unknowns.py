"""``unknowns``: lists the paid requests whose outcome is not known."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hoox_async import StoreLocked, Unknown

from ..exit_codes import Exit
from ..json_output import unknown_record
from ..options import Output, StoreConnection, command_line
from ..stores import key_words, store_of, store_words
from ..terminal import Terminal
from ..text import format_count
from ..unknown_requests import (
    list_unknowns,
    page_folder,
    recorded_unknowns,
    require_page_modules,
    show_page,
    show_unknown,
)

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

    Shows each with the looks that may be its result. Takes one status request for each avatar; of a store
    that a running program has open, or in PostgreSQL without a page, it shows what is recorded, without any
    request.

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
        found, written = asyncio.run(list_unknowns(connection, path, folder, store))
    except StoreLocked as error:
        terminal.notice(f"{error}. Nothing is asked for; what is recorded:")
        found, written = asyncio.run(recorded_unknowns(connection, path, folder, store))
    for unknown in found:
        terminal.record("unknown", **unknown_record(unknown))
        if not output.json:
            show_unknown(unknown, terminal)
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
