"""The SQL functions of the shared quota: they decide as the copy in memory does, and keep the limit."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import psycopg
import pytest
from internals_kit import SentPermit, ServerQuota, SharedPermits
from internals_kit import postgres as dialect_of
from shared_permits_kit import MemoryPermits, MemoryQuota

from hoox_async._core.quota.quota_learning import Accepted, Observed, QuotaLearning, Throttled
from hoox_async._io.ledger.postgres_permits import PostgresPermits
from hoox_async.postgres import PostgresDatabase

EPOCH = 1_800_000_000.0
Ask = Callable[..., Any]


@pytest.fixture
async def ask(postgres_url: str, postgres_schema: str) -> AsyncIterator[Ask]:
    """Runs statements in a schema with the store's tables and one workspace, whose number is 1."""
    async with PostgresDatabase(postgres_url, schema=postgres_schema):
        pass
    connection = await psycopg.AsyncConnection.connect(postgres_url, autocommit=True, prepare_threshold=None)

    async def run(sql: str, *values: object) -> Sequence[Sequence[Any]]:
        cursor = await connection.execute(dialect_of(postgres_schema).compile(sql).encode(), values)
        return await cursor.fetchall() if cursor.description else []

    try:
        await run(
            "INSERT INTO hoox.workspaces (name, base_url, fingerprint) "
            "VALUES ('w', 'https://api.example', 'y')"
        )
        yield run
    finally:
        await connection.close()


class FakeClock:
    """A clock that the database and the copy in memory both go by."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._step = 0.0
        self.now = EPOCH

    async def replace(self) -> None:
        """Have the database go by this clock."""
        await self._ask("CREATE TABLE hoox.test_clock (moment timestamptz)")
        await self._ask("INSERT INTO hoox.test_clock VALUES (to_timestamp(%s))", self.now)
        await self._ask(
            "CREATE OR REPLACE FUNCTION hoox.now_1() RETURNS timestamptz LANGUAGE sql "
            "AS 'SELECT moment FROM hoox.test_clock'"
        )

    async def advance(self, seconds: float) -> None:
        self.now += seconds
        await self._ask("UPDATE hoox.test_clock SET moment = to_timestamp(%s)", self.now + self._step)

    async def step(self, seconds: float) -> None:
        """Set the database's clock, and no other."""
        self._step += seconds
        await self.advance(0.0)


def permits_of(
    ask: Ask, member: str, clock: FakeClock | None = None, *, minute: float = 60.0
) -> PostgresPermits:
    """The permits of a process that goes by this clock, which nobody sets, else by the machine's."""
    boot = time.monotonic if clock is None else lambda: clock.now
    return PostgresPermits(ask, 1, 1, member, boot=boot, minute=minute)


async def learn(permits: SharedPermits, answer: Observed | Throttled | Accepted, sent_ago: float) -> Any:
    """Write what this answer says, as a process does, and return what was read and whether it was written."""
    found = await permits.learned(sent_ago)
    learning = QuotaLearning.load(found.learned)
    learning.apply(answer, found.counts)
    terms = learning.terms(found.counts.now)
    counts = found.counts._replace(now=0.0)
    return counts, await permits.learn(found.version, learning.dump(), terms, 5.4)


