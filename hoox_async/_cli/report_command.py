"""``report``: writes the contact sheet of a store."""

from __future__ import annotations

import asyncio
from pathlib import Path

from .batch.picture_index import read_picture_index
from .campaign import Selection
from .campaign.picture_names import safe_part
from .exit_codes import Exit
from .options import Output
from .picks import OnlyOption, parse_only, select_outcomes
from .stores import DEFAULT_WORKSPACE, AnyStore, WorkspaceOption, read_report, store_of
from .terminal import Terminal, require_modules

_DEFAULT_OUTPUT = Output()


def report(
    store: str,
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    out: Path | None = None,
    jsonl: Path | None = None,
    pictures: Path | None = None,
    download: bool = True,
    title: str | None = None,
    only: OnlyOption = (),
    output: Output = _DEFAULT_OUTPUT,
) -> int:
    """Write the contact sheet: all pictures on one page.

    Works while the batch runs. Needs no API key. Pictures that are not saved yet are downloaded.

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
    terminal, path = output.terminal(), store_of(store, workspace)
    selection = parse_only(only)
    require_modules("report", {"jinja2": "Jinja2", "PIL": "Pillow"}, "the contact sheet")
    name = path.name.removesuffix(".db").removesuffix(".hoox")
    # a page of a part must not take the place of the page of all
    folder = out or _beside(path, f"{name}.selection.sheet" if selection else f"{name}.sheet")
    saved = read_picture_index(pictures) if pictures else {}
    return asyncio.run(_write(path, selection, folder, jsonl, saved, download, title or name, terminal))


def _beside(store: AnyStore, name: str) -> Path:
    """The folder of the page: beside the file, or here for a workspace of a database."""
    return store.with_name(name) if isinstance(store, Path) else Path(str(safe_part(name)))


async def _write(
    store: AnyStore,
    selection: Selection,
    folder: Path,
    jsonl: Path | None,
    saved: dict[str, tuple[str, Path]],
    download: bool,
    title: str,
    terminal: Terminal,
) -> int:
    found = select_outcomes(await read_report(store), selection)
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
