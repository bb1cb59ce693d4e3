"""No end of a look gets lost between processes: waiters wake and hooks hear, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from internals_kit import IntentState, LookUpdate, MemoryLedger, runtime_of
from session_kit import adds_key, intents, on_space, prompt
from shared_memory_kit import no_fault
from test_leader import LEASE, Process, apart, processes, until

from hoox_async import BatchItem, BatchRunner, Event, Look, LookSettled, LookStatus
from hoox_async.errors import BadRequest, GenerationFailed, OutcomeUnknown, StoreError
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time


async def settled_by(leader: Process, key: str = "k") -> None:
    """Wait until the leader has written that the look is settled. Others have not read that yet."""
    store = runtime_of(leader.session).store
    while (await store.get((key,)))[key].state is not IntentState.READY:
        await asyncio.sleep(0.05)


async def test_a_waiter_wakes_though_another_task_has_read_the_end_from_the_store_first() -> None:
    """Where a second task awaits a look just after its end, the first one ends too, and hooks are told."""
    async with processes(2) as (_, opened):
        leader, (other,) = apart(opened)
        job = await other.session.submit(prompt(), key="k")
        waiting = asyncio.create_task(job.wait())
        await settled_by(leader)
        assert (await other.session.wait(job.ref)).status is LookStatus.READY
        async with asyncio.timeout(1.5):
            assert (await waiting).status is LookStatus.READY
        await until(lambda: other.notified == ["k"], 1.5)
        await asyncio.sleep(3 * LEASE)
        assert (leader.notified, other.notified) == ([], ["k"])


async def test_a_look_that_a_delivery_reports_without_its_picture_wakes_its_waiter() -> None:
    """Where a process that does not poll hears of an end without the picture, it asks for that itself."""
    async with processes(2) as (_, opened):
        _, (other,) = apart(opened)
        job = await other.session.submit(prompt(), key="k")
        waiting = asyncio.create_task(job.wait())
        await asyncio.sleep(0.5)
        delivered = LookUpdate(Look(job.ref, LookStatus.READY), complete=False)
        await runtime_of(other.session).registry.publish([delivered])
        async with asyncio.timeout(180.0):
            assert (await waiting).thumbnail_url is not None
        assert other.notified == ["k"]


async def test_no_hooks_hear_of_a_look_before_it_is_known_who_paid_for_it() -> None:
    """Where its row can't be read, it is not taken for a look without a row: its sender tells, once."""
    async with processes(2) as (_, (first, second)):
        job = await first.session.submit(prompt(), key="k")
        seen = second.session.job(job.ref)
        second.database.fault = _no_rows
        end = LookUpdate(Look(job.ref, LookStatus.READY, "https://media.example/look.jpg"), complete=True)
        await runtime_of(second.session).registry.publish([end])
        assert (seen.last.status, second.notified) == (LookStatus.READY, [])
        second.database.fault = no_fault
        await until(lambda: first.notified == ["k"], 5.0)
        await asyncio.sleep(3 * LEASE)
        assert (first.notified, second.notified) == (["k"], [])


async def _no_rows(_: str, name: str) -> None:
    if name == "by_ref":
        raise StoreError("the database does not answer")


class SlowProcess(Process):
    """A process whose hook is async and takes five seconds."""

    async def _hear(self, event: Event) -> None:  # type: ignore[override]
        if isinstance(event, LookSettled):
            await asyncio.sleep(5.0)
            self.notified.append(event.key)


async def test_an_end_that_an_async_hook_did_not_live_to_hear_of_is_told_by_the_leader() -> None:
    """It counts as told only when the async hooks of the submitter have run, not when they were queued."""
    async with processes(1) as (space, (leader,)):
        other = SlowProcess(leader.database.memory, space)
        await other.open()
        await other.session.submit(prompt(), key="k")
        await settled_by(leader)
        await asyncio.sleep(4.0)
        await other.kill()
        await until(lambda: leader.notified == ["k"], 3 * LEASE)
        assert other.notified == []


async def test_an_async_hook_that_takes_its_time_is_told_once() -> None:
    """While a hook still runs, nobody is told again, and afterwards neither."""
    async with processes(1) as (space, (leader,)):
        other = SlowProcess(leader.database.memory, space)
        await other.open()
        await other.session.submit(prompt(), key="k")
        await settled_by(leader)
        await asyncio.sleep(10 * LEASE)
        assert (leader.notified, other.notified) == ([], ["k"])
        await other.close()
        await asyncio.sleep(3 * LEASE)
        assert leader.notified == []