@pytest.mark.parametrize("seed", range(6))
async def test_the_sql_functions_decide_as_the_copy_in_memory(ask: Ask, seed: int) -> None:
    """A random history of reservations, reports, answers and 429s gives equal permits and equal waits."""
    rng, clock = random.Random(seed), FakeClock(ask)
    await clock.replace()
    quota = MemoryQuota(lambda: clock.now)
    members = ["a", "b", "c"]
    for member in members:
        await ask(
            "INSERT INTO hoox.members VALUES (%s, 'host', 1, %s, %s, %s, hoox.timeline_1())",
            member, 10**12, int((EPOCH + 1e6) * 1e6), int(EPOCH * 1e6),
        )  # fmt: skip
    both = {m: (permits_of(ask, m, clock), MemoryPermits(quota, m)) for m in members}
    held: list[tuple[int, float]] = []

    for _ in range(150):
        await clock.advance(rng.choice([0.0, 0.01, 0.3, 0.7, 2.0, 9.0]))
        in_sql, in_memory = both[rng.choice(members)]
        chosen = rng.random()
        if chosen < 0.7:
            ask_for = (rng.choice([100, 100, 60]), rng.choice([1.2, 8.0]), 35.0)
            found, expected = await in_sql.reserve(*ask_for), await in_memory.reserve(*ask_for)
            assert found.permit == expected.permit
            assert (found.learned is None) == (expected.learned is None)
            assert found[1:6] == pytest.approx(expected[1:6], abs=1e-4)
            if found.permit is not None:
                held.append((found.permit, clock.now + found.wait))
        elif chosen < 0.85 and held:
            permit, at = held.pop(rng.randrange(len(held)))
            await clock.advance(max(0.0, at - clock.now))
            ago = rng.choice([0.0, 0.2])
            sent, cancelled = [], []
            if rng.random() < 0.8:
                sent = [SentPermit(permit, ago + 0.1, ago)]
            else:
                cancelled = [permit]
            for permits in (in_sql, in_memory):
                await permits.report(sent, cancelled)
        else:
            answers: list[Observed | Throttled | Accepted] = [
                Observed(ServerQuota(100, rng.randrange(100), rng.choice([None, 20.0])), 0.2),
                Throttled(quota.last_permit, rng.choice([None, 3.0]), 100),
                Accepted(quota.last_permit),
            ]
            answer = rng.choice(answers)
            assert await learn(in_sql, answer, 0.2) == await learn(in_memory, answer, 0.2)


async def test_what_is_learned_from_an_older_state_is_not_written(ask: Ask) -> None:
    """Of two processes that learn from the same state only the first is written."""
    first, second = permits_of(ask, "a"), permits_of(ask, "b")
    learning = QuotaLearning()
    found = [await permits.learned(0.1) for permits in (first, second)]
    terms = learning.terms(found[0].counts.now)
    assert await first.learn(found[0].version, learning.dump(), terms, 5.4)
    assert not await second.learn(found[1].version, learning.dump(), terms, 5.4)


