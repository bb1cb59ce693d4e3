"""``store``: copies of a store, and opening one of which a part is gone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hoox_async import BatchReport, ConfigurationError, StoreIncomplete, backup_store, recover_store

from .exit_codes import Exit
from .options import Output, store_beside, store_of
from .terminal import Terminal
from .text import counted

_SHOWN = Output()
_WARNING = (
    "Without that file, looks that were paid for are not known any more, and running the same campaign pays "
    "for them again. Keep a copy of what is here as it is now."
)


def backup(source: Path, target: Path, /, *, output: Output = _SHOWN) -> int:
    """Copy a store into one file, also while a batch has it open.

    Use the copy in the place of the store, never beside it: each of the two would pay for what the other
    has paid for. Before it takes that place, remove the store's -wal and -shm files. It needs no API key.

    Parameters
    ----------
    source
        The store (FILE.hoox.db), or the campaign file beside it.
    target
        The copy to write. A file that exists is not replaced.
    """
    terminal = output.terminal()
    copy = asyncio.run(backup_store(_store(source), target))
    terminal.record("backup", path=str(copy))
    terminal.result(str(copy))
    return Exit.READY


def recover(
    store: Path,
    /,
    *,
    yes: Annotated[bool, Parameter(negative=(), help="Don't ask.")] = False,
    output: Output = _SHOWN,
) -> int:
    """Open what is left of a store whose -wal file is gone for good.

    What stood in that file alone is lost: looks that were paid for and are not known any more, which the
    next run would pay for again.

    Parameters
    ----------
    store
        The store (FILE.hoox.db), or the campaign file beside it.
    """
    terminal, path = output.terminal(), _store(store)
    missing = _missing(path)
    if missing is None:
        terminal.say(f"{path}: nothing is missing; it can be opened as it is")
        return Exit.READY
    terminal.say(str(missing))
    terminal.say(_WARNING)
    if not yes and not _agreed(terminal):
        return Exit.UNFINISHED
    asyncio.run(recover_store(path))
    known = len(asyncio.run(BatchReport.open(path)))
    terminal.record("recovered", path=str(path), known=known)
    terminal.result(f"{path} can be opened again; {counted(known, 'request')} stood in what was left")
    terminal.say("Before anything is run again: `hoox-async looks` lists what the workspace has.")
    return Exit.READY


def _store(path: Path) -> Path:
    """As `store_of`, but a store may have any name."""
    return path if path.is_file() and not store_beside(path).is_file() else store_of(path)


def _missing(path: Path) -> StoreIncomplete | None:
    try:
        asyncio.run(BatchReport.open(path))
    except StoreIncomplete as error:
        return error
    return None


def _agreed(terminal: Terminal) -> bool:
    if not terminal.can_ask:
        raise ConfigurationError("nobody can be asked: add --yes to recover it all the same")
    return terminal.ask("Recover it without that file? (yes; empty: no)").lower() in ("y", "yes")
