"""One process polls for all that share a store, and every end reaches the process that it concerns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Literal

import pytest
from delivery_kit import Hub
from internals_kit import Delivery, WireResponse, runtime_of
from session_kit import edit, made, prompt, sends, set_key
from shared_memory_kit import MemoryDatabase, SharedMemory

from hoox_async import BatchItem, BatchRunner, Endpoint, Event, HooxSession, LookSettled, LookStatus
from hoox_async.errors import NotFound, StoreError, TransportError
from hoox_async.sandbox import AnswerForms, Fault, InProcessTransport, Space
from hoox_async.sandbox.fault_injection import FaultPlan

pytestmark = pytest.mark.virtual_time
LEASE = 10.0


class Process:
    """One process: its database object, its session, and the looks of which its hooks were notified."""

    def __init__(
        self,
        memory: SharedMemory,
        space: Space,
        poll: Literal["all", "awaited"] = "all",
        limit: int = 60_000,
        *,
        webhooks: bool = False,
    ) -> None:
        self.notified: list[str | None] = []
        self.hub = Hub() if webhooks else None
        self.database = MemoryDatabase(memory, lease=LEASE)
        self.session = HooxSession(
            space.api_key,
            transport=InProcessTransport(space, latency=0.1),
            store=self.database.workspace("w"),
            hooks=[self._hear],
            poll=poll,
            requests_per_minute=limit,
            webhooks=self.hub,  # type: ignore[arg-type]
        )
        self.is_open = False

    def _hear(self, event: Event) -> None:
        if isinstance(event, LookSettled):
            self.notified.append(event.key)

    @property
    def leads(self) -> bool:
        return self.is_open and runtime_of(self.session).registry.polls_for_all

    async def open(self) -> None:
        await self.database.open()
        await self.session.__aenter__()
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False
        await self.session.aclose()
        await self.database.aclose()

    async def kill(self) -> None:
        """End as a process that is killed: nothing more is sent, written or told."""
        runtime = runtime_of(self.session)
        self.is_open = False
        runtime.submitter.posts.stop()
        runtime.tasks.stop()
        runtime.hooks.stop()
        self.session._open = None
        await self.database.kill()


@asynccontextmanager
async def processes(count: int, **options: Any) -> AsyncIterator[tuple[Space, list[Process]]]:
    memory, space = SharedMemory(), Space(rng=Random(1), requests_per_minute=None)
    opened = [Process(memory, space, **options) for _ in range(count)]
    try:
        for process in opened:
            await process.open()
        await asyncio.sleep(1.5)
        yield space, opened
    finally:
        for process in opened:
            if process.is_open:
                await process.close()


async def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until the condition holds. Fails after so many seconds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


def apart(opened: list[Process]) -> tuple[Process, list[Process]]:
    """The leader and the others."""
    (leader,) = (process for process in opened if process.leads)
    return leader, [process for process in opened if process is not leader]


async def test_one_of_all_processes_polls() -> None:
    """Of four processes that may poll exactly one does."""
    async with processes(4) as (_, opened):
        assert sum(process.leads for process in opened) == 1


async def test_a_leader_that_closes_without_the_database_gives_up_its_duty_once_that_works() -> None:
    """Its process lives on, and its lease with it: what it could not write when it closed is repeated."""
    async with processes(2) as (_, opened):
        leader, (other,) = apart(opened)
        works, leader.database.fault = leader.database.fault, _store_error
        leader.is_open = False
        await leader.session.aclose()
        leader.database.fault = works
        await until(lambda: other.leads, 3.0)
        await leader.database.aclose()


async def test_a_look_that_the_leader_finds_ready_wakes_its_waiter_elsewhere() -> None:
    """A waiter in another process is awake within 1.5 s of the end, and its hooks are told."""
    async with processes(3) as (space, opened):
        leader, (first, second) = apart(opened)
        job = await first.session.submit(prompt(), key="k")
        waiting = asyncio.create_task(job.wait())
        store = runtime_of(leader.session).store

        async def settled() -> None:
            while (await store.get(("k",)))["k"].state.value != "ready":
                await asyncio.sleep(0.05)

        await settled()
        async with asyncio.timeout(1.5):
            assert (await waiting).status is LookStatus.READY
        await until(lambda: first.notified == ["k"], 1.0)
        assert (leader.notified, second.notified) == ([], [])
        assert len(space.ledger) == 1


async def test_a_process_that_awaits_the_look_of_another_one_calls_no_hooks() -> None:
    """A job that a third process holds of a look is settled there too; hooks of its sender alone are told."""
    async with processes(3) as (_, opened):
        _, (first, second) = apart(opened)
        job = await first.session.submit(prompt(), key="k")
        other = second.session.job(job.ref)
        assert (await other.wait()).status is LookStatus.READY
        await until(lambda: first.notified == ["k"], 1.5)
        assert second.notified == []


async def test_a_leader_learns_from_deliveries_to_other_processes_how_long_looks_take() -> None:
    """20 looks are delivered to another process, each 4 s after it was accepted. The next delivery is lost.

    The leader finds that look ready by polling, within 15 s; it received no delivery itself.
    """
    async with processes(3, webhooks=True) as (space, opened):
        _, (sender, receiver) = apart(opened)
        assert sender.hub is not None
        assert receiver.hub is not None
        space.hold(asyncio.get_running_loop().time())
        for number in range(20):
            job = await sender.session.submit(prompt(f"scene {number}"), key=f"k{number}")
            await asyncio.sleep(4.0)
            delivery = Delivery(job.look_id, LookStatus.READY, job.avatar_id, "https://media.example/1.jpg")
            assert await receiver.hub(sender.hub.attempts[-1], delivery)
            await job.wait()
        job = await sender.session.submit(prompt("lost"), key="lost")
        await asyncio.sleep(4.0)
        space.settle(job.ref, "ready", asyncio.get_running_loop().time())
        await job.wait(timeout=15.0)


@pytest.mark.parametrize("failure", ["its key is revoked", "its requests fail", "they hang"])
async def test_a_leader_that_the_api_does_not_serve_resigns_until_it_is_served_again(failure: str) -> None:
    """Another process has found a look 20 s after the leader's key was revoked, or its requests fail or hang.

    Its own waiters get their looks. It does not lead again where no other process is left, and sends few
    requests meanwhile; once it is served again, it leads and finds what nobody waits for.
    """
    async with processes(2) as (space, opened):
        leader, (other,) = apart(opened)
        space.hold(asyncio.get_running_loop().time())
        own = await leader.session.submit(prompt("own"), key="own")
        waiting = asyncio.create_task(own.wait(timeout=None))
        job = await other.session.submit(prompt(), key="k")
        await asyncio.sleep(20.0)
        restore = fail(leader, failure)
        for each in (own, job):
            space.settle(each.ref, "ready", asyncio.get_running_loop().time())
        assert (await job.wait(timeout=20.0)).status is LookStatus.READY
        assert (await asyncio.wait_for(waiting, 5.0)).status is LookStatus.READY
        assert (leader.leads, other.leads) == (False, True)
        last = await other.session.submit(prompt("nobody waits"), key="last")
        await other.close()
        asked = len(space.requests)
        await asyncio.sleep(600.0)
        assert not leader.leads
        assert len(space.requests) - asked <= 100
        restore()
        space.settle(last.ref, "ready", asyncio.get_running_loop().time())
        await until(lambda: leader.leads, 30.0)
        await until(lambda: leader.notified == ["own", "last"], 60.0)


def fail(process: Process, failure: str) -> Callable[[], None]:
    """Let all requests of this process fail. Returns a function that ends that."""
    transport = runtime_of(process.session).transport
    assert isinstance(transport, InProcessTransport)
    send = transport.send

    async def send_in_vain(*_: Any) -> WireResponse:
        if failure == "they hang":
            await asyncio.sleep(30.0)
        raise TransportError("the network is down")

    def restore() -> None:
        set_key(transport)
        transport.send = send  # type: ignore[method-assign]

    if failure == "its key is revoked":
        set_key(transport, "revoked")
    else:
        transport.send = send_in_vain  # type: ignore[method-assign, assignment]
    return restore


@pytest.mark.parametrize("lasting", [False, True])
async def test_who_waits_for_a_look_that_the_leader_is_not_told_of_is_served(lasting: bool) -> None:
    """The API answers 404 to all that the leader asks, for ten minutes. Who waits in another process gets
    the look meanwhile; if the API answers 404 there too, `NotFound`. The leader finds the look later."""
    async with processes(2) as (space, opened):
        leader, (other,) = apart(opened)
        transport = runtime_of(leader.session).transport
        send = transport.send

        async def not_found(request: Any, before_send: Any = None) -> WireResponse:
            if request.endpoint in (Endpoint.STATUS, Endpoint.AVATAR):
                return WireResponse(404, {}, b'{"error": "Look not found"}')
            return await send(request, before_send)

        transport.send = not_found  # type: ignore[method-assign]
        if lasting:
            for endpoint in ("status", "avatar"):
                space.faults.fail_next(endpoint, Fault.status(404), times=1_000_000)
        job = await other.session.submit(prompt(), key="k")
        waiting = asyncio.create_task(job.wait(timeout=600.0))
        if lasting:
            with pytest.raises(NotFound):
                await waiting
        else:
            assert (await waiting).status is LookStatus.READY
        await asyncio.sleep(300.0)
        transport.send = send  # type: ignore[method-assign]
        space.faults = FaultPlan(Random(1))
        await until(lambda: other.notified == ["k"], 1_800.0)
        await asyncio.sleep(30.0)
        assert other.notified == ["k"]


async def test_a_delivery_anywhere_is_told_by_the_sender_alone() -> None:
    """Deliveries reach each of three processes in turn: hooks of the sender are told, once, and no others."""
    async with processes(3, webhooks=True) as (space, opened):
        space.hold(asyncio.get_running_loop().time())
        for number in range(9):
            sender, receiver = opened[number // 3], opened[number % 3]
            assert sender.hub is not None
            assert receiver.hub is not None
            job = await sender.session.submit(prompt(f"scene {number}"), key=f"k{number}")
            await asyncio.sleep(4.0)
            delivery = Delivery(job.look_id, LookStatus.READY, job.avatar_id, "https://media.example/1.jpg")
            assert await receiver.hub(sender.hub.attempts[-1], delivery)
            await job.wait(timeout=3.0)
        await asyncio.sleep(3 * LEASE)
        assert [process.notified for process in opened] == [
            ["k0", "k1", "k2"],
            ["k3", "k4", "k5"],
            ["k6", "k7", "k8"],
        ]


@pytest.mark.parametrize("gap", ["nobody ran", "the API was down"])
async def test_nobody_learns_from_looks_that_nobody_watched(gap: str) -> None:
    """60 looks are found done after an hour in which nobody could ask for them. A process that polls later
    knows of the next look, which takes 30 s, within a minute of its submission.

    Nobody could ask since no process ran, or since the API answered nothing.
    """
    memory = SharedMemory()
    space = Space(rng=Random(1), requests_per_minute=None, duration=lambda *_: 30.0)
    sender = Process(memory, space)
    await sender.open()
    if gap == "the API was down":
        for endpoint in ("status", "avatar"):
            space.faults.fail_next(endpoint, Fault.status(503), times=1_000_000)
    ref = made(space)
    for number in range(60):
        await sender.session.submit(edit(ref, f"scene {number}"), key=f"k{number}")
    if gap == "nobody ran":
        await sender.close()
    await asyncio.sleep(3600.0)
    space.faults = FaultPlan(Random(1))
    finder = Process(memory, space)
    await finder.open()
    await asyncio.sleep(120.0)
    assert await finder.session.jobs() == []
    assert (await finder.session.health()).unsettled == 0
    for process in (sender, finder):
        if process.is_open:
            await process.close()
    later = Process(memory, space)
    await later.open()
    await asyncio.sleep(2.0)
    job = await later.session.submit(edit(ref, "next"), key="next")
    assert (await job.wait(60.0)).status is LookStatus.READY
    await later.close()


async def test_a_leader_that_is_killed_is_replaced_once_its_lease_is_over() -> None:
    """Another process polls within the lease and two seconds, and finds what the killed one had submitted."""
    async with processes(3) as (_, opened):
        leader, others = apart(opened)
        await leader.session.submit(prompt(), key="k")
        await leader.kill()
        await until(lambda: any(process.leads for process in others), LEASE + 2.0)
        await until(lambda: any(process.notified == ["k"] for process in others), 120.0)
        assert sum(len(process.notified) for process in others) == 1


async def test_a_leader_that_is_closed_is_replaced_at_once() -> None:
    """Another process leads within 1.5 s after the leader was closed."""
    async with processes(3) as (_, opened):
        leader, others = apart(opened)
        await leader.close()
        await until(lambda: any(process.leads for process in others), 1.5)


async def test_a_leader_without_its_database_polls_no_more_once_others_lead() -> None:
    """A leader that can't reach the database for a whole lease stops, and may lead again later."""
    async with processes(1) as (_, (process,)):
        works = process.database.fault
        process.database.fault = _store_error
        await asyncio.sleep(2 * LEASE)
        assert not process.leads
        process.database.fault = works
        await until(lambda: process.leads, 5.0)