async def test_many_at_once_get_no_more_than_the_limit(postgres_url: str, ask: Ask) -> None:
    """Eight connections that reserve at once, some cancelling: at most 100 count in any 2 s."""
    sent: list[float] = []
    loop = asyncio.get_running_loop()
    name = (await ask("SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                      "WHERE c.oid = 'hoox.permits'::regclass"))[0][0]  # fmt: skip
    until = loop.time() + 4.5

    async def process(number: int) -> None:
        rng = random.Random(number)
        async with await psycopg.AsyncConnection.connect(
            postgres_url, autocommit=True, prepare_threshold=None
        ) as connection:

            async def run(sql: str, *values: object) -> Sequence[Sequence[Any]]:
                cursor = await connection.execute(dialect_of(name).compile(sql).encode(), values)
                return await cursor.fetchall() if cursor.description else []

            permits = permits_of(run, str(number), minute=2.0)
            while loop.time() < until:
                got = await permits.reserve(100, 0.05, 3.0)
                await asyncio.sleep(max(got.wait, 0.002))
                if got.permit is None:
                    continue
                if rng.random() < 0.05:
                    await permits.report([], [got.permit])
                    continue
                sent.append(loop.time())
                await permits.report([SentPermit(got.permit, 0.0, 0.0)], [])

    await asyncio.gather(*(process(number) for number in range(8)))
    assert len(sent) > 100
    assert max(sum(at <= other < at + 2.0 for other in sent) for at in sent) <= 100


async def test_the_limit_of_a_process_that_has_ended_does_not_hold(ask: Ask) -> None:
    """The lowest limit that a living member states holds, and no longer than its lease."""
    clock = FakeClock(ask)
    await clock.replace()
    await ask("INSERT INTO hoox.members VALUES ('slow', 'h', 1, 10000000, %s, %s, hoox.timeline_1())",
              int((EPOCH + 10.0) * 1e6), int(EPOCH * 1e6))  # fmt: skip
    await permits_of(ask, "slow", clock).reserve(60, 8.0, 35.0)
    fast = permits_of(ask, "fast", clock)
    assert (await fast.reserve(100, 8.0, 35.0)).limit == 60
    await clock.advance(11.0)
    assert (await fast.reserve(100, 8.0, 35.0)).limit == 100


async def send_for(clock: FakeClock, seconds: float, *processes: PostgresPermits) -> list[float]:
    """Have the processes send as much as they may. When each request was sent."""
    sent, waits = list[float](), dict.fromkeys(processes, 0.0)
    until = clock.now + seconds
    while clock.now < until:
        for process in processes:
            if waits[process] <= clock.now:
                got = await process.reserve(60, 1.2, 20.0)
                waits[process] = clock.now + max(got.wait, 0.3)
                if got.permit is not None:
                    at = clock.now + got.wait
                    sent.append(at)
                    await process.report([SentPermit(got.permit, clock.now - at, clock.now - at)], [])
        await clock.advance(0.3)
    return sent


def most_in_a_minute(sent: Sequence[float]) -> int:
    return max(sum(at <= other < at + 60.0 for other in sent) for at in sent)


@pytest.mark.parametrize("step", [-3600.0, -20.0, 20.0, 3600.0])
async def test_a_step_of_the_databases_clock_changes_nothing_of_the_quota(ask: Ask, step: float) -> None:
    """Two processes send 60 a minute when the clock is set: no more in any minute, and soon as many again."""
    clock = FakeClock(ask)
    await clock.replace()
    processes = permits_of(ask, "a", clock), permits_of(ask, "b", clock)
    sent = await send_for(clock, 50.0, *processes)
    await clock.step(step)
    later = await send_for(clock, 130.0, *processes)
    assert most_in_a_minute(sent + later) <= 60
    assert len(later) > 115


async def test_a_process_that_begins_just_after_a_step_ahead_costs_no_hour(ask: Ask) -> None:
    """It can't know that the clock was set. The others put that right, and what it took counts as usual."""
    clock = FakeClock(ask)
    await clock.replace()
    old = permits_of(ask, "old", clock)
    sent = await send_for(clock, 50.0, old)
    await clock.step(3600.0)
    new = permits_of(ask, "new", clock)
    assert (await new.reserve(60, 1.2, 20.0)).permit is not None
    later = await send_for(clock, 130.0, old, new)
    assert most_in_a_minute([*sent, *later]) <= 60
    assert len(later) > 100


@pytest.mark.parametrize("hold", [0.0, 35.0])
async def test_after_a_failover_permits_begin_once_those_of_before_count_no_more(
    ask: Ask, hold: float
) -> None:
    """They may be lost, and be sent 8 s and their hold later. An answer meanwhile changes nothing of that."""
    clock = FakeClock(ask)
    await clock.replace()
    await ask("INSERT INTO hoox.members VALUES ('a', 'h', 1, 1000000, 0, 0, hoox.timeline_1())")
    permits, other = permits_of(ask, "a", clock), permits_of(ask, "b", clock)
    before = await permits.reserve(100, 8.0, hold)
    await ask("CREATE OR REPLACE FUNCTION hoox.timeline_1() RETURNS text LANGUAGE sql AS $$ SELECT '2' $$")
    assert (await other.reserve(100, 0.0, 0.0)).permit is None
    await learn(permits, Observed(ServerQuota(100, 50, None), 0.2), 0.2)
    await clock.advance(8.0 + hold + 60.0)
    assert (await permits.reserve(100, 0.0, hold)).permit is None
    await clock.advance(0.1)
    after = await permits.reserve(100, 0.0, hold)
    assert before.permit is not None
    assert after.permit is not None
    assert after.permit > before.permit + 1000


async def test_reporting_twice_changes_nothing(ask: Ask) -> None:
    """A permit that is cancelled twice gives its step back once, and one that was sent is not cancelled."""

    async def even_at() -> float:
        return float((await ask("SELECT even_at FROM hoox.quotas"))[0][0])

    permits = permits_of(ask, "a")
    first, second = await permits.reserve(100, 8.0, 35.0), await permits.reserve(100, 8.0, 35.0)
    assert first.permit is not None
    assert second.permit is not None
    before = await even_at()
    await permits.report([], [first.permit])
    once = await even_at()
    await permits.report([], [first.permit])
    assert await even_at() == once < before
    await permits.report([SentPermit(second.permit, 0.1, 0.0)], [])
    await permits.report([], [second.permit])
    assert await even_at() == once
    assert [row[0] for row in await ask("SELECT id FROM hoox.permits")] == [second.permit]
