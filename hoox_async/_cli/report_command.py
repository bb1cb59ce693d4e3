"""``report``: the contact sheet of a store."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hoox_async import BatchReport

from .batch.picture_index import read_manifest
from .exit_codes import Exit
from .options import Output, store_of
from .terminal import Terminal, require

_SHOWN = Output()


def report(
    store: Path,
    /,
    *,
    out: Path | None = None,
    jsonl: Path | None = None,
    pictures: Path | None = None,
    download: bool = True,
    title: str | None = None,
    output: Output = _SHOWN,
) -> int:
    """Write the contact sheet: all pictures on one page.

    Also while the batch runs. It needs no API key, but fetches the pictures, unless they are there.

    Parameters
    ----------
    store
        The store (FILE.hoox.db), or the campaign file beside it.
    out
        The folder of the page; FILE.sheet unless given.
    jsonl
        Write all outcomes to this file too, one line of JSON each.
    pictures
        The folder that `batch --out` saved to: those pictures are not fetched again.
    download
        Fetch the pictures that are not there.
    title
        The page's title; the campaign's name unless given.
    """
    terminal, path = output.terminal(), store_of(store)
    require("report", {"jinja2": "Jinja2", "PIL": "Pillow"}, "the contact sheet")
    name = path.name.removesuffix(".db").removesuffix(".hoox")
    folder = out or path.with_name(f"{name}.sheet")
    saved = read_manifest(pictures) if pictures else {}
    return asyncio.run(_write(path, folder, jsonl, saved, download, title or name, terminal))


async def _write(
    store: Path,
    folder: Path,
    jsonl: Path | None,
    saved: dict[str, tuple[str, Path]],
    download: bool,
    title: str,
    terminal: Terminal,
) -> int:
    found = await BatchReport.open(store)
    if not terminal.as_json:
        terminal.say(str(found))
    given = {
        outcome.key: saved[outcome.key][1]
        for outcome in found
        if outcome.key in saved and saved[outcome.key][0] == str(outcome.ref)
    }
    lines = await found.to_jsonl(jsonl) if jsonl is not None else None
    sheet = await found.write_contact_sheet(folder, title=title, pictures=given, download=download)
    counts = {state.value: count for state, count in found.counts.items()}
    terminal.record(
        "report",
        sheet=str(sheet),
        jsonl=str(lines) if lines else None,
        counts=counts,
        credits=format(found.credits_spent, "f"),
        at_risk=format(found.credits_at_risk, "f"),
    )
    terminal.result(str(sheet))
    if lines is not None:
        terminal.say(f"outcomes: {lines}")
    return Exit.READY