async def test_a_leader_that_could_not_read_the_stored_looks_reads_them_soon_again() -> None:
    """What a dead process had submitted is polled half a minute after the database failed, not an hour."""
    async with processes(1) as (space, (first,)):
        await first.session.submit(prompt(), key="k")
        await first.kill()
        second = Process(first.database.memory, space)
        works = second.database.fault

        async def no_pages(_: str, name: str) -> None:
            if name == "page":
                raise StoreError("the database does not answer")
            await asyncio.sleep(0)

        await second.open()
        second.database.fault = no_pages
        await until(lambda: second.leads, 2 * LEASE)
        await asyncio.sleep(1.0)
        second.database.fault = works
        await until(lambda: second.notified == ["k"], 180.0)
        await second.close()


async def test_waiting_for_another_process_ends_where_a_restored_backup_lacks_the_key() -> None:
    """Who joins another process's POST is answered None when the store knows nothing of it any more."""
    async with processes(2) as (_, (first, second)):
        sending = asyncio.create_task(first.session.submit(prompt(), key="k"))
        await asyncio.sleep(0.05)
        joining = asyncio.create_task(runtime_of(second.session).submitter.join("k"))
        await asyncio.sleep(0.02)
        await first.kill()
        second.database.memory.db.executescript("DELETE FROM attempts; DELETE FROM intents")
        async with asyncio.timeout(600.0):
            assert await joining is None
        await asyncio.gather(sending, return_exceptions=True)


async def test_an_end_is_told_though_its_submitter_lives_on_without_its_session() -> None:
    """Where a process closed its session and keeps the database open, the leader tells its hooks."""
    async with processes(2) as (_, opened):
        leader, (other,) = apart(opened)
        await other.session.submit(prompt(), key="k")
        await other.session.aclose()
        await until(lambda: leader.notified == ["k"], 240.0)
        await asyncio.sleep(240.0)
        assert leader.notified == ["k"]


async def test_another_round_first_tells_the_end_that_a_closed_session_has_left() -> None:
    """What failed is told before it is paid again, also where nobody has taken it over by then."""
    async with processes(2) as (_, opened):
        leader, (other,) = apart(opened)
        request = prompt("[fail] at first")
        await other.session.submit(request, key="k")
        await other.session.aclose()
        await until(lambda: leader.database.memory.states == [IntentState.FAILED], 240.0)
        assert leader.notified == []
        runner = BatchRunner(leader.session, retry=("failed",), look_timeout=1.0)
        await runner.run([BatchItem("k", request)])
        assert leader.notified == ["k"]
        await until(lambda: leader.notified == ["k", "k"], 240.0)


async def test_who_was_refused_to_pay_again_does_not_owe_the_end_of_before() -> None:
    """What was sent without hooks is told to nobody, though a session with hooks has tried to pay again."""
    space, store, told = Space(rng=Random(1)), MemoryLedger(), list[str | None]()
    async with on_space(space, store=store) as (session, _):
        with pytest.raises(GenerationFailed):
            await session.run(prompt("[fail] at first"), key="k")
    async with on_space(space, store=store, hooks=[adds_key(told)]) as (session, _):
        space.faults.fail_next("create", Fault.status(400))
        await BatchRunner(session, retry=("failed",)).run([BatchItem("k", prompt("[fail] at first"))])
        assert await intents(session) == {"k": IntentState.FAILED}
        await asyncio.sleep(60.0)
    assert told == []


async def test_the_end_of_an_unknown_is_told_though_a_session_without_hooks_has_sent_it_again() -> None:
    """Its first POST has made the look: who has sent that had hooks, and the other POST cost nothing."""
    space, store, told = Space(rng=Random(1)), MemoryLedger(), list[str | None]()
    async with on_space(space, store=store, hooks=[adds_key(told)]) as (session, _):
        space.faults.fail_next("create", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown):
            await session.submit(prompt(), key="k")
    async with on_space(space, store=store) as (session, _):
        space.faults.fail_next("create", Fault.status(400))
        with pytest.raises(BadRequest):
            await session.resend("k")
    async with on_space(space, store=store, hooks=[adds_key(told)]) as (session, _):
        await (await session.resolve("k", space.ledger[0].ref))
        await asyncio.sleep(1.0)
    assert told == ["k"]


