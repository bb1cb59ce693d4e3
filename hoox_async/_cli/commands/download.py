"""``download``: saves the pictures of looks that a store knows to be ready."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from pathlib import Path, PurePosixPath
from typing import Annotated

from cyclopts import Parameter

from hoox_async import BatchReport, HooxSession, Outcome
from hoox_async._core.formatting import format_count

from ..batch.summary import small_pictures_line
from ..campaign.builder import origin_of_key
from ..exit_codes import Exit
from ..options import Connection, Output, check_writable
from ..pictures import PictureSaver, picture_name
from ..selection import OnlyOption, parse_only, select_outcomes
from ..signals import run_until, stop_on_signals
from ..stores import DEFAULT_LOCATION, Location, StoreArgument, read_report, store_of, store_words
from ..terminal import Terminal, command_line, shown_path

_NAMES = "{key}"


def download(
    store: StoreArgument,
    *,
    out: Annotated[Path, Parameter(help="The folder to save the pictures in.")],
    only: OnlyOption = (),
    names: str = _NAMES,
    location: Location = DEFAULT_LOCATION,
    connection: Connection = Connection(),
    output: Output = Output(),
) -> int:
    """Save the pictures of looks that are ready.

    Pays for nothing. Pictures that are in the folder already are not fetched again. Works while the batch
    runs.

    - `hoox-async download campaign.toml --only @picks.json --out picked`

    Parameters
    ----------
    names
        The pictures' names ({key}: all in one folder, alex-podcast.jpg). Also usable: {avatar} {scene} {n}
        {style} {format} {look_id}; a slash makes folders.
    """
    terminal, path = output.terminal(), store_of(store, location)
    selection = parse_only(only)
    check_writable("--out", out)
    chosen = select_outcomes(asyncio.run(read_report(path)), selection)
    for outcome in chosen.ready[:1]:
        _name(names, outcome)  # a wrong template is an error before anything is fetched
    words = [word for text in only for word in ("--only", text)]
    words += ["--names", names] if names != _NAMES else []
    again = command_line(
        "download", *store_words(store, location), "--out", str(out), *words, *connection.arguments()
    )
    session = connection.session(poll="awaited")
    return asyncio.run(_save(session, chosen, out, names, again, terminal))


async def _save(
    session: HooxSession, chosen: BatchReport, out: Path, names: str, again: str, terminal: Terminal
) -> int:
    with stop_on_signals() as stop:
        async with session:
            saver = PictureSaver(session, out, lambda outcome: _name(names, outcome), terminal)
            for outcome in chosen.ready:
                saver.add(outcome)
            try:
                saving = f"saving {format_count(len(chosen.ready), 'picture')}"
                with terminal.err.status(saving) if terminal.live else nullcontext():
                    await run_until(stop.requested, saver.finish())
            finally:
                await saver.cancel()
    not_ready = len(chosen) - len(chosen.ready)
    is_finished = not stop.requested.is_set() and not saver.missing
    code = Exit.READY if is_finished else Exit.UNFINISHED
    terminal.record(
        "download",
        folder=str(out),
        pictures=len(saver.files),
        pictures_missing=len(chosen.ready) - len(saver.files),
        pictures_smaller=len(saver.smaller),
        not_ready=not_ready,
        exit=int(code),
        resume=None if is_finished else again,
    )
    terminal.result(f"{format_count(len(saver.files), 'picture')} in {shown_path(out)}")
    if saver.smaller:
        terminal.result(small_pictures_line(saver.smaller, chosen))
    if not_ready:
        terminal.notice(f"{format_count(not_ready, 'look')} left out: not ready")
    if not is_finished:
        terminal.notice("Not finished. Go on with:")
        terminal.notice(f"  {again}")
    return code


def _name(names: str, outcome: Outcome) -> PurePosixPath:
    look_id = outcome.look.look_id if outcome.look is not None else ""
    return picture_name(names, outcome, origin_of_key(outcome.key), look_id=look_id)
