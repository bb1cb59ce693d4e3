"""``store backup`` and ``store recover``: copy a store, or recover one whose -wal file is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hoox_async import BatchReport, ConfigurationError, StoreIncomplete, backup_store, recover_store

from .exit_codes import Exit
from .options import Output, command_line, store_of
from .terminal import Terminal
from .text import format_count

_DEFAULT_OUTPUT = Output()
_WARNING = (
    "Looks that were recorded only in that file are forgotten, and running the same campaign again pays for "
    "them a second time. First copy the files that are left to another place."
)


def backup(source: Path, target: Path, /, *, output: Output = _DEFAULT_OUTPUT) -> int:
    """Copy a store into one file, also while a batch has it open.

    Needs no API key. To restore the copy, remove the store with its -wal and -shm files and put the copy in
    its place. Never use both: each would pay again for what the other has paid for.

    - `hoox-async store backup campaign.toml campaign.backup.db`

    Parameters
    ----------
    source
        The store (FILE.hoox.db), or the campaign file beside it.
    target
        The file to write the copy to. An existing file is not replaced.
    """
    terminal = output.terminal()
    copy = asyncio.run(backup_store(store_of(source), target))
    terminal.record("backup", path=str(copy))
    terminal.result(str(copy))
    return Exit.READY


def recover(
    store: Path,
    /,
    *,
    yes: Annotated[bool, Parameter(negative=(), help="Don't ask before recovering.")] = False,
    output: Output = _DEFAULT_OUTPUT,
) -> int:
    """Make a store usable again whose -wal file is lost.

    What was recorded only in that file is forgotten: looks that were paid for, which the next run would
    pay for again. Look for the -wal file and for a backup first.

    Parameters
    ----------
    store
        The store (FILE.hoox.db), or the campaign file beside it.
    """
    terminal, path = output.terminal(), store_of(store)
    missing = _missing(path)
    if missing is None:
        terminal.say(f"{path}: nothing is missing; it can be opened as it is")
        return Exit.READY
    terminal.notice(str(missing))
    terminal.notice(_WARNING)
    if not yes and not _agreed(terminal):
        return Exit.UNFINISHED
    asyncio.run(recover_store(path))
    known = len(asyncio.run(BatchReport.open(path)))
    terminal.record("recovered", path=str(path), known=known)
    terminal.result(f"{path} is recovered; {format_count(known, 'request')} found in it")
    terminal.notice("Before you run anything again, see which looks the workspace has:")
    terminal.notice("  " + command_line("looks"))
    return Exit.READY


def _missing(path: Path) -> StoreIncomplete | None:
    try:
        asyncio.run(BatchReport.open(path))
    except StoreIncomplete as error:
        return error
    return None


def _agreed(terminal: Terminal) -> bool:
    if not terminal.can_ask:
        raise ConfigurationError("nobody can be asked: add --yes to recover it without asking")
    return terminal.ask("Recover it without that file? [y/N]").lower() in ("y", "yes")
