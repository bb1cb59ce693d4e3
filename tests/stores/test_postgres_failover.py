"""A failover to a server that lacks acknowledged writes: each process writes its own again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal

import attrs
import pytest
from internals_kit import Delivered, IntentState, MarkUnknown, RecentWrite, Row, SharedLedger, StoredBudget
from postgres_kit import Proxy, Server, TestRun
from shared_memory_kit import SharedMemory
from shared_store_kit import MemoryWorld, Process
from store_kit import EDIT, WORKSPACE, accept, planned, send, settle

from hoox_async import LookRef
from hoox_async._io.ledger.failover import KEPT_FOR, RecentWrites
from hoox_async.errors import StoreError
from hoox_async.postgres import PostgresDatabase


async def pay(store: SharedLedger, key: str, budget: str | None = None) -> None:
    """Write everything of a paid request, up to its acceptance."""
    await store.plan(planned(key))
    await store.advance(key, send(f"att_{key}")._replace(budget=budget))
    await store.advance(key, accept(f"look_{key}"))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it is so; a minute at most. A store that fails meanwhile is asked again."""
    async with asyncio.timeout(60):
        while True:
            try:
                if await condition():
                    return
            except StoreError:
                pass
            await asyncio.sleep(0.05)


def take_over(server: Server) -> None:
    """Start a copy as a server that was promoted: on a timeline of its own."""
    (server.data / "recovery.signal").touch()
    with (server.data / "postgresql.conf").open("a") as configuration:
        configuration.write("restore_command = 'false'\n")
    server.start()


async def test_acknowledged_writes_that_a_failover_has_lost_are_written_again(
    own_postgres: Server, postgres_run: TestRun, caplog: pytest.LogCaptureFixture
) -> None:
    """A real server goes on from an older copy: the paid look that it lacks is there again, as it was.

    The intent, its attempt, the claim of its look and the budget that it charges are. Until a minute is over
    nothing is sent.
    """
    async with (
        AsyncExitStack() as stack,
        Proxy(own_postgres.socket) as proxy,
        PostgresDatabase(proxy.url, lease=1.0) as database,
    ):
        store = database.workspace("shop")
        await store.open(WORKSPACE)
        await pay(store, "old")
        permits = store.shared_permits
        assert permits is not None
        await permits.reserve(100, 0.0, 0.0)
        own_postgres.stop("fast")
        replica = stack.enter_context(postgres_run.copied_server(own_postgres))
        own_postgres.start()

        async def is_back() -> bool:
            return bool(await store.get(["old"]))

        await until(is_back)
        await store.open_budget("spring", Decimal(20), Decimal(3))
        await pay(store, "paid", "spring")
        before = await store.get(["paid"])
        own_postgres.stop()
        take_over(replica)
        proxy._target = replica.socket
        proxy.cut()

        async def is_restored() -> bool:
            return (await store.get(["paid"])) == before

        await until(is_restored)
        assert await store.budget("spring") == StoredBudget("spring", Decimal(20), 3 + EDIT.credits)
        await store.plan(planned("next"))
        with pytest.raises(StoreError, match="another server has taken over"):
            await store.advance("next", send("att_next"))
        found = await store.by_ref(LookRef("avtr_1", "look_paid"))
        assert found is not None
        assert found.state is IntentState.ACCEPTED
        assert await store.delivered("att_paid") == Delivered(found, None)
        reservation = await permits.reserve(100, 0.0, 0.0)
        assert reservation.permit is None
        assert reservation.wait > 50
        assert "paid was lost in the failover, and was written again" in caplog.text
        await store.aclose()


class World:
    """Two processes on one database in memory, which can fail over to an older copy of itself."""

    def __init__(self, memory: SharedMemory, processes: list[Process]) -> None:
        self.memory = memory
        self.copy, self.fail_over = memory.copy, memory.fail_over
        self.one, self.two = processes


@asynccontextmanager
async def two_processes() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        world = MemoryWorld(stack)
        yield World(world.memory, [await world.process() for _ in range(2)])


async def notice(*processes: Process) -> None:
    """The processes renew their leases, and write again what is lost."""
    for process in processes:
        await process.renew()
    for process in processes:
        await process.restore()


