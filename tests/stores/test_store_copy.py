"""`copy_store` between a real file and a real PostgreSQL: what arrives, what deaths leave, what it takes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from internals_kit import Coordination, Delivery, FileLedger, IntentState, MarkUnknown, Workspace, runtime_of
from postgres_kit import Server
from store_kit import API_KEY, NOW, WORKSPACE, accept, after, child, planned, send, settle

from hoox_async import BatchReport, LookStatus, OutcomeUnknown, PromptAvatar, recover_store
from hoox_async._io.ledger import copy, schema
from hoox_async._io.ledger.statements import SQLITE
from hoox_async.errors import ConfigurationError, StoreError, StoreLocked, StoreMismatch
from hoox_async.postgres import CopyResult, copy_store, single_workspace
from hoox_async.sandbox import Fault, Sandbox
from hoox_async.webhooks import WebhookHub

ROWS = (
    """
    SELECT key, state, version, record, crc, avatar_id, look_id, notified, listed_at FROM hoox.intents
    WHERE workspace = W ORDER BY seq
    """,
    """
    SELECT a.id, i.key, a.sent_at FROM hoox.attempts a JOIN hoox.intents i ON i.seq = a.intent
    WHERE a.workspace = W
    """,
    "SELECT avatar_id, look_id FROM hoox.claimed WHERE workspace = W",
    "SELECT avatar_id, look_id, place FROM hoox.listed WHERE workspace = W",
    "SELECT attempt, look_id, record FROM hoox.deliveries WHERE workspace = W",
    "SELECT name, max_credits, charged, initial FROM hoox.budgets WHERE workspace = W",
    "SELECT sent_at FROM hoox.sends WHERE workspace = W",
    "SELECT base_url, key_confirmed FROM hoox.workspaces WHERE id = W",
)


STATES = {
    "key 7": IntentState.ACCEPTED,
    "key 3": IntentState.READY,
    "key 9": IntentState.ACCEPTED,
    "key 1": IntentState.PLANNED,
    "key 5": IntentState.UNKNOWN,
    "key 8": IntentState.READY,
    "key 2": IntentState.SENDING,
}
KEYS = [*STATES]
HOOKS = "https://hooks.example/hoox"


class Killed(Exception):
    """The process ended here."""


class Database:
    """A schema of a real PostgreSQL, as the other side of copies."""

    def __init__(self, server: Server, url: str, schema_name: str) -> None:
        self._server = server
        self.url = url
        self.schema = schema_name

    async def to(self, path: Path, **options: Any) -> CopyResult:
        return await copy_store(path, self.url, **{"schema": self.schema, "api_key": API_KEY, **options})

    async def back(self, path: Path, **options: Any) -> CopyResult:
        return await copy_store(self.url, path, **{"schema": self.schema, **options})

    def ledger(self, workspace: str = "default") -> Any:
        return single_workspace(self.url, workspace, schema=self.schema)

    def execute(self, sql: str) -> Any:
        with self._server.connect() as connection:
            done = connection.execute(sql.replace("hoox.", f'"{self.schema}".'))
            return done.fetchall() if done.description else None

    def opens(self, workspace: str = "default") -> bool:
        """Whether a session could open the workspace."""
        found = self.execute(
            "SELECT coalesce(c.place, '') FROM hoox.workspaces w LEFT JOIN hoox.copies c "
            f"ON c.workspace = w.id WHERE w.name = '{workspace}'"
        )
        return bool(found) and found[0][0] == ""

    def rows(self, workspace: str = "default") -> list[Any]:
        number = f"(SELECT id FROM hoox.workspaces WHERE name = '{workspace}')"
        return in_order([self.execute(sql.replace("= W", f"= {number}")) for sql in ROWS])


def rows_of(path: Path) -> list[Any]:
    """Everything that a copy has to bring, of a file."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        return in_order([db.execute(re.sub(r"hoox\.|= W", sqlite, sql)).fetchall() for sql in ROWS])


def sqlite(found: re.Match[str]) -> str:
    return "" if found[0] == "hoox." else "= 1"


def in_order(answers: list[list[Any]]) -> list[Any]:
    """Only the order of intents counts."""
    return [answers[0], *(sorted(rows) for rows in answers[1:])]


def arrived(rows: list[Any]) -> list[Any]:
    """These rows of a source as they arrive: what was being sent is unknown, which is one write more."""
    (*intents, (key, state, version, _, _, *look)), *others = rows
    assert (key, state, version) == ("key 2", "sending", 2)
    return [[*intents, (key, "unknown", 3, ..., ..., *look)], *others]