async def _store_error(_: str, __: str) -> None:
    raise StoreError("the database does not answer")


async def test_the_end_of_a_look_whose_submitter_has_ended_is_told_by_the_leader() -> None:
    """Where the process that submitted a look was killed, the leader's hooks are told of its end, once."""
    async with processes(3) as (_, opened):
        leader, (first, second) = apart(opened)
        await first.session.submit(prompt(), key="k")
        await first.kill()
        await until(lambda: leader.notified == ["k"], 180.0)
        await asyncio.sleep(30.0)
        assert (leader.notified, first.notified, second.notified) == (["k"], [], [])


async def test_the_end_that_a_submitter_did_not_live_to_hear_of_is_told_by_the_leader() -> None:
    """What was settled, and not read by its submitter before that was killed, is told by the leader."""
    async with processes(2) as (_, opened):
        leader, (first,) = apart(opened)
        await first.session.submit(prompt(), key="k")
        store = runtime_of(leader.session).store
        while (await store.get(("k",)))["k"].state.value != "ready":
            await asyncio.sleep(0.01)
        await first.kill()
        assert first.notified == []
        await until(lambda: leader.notified == ["k"], 3 * LEASE)


async def test_the_end_of_a_look_whose_sender_was_killed_is_told_once_by_one_of_the_others() -> None:
    """One of the two sessions that are left takes it over, also where one of them awaits the look."""
    async with processes(3) as (_, opened):
        leader, (first, second) = apart(opened)
        job = await first.session.submit(prompt(), key="k")
        waiting = asyncio.create_task(second.session.wait(job.ref))
        store = runtime_of(leader.session).store
        while (await store.get(("k",)))["k"].state.value != "ready":
            await asyncio.sleep(0.01)
        await first.kill()
        await waiting
        await until(lambda: [*leader.notified, *second.notified] == ["k"], 3 * LEASE)
        await asyncio.sleep(3 * LEASE)
        assert [*leader.notified, *second.notified] == ["k"]