async def test_every_process_writes_its_own_again_and_the_latest_write_stays() -> None:
    """One has paid, the other has settled it later. In either order of restoring, the later write stands."""
    for order in ("one first", "two first"):
        async with two_processes() as world:
            copy = world.copy()
            await pay(world.one.store, "a")
            await pay(world.two.store, "b")
            lost = MarkUnknown("nobody knows", "att_c")
            await world.one.store.plan(planned("c"))
            await world.one.store.advance("c", send("att_c"))
            await world.two.store.advance("c", lost)
            before = await world.one.store.get(["a", "b", "c"])
            world.fail_over(copy)
            assert await world.one.store.get(["a", "b", "c"]) == {}
            both = (world.one, world.two) if order == "one first" else (world.two, world.one)
            for process in both:
                await notice(process)
            assert await world.two.store.get(["a", "b", "c"]) == before


async def test_who_owes_the_news_of_an_end_is_written_again_too() -> None:
    """A look that was accepted before a failover, and ends after it elsewhere, is told by its sender."""
    async with two_processes() as world:
        store, owed = world.one.database.workspace("x"), list[str]()
        await store.open(attrs.evolve(WORKSPACE, hooks="hooks"))
        store.tell_by(lambda intent: owed.append(intent.key), lambda: True)
        copy = world.copy()
        await pay(store, "k")
        world.fail_over(copy)
        await notice(world.one)
        other = world.two.database.workspace("x")
        await other.open(WORKSPACE)
        await other.advance("k", settle("look_k"))
        await store.tell_owed()
        assert owed == ["k"]
        await other.aclose()
        await store.aclose()


@pytest.mark.parametrize("first", [0, 1])
async def test_a_budget_that_a_failover_has_lost_is_there_again_with_what_it_has_charged(first: int) -> None:
    """One process has created it and paid, the other has settled that and never opened the budget.

    In either order of restoring it has its cap, the credits that it began with, and the lost charges. Until
    its cap is known it is not there.
    """
    async with two_processes() as world:
        copy = world.copy()
        created = await world.one.store.open_budget("spring", Decimal(20), Decimal(3))
        await world.one.store.plan(planned("a"))
        await world.one.store.advance("a", send("att_a")._replace(budget="spring"))
        await world.one.store.advance("a", accept("look_a"))
        await world.two.store.advance("a", settle("look_a"))
        before = await world.one.store.budget("spring")
        assert before == created._replace(charged=3 + EDIT.credits)
        world.fail_over(copy)
        assert await world.two.store.budget("spring") is None
        processes = (world.one, world.two)
        await notice(processes[first])
        assert await world.two.store.budget("spring") == (before if first == 0 else None)
        await notice(processes[1 - first])
        assert await world.two.store.budget("spring") == before
        assert (await world.two.store.get(["a"]))["a"].state is IntentState.READY


async def test_a_second_failover_while_the_first_is_being_restored_forgets_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first key was written again when another server, which has neither, takes over: both are restored.

    Nothing is sent before.
    """
    async with two_processes() as world:
        empty = world.copy()
        await pay(world.one.store, "a")
        await pay(world.one.store, "b")
        world.fail_over(empty)
        await world.one.renew()
        member, failovers = world.one.member, iter([empty])
        restore = member.failover._restore_one

        async def restore_and_fail_over(workspace: int, key: str) -> None:
            await restore(workspace, key)
            for copy in failovers:
                world.fail_over(copy)
                await member.renew()

        monkeypatch.setattr(member.failover, "_restore_one", restore_and_fail_over)
        await world.one.restore()
        await world.one.store.plan(planned("next"))
        member.failover._sends_from = -math.inf  # the minute is over
        with pytest.raises(StoreError, match="another server has taken over"):
            await world.one.store.advance("next", send("att_next"))
        await world.one.restore()
        assert set(await world.two.store.get(["a", "b"])) == {"a", "b"}
        assert (await world.one.store.advance("next", send("att_next"))).state is IntentState.SENDING


@pytest.mark.virtual_time
async def test_what_was_written_again_after_a_failover_is_kept_for_the_next_one() -> None:
    """The second failover comes fifteen minutes after the payment, and nine after it was written again."""
    async with two_processes() as world:
        empty = world.copy()
        await pay(world.one.store, "a")
        await asyncio.sleep(0.6 * KEPT_FOR)
        for copy in (empty, empty):
            world.fail_over(copy)
            await notice(world.one)
            assert set(await world.two.store.get(["a"])) == {"a"}
            await asyncio.sleep(0.9 * KEPT_FOR)


@pytest.mark.virtual_time
async def test_after_a_failover_nothing_is_sent_for_a_minute() -> None:
    """The message says a minute, and so long it is: every process has the time to notice and to restore."""
    async with two_processes() as world:
        world.fail_over(world.copy())
        await notice(world.one)
        await world.one.store.plan(planned("a"))
        await asyncio.sleep(59.0)
        await world.one.renew()
        with pytest.raises(StoreError, match="nothing is sent for a minute"):
            await world.one.store.advance("a", send("att_a"))
        await asyncio.sleep(1.1)
        assert (await world.one.store.advance("a", send("att_a"))).state is IntentState.SENDING


async def test_a_budget_that_was_opened_anew_after_a_failover_gets_the_lost_charges() -> None:
    """It keeps the cap and the start that it was opened with, and what was paid before is charged to it."""
    async with two_processes() as world:
        copy = world.copy()
        await world.one.store.open_budget("spring", Decimal(20), Decimal(0))
        await world.one.store.plan(planned("a"))
        await world.one.store.advance("a", send("att_a")._replace(budget="spring"))
        before = await world.one.store.budget("spring")
        world.fail_over(copy)
        await world.two.store.open_budget("spring", Decimal(20), Decimal(0))
        await notice(world.one)
        assert await world.two.store.budget("spring") == before


async def test_what_the_new_server_has_meanwhile_does_not_hide_a_lost_acceptance() -> None:
    """Another process has planned the key anew there before the first one wrote its look again."""
    async with two_processes() as world:
        copy = world.copy()
        await pay(world.one.store, "a")
        world.fail_over(copy)
        await world.two.store.plan(planned("a"))
        with pytest.raises(StoreError, match="another server has taken over"):
            await world.two.store.advance("a", send("att_again"))
        await notice(world.one)
        assert (await world.two.store.get(["a"]))["a"].state is IntentState.ACCEPTED


async def test_a_process_that_has_not_noticed_a_failover_is_not_alive() -> None:
    """On another timeline it sends nothing, and nobody takes it for dead before it had a lease's time."""
    async with two_processes() as world:
        await world.one.store.plan(planned("a"))
        await world.one.store.advance("a", send("att_a"))
        world.fail_over(world.copy())
        await world.two.renew()
        await world.two.sweep()
        assert (await world.two.store.get(["a"]))["a"].state is IntentState.SENDING
        member = world.one.member.id
        assert not world.memory.is_alive(member)
        await world.one.renew()
        assert world.memory.is_alive(member)