async def test_an_unknown_that_a_session_without_hooks_has_sent_again_is_told_once_to_who_asked_for_it() -> (
    None
):
    """Its sender had hooks, and gets the look that the other session has paid for under the same key."""
    space, store, told = Space(rng=Random(1)), MemoryLedger(), list[str | None]()
    async with on_space(space, store=store, hooks=[adds_key(told)]) as (session, _):
        space.faults.fail_next("create", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown):
            await session.submit(prompt(), key="k")
    async with on_space(space, store=store) as (session, _):
        await (await session.resend("k"))
    for _ in range(2):
        async with on_space(space, store=store, hooks=[adds_key(told)]):
            await asyncio.sleep(1.0)
    assert told == ["k"]


@pytest.mark.parametrize("is_accepted", [False, True])
async def test_an_end_that_nobody_was_told_of_is_owed_until_a_session_without_hooks_has_paid_again(
    is_accepted: bool,
) -> None:
    """If that cost nothing, the row is as it was before, and so is who owes its end."""
    space, store, told = Space(rng=Random(1)), MemoryLedger(), list[str | None]()
    request = prompt("[fail] at first")
    async with on_space(space, store=store, hooks=[adds_key(told)]) as (session, _):
        await session.submit(request, key="k")
    async with on_space(space, store=store) as (session, _):
        with pytest.raises(GenerationFailed):
            await (await session.submit(request, key="k"))
        if not is_accepted:
            space.faults.fail_next("create", Fault.status(400))
        await BatchRunner(session, retry=("failed",)).run([BatchItem("k", request)])
    async with on_space(space, store=store, hooks=[adds_key(told)]):
        await asyncio.sleep(60.0)
    assert told == ([] if is_accepted else ["k"])


async def test_a_look_is_paid_again_once_hooks_elsewhere_have_been_told_that_it_failed() -> None:
    """While another session tells an end, its row stays as it is: so nobody tells that end a second time."""
    async with processes(1) as (space, (leader,)):
        other = SlowProcess(leader.database.memory, space)
        await other.open()
        request = prompt("[fail] at first")
        await other.session.submit(request, key="k")
        await until(lambda: leader.database.memory.states == [IntentState.FAILED], 240.0)
        await asyncio.sleep(2.0)
        runner = BatchRunner(leader.session, retry=("failed",), look_timeout=240.0)
        await runner.run([BatchItem("k", request)])
        await until(lambda: leader.notified == ["k"], 5.0)
        assert other.notified == ["k"]
        await other.close()


async def test_an_end_whose_write_was_not_answered_is_told_before_its_session_closes() -> None:
    """The row is settled, and the session does not know that until it reads what it owes."""
    async with processes(1) as (_, (process,)):
        job = await process.session.submit(prompt(), key="k")
        works, process.database.fault = process.database.fault, _unanswered_write
        end = LookUpdate(Look(job.ref, LookStatus.READY, "https://media.example/look.jpg"), complete=True)
        await runtime_of(process.session).registry.publish([end])
        process.database.fault = works
        assert process.notified == []
        await process.close()
        assert process.notified == ["k"]


async def _unanswered_write(when: str, name: str) -> None:
    if (when, name) == ("after", "put"):
        raise StoreError("the connection broke after the commit")


async def test_that_hooks_were_told_is_written_again_where_the_database_failed() -> None:
    """Else another session would tell them a second time once this one is closed."""
    async with processes(2) as (_, (first, second)):
        failures = 0

        async def not_told(when: str, name: str) -> None:
            nonlocal failures
            if (when, name) == ("before", "told") and failures < 3:
                failures += 1
                raise StoreError("the database does not answer")

        first.database.fault = not_told
        await first.session.submit(prompt(), key="k")
        await until(lambda: first.notified == ["k"], 240.0)
        await asyncio.sleep(8.0)
        assert failures == 3
        await first.close()
        await asyncio.sleep(3 * LEASE)
        assert second.notified == []


async def test_an_end_is_left_to_a_process_whose_lease_is_over_since_the_database_was_away() -> None:
    """Who comes back first waits for a lease: the others have had no chance to renew theirs."""
    async with processes(2) as (_, opened):
        leader, (other,) = apart(opened)
        await other.session.submit(prompt(), key="k")
        works, other.database.fault = other.database.fault, _store_error
        await settled_by(leader)
        leader.database.fault = _store_error
        await asyncio.sleep(2 * LEASE)
        leader.database.fault = works
        await asyncio.sleep(0.8 * LEASE)
        other.database.fault = works
        await until(lambda: other.notified == ["k"], LEASE)
        await asyncio.sleep(3 * LEASE)
        assert (leader.notified, other.notified) == ([], ["k"])


