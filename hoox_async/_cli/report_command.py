"""``report``: writes the contact sheet of a store."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hoox_async import HooxError, LookDetails

from .batch.picture_index import read_picture_index
from .campaign import Selection
from .exit_codes import Exit
from .options import Output, StoreConnection
from .picks import OnlyOption, parse_only, select_outcomes
from .stores import AnyStore, DatabaseStore, beside, read_report, store_of
from .terminal import Terminal, require_modules
from .unknowns_page import campaign_name, read_looks, resolve_words, with_new_avatars

_DEFAULT_CONNECTION = StoreConnection()
_DEFAULT_OUTPUT = Output()


def report(
    store: str,
    *,
    out: Path | None = None,
    jsonl: Path | None = None,
    pictures: Path | None = None,
    download: bool = True,
    title: str | None = None,
    only: OnlyOption = (),
    connection: StoreConnection = _DEFAULT_CONNECTION,
    output: Output = _DEFAULT_OUTPUT,
) -> int:
    """Write the contact sheet: all pictures on one page.

    Works while the batch runs, and without an API key. Pictures that are not saved yet are downloaded. With a
    key, and while no batch runs, it also shows the looks that unknown requests may have made.

    - `hoox-async report campaign.toml --pictures pictures`

    Parameters
    ----------
    store
        The store (FILE.hoox.db or a postgresql:// URL), or the campaign file beside it. Also as --store.
    out
        The folder to write the page in (FILE.sheet; with --only FILE.selection.sheet).
    jsonl
        Also write all outcomes to this file, one line of JSON each.
    pictures
        The folder that `batch --out` saved to; pictures found there are not downloaded.
    download
        Download the missing pictures (the default), or leave them out.
    title
        The page's title (the campaign's name).
    """
    terminal, path = output.terminal(), store_of(store, connection.workspace)
    selection = parse_only(only)
    require_modules("report", {"jinja2": "Jinja2", "PIL": "Pillow"}, "the contact sheet")
    name = campaign_name(path)
    # a page of a part must not take the place of the page of all
    folder = out or beside(path, f"{name}.selection.sheet" if selection else f"{name}.sheet")
    saved = read_picture_index(pictures) if pictures else {}
    return asyncio.run(
        _write(path, store, selection, folder, jsonl, saved, download, title or name, connection, terminal)
    )


async def _write(
    store: AnyStore,
    typed: str,
    selection: Selection,
    folder: Path,
    jsonl: Path | None,
    saved: dict[str, tuple[str, Path]],
    download: bool,
    title: str,
    connection: StoreConnection,
    terminal: Terminal,
) -> int:
    found = select_outcomes(await read_report(store), selection)
    if not terminal.as_json:
        terminal.say(str(found))
    looks: list[LookDetails] = []
    if found.unknown and download and not isinstance(store, DatabaseStore):
        looks = await _ask_for_looks(connection, store, terminal)
        # with the candidates that were found just now
        found = select_outcomes(await read_report(store), selection)
    given = {
        outcome.key: saved[outcome.key][1]
        for outcome in found
        if outcome.key in saved and saved[outcome.key][0] == str(outcome.ref)
    }
    lines = await found.to_jsonl(jsonl) if jsonl is not None else None
    sheet = await with_new_avatars(found, looks).write_contact_sheet(
        folder,
        title=title,
        pictures=given,
        download=download,
        candidates=looks,
        resolve_command=resolve_words(typed, connection),
    )
    counts = {state.value: count for state, count in found.counts.items()}
    terminal.record(
        "report",
        sheet=str(sheet),
        jsonl=str(lines) if lines else None,
        counts=counts,
        credits=format(found.credits_spent, "f"),
        credits_failed=format(found.costs.failed, "f"),
        at_risk=format(found.credits_at_risk, "f"),
    )
    terminal.result(str(sheet))
    if lines is not None:
        terminal.say(f"outcomes: {lines}")
    return Exit.READY


async def _ask_for_looks(
    connection: StoreConnection, store: AnyStore, terminal: Terminal
) -> list[LookDetails]:
    """The looks that unknowns may have made. Says so if they can't be asked for."""
    try:
        async with connection.session(store=store, poll="awaited") as session:
            return await read_looks(session, await session.unknowns())
    except HooxError as error:
        terminal.notice(f"the looks that unknown requests may have made are shown without pictures: {error}")
        return []