async def test_changes_are_heard_of_after_a_failover() -> None:
    """The numbers of transactions begin anew: what the others write again is heard of nevertheless."""
    async with two_processes() as world:
        copy = world.copy()
        await pay(world.one.store, "a")
        await world.two.read_changes()
        world.fail_over(copy)
        heard: list[str] = []
        world.two.store.on_changed_elsewhere(lambda intent: heard.append(str(intent.state)))
        await notice(world.one, world.two)
        await world.two.read_changes()
        assert heard == ["accepted"]


def test_budgets_are_kept_for_ten_minutes() -> None:
    """Each is kept with its workspace, until ten minutes after it was opened last."""
    writes = RecentWrites()
    spring, summer = (StoredBudget(name, Decimal(20), Decimal(3)) for name in ("spring", "summer"))
    writes.add_budget(0.0, 1, spring)
    writes.add_budget(0.0, 1, summer)
    writes.add_budget(1.0, 1, spring)
    assert writes.budgets(1.0) == [(1, spring), (1, summer)]
    assert writes.budgets(0.5 + KEPT_FOR) == [(1, spring)]
    assert writes.budgets(1.0 + KEPT_FOR) == []


def test_writes_are_kept_for_ten_minutes_and_are_bounded() -> None:
    """The latest write of each key is kept, until ten minutes are over or 10,000 keys are newer."""
    writes = RecentWrites()
    writes.add(0.0, 1, "a", 1, "first")
    writes.add(1.0, 1, "a", 2, "second")
    writes.add(2.0, 2, "a", 1, "first")
    assert writes.places(2.0) == [(1, "a"), (2, "a")]
    assert writes.write(1, "a") == RecentWrite(1.0, 2, "second")
    assert writes.places(1.5 + KEPT_FOR) == [(2, "a")]
    for number in range(10_001):
        writes.add(3.0, 3, str(number), 1, "first")
    assert len(writes.places(3.0)) == 10_000


@pytest.mark.parametrize(
    ("version", "record", "lost"),
    [(1, "mine", True), (2, "mine", False), (2, "other", True), (3, "other", False)],
)
def test_a_write_is_lost_where_an_older_or_another_one_is_stored(
    version: int, record: str, lost: bool
) -> None:
    """An older version, or another write with the same version, shows that the write is lost."""
    mine = RecentWrite(0.0, 2, "mine")
    assert mine.is_lost(Row(1, 1, "a", version, record, 7)) is lost
    assert mine.is_lost(None)