def but_the_last_record(rows: list[Any]) -> list[Any]:
    """The rows without the record that was written anew."""
    (*intents, (key, state, version, _, _, *look)), *others = rows
    return [[*intents, (key, state, version, ..., ..., *look)], *others]


@pytest.fixture
def database(postgres: Server, postgres_url: str, postgres_schema: str) -> Database:
    """An empty schema."""
    return Database(postgres, postgres_url, postgres_schema)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of three rows, so that few rows are many pages."""
    monkeypatch.setattr(copy, "PAGE", 3)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A file with an intent in each state, in an order that is not that of keys, attempts or looks."""
    path = tmp_path / "looks.db"
    await fill(FileLedger(path))
    return path


async def fill(ledger: Any, prefix: str = "") -> None:
    """Work of every kind, of which one request is still being sent and another one was sent twice."""
    await ledger.open(WORKSPACE)
    await ledger.open_budget("spring", Decimal(500), Decimal("1.5"))
    for number in (7, 3, 9, 1, 5, 8, 2):
        key, look = f"{prefix}key {number}", f"look_{prefix}{number % 4}{number}"
        await ledger.plan(planned(key))
        if number > 1:
            await ledger.advance(key, send(f"{prefix}attempt{10 - number}"))
        await ledger.note_listed("avtr_1", [f"{prefix}stranger {number}"])
        if number == 5:
            await ledger.advance(key, MarkUnknown("no answer"))
        if number in (3, 7, 8, 9):
            await ledger.advance(key, accept(look))
        if number in (3, 8):
            await ledger.advance(key, settle(look))
    await ledger.keep_delivery(f"{prefix}attempt1", Delivery(f"look_{prefix}19", LookStatus.READY))
    await ledger.note_sends([NOW, NOW, after(3)])
    ledger.confirm_key()
    await ledger.aclose()


async def refused(ledger: Any, wanted: str, workspace: Workspace = WORKSPACE) -> None:
    """Opening the store raises a `StoreError` that says this."""
    with pytest.raises(StoreError, match=wanted):
        await ledger.open(workspace)
    await ledger.aclose()


async def states(ledger: Any) -> dict[str, IntentState]:
    """The states of its requests, in the order of the plan."""
    await ledger.open(WORKSPACE)
    found = {intent.key: intent.state async for intent in ledger.stream()}
    await ledger.aclose()
    return found


def test_every_column_is_copied() -> None:
    """Each table and column of a workspace is in a part of the copy, or is one that each side has itself."""
    own: Any = {
        "key_salt": None, "workspaces": None, "members": None, "copies": None,
        "intents": {"workspace", "member", "changed_in", "changed_by"},
        "attempts": {"workspace", "intent"},
        "deliveries": {"workspace", "kept_by", "kept_in"},
    }  # fmt: skip
    copied = {part.name: set(part.columns) for part in copy.PARTS}
    with closing(sqlite3.connect(":memory:")) as db:
        for statement in schema.TABLES:
            db.execute(SQLITE.compile(statement))
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            columns = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
            ours = own.get(table, {"workspace"})
            assert ours is None or columns - ours <= copied[table], table


async def test_there_and_back(path: Path, database: Database) -> None:
    """A file arrives whole in a database, in its order, under the same attempts; and in another file again.

    What was being sent is unknown there. Both sides' counts and credits are told. The file and the copy
    to look at are not opened; the database is, and only with the file's API key.
    """
    before = rows_of(path)
    done = await database.to(path)
    assert done.is_equal
    assert (done.after["requests"], done.after["unknown"], done.after["kept deliveries"]) == (7, 2, 1)
    assert (done.after["credits spent"], done.after["credits at risk"]) == (8, 4)
    assert but_the_last_record(database.rows()) == arrived(before)
    await refused(
        FileLedger(path), "was copied to PostgreSQL database .*, workspace 'default'.*store recover"
    )
    await refused(database.ledger(), "another API key", Workspace(WORKSPACE.base_url, "hx_live_other"))

    look = path.with_name("look.db")
    assert (await database.back(look)).is_equal
    assert rows_of(look) == database.rows()
    await refused(FileLedger(look), "it is a copy of PostgreSQL database .*to look at")
    assert [outcome.key for outcome in (await BatchReport.open(look)).outcomes] == KEYS
    assert await states(database.ledger()) == {**STATES, "key 2": IntentState.UNKNOWN}
    ledger = database.ledger()
    await ledger.open(WORKSPACE)
    assert (await ledger.delivered("attempt1")).intent.key == "key 9"
    assert [attempt async for attempt in ledger.stream_delivered()] == ["attempt1"]
    assert (await ledger.recent_sends(after(1)))[-1] == after(3)
    await ledger.aclose()


