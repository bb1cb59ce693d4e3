"""``report``: writes the contact sheet of a store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hoox_async import HooxError, LookDetails
from hoox_async._core.formatting import format_count

from ..exit_codes import Exit
from ..options import Output, StoreConnection, check_writable
from ..pictures import read_picture_index
from ..selection import OnlyOption, Selection, parse_only, select_outcomes
from ..stores import (
    AnyStore,
    DatabaseStore,
    StoreArgument,
    beside,
    campaign_name,
    read_report,
    store_of,
    store_words,
)
from ..terminal import Terminal, program, require_modules
from ..unknown_requests import find_unknowns, resolve_words, with_new_avatars

_PICKS_FILE = "picks.json"
_LINE_SECONDS = 5.0


def report(
    store: StoreArgument,
    *,
    out: Path | None = None,
    jsonl: Path | None = None,
    pictures: Path | None = None,
    download: bool = True,
    title: str | None = None,
    only: OnlyOption = (),
    connection: StoreConnection = StoreConnection(),
    output: Output = Output(),
) -> int:
    """Write the contact sheet: all pictures on one page.

    Works while the batch runs, and without an API key. Pictures that are not saved yet are downloaded. With a
    key, and while no batch runs, it also shows the looks that unknown requests may have made.

    - `hoox-async report campaign.toml --pictures pictures`

    Parameters
    ----------
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
    terminal, path = output.terminal(), store_of(store, connection.location)
    selection = parse_only(only)
    require_modules("report", {"jinja2": "Jinja2", "PIL": "Pillow"}, "the contact sheet")
    name = campaign_name(path)
    # a page of a part must not take the place of the page of all
    folder = out or beside(path, f"{name}.selection.sheet" if selection else f"{name}.sheet")
    check_writable("--out", folder)
    if jsonl is not None:
        check_writable("--jsonl", jsonl.parent)
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
        try:
            _, looks = await find_unknowns(connection, store, with_looks=True)
        except HooxError as error:
            terminal.notice(
                f"the looks that unknown requests may have made are shown without pictures: {error}"
            )
        # with the candidates that were found just now
        found = select_outcomes(await read_report(store), selection)
    given = {
        outcome.key: saved[outcome.key][1]
        for outcome in found
        if outcome.key in saved and saved[outcome.key][0] == str(outcome.ref)
    }
    lines = await found.to_jsonl(jsonl) if jsonl is not None else None
    with _progress(terminal) as progress:
        sheet = await with_new_avatars(found, looks).write_contact_sheet(
            folder,
            title=title,
            pictures=given,
            download=download,
            candidates=looks,
            resolve_command=resolve_words(typed, connection),
            picks_commands=_picks_commands(store, typed, connection),
            progress=progress,
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


@contextmanager
def _progress(terminal: Terminal) -> Iterator[Callable[[int, int], None]]:
    """Show how many pictures are collected: on a terminal always, elsewhere a line every few seconds."""
    if terminal.live:
        with terminal.err.status("collecting pictures") as status:
            yield lambda done, total: status.update(_collected(done, total))
        return
    said_at = time.monotonic()

    def say(done: int, total: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= _LINE_SECONDS:
            said_at = time.monotonic()
            terminal.say(_collected(done, total))

    yield say


def _collected(done: int, total: int) -> str:
    return f"{done:,} of {format_count(total, 'picture')} collected"


def _picks_commands(store: AnyStore, typed: str, connection: StoreConnection) -> dict[str, list[str]]:
    """What can be done with the looks that are picked on the page: words of commands, by what they do."""
    words, chosen = store_words(typed, connection.location), ["--only", f"@{_PICKS_FILE}"]
    connected = connection.arguments()
    download = [*program(), "download", *words, *chosen, "--out", "picked", *connected]
    commands = {"Save their pictures": download}
    if isinstance(store, Path) and Path(typed) != store:  # a campaign's file
        in_4k = [*program(), "batch", *words, *chosen, "--4k", "--out", "finals", *connected]
        commands["Make them in 4K (paid)"] = in_4k
    return commands