async def test_an_end_that_a_dead_process_owes_is_told_before_its_look_is_paid_again() -> None:
    """Also by a process that has not been there for a lease, and so can't take it over yet."""
    async with processes(1) as (space, (first,)):
        request = prompt("a failure")
        job = await first.session.submit(request, key="k")
        await first.kill()
        await asyncio.sleep(LEASE - 1.0)
        second = Process(first.database.memory, space)
        await second.open()
        await asyncio.sleep(3.0)
        failed = LookUpdate(Look(job.ref, LookStatus.FAILED), complete=True)
        await runtime_of(second.session).registry.publish([failed])
        runner = BatchRunner(second.session, retry=("failed",), look_timeout=1.0)
        await runner.run([BatchItem("k", request)])
        assert second.notified == ["k"]
        await second.close()


async def test_an_end_that_is_written_while_its_session_closes_is_left_to_others() -> None:
    """Between any two of its last statements: its process, and so its lease, may go on for days."""
    async with processes(2) as (_, opened):
        leader, (other,) = apart(opened)
        job = await other.session.submit(prompt(), key="k")
        end = LookUpdate(Look(job.ref, LookStatus.READY, "https://media.example/look.jpg"), complete=True)
        left: list[str] = []

        async def settle_after_the_first(when: str, name: str) -> None:
            if when == "after" and name in ("leave", "leave_ended"):
                left.append(name)
                if len(left) == 1:
                    await runtime_of(leader.session).registry.publish([end])

        other.database.fault = settle_after_the_first
        await other.session.aclose()
        assert len(left) > 1
        await until(lambda: leader.notified == ["k"], 3 * LEASE)


async def test_what_a_session_left_sending_is_unknown_though_its_process_lives_on() -> None:
    """A session whose closing was cancelled, and whose database failed, leaves no key SENDING for ever."""
    async with processes(2) as (space, opened):
        _, (other,) = apart(opened)
        space.faults.fail_next("create", Fault.HANG)
        sending = asyncio.create_task(other.session.submit(prompt(), key="k"))
        memory = other.database.memory
        await until(lambda: memory.states == [IntentState.SENDING], 5.0)
        works, other.database.fault = other.database.fault, _store_error
        closing = asyncio.create_task(other.session.aclose())
        await asyncio.sleep(0.5)
        closing.cancel()
        await asyncio.gather(closing, sending, return_exceptions=True)
        assert memory.states == [IntentState.SENDING]
        other.database.fault = works
        await until(lambda: memory.states == [IntentState.UNKNOWN], 2 * LEASE)


async def _store_error(_: str, __: str) -> None:
    raise StoreError("the database does not answer")


async def test_a_change_is_not_missed_while_its_workspace_is_being_opened() -> None:
    """A change that follows the opening is read, though the statement that reads changes ran meanwhile."""
    async with processes(1) as (space, (first,)):
        other = Process(first.database.memory, space)
        await other.database.open()
        asked, may_read = asyncio.Event(), asyncio.Event()

        async def slow(when: str, name: str) -> None:
            if (when, name) == ("before", "changes"):
                asked.set()
                await may_read.wait()
            await asyncio.sleep(0)

        other.database.fault = slow
        await asked.wait()
        await other.session.__aenter__()
        other.is_open = True
        job = await first.session.submit(prompt(), key="k")
        waiting = asyncio.create_task(other.session.wait(job.ref))
        await settled_by(first)
        may_read.set()
        async with asyncio.timeout(3.0):
            assert (await waiting).status is LookStatus.READY
        await other.close()


async def test_a_leader_that_begins_with_many_kept_deliveries_leaves_room_for_other_statements() -> None:
    """A thousand deliveries that others have kept are worked on two hundred at a time."""
    async with processes(1) as (_, (leader,)):
        running = most = 0

        async def count(when: str, name: str) -> None:
            nonlocal running, most
            if name == "by_attempt":
                running += 1 if when == "before" else -1
                most = max(most, running)
            await asyncio.sleep(0.01)

        leader.database.fault = count
        for number in range(1000):
            runtime_of(leader.session).deliveries.kept_elsewhere(f"att_{number}")
        await asyncio.sleep(5.0)
        assert 0 < most <= 200
        assert running == 0


async def test_a_leader_that_can_t_write_whom_it_told_gives_up_its_duty_without_the_database() -> None:
    """What is left to be written does not keep a process that lost its database from giving up the lead."""
    async with processes(1) as (_, (leader,)):
        store = runtime_of(leader.session).store
        leader.database.fault = _store_error
        assert store._news is not None
        store._news._told["k"] = "look_1"
        await asyncio.sleep(2 * LEASE)
        assert not leader.leads