async def test_a_move_goes_back_over_its_file(path: Path, database: Database) -> None:
    """The work of a database that was made of a file is copied over that file, also again, to look at.

    `recover_store` lets the file be used then, which needs no new binding, and it is other work from then on.
    """
    await database.to(path)
    await fill(database.ledger(), "more ")
    for _ in range(2):
        assert (await database.back(path)).after["requests"] == 14
    assert rows_of(path) == database.rows()
    await refused(FileLedger(path), "to look at")
    await recover_store(path)
    assert len(await states(FileLedger(path))) == 14
    with pytest.raises(StoreError, match="nothing to recover"):
        await recover_store(path)
    for again in (database.to(path), database.back(path)):
        with pytest.raises(StoreError, match="holds other work"):
            await again


@pytest.mark.parametrize("is_written", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("to_file", [False, True])
async def test_a_death_at_any_write(
    path: Path, database: Database, monkeypatch: pytest.MonkeyPatch, to_file: bool, is_written: bool
) -> None:
    """After a death before or after any write, the same call goes on, and everything is there once.

    At no moment can both be opened, nor does a file have two whole copies.
    """
    original = path.with_name("original.db")
    shutil.copy(path, original)
    await database.to(path, workspace="whole")
    expected, deaths, is_whole = database.rows("whole"), 0, False
    while not is_whole:
        deaths += 1
        if to_file:
            file, workspace = path.with_name(f"look{deaths}.db"), "whole"
            call = partial(database.back, file, workspace=workspace)
        else:
            file, workspace = path.with_name(f"{deaths}.db"), f"target{deaths}"
            shutil.copy(original, file)
            call = partial(database.to, file, workspace=workspace)
        with monkeypatch.context() as patch:
            patch.setattr(copy._Side, "run", dying(deaths, is_written))
            try:
                is_whole = (await call()).is_equal
            except Killed:
                assert not (file.exists() and await opens(file) and database.opens(workspace)), deaths
                if not to_file and database.opens(workspace):
                    with pytest.raises(StoreError, match="was copied to"):
                        await database.to(file, workspace="second")
        done = await call()
        assert done.is_equal
        assert (rows_of(file) if to_file else database.rows(workspace)) == expected, deaths
        assert [await opens(file), database.opens(workspace)] == [False, True]
    assert deaths > 10


def dying(last: int, is_written: bool) -> Any:
    """Writes of a copy that end with the process at this one, before or after it takes place."""
    run, number = copy._Side.run, 0

    async def until(side: Any, work: Any) -> Any:
        nonlocal number
        number += 1
        if number == last and not is_written:
            raise Killed
        answer = await run(side, work)
        if number == last:
            raise Killed
        return answer

    return until


async def wait_until(condition: Callable[[], Any]) -> None:
    """Wait for something that another task does soon."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


async def opens(path: Path) -> bool:
    """Whether a session could open the file."""
    ledger = FileLedger(path)
    try:
        await ledger.open(WORKSPACE)
    except StoreError:
        return False
    await ledger.aclose()
    return True


KILLED = """
import asyncio, os, signal, sys
from hoox_async._io.ledger import copy
copy.PAGE = 3
run, number = copy._Side.run, 0
async def until(side, work):
    global number
    number += 1
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return await run(side, work)
copy._Side.run = until
asyncio.run(copy.copy_store(sys.argv[1], sys.argv[2], schema=sys.argv[3], api_key=sys.argv[4]))
"""


async def test_a_killed_process(path: Path, database: Database) -> None:
    """After a SIGKILL within the pages the next process goes on with them: nothing is missing or double."""
    before = rows_of(path)
    process = child(KILLED, path, database.url, database.schema, API_KEY)
    await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert 0 < database.execute("SELECT count(*) FROM hoox.intents")[0][0] < len(KEYS)
    await refused(FileLedger(path), "is being copied to PostgreSQL.*again.*store recover")
    await refused(database.ledger(), "unfinished copy: run")
    with pytest.raises(StoreError, match="workspace 'default': it is an unfinished copy"):
        await BatchReport.open(database.url, schema=database.schema)
    assert (await database.to(path)).is_equal
    assert but_the_last_record(database.rows()) == arrived(before)
    again = await database.to(path)
    assert again.already
    assert but_the_last_record(database.rows()) == arrived(before)


async def test_giving_up(path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose copy was not finished can be used again by `recover_store`, and copied anew.

    Another file's copy replaces what is left of that one. A file that has a whole copy gets no second one.
    """
    other = path.with_name("other.db")
    await fill(FileLedger(other), "other ")
    with monkeypatch.context() as patch:
        patch.setattr(copy._Side, "run", dying(8, is_written=True))
        with pytest.raises(Killed):
            await database.to(path)
    with pytest.raises(StoreError, match="unfinished copy"):
        await database.back(path.with_name("look.db"))
    await recover_store(path)
    assert list(await states(FileLedger(path))) == KEYS
    assert (await database.to(other)).is_equal
    with pytest.raises(StoreError, match="holds other work already"):
        await database.to(path)
    assert (await database.to(path, workspace="second")).is_equal
    assert [key for key, *_ in database.rows("second")[0]] == KEYS
    assert all(key.startswith("other ") for key, *_ in database.rows()[0])
    with pytest.raises(StoreError, match=r"was copied to .*workspace 'second'"):
        await database.to(path, workspace="third")


async def test_a_part_is_not_read(path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is an unfinished copy is neither reported on nor recovered, until the same call goes on."""
    await database.to(path)
    look = path.with_name("look.db")
    with monkeypatch.context() as patch:
        patch.setattr(copy._Side, "run", dying(4, is_written=True))
        with pytest.raises(Killed):
            await database.back(look)
    for call in (BatchReport.open(look), recover_store(look)):
        with pytest.raises(StoreError, match=r"look\.db: it is an unfinished copy"):
            await call
    assert (await database.back(look)).is_equal
    assert len((await BatchReport.open(look)).outcomes) == len(KEYS)


async def test_what_differs_is_told(path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the sides differ in the end, the result says so, nobody can use the copy, and it is made anew."""
    figures = copy._figures

    async def with_a_row_less(side: Any) -> Any:
        database.execute("DELETE FROM hoox.attempts WHERE id = 'attempt7'")
        return await figures(side)

    with monkeypatch.context() as patch:
        patch.setattr(copy, "_figures", with_a_row_less)
        done = await database.to(path)
    assert not done.is_equal
    assert (done.before["attempts"], done.after["attempts"]) == (6, 5)
    assert not database.opens()
    assert (await database.to(path)).is_equal
    assert database.opens()


async def test_wrong_keys_write_nothing(
    path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that the file does not belong to, or none, is an error before anything is written anywhere.

    A binding that no answer has confirmed arrives unconfirmed.
    """
    before = path.read_bytes()
    with pytest.raises(StoreMismatch, match="another API key"):
        await database.to(path, api_key="hx_live_other")
    monkeypatch.delenv("HOOX_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="no API key"):
        await database.to(path, api_key=None)
    assert rows_of(path)
    assert database.execute(f"SELECT to_regnamespace('{database.schema}')") == [(None,)]
    assert len(before) == len(path.read_bytes())
    young = path.with_name("young.db")
    ledger = FileLedger(young)
    await ledger.open(WORKSPACE)
    await ledger.plan(planned("key"))
    await ledger.aclose()
    await database.to(young, workspace="young")
    assert database.rows("young")[-1] == [(WORKSPACE.base_url, 0)]


async def test_nothing_may_be_open(path: Path, database: Database) -> None:
    """While a session has the file or the workspace open nothing is copied, and its process is named."""
    ledger, shared, look = FileLedger(path), database.ledger(), path.with_name("look.db")
    await ledger.open(WORKSPACE)
    with pytest.raises(StoreLocked, match=f"open in process {os.getpid()}"):
        await database.to(path)
    await ledger.aclose()
    await shared.open(WORKSPACE)
    with pytest.raises(StoreLocked, match="which may open it, is connected"):
        await database.to(path)
    assert await opens(path)
    shared.coordinate(Coordination(lambda: True, print, print))
    await wait_until(lambda: database.execute("SELECT 1 FROM hoox.leaders"))
    for call in (database.to(path), database.back(look)):
        with pytest.raises(StoreLocked, match=f"workspace 'default' is open in process {os.getpid()}"):
            await call
    await shared.aclose()
    assert not look.exists()
    assert (await database.to(path)).is_equal


async def test_an_opening_at_the_same_moment(
    path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that opens an empty workspace just before the copy begins there keeps it for its own work.

    The file is copied to another one then.
    """
    shared, check = database.ledger(), copy._Database.require_nobody

    async def open_after(side: Any, *, begun: bool = False) -> None:
        await check(side, begun=begun)
        if not begun:
            await shared.open(WORKSPACE)

    await shared.open(WORKSPACE)
    await shared.aclose()
    with monkeypatch.context() as patch:
        patch.setattr(copy._Database, "require_nobody", open_after)
        with pytest.raises(StoreLocked, match="which may open it, is connected"):
            await database.to(path)
    await shared.plan(planned("its own"))
    await shared.aclose()
    assert list(await states(database.ledger())) == ["its own"]
    assert (await database.to(path, workspace="another")).is_equal


async def test_other_targets(path: Path, database: Database, tmp_path: Path) -> None:
    """A target with other work or of another API key is an error, as are no source and two of a kind."""
    await fill(database.ledger("busy"), "other ")
    before = database.rows("busy")
    with pytest.raises(StoreError, match="workspace 'busy' holds other work already"):
        await database.to(path, workspace="busy")
    with pytest.raises(StoreError, match=r"looks\.db holds other work already"):
        await database.back(path, workspace="busy")
    stranger = database.ledger("stranger")
    await stranger.open(Workspace(WORKSPACE.base_url, "hx_live_other"))
    stranger.confirm_key()
    await stranger.aclose()
    confirmed = "SELECT key_confirmed FROM hoox.workspaces WHERE name = 'stranger'"
    await wait_until(lambda: database.execute(confirmed) == [(1,)])
    with pytest.raises(StoreMismatch, match="workspace 'stranger' belongs to"):
        await database.to(path, workspace="stranger")
    with pytest.raises(StoreError, match="there is no such workspace"):
        await database.back(tmp_path / "new.db", workspace="none")
    with pytest.raises(StoreError, match="there is no such file"):
        await database.to(tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()
    for one, other in ((path, tmp_path / "new.db"), (database.url, database.url)):
        with pytest.raises(ConfigurationError, match="between a file and"):
            await copy_store(one, other)
    assert database.rows("busy") == before
    assert len(await states(FileLedger(path))) == len(KEYS)


async def test_work_goes_on_in_the_database(database: Database, tmp_path: Path) -> None:
    """The same keys pay nothing after the copy, and a delivery for an attempt of the file settles its look.

    So does one for a request whose answer was lost, whose money is not spent again either.
    """
    path, secret = tmp_path / "looks.db", "a secret that is long enough"
    async with Sandbox() as sandbox:
        sandbox.hold()
        requests = {name: PromptAvatar(f"a friendly host, {name}") for name in ("one", "lost")}
        async with sandbox.session(store=path, webhooks=WebhookHub(HOOKS, secret)) as session:
            await session.submit(requests["one"], key="one")
            sandbox.fail_next("create", Fault.DROP_AFTER)
            with pytest.raises(OutcomeUnknown):
                await session.submit(requests["lost"], key="lost")
            attempts = [intent.attempts[-1].id async for intent in runtime_of(session).store.stream()]
        assert (await database.to(path, api_key=sandbox.api_key)).is_equal
        looks = [charge.ref for charge in sandbox.ledger]
        hub, store = WebhookHub(HOOKS, secret), database.ledger()
        async with sandbox.session(store=store, webhooks=hub) as session:
            job = await session.submit(requests["one"], key="one")
            for attempt, look in zip(attempts, looks, strict=True):
                body = {
                    "avatar_id": look.avatar_id, "look_id": look.look_id,
                    "status": "completed", "thumbnail_url": "https://cdn.example/1.jpg",
                }  # fmt: skip
                token = hub.url_for(attempt).rpartition("/")[2]
                assert await hub.handle(token, json.dumps(body).encode()) == 200
            assert (await job.wait(timeout=60)).ref == looks[0]
            async with asyncio.timeout(60):
                while await session.unknowns():
                    await asyncio.sleep(0.02)
            lost = await session.submit(requests["lost"], key="lost")
            assert (await lost.wait(timeout=60)).ref == looks[1]
        assert len(sandbox.ledger) == 2