async def test_a_later_session_of_the_process_hears_of_what_an_earlier_one_sent() -> None:
    """Looks that end while a process has no session open, or later, are told to hooks of its next session."""
    async with processes(2) as (space, opened):
        leader, (first,) = apart(opened)
        await first.session.submit(prompt("one"), key="one")
        await first.session.aclose()
        store = runtime_of(leader.session).store
        while (await store.get(("one",)))["one"].state.value != "ready":
            await asyncio.sleep(0.05)
        await leader.session.submit(prompt("two"), key="two")
        first.session = HooxSession(
            space.api_key,
            transport=InProcessTransport(space, latency=0.1),
            store=first.database.workspace("w"),
            hooks=[first._hear],
            requests_per_minute=60_000,
        )
        await first.session.__aenter__()
        await until(lambda: first.notified == ["one"], 5.0)
        await until(lambda: leader.notified == ["two"], 180.0)
        assert first.notified == ["one"]


async def test_sessions_that_poll_what_is_awaited_do_so_where_nobody_leads() -> None:
    """Sessions with ``poll="awaited"`` never lead, and each polls the looks that are awaited in it."""
    async with processes(2, poll="awaited") as (_, (first, second)):
        job = await first.session.submit(prompt(), key="k")
        assert not first.leads
        assert not second.leads
        assert (await job.wait()).status is LookStatus.READY


