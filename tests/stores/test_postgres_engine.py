"""PostgreSQL as an engine of the ledger: messages, guards, functions that run again, and deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from internals_kit import Connections, DatabaseUrl, PostgresEngine, Transaction, postgres
from postgres_kit import Server

from hoox_async._io.ledger.transaction import LeaseOver
from hoox_async.errors import StoreError

SHOWN = "SELECT value, version FROM hoox.numbers ORDER BY id"
READ = "SELECT value, version FROM hoox.numbers WHERE id = :id"
WRITE = (
    "UPDATE hoox.numbers SET version = CASE WHEN version = :was THEN version + 1 END, value = :value "
    "WHERE id = :id"
)


class World:
    """A table of numbers in a schema, and engines on it."""

    def __init__(self, server: Server, url: str, schema: str) -> None:
        self._server = server
        self._url = url
        self.schema = schema
        self._opened: list[Connections] = []

    def engine(self, *, deadline: float = 10.0) -> PostgresEngine:
        connections = Connections(DatabaseUrl.parse(self._url), 5, deadline=deadline)
        self._opened.append(connections)
        return PostgresEngine(connections, postgres(self.schema))

    def execute(self, sql: str) -> None:
        with self._server.connect() as connection:
            connection.execute(sql.replace("hoox.", f'"{self.schema}".'))

    async def close(self) -> None:
        for each in self._opened:
            await each.aclose()


@pytest.fixture
async def world(postgres: Server, postgres_url: str, postgres_schema: str) -> AsyncIterator[World]:
    world = World(postgres, postgres_url, postgres_schema)
    world.execute(f'CREATE SCHEMA IF NOT EXISTS "{postgres_schema}"')
    world.execute(
        "CREATE TABLE hoox.numbers (id int PRIMARY KEY, value int, version int NOT NULL, sent_at int)"
    )
    world.execute("INSERT INTO hoox.numbers VALUES (1, 10, 1), (2, 20, 1)")
    yield world
    await world.close()


def add(number: int, change: int, tx: Transaction) -> int:
    [[(value, version)]] = tx.ask((READ, {"id": number}))
    tx.write(WRITE, {"id": number, "was": version, "value": value + change})
    return int(value) + change


async def shown(engine: PostgresEngine) -> list[tuple[int, int]]:
    return (await engine.run(lambda tx: tx.ask((SHOWN, {}))))[0]


async def test_questions_travel_together_and_writes_are_one_transaction(world: World) -> None:
    """Answers come in the order of the questions; where one statement fails, nothing is written."""
    engine = world.engine()
    answers = await engine.run(lambda tx: tx.ask((READ, {"id": 2}), (READ, {"id": 1}), (READ, {"id": 3})))
    assert answers == [[(20, 1)], [(10, 1)], []]

    def half(tx: Transaction) -> None:
        tx.write(WRITE, {"id": 1, "was": 1, "value": 11})
        tx.write("INSERT INTO hoox.numbers VALUES (:id, 0, 1)", {"id": 2})

    with pytest.raises(StoreError, match="holds something else under the same id"):
        await engine.run(half)
    assert await shown(engine) == [(10, 1), (20, 1)]


async def test_what_was_decided_from_an_outdated_row_is_decided_again(world: World) -> None:
    """A hundred additions by several connections at once are all there, and none counts twice."""
    engines = [world.engine(), world.engine()]
    runs = [engines[number % 2].run(lambda tx: add(1, 1, tx)) for number in range(100)]
    assert sorted(await asyncio.gather(*runs)) == list(range(11, 111))
    assert await shown(engines[0]) == [(110, 101), (20, 1)]


async def test_a_guess_that_fails_is_not_told(world: World) -> None:
    """What a function raises from a guess is not its outcome: it runs again and asks."""
    seen: list[bool] = []

    def guessing(tx: Transaction) -> int:
        seen.append(tx.may_guess)
        if tx.may_guess:
            raise ValueError("guessed wrong")
        return add(2, 5, tx)

    assert await world.engine().run(guessing) == 25
    assert seen == [True, False, False]


async def test_no_lock_is_held_between_reading_and_writing(world: World) -> None:
    """While one function stands between its two messages, another one writes the same row, and both count."""
    engine, other = world.engine(), world.engine()
    runs: list[int] = []

    def slow(tx: Transaction) -> int:
        [[(value, version)]] = tx.ask((READ, {"id": 1}))
        runs.append(value)
        if len(runs) == 1:
            world.execute("UPDATE hoox.numbers SET value = 50, version = 7 WHERE id = 1")
        tx.write(WRITE, {"id": 1, "was": version, "value": value + 1})
        return int(value) + 1

    assert await engine.run(slow) == 51
    assert runs == [10, 50]
    assert await shown(other) == [(51, 8), (20, 1)]


async def test_a_refused_send_time_is_a_lost_lease(world: World) -> None:
    """Where the column of the send time refuses NULL, the lease is over, and nothing was written."""
    world.execute("ALTER TABLE hoox.numbers ALTER sent_at SET DEFAULT 1")
    world.execute("UPDATE hoox.numbers SET sent_at = 1")
    world.execute("ALTER TABLE hoox.numbers ALTER sent_at SET NOT NULL")

    def send(tx: Transaction) -> None:
        tx.write("UPDATE hoox.numbers SET sent_at = :none WHERE id = :id", {"none": None, "id": 1})

    with pytest.raises(LeaseOver):
        await world.engine().run(send)


async def test_after_its_deadline_a_function_sends_nothing(world: World) -> None:
    """What was asked before the deadline and answered after it is not written: the caller may write again."""
    engine = world.engine(deadline=0.3)
    with world._server.connect() as connection:
        connection.autocommit = False
        connection.execute(f'LOCK TABLE "{world.schema}".numbers')
        with pytest.raises(StoreError, match=r"did not answer within 0\.3 s"):
            await engine.run(lambda tx: add(1, 1, tx))
    other = world.engine()
    assert await other.run(lambda tx: add(1, 5, tx)) == 15
    assert await shown(other) == [(15, 2), (20, 1)]


async def test_a_cancelled_callers_function_goes_on(world: World) -> None:
    """Cancelling the result of a function does not undo it."""
    engine = world.engine()
    future = engine.run(lambda tx: add(1, 1, tx))
    future.cancel()
    for connections in world._opened:
        await connections.aclose()
    assert await shown(world.engine()) == [(11, 2), (20, 1)]
