"""Copies a workspace from a file to PostgreSQL, or back, in pages. A run that is ended is gone on with.

A copy to PostgreSQL is a move: from its beginning on no session opens the file, and once all is there the
database goes on. A copy to a file is one to look at: the database stays what it was, and no session opens the
file. So never do two stores go on with the same work, however a run ends. `recover_store` lets a file be used
nevertheless.

A row arrives as it was, but for requests that were being sent: they are unknown, as when a store is opened.
Each page is one transaction of the target, with the place at which the next one begins.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple, TypeVar

from ..._checks import argument
from ..._core.intents.costs import Costs, CostTable
from ..._core.intents.intent import Intent, IntentState
from ..._core.intents.records import rewrite
from ..._core.intents.transitions import recovery_transitions
from ..._core.settings import check_api_key
from ..._tracebacks import short_tracebacks
from ...errors import ConfigurationError, StoreError, StoreLocked, StoreMismatch
from ..protocols import Workspace
from . import statements as sql
from .binding import Binding, Copied, WorkspaceRow
from .intent_rows import Row, apply_transitions, checksum, from_units
from .ledger import page_of
from .postgres import PostgresEngine
from .postgres_connections import Connections
from .postgres_schema import check_server, ensure_newest, has_tables
from .postgres_url import DatabaseUrl, check_place, is_database
from .sqlite import SQLiteEngine
from .sqlite_file import SQLiteFile, file_path
from .sqlite_schema import FILE_WORKSPACE
from .statements import alive, postgres
from .transaction import Engine, Question, Rows, Transaction, Work

PAGE = 500

_T = TypeVar("_T")
_CLEAR, _COMPARE = "clear", "compare"


class Part(NamedTuple):
    """One table of a workspace: how a page of it is read, and how a row is written.

    The first columns of a row are the keys by which pages follow each other, beginning after ``begin``;
    without keys it is one page. ``clear`` deletes a page of the workspace's rows.
    """

    name: str
    read: str
    columns: Sequence[str]
    begin: Sequence[Any]
    write: str
    clear: str

    def question(self, workspace: int, after: Sequence[Any]) -> Question:
        """The page after the row with these keys."""
        keys = {f"after_{number}": value for number, value in enumerate(after)}
        return self.read, {"workspace": workspace, "size": PAGE, **keys}


def _table(
    name: str,
    keys: Mapping[str, Any],
    columns: Sequence[str],
    constants: Mapping[str, str] | None = None,
) -> Part:
    """A table of which each row is read and written as it is, with constants beside."""
    listed, order = ", ".join([*keys, *columns]), ", ".join(keys)
    after = ", ".join(f":after_{number}" for number in range(len(keys)))
    page = f" AND ({order}) > ({after}) ORDER BY {order} LIMIT :size" if keys else ""
    rows = f" AND ({order}) IN (SELECT {order} FROM hoox.{name} WHERE workspace = :workspace LIMIT :size)"  # noqa: S608
    into = ", ".join(["workspace", *keys, *columns, *(constants or {})])
    values = ", ".join([":workspace", *(f":{c}" for c in (*keys, *columns)), *(constants or {}).values()])
    return Part(
        name,
        f"SELECT {listed} FROM hoox.{name} WHERE workspace = :workspace{page}",  # noqa: S608
        (*keys, *columns),
        [*keys.values()],
        f"INSERT INTO hoox.{name} ({into}) VALUES ({values})",  # noqa: S608
        f"DELETE FROM hoox.{name} WHERE workspace = :workspace{rows if keys else ''}",  # noqa: S608
    )


_FIRST_INTENTS = "SELECT seq FROM hoox.intents WHERE workspace = :workspace ORDER BY seq LIMIT :size"

PARTS = (
    _table("budgets", {"name": ""}, ("max_credits", "charged", "initial")),
    Part(
        "intents",
        # no session is open, so whoever has hooks may tell what is owed
        "SELECT seq, key, version, record, crc, state, CASE WHEN teller IS NOT NULL THEN '' END, notified, "
        "avatar_id, look_id, listed_at FROM hoox.intents WHERE workspace = :workspace AND seq > :after_0 "
        "ORDER BY seq LIMIT :size",
        "seq key version record crc state teller notified avatar_id look_id listed_at".split(),  # noqa: SIM905
        [0],
        "INSERT INTO hoox.intents (workspace, key, state, version, teller, notified, avatar_id, look_id, "
        "record, crc, changed_in, changed_by, listed_at) VALUES (:workspace, :key, :state, :version, "
        ":teller, :notified, :avatar_id, :look_id, :record, :crc, {xid}, 'copy', :listed_at)",
        f"DELETE FROM hoox.intents WHERE seq IN ({_FIRST_INTENTS})",  # noqa: S608
    ),
    Part(
        "attempts",
        "SELECT i.seq, a.id, a.sent_at, i.key FROM hoox.intents i JOIN hoox.attempts a ON a.intent = i.seq "
        "WHERE i.workspace = :workspace AND i.seq >= :after_0 AND a.intent >= :after_0 "  # names the indexes
        "AND (i.seq, a.id) > (:after_0, :after_1) "
        "ORDER BY i.seq, a.id LIMIT :size",
        ("seq", "id", "sent_at", "key"),
        [0, ""],
        "INSERT INTO hoox.attempts (workspace, id, intent, sent_at) SELECT i.workspace, :id, i.seq, :sent_at "
        "FROM hoox.intents i WHERE i.workspace = :workspace AND i.key = :key",
        f"DELETE FROM hoox.attempts WHERE intent IN ({_FIRST_INTENTS})",  # noqa: S608
    ),
    _table("claimed", {"avatar_id": "", "look_id": ""}, ()),
    _table("listed", {"avatar_id": "", "look_id": ""}, ("place",)),
    _table("deliveries", {"attempt": ""}, ("look_id", "record"), {"kept_by": "''", "kept_in": "{xid}"}),
    _table("sends", {}, ("sent_at",)),
)
"""What is copied, in this order: intents in the order of the plan, and what names one after it."""

_BY_NAME = {part.name: part for part in PARTS}


class At(NamedTuple):
    """Where the next page begins: a part, and the keys of the last row that was written."""

    part: str
    after: Sequence[Any] = ()

    @classmethod
    def parse(cls, text: str) -> At:
        """Read what `str` wrote."""
        part, *after = json.loads(text)
        return cls(part, after)

    def __str__(self) -> str:
        return json.dumps([self.part, *self.after])

    def next(self, rows: Sequence[Sequence[Any]]) -> At:
        """The place after these rows, which began here."""
        keys = len(_BY_NAME[self.part].begin)
        if keys and len(rows) == PAGE:
            return At(self.part, rows[-1][:keys])
        return _first(PARTS[PARTS.index(_BY_NAME[self.part]) + 1 :])


def _first(parts: Sequence[Part]) -> At:
    return At(parts[0].name, parts[0].begin) if parts else At(_COMPARE)


class CopyResult(NamedTuple):
    """What both sides of a copy hold: counts by state, credits, and counts of what belongs to it.

    ``already``: the copy was whole before, and nothing was done or counted.
    """

    source: str
    target: str
    before: Mapping[str, Decimal | int]
    after: Mapping[str, Decimal | int]
    already: bool = False

    @property
    def is_equal(self) -> bool:
        """Whether they hold the same."""
        return self.before == self.after


# --- decisions


class Found(NamedTuple):
    """What one side is before anything is written."""

    row: WorkspaceRow
    salt: str
    copied: Copied
    is_empty: bool


def goes_on(found: Found | None, copy: str | None) -> bool:
    """Whether a target is what this copy has begun to make."""
    return found is not None and copy is not None and found.copied.made_by == copy


def require_free(found: Found | None, name: str, *made_from: str | None) -> None:
    """Raise `StoreError` where a target holds work of its own.

    It does not where it is empty or unfinished, or where one of the copies in ``made_from`` has its work.
    """
    if found is None or found.copied.place:
        return
    if found.copied.moved_by is not None and found.copied.moved_by in made_from:
        return
    if found.copied.moved_by is not None or not found.is_empty:
        raise StoreError(
            f"{name} holds other work already, and a copy replaces nothing: name another file or another "
            "--workspace"
        )


def require_binding(found: Found | None, name: str, base_url: str, fingerprint: str) -> None:
    """Raise `StoreMismatch` where an empty target belongs to another base URL or API key."""
    if found is None or found.copied.place or found.copied.moved_by is not None:
        return
    is_other = found.row.base_url != base_url
    if is_other or (found.row.key_confirmed and not found.row.has_key(fingerprint)):
        raise StoreMismatch(
            f"{name} belongs to {found.row.base_url} and an API key of its own: name another file or another "
            "--workspace"
        )


class _Bound(NamedTuple):
    """What a target is bound to."""

    base_url: str
    fingerprint: str
    older: str | None
    confirmed: int

    @classmethod
    def like(cls, row: WorkspaceRow) -> _Bound:
        """The same, where the fingerprints are made with the same salt."""
        return cls(row.base_url, row.fingerprint, row.older_fingerprint, int(row.key_confirmed))


# --- the two ways


@short_tracebacks
async def copy_store(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    workspace: str = "default",
    schema: str = "hoox",
    api_key: str | None = None,
) -> CopyResult:
    """Copy a store from a file to PostgreSQL, or from there to a file. Nothing may be open on either side.

    One of both is the path of a file, the other a ``postgresql://`` URL, where ``workspace`` and ``schema``
    choose the workspace. Everything is copied: requests in their order, attempts, whose deliveries the target
    accepts with the same webhook secret, looks, kept deliveries, budgets, recent send times, and what the
    store is bound to. Where the run is ended, the same call goes on.

    To PostgreSQL it is a move: no session opens the file from then on. To a file it is a copy to look at,
    which no session opens either: the database is the one that is used. `recover_store` lets a file be used
    nevertheless.

    ``api_key`` (the environment's ``HOOX_API_KEY`` if it is not given) is needed to PostgreSQL, whose
    fingerprints of keys are made with a salt of its own.

    Returns what both sides hold. Where that is not equal the target can't be used, and the same call makes
    the copy anew. Raises `ConfigurationError`, `InvalidRequest` for what is no path, `StoreMismatch` for
    another API key, `StoreLocked` while a session has either open, and `StoreError` where the target holds
    other work.
    """
    check_place(workspace, schema)
    if api_key is not None:
        check_api_key(api_key)
    if is_database(source) and not is_database(target):
        url, path = source, file_path("target", target)
    elif is_database(target) and not is_database(source):
        url, path = target, file_path("source", source)
    else:  # not shown: it may hold a password
        for name, given in (("source", source), ("target", target)):
            argument.path(name, given)
        raise ConfigurationError(
            "a store is copied between a file and a postgresql:// URL; a file is copied to another one with "
            "`hoox-async store backup`, a database with pg_dump"
        )
    connections = Connections(DatabaseUrl.parse(url), 1)
    try:
        database = _Database(connections, schema, workspace)
        await check_server(connections)
        return await (_to_file(database, path) if url == source else _to_database(path, database, api_key))
    finally:
        await connections.aclose()


async def _to_database(path: str, target: _Database, api_key: str | None) -> CopyResult:
    async with _file(path) as source:
        found = await source.find()
        assert found is not None, "it was required to be a store"
        there = await target.find()
        copy = found.copied.moved_by
        if goes_on(there, copy):
            assert there is not None
            if not there.copied.place:
                return CopyResult(source.name, target.name, {}, {}, already=True)
        else:
            if found.copied.handed_over or found.copied.place:
                found.copied.require_usable(source.name)
            require_free(there, target.name)
            bound = await _bound_anew(source.name, found, target, there, api_key)
            copy = secrets.token_hex(16)
            could_be_opened = there is not None and there.copied.problem is None
            if could_be_opened:
                await target.require_nobody()
            await source.write(_MOVING, copy=copy, other=target.name)
            await target.run(partial(_begin, target.workspace, bound, copy))
            if could_be_opened:  # whoever connects from now on does not open it
                await target.require_nobody(begun=True)
        assert copy is not None
        result = await _go_on(source, target, copy)
        if result.is_equal:
            await source.write(_HANDED_OVER)
            await target.run(partial(_advance, target.id, copy, At(_COMPARE), ""))
        return result


async def _to_file(source: _Database, path: str) -> CopyResult:
    found = await source.find()
    if found is None:
        raise StoreError(f"{source.name}: there is no such workspace (yet)")
    found.copied.require_usable(source.name)
    copy = hashlib.sha256(f"{found.salt} {source.workspace}".encode()).hexdigest()[:32]
    begin = partial(_begin, FILE_WORKSPACE, _Bound.like(found.row), copy, salt=found.salt)
    async with _file(path, if_new=begin) as target:
        there = await target.find()
        is_begun = goes_on(there, copy) and there is not None and bool(there.copied.place)
        if not is_begun:
            require_free(there, target.name, copy, found.copied.made_by)
            require_binding(there, target.name, found.row.base_url, found.row.fingerprint)
            await target.run(begin)
        result = await _go_on(source, target, copy)
        if is_begun and not result.is_equal:  # the database was used since the run before
            result = await _go_on(source, target, copy)
        if result.is_equal:
            await target.write(_TO_LOOK_AT, copy=copy, other=source.name)
        return result


async def _bound_anew(
    name: str, found: Found, target: _Database, there: Found | None, api_key: str | None
) -> _Bound:
    """What the database's workspace is to be bound to. Makes its tables, once it is certain that it may be.

    Raises `StoreMismatch` for a key that the file, which is called ``name``, does not belong to.
    """
    bound = _Bound.like(found.row)
    if await target.salt() != found.salt:
        workspace = Workspace(
            found.row.base_url, check_api_key(os.environ.get("HOOX_API_KEY") if api_key is None else api_key)
        )
        own = await asyncio.to_thread(Binding.to, workspace, bytes.fromhex(found.salt))
        if not found.row.has_key(own.fingerprint.hex()):
            raise StoreMismatch(f"{name} belongs to another API key: give its own")
        await target.make_tables()
        salt = bytes.fromhex(await target.salt() or "")
        anew = (await asyncio.to_thread(Binding.to, workspace, salt)).fingerprint.hex()
        # an older key, which is valid beside the last one, had been confirmed
        confirmed = found.row.key_confirmed or own.fingerprint.hex() != found.row.fingerprint
        bound = _Bound(found.row.base_url, anew, None, int(confirmed))
    require_binding(there, target.name, bound.base_url, bound.fingerprint)
    return bound


# --- pages


async def _go_on(source: _Side, target: _Side, copy: str) -> CopyResult:
    """Copy what is missing, and compare. Where that differs, the next run begins anew."""
    at = At.parse((await target.copied()).place)
    while at.part != _COMPARE:
        if at.part == _CLEAR:
            at = await target.run(partial(_clear_page, target.id, copy))
            continue
        part = _BY_NAME[at.part]
        [rows] = await source.ask(part.question(source.id, at.after))
        at = await target.run(partial(_write_page, target.id, copy, at, rows))
    result = CopyResult(source.name, target.name, await _figures(source), await _figures(target))
    if not result.is_equal:
        await target.run(partial(_advance, target.id, copy, at, str(At(_CLEAR))))
    return result


def _write_page(workspace: int, copy: str, at: At, rows: Rows, tx: Transaction) -> At:
    _advance(workspace, copy, at, str(at.next(rows)), tx)
    part = _BY_NAME[at.part]
    for row in rows:
        values = {**dict(zip(part.columns, row, strict=True)), "workspace": workspace}
        tx.write(part.write, _as_opened(values) if part.name == "intents" else values)
    return at.next(rows)


def _clear_page(workspace: int, copy: str, tx: Transaction) -> At:
    """Delete a page of each table, and return where to go on."""
    values = {"workspace": workspace, "size": PAGE}
    [left] = tx.ask((_ANY_ROW, values))
    after = At(_CLEAR) if left else _first(PARTS)
    _advance(workspace, copy, At(_CLEAR), str(after), tx)
    for part in reversed(PARTS):
        tx.write(part.clear, values)
    return after


def _advance(workspace: int, copy: str, was: At, place: str, tx: Transaction) -> None:
    """Write where the next page begins, '' after the last. Raises where another copy has begun meanwhile."""
    values = {"workspace": workspace, "copy": copy, "was": str(was), "place": place}
    [found] = tx.ask((_IS_AT, values))
    if not found:
        raise StoreLocked("another store is being copied to it")
    tx.write(_PLACE, values)


def _begin(name: str, bound: _Bound, copy: str, tx: Transaction, *, salt: str | None = None) -> None:
    """Make the workspace, or take over one that is free, as an unfinished copy without any row."""
    if salt is None:
        tx.write(sql.ONE_AT_A_TIME, {})
    else:
        tx.write(_KEEP_SALT, {"salt": salt})
    values = {"name": name, **bound._asdict()}
    tx.write(sql.ADD_WORKSPACE, values)
    tx.write(_BIND, values)
    tx.write(_BEGUN, {"name": name, "copy": copy, "place": str(At(_CLEAR))})


# --- requests


def _as_opened(values: dict[str, Any]) -> dict[str, Any]:
    """An intent's row as it is after an opening: what was being sent is unknown."""
    if values["state"] != IntentState.SENDING.value:
        return values
    row = Row(0, 0, *(values[name] for name in ("key", "version", "record", "crc")))
    intent, record = _recovered(row)
    return {
        **values,
        "state": intent.state.value,
        "version": row.version + 1,
        "record": record,
        "crc": checksum(record),
    }


def _recovered(row: Row) -> tuple[Intent, str]:
    """The intent after an opening, and its record."""
    intent = row.read(newer=True)
    transitions = recovery_transitions(intent)
    if not transitions:
        return intent, row.record
    after, _ = apply_transitions(intent, transitions)
    return after, rewrite(row.record, after)


async def _figures(side: _Side) -> dict[str, Decimal | int]:
    """What a side holds, as it is after an opening."""
    table, digest, after, more = CostTable("state"), 0, 0, True
    while more:
        [rows] = await side.ask(page_of(after, side.id))
        for row in map(Row._make, rows):
            intent, record = _recovered(row)
            table.add(intent)
            digest = zlib.crc32(f"{row.key}\n{record}\n".encode(), digest)
        more, after = bool(rows), rows[-1][1] if rows else after
    [[counts]] = await side.ask((_COUNTS, {"workspace": side.id}))
    total = Costs.total(table.rows())
    attempts, looks, listed, deliveries, budgets, charged, sends = map(int, counts)
    return {
        "requests": total.requests,
        **{state.value: count for state, count in total.counts.items() if count},
        "credits spent": total.spent,
        "credits at risk": total.at_risk,
        "attempts": attempts,
        "looks": looks,
        "looks that were listed": listed,
        "kept deliveries": deliveries,
        "budgets": budgets,
        "credits charged to budgets": from_units(charged),
        "send times": sends,
        "checksum of the requests in their order": digest,
    }


# --- the two sides


class _Side:
    """A workspace in one of the databases. ``id`` is its number there, once `find` has found it."""

    engine: Engine
    name: str
    workspace: str
    id = 0

    async def find(self) -> Found | None:
        """What it is; None where there is no such workspace."""
        name = {"name": self.workspace}
        rows, salts, copies = await self.ask((sql.WORKSPACE, name), (sql.KEY_SALT, {}), (sql.COPY, name))
        if not rows:
            return None
        row = WorkspaceRow(*rows[0])
        self.id = row.id
        [left] = await self.ask((_ANY_ROW, {"workspace": self.id}))
        return Found(row, salts[0][0], Copied(*copies[0]) if copies else Copied(), not left)

    async def copied(self) -> Copied:
        """What it tells of copies, and from now on its number."""
        found = await self.find()
        return found.copied if found is not None else Copied()

    async def ask(self, *questions: Question) -> list[Rows]:
        """The rows of these questions."""
        return await self.engine.run(lambda tx: tx.ask(*questions), writes=False)

    async def run(self, work: Work[_T]) -> _T:
        """Run a function in a transaction that writes."""
        return await self.engine.run(work)

    async def write(self, statement: str, **values: Any) -> None:
        """Execute one statement about this workspace."""
        await self.run(lambda tx: tx.write(statement, {"workspace": self.id, **values}))


class _File(_Side):
    """A file that is open, so that no session can open it."""

    def __init__(self, engine: SQLiteEngine) -> None:
        self.engine = engine
        self.name = engine.name
        self.workspace = FILE_WORKSPACE


@asynccontextmanager
async def _file(path: str, if_new: Work[None] | None = None) -> AsyncIterator[_File]:
    """A file, locked. ``if_new`` runs in the transaction that makes the tables; None: it must be a store."""

    def prepare(tx: Transaction, version: int) -> None:
        if not version and if_new is not None:
            tx.write(sql.ADD_KEY_SALT, {"salt": ""})
            if_new(tx)

    engine = SQLiteEngine(SQLiteFile(path, must_exist=if_new is None))
    await engine.open(datetime.now(UTC), prepare)
    try:
        yield _File(engine)
    finally:
        await engine.aclose()


class _Database(_Side):
    """A workspace of a PostgreSQL database, whose tables need not be there yet."""

    def __init__(self, connections: Connections, schema: str, workspace: str) -> None:
        self._connections = connections
        self._schema = schema
        self.engine = PostgresEngine(connections, postgres(schema))
        self.name = f"{connections.name}, workspace {workspace!r}"
        self.workspace = workspace

    async def find(self) -> Found | None:
        """What it is. Raises `StoreLocked` where a session has it open."""
        if not await has_tables(self._connections, self._schema):
            return None
        found = await super().find()
        [rows] = await self.ask((_OPEN_IN, {"workspace": self.id}))
        if rows:
            raise StoreLocked(
                f"{self.name} is open in process {rows[0][1]} on {rows[0][0]}: end it first (one that was "
                "killed counts until its lease is over, 10 s by default)"
            )
        return found

    async def require_nobody(self, *, begun: bool = False) -> None:
        """Raise `StoreLocked` where a process is connected that may have opened this empty workspace.

        ``begun``: then it is no unfinished copy any more.
        """
        [rows] = await self.ask((_ALIVE, {}))
        if not rows:
            return
        if begun:
            await self.write(_NO_COPY)
        raise StoreLocked(
            f"{self.name} exists, and process {rows[0][1]} on {rows[0][0]}, which may open it, is connected "
            "to its schema: end it first, or name another --workspace"
        )

    async def salt(self) -> str | None:
        """The salt of its fingerprints; None without tables."""
        if not await has_tables(self._connections, self._schema):
            return None
        [rows] = await self.ask((sql.KEY_SALT, {}))
        return str(rows[0][0])

    async def make_tables(self) -> None:
        """Create the tables where they are missing. Raises `StoreError`."""
        await ensure_newest(self._connections, self._schema)


_ANY_ROW = " UNION ALL ".join(
    f"SELECT 1 FROM (SELECT 1 FROM hoox.{part.name} WHERE workspace = :workspace LIMIT 1) {part.name}"  # noqa: S608
    for part in PARTS
    if part.name not in ("attempts", "sends")  # each attempt has its intent; a send alone cost nothing
)
_COUNTS = (
    "SELECT (SELECT count(*) FROM hoox.attempts WHERE workspace = :workspace), "
    "(SELECT count(*) FROM hoox.claimed WHERE workspace = :workspace), "
    "(SELECT count(*) FROM hoox.listed WHERE workspace = :workspace AND look_id <> ''), "
    "(SELECT count(*) FROM hoox.deliveries WHERE workspace = :workspace), "
    "(SELECT count(*) FROM hoox.budgets WHERE workspace = :workspace), "
    "(SELECT coalesce(sum(charged), 0) FROM hoox.budgets WHERE workspace = :workspace), "
    "(SELECT count(*) FROM hoox.sends WHERE workspace = :workspace)"
)
_OPEN_IN = (  # one of those that have it open leads it, from a second after the opening
    "SELECT m.host, m.pid FROM hoox.members m WHERE (m.id IN (SELECT member FROM hoox.leaders "  # noqa: S608
    "WHERE workspace = :workspace) OR m.id IN (SELECT member FROM hoox.intents "
    f"WHERE workspace = :workspace AND state = 'sending')) AND {alive('m')}"
)
_ALIVE = f"SELECT m.host, m.pid FROM hoox.members m WHERE {alive('m')}"  # noqa: S608
_KEEP_SALT = "UPDATE hoox.key_salt SET salt = :salt"
_BIND = (
    "UPDATE hoox.workspaces SET base_url = :base_url, fingerprint = :fingerprint, "
    "older_fingerprint = :older, key_confirmed = :confirmed WHERE name = :name"
)
_BEGUN = (
    "INSERT INTO hoox.copies (workspace, made_by, place) SELECT id, :copy, :place FROM hoox.workspaces "
    "WHERE name = :name ON CONFLICT (workspace) DO UPDATE SET made_by = excluded.made_by, "
    "place = excluded.place, moved_by = NULL, moved_to = NULL, handed_over = 0"
)
_IS_AT = "SELECT 1 FROM hoox.copies WHERE workspace = :workspace AND made_by = :copy AND place = :was"
_PLACE = (
    "UPDATE hoox.copies SET place = CASE WHEN made_by = :copy AND place = :was THEN :place END "  # guard
    "WHERE workspace = :workspace"
)
_MOVING = (
    "INSERT INTO hoox.copies (workspace, moved_by, moved_to) VALUES (:workspace, :copy, :other) "
    "ON CONFLICT (workspace) DO UPDATE SET moved_by = excluded.moved_by, moved_to = excluded.moved_to"
)
_HANDED_OVER = "UPDATE hoox.copies SET handed_over = 1 WHERE workspace = :workspace"
_NO_COPY = "DELETE FROM hoox.copies WHERE workspace = :workspace"
_TO_LOOK_AT = (
    "UPDATE hoox.copies SET place = '', moved_by = :copy, moved_to = :other, handed_over = 1 "
    "WHERE workspace = :workspace"
)