async def test_a_look_that_nobody_here_paid_for_is_polled_by_who_awaits_it() -> None:
    """A look that the store does not know is polled by the process that waits for it, leader or not."""
    async with processes(2) as (space, opened):
        _, (first,) = apart(opened)
        ref = made(space)
        assert (await first.session.wait(ref)).status is LookStatus.READY


async def requests_and_seconds(count: int) -> tuple[int, float]:
    """The status requests and the seconds that 120 edits of four avatars take in so many processes."""
    memory = SharedMemory()
    forms = AnswerForms(quota_headers="none")  # the permits alone must suffice
    space = Space(rng=Random(1), requests_per_minute=100, forms=forms)
    opened = [Process(memory, space, limit=100) for _ in range(count)]
    loop = asyncio.get_running_loop()
    for process in opened:
        await process.open()
    await asyncio.sleep(1.5)
    began = loop.time()
    refs = [made(space) for _ in range(4)]
    items = [BatchItem(f"{n}/{ref}", edit(ref, f"scene {n}")) for n in range(30) for ref in refs]

    async def run(number: int, process: Process) -> None:
        report = await BatchRunner(process.session).run(items[number::count])
        assert len(report.ready) + len(report.failed) == len(items[number::count])

    await asyncio.gather(*(run(number, process) for number, process in enumerate(opened)))
    took = loop.time() - began
    for process in opened:
        await process.close()
    assert len(space.ledger) == len(items)
    assert all(record.status != 429 for record in space.requests)
    return sends(space, "avatar", "status"), took


async def test_four_processes_poll_and_finish_as_one_does() -> None:
    """Four processes make at most 1.1 times the status requests of one, in 1.03 times the time."""
    alone, four = await requests_and_seconds(1), await requests_and_seconds(4)
    assert four[0] <= 1.1 * alone[0] + 2
    assert four[1] <= 1.03 * alone[1] + 1.0
