"""``store …``: back up, copy, recover, prune or migrate a store, or change a budget in it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import attrs
from cyclopts import Parameter

from hoox_async import (
    BatchReport,
    ConfigurationError,
    StoreIncomplete,
    backup_store,
    prune_store,
    recover_store,
    store_budget,
)
from hoox_async._checks import option
from hoox_async._core.formatting import format_amount, format_count, format_credits

from ..exit_codes import Exit
from ..options import Connection, Output
from ..stores import (
    DEFAULT_LOCATION,
    DEFAULT_SCHEMA,
    DatabaseStore,
    Location,
    SchemaOption,
    StoreArgument,
    named_store,
    source_of,
    store_of,
)
from ..terminal import SCHEMES

_WARNING = (  # of a lost -wal
    "Looks that were recorded only in that file are forgotten, and running the same campaign again pays for "
    "them a second time. First copy the files that are left to another place."
)


def backup(source: str, target: Path, /, *, output: Output = Output()) -> int:
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
    copy = asyncio.run(backup_store(_file_store_of(source), target))
    terminal.record("backup", path=str(copy))
    terminal.result(str(copy))
    return Exit.READY


def copy(
    source: str,
    target: str,
    /,
    *,
    key_file: Annotated[Path | None, Parameter(help="A file that holds the API key (HOOX_API_KEY).")] = None,
    location: Location = DEFAULT_LOCATION,
    output: Output = Output(),
) -> int:
    """Copy a store from a file to PostgreSQL, or back to look at it. Run again, it goes on.

    Nothing may be open on either side. To PostgreSQL it is a move: no session opens the file from then on. A
    file that was copied from PostgreSQL is not opened either, only read by commands such as report. `store
    recover` lets a file be used nevertheless. To PostgreSQL it needs the store's API key. Deliveries to
    webhooks are accepted there with the same secret. Code 1: the sides differ, and the copy is not used.

    - `hoox-async store copy campaign.toml postgresql://db.example.com/shop --workspace spring`
    - `hoox-async store copy postgresql://db.example.com/shop look.hoox.db --workspace spring`

    Parameters
    ----------
    source
        The store (FILE.hoox.db or a postgresql:// URL), or the campaign file beside it.
    target
        The store to make: a postgresql:// URL or FILE.hoox.db.
    """
    from hoox_async.postgres import copy_store

    terminal = output.terminal()
    one = store_of(source, location if source.startswith(SCHEMES) else DEFAULT_LOCATION)
    other = named_store(target, location if target.startswith(SCHEMES) else DEFAULT_LOCATION)
    stores = [source_of(place) for place in (one, other)]
    key = Connection(key_file=key_file).key() if isinstance(other, DatabaseStore) else None
    terminal.say("Copying. If it is interrupted, the same command goes on.")
    done = asyncio.run(copy_store(*stores, api_key=key, **attrs.asdict(location)))
    sides = {"before": _plain(done.before), "after": _plain(done.after)}
    terminal.record("copied", source=done.source, target=done.target, already=done.already, **sides)
    if done.already:
        terminal.result(f"{done.source} was copied to {done.target} before; nothing was done")
        return Exit.READY
    names = {**done.before, **done.after}
    rows = [(name, *(f"{side.get(name, 0)}" for side in sides.values())) for name in names]
    terminal.table(("", "source", "target"), rows, numbers=("source", "target"))
    if not done.is_equal:
        terminal.notice(
            f"The two sides differ, so {done.target} can't be used. The same command makes the copy anew"
        )
        return Exit.FAILED
    terminal.result(f"{done.source} is copied to {done.target}")
    return Exit.READY


def recover(
    store: str,
    *,
    yes: Annotated[bool, Parameter(negative=(), help="Don't ask before recovering.")] = False,
    output: Output = Output(),
) -> int:
    """Make a store usable again whose -wal file is lost, or that was copied with `store copy`.

    What was recorded only in a lost -wal is forgotten: looks that were paid for, which the next run would
    pay for again. Look for the -wal file and for a backup first. Of two copies use only one: each would pay
    again for what the other has paid for.

    Parameters
    ----------
    store
        The store (FILE.hoox.db), or the campaign file beside it.
    """
    from hoox_async.postgres import copy_state

    terminal, path = output.terminal(), _file_store_of(store)
    missing = _missing(path)
    copied = None if missing else copy_state(path)
    if not missing and not copied:
        terminal.say(f"{path}: nothing is missing; it can be opened as it is")
        return Exit.READY
    terminal.notice(str(missing) if missing else f"{path}: {copied}.")
    if missing:
        terminal.notice(_WARNING)
    if not yes and not terminal.agrees(
        "Recover it nevertheless?", if_nobody="nobody can be asked: add --yes to recover it without asking"
    ):
        return Exit.UNFINISHED
    asyncio.run(recover_store(path))
    known = len(asyncio.run(BatchReport.open(path)))
    terminal.record("recovered", path=str(path), known=known)
    terminal.result(f"{path} is recovered; {format_count(known, 'request')} found in it")
    terminal.suggest("Before you run anything again, see which looks the workspace has:", "looks")
    return Exit.READY


def prune(
    store: StoreArgument,
    *,
    older_than: Annotated[str, Parameter(help="Only what was settled so long ago: 90d, 12h or 6w.")],
    dry_run: Annotated[bool, Parameter(negative=(), help="Only say what would be erased.")] = False,
    location: Location = DEFAULT_LOCATION,
    output: Output = Output(),
) -> int:
    """Erase prompts, metadata and answers of what was settled long ago, and keep what money needs.

    A pruned look is still found under its key, is not paid again, and its credits count; a report shows it as
    pruned. What is unknown, dropped or not settled is not touched. Needs no API key. Of a file no session may
    be open, and versions that can't read it do not open it; copies of the store still hold what was erased.

    - `hoox-async store prune campaign.toml --older-than 90d --dry-run`
    """
    terminal, place, age = output.terminal(), store_of(store, location), parse_age(older_than)
    done = asyncio.run(
        prune_store(source_of(place), older_than=age, dry_run=dry_run, **attrs.asdict(location))
    )
    terminal.record("pruned", store=str(place), dry_run=dry_run, **done._asdict())
    count = format_count(done.pruned, "request")
    smaller = _bytes(max(0, done.size_before - done.size_after))
    sizes = f"{smaller} smaller ({_bytes(done.size_before)} before)"
    if dry_run:
        terminal.result(f"{count} would be pruned, about {sizes}; {done.already:,} already are")
    else:
        terminal.result(f"{count} pruned, {sizes}; {done.already:,} were already")
    return Exit.READY


def migrate(store: str, *, schema: SchemaOption = DEFAULT_SCHEMA, output: Output = Output()) -> int:
    """Create the tables of a store in PostgreSQL, or bring them to this version.

    Sessions do that by themselves, if their role may create tables. If it may not, run this with a role that
    may, before the new version starts, and then the GRANT statements that it prints. Earlier versions that
    are running go on.

    - `hoox-async store migrate --store postgresql://owner@db.example.com/shop`

    Parameters
    ----------
    store
        The database's postgresql:// URL. Also as --store.
    """
    terminal, place = output.terminal(), named_store(store)
    if not isinstance(place, DatabaseStore):
        raise ConfigurationError(f"{store}: a file is migrated when it is opened; give a postgresql:// URL")
    from hoox_async.postgres import grants, migrate_database

    before, now = asyncio.run(migrate_database(place.url, schema=schema))
    terminal.record("migrated", store=str(place), before=before, now=now)
    terminal.result(f"schema {now}" + (" already" if before == now else f"; it was {before or 'not there'}"))
    terminal.say("For an application whose role does not own the tables, with the role's name for app:")
    for statement in grants(schema, "app").split("; "):
        terminal.say(f"  {statement.removesuffix(';')};")
    return Exit.READY


def budget(
    name: str,
    /,
    *,
    store: Annotated[str, Parameter(help="FILE.hoox.db, a postgresql:// URL, or the campaign file.")],
    cap: Annotated[Decimal | None, Parameter(help="Change the cap to so many credits.")] = None,
    location: Location = DEFAULT_LOCATION,
    output: Output = Output(),
) -> int:
    """Show a budget that is kept in a store, its cap and what is charged to it, or change the cap.

    What may have been paid is charged too. Processes that are running go by the new cap at once; of a file no
    session may be open when it is changed. Needs no API key. `batch --budget NAME:CREDITS` creates a budget.

    - `hoox-async store budget spring --cap 5000 --store postgresql://db.example.com/shop`

    Parameters
    ----------
    name
        The budget's name.
    """
    option.name("NAME", name, of="budget")
    if cap is not None:
        option.credits("--cap", cap)
    terminal, place = output.terminal(), store_of(store, location)
    found = asyncio.run(store_budget(source_of(place), name, cap=cap, **attrs.asdict(location)))
    left = max(Decimal(0), found.max_credits - found.charged)
    amounts = {"cap": found.max_credits, "charged": found.charged, "left": left}
    terminal.record("budget", name=name, **{word: format(amount, "f") for word, amount in amounts.items()})
    terminal.result(
        f"{name}: cap {format_credits(found.max_credits)}, {format_amount(found.charged)} charged, "
        f"{format_amount(left)} left"
    )
    return Exit.READY


def _file_store_of(text: str) -> Path:
    """As `store_of`, for commands that work on files."""
    store = store_of(text)
    if isinstance(store, DatabaseStore):
        raise ConfigurationError("this command works on files; PostgreSQL has pg_dump and its own recovery")
    return store


def _plain(side: Mapping[str, Decimal | int]) -> dict[str, str | int]:
    return {name: format(each, "f") if isinstance(each, Decimal) else each for name, each in side.items()}


_AGE = re.compile(r"(\d{1,6})([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def parse_age(text: str) -> timedelta:
    """A time such as 90d. Raises `ConfigurationError`."""
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise ConfigurationError(f"--older-than {text!r}: expected a time such as 90d, 12h or 6w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _bytes(count: int) -> str:
    for unit in ("bytes", "KB", "MB"):
        if count < 1000:
            return f"{count:,.3g} {unit}" if unit != "bytes" else f"{count} {unit}"
        count = round(count / 1000)
    return f"{count:,} GB"


def _missing(path: Path) -> StoreIncomplete | None:
    try:
        asyncio.run(BatchReport.open(path))
    except StoreIncomplete as error:
        return error
    return None
