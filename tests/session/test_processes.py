"""Two processes on one store: what one of them sends the other joins, and the first decision wins."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from internals_kit import Intent, IntentState, LookUpdate, MarkUnknown, Revert, Send, digest, runtime_of
from processes_kit import LEASE, two_processes
from session_kit import edit, intent_of, made, prompt, turns

from hoox_async import BatchItem, BatchRunner, Look, LookStatus
from hoox_async.errors import (
    BadRequest,
    InsufficientCredits,
    InvalidRequest,
    KeyConflict,
    NotSent,
    OutcomeUnknown,
    StoreError,
)
from hoox_async.events import Event, LookAccepted
from hoox_async.sandbox import Fault
from hoox_async.testing import VirtualTimeLoop

pytestmark = pytest.mark.virtual_time

SLOW = {"latency": 20.0}


@pytest.mark.parametrize("max_wait", [None, 0.0, 1.0])
async def test_a_key_that_another_process_is_sending_is_joined(max_wait: float | None) -> None:
    """Both submissions have the one look that was charged, and ``max_wait`` does not bound that wait."""
    async with two_processes(transport=SLOW) as (one, two, space):
        first = asyncio.create_task(one.session.submit(prompt(), key="k"))
        await asyncio.sleep(5)
        second = asyncio.create_task(two.session.submit(prompt(), key="k", max_wait=max_wait))
        third = asyncio.create_task(two.session.submit(prompt(), key="k", max_wait=max_wait))
        await asyncio.sleep(10)
        assert not any(task.done() for task in (second, third))
        refs = {(await task).ref for task in (first, second, third)}
        assert refs == {space.ledger[0].ref}
    assert len(space.ledger) == 1


async def test_waiting_for_another_process_reads_the_store_a_fixed_number_of_times() -> None:
    """Nothing is read again and again meanwhile, however long the other process takes."""
    counts = []
    for latency in (10.0, 100.0):
        async with two_processes(transport={"latency": latency}) as (one, two, _):
            first = asyncio.create_task(one.session.submit(prompt(), key="k"))
            await asyncio.sleep(2)
            before = two.database.statements["row"]
            await two.session.submit(prompt(), key="k")
            await first
            counts.append(two.database.statements["row"] - before)
    assert counts[0] == counts[1] <= 4


async def test_other_content_under_a_key_that_is_being_sent_is_a_conflict_at_once() -> None:
    """The other process's request is not waited for, in a single submission and in a batch."""
    async with two_processes(transport=SLOW) as (one, two, _):
        first = asyncio.create_task(one.session.submit(prompt(), key="k"))
        await asyncio.sleep(5)
        async with asyncio.timeout(1):
            with pytest.raises(KeyConflict):
                await two.session.submit(prompt("another"), key="k")
            (outcome,) = (await BatchRunner(two.session).run([BatchItem("k", prompt("another"))])).outcomes
        assert isinstance(outcome.error, KeyConflict)
        await first


@pytest.mark.parametrize(
    ("fault", "error", "charges"),
    [
        (Fault.status(400), BadRequest, 0),
        (Fault.DROP_AFTER, OutcomeUnknown, 1),
        (Fault.HANG, OutcomeUnknown, 1),
    ],
)
async def test_both_processes_get_the_outcome_of_the_one_post(
    fault: Fault, error: type[Exception], charges: int
) -> None:
    """A refusal of the item's own and a loss are told in both processes, and nothing is sent twice."""
    async with two_processes(transport=SLOW) as (one, two, space):
        space.faults.fail_next("create", fault)
        first = asyncio.create_task(one.session.submit(prompt(), key="k"))
        await asyncio.sleep(5)
        results = await asyncio.gather(first, two.session.submit(prompt(), key="k"), return_exceptions=True)
        assert [type(result) for result in results] == [error, error]
    assert len(space.ledger) == charges
    assert sum(record.endpoint == "create" for record in space.requests) == 1


async def test_what_cost_nothing_in_another_process_is_sent_by_the_one_that_waits() -> None:
    """Where the other's POST was put back, for a lack of credits, the joined submission sends it itself."""
    async with two_processes(transport=SLOW) as (one, two, space):
        space.faults.fail_next("create", Fault.status(402))
        first = asyncio.create_task(one.session.submit(prompt(), key="k"))
        await asyncio.sleep(5)
        job = await two.session.submit(prompt(), key="k")
        with pytest.raises(InsufficientCredits):
            await first
        assert [charge.ref for charge in space.ledger] == [job.ref]


async def test_a_submission_that_is_cancelled_in_the_turn_of_another_process_change_sends_nothing() -> None:
    """It ends cancelled, though its decision has to be made again because the other was refused."""
    async with two_processes(requests_per_minute=1) as (one, two, space):
        await two.session.submit(prompt("it takes the only permit"))
        waiting = asyncio.create_task(two.session.submit(prompt(), key="k"))
        await turns()
        heard: list[Intent] = []

        def cancel_at_first_change(intent: Intent) -> None:
            if not heard:
                waiting.cancel()
            heard.append(intent)

        two.ledger.on_changed_elsewhere(cancel_at_first_change)
        await one.ledger.plan(Intent("k", True, prompt(), digest(prompt()), VirtualTimeLoop.epoch))
        await one.ledger.advance("k", Send("of another process", VirtualTimeLoop.epoch))
        await one.ledger.advance("k", Revert("of another process"))
        await asyncio.sleep(600)
        assert waiting.cancelled()
    assert len(space.ledger) == 1


async def test_two_processes_over_the_same_keys() -> None:
    """Two batches of the same 60 items: 60 charges, no item is told unknown, each process has all looks."""
    async with two_processes(transport={"latency": 3.0}, poll="awaited") as (one, two, space):
        items = [BatchItem(f"k{n}", prompt(f"scene {n}")) for n in range(60)]
        reports = await asyncio.gather(
            BatchRunner(one.session, max_in_flight=20).run(items),
            BatchRunner(two.session, max_in_flight=20).run(reversed(items)),
        )
        for report in reports:
            assert Counter(str(outcome.state) for outcome in report) == {"ready": 60}
        refs = [{outcome.key: outcome.ref for outcome in report} for report in reports]
        assert refs[0] == refs[1]
    assert len(space.ledger) == 60


async def test_a_batch_that_is_stopped_tells_the_outcome_of_what_another_process_is_sending() -> None:
    """The POST of the other process is awaited, as an own one is, and what was not begun is unsent."""
    async with two_processes(transport=SLOW, poll="awaited") as (one, two, space):
        first = asyncio.create_task(one.session.submit(prompt(), key="k"))
        await asyncio.sleep(5)
        runner = BatchRunner(two.session)
        running = asyncio.create_task(runner.run([BatchItem("k", prompt())]))
        await asyncio.sleep(2)
        runner.stop()
        (outcome,) = (await running).outcomes
        assert outcome.ref == (await first).ref == space.ledger[0].ref


async def test_a_session_that_is_closed_meanwhile_does_not_hang() -> None:
    """Who waits for another process gets OutcomeUnknown when its own session is closed."""
    async with two_processes(transport={"latency": 60.0}) as (one, two, _):
        first = asyncio.create_task(one.session.submit(prompt(), key="k"))
        await asyncio.sleep(5)
        second = asyncio.create_task(two.session.submit(prompt(), key="k"))
        await asyncio.sleep(1)
        async with asyncio.timeout(1):
            await two.session.aclose()
            with pytest.raises(OutcomeUnknown):
                await second
        await first


# --- a process that dies


async def test_what_a_dead_process_was_sending_is_told_unknown_after_its_lease() -> None:
    """The one that waits learns within two leases that it may have been charged; nothing is sent again."""
    async with two_processes(transport={"latency": 60.0}) as (one, two, space):
        first = asyncio.create_task(one.session.submit(prompt(), key="k"))
        await asyncio.sleep(5)
        one.database.freeze()
        async with asyncio.timeout(2 * LEASE):
            with pytest.raises(OutcomeUnknown, match="for a whole lease"):
                await two.session.submit(prompt(), key="k")
        assert [unknown.key for unknown in await two.session.unknowns()] == ["k"]
        one.database.thaw()
        job = await first  # it was not dead: its answer settles the unknown
        assert (await intent_of(two.session, "k")).ref == job.ref
        assert (await two.session.submit(prompt(), key="k")).ref == job.ref
    assert len(space.ledger) == 1


async def test_who_waits_for_a_dead_process_is_woken_by_what_is_decided_here() -> None:
    """A third process finds the loss, and it is decided upon here before that is read among the changes.

    A process reads changes of others only, and the last one is its own.
    """
    async with two_processes(transport={"latency": 60.0}) as (one, two, _):
        first = asyncio.create_task(one.session.submit(prompt(), key="k"))
        await asyncio.sleep(5)
        waiting = asyncio.create_task(two.session.submit(prompt(), key="k"))
        await asyncio.sleep(1)
        sending = await intent_of(two.session, "k")
        lost = MarkUnknown("presumed dead", sending.attempts[-1].id, presumed=True)
        await one.ledger.advance("k", lost)
        await two.session.drop("k")
        async with asyncio.timeout(5):
            with pytest.raises(OutcomeUnknown):
                await waiting
        await first


async def test_who_waits_is_woken_by_a_look_that_settles_here_before_its_acceptance_is_read() -> None:
    """Another process was answered, and this one settles the look within the second until it reads that."""
    async with two_processes(transport=SLOW) as (one, two, space):
        first = asyncio.create_task(one.session.submit(prompt(), key="k"))
        await asyncio.sleep(5)
        waiting = asyncio.create_task(two.session.submit(prompt(), key="k"))
        job = await first
        look = Look(job.ref, LookStatus.READY, thumbnail_url="https://example.com/a.jpg")
        await runtime_of(two.session).registry.publish([LookUpdate(look, complete=True)])
        async with asyncio.timeout(5):
            assert (await waiting).ref == job.ref
    assert len(space.ledger) == 1


async def test_a_cut_off_process_writes_its_answer_later_and_nothing_was_paid_twice() -> None:
    """A minute without the store: its look is the key's in the end, in both processes."""
    async with two_processes(transport=SLOW) as (one, two, space):
        first = asyncio.create_task(one.session.submit(prompt(), key="k"))
        await asyncio.sleep(5)
        one.database.is_cut_off = True
        with pytest.raises(StoreError) as caught:
            await first
        assert (caught.value.charged, caught.value.ref) == ("yes", space.ledger[0].ref)
        await asyncio.sleep(60)
        with pytest.raises(OutcomeUnknown):
            await two.session.submit(prompt(), key="k")
        one.database.is_cut_off = False
        await asyncio.sleep(40)
        assert (await two.session.submit(prompt(), key="k")).ref == space.ledger[0].ref
    assert len(space.ledger) == 1


async def test_a_resend_waits_until_the_answer_can_not_come_any_more() -> None:
    """An unknown of a process that is presumed dead is resent after its deadline, not before."""
    async with two_processes(transport={"latency": 60.0}) as (one, two, space):
        first = asyncio.create_task(one.session.submit(prompt(), key="k"))
        await asyncio.sleep(5)
        one.database.freeze()
        await asyncio.sleep(2 * LEASE)
        deadline = (await intent_of(two.session, "k")).answer_by
        assert deadline is not None
        with pytest.raises(NotSent) as caught:
            await two.session.resend("k", max_wait=10)
        assert caught.value.retry_after == pytest.approx(140 - 25 - 10, abs=2)
        assert space.ledger == [] or len(space.ledger) == 1
        job = await two.session.resend("k")
        sent_again = (await intent_of(two.session, "k")).sent_at
        assert sent_again is not None
        assert sent_again >= deadline
        one.database.thaw()
        assert (await first).ref == job.ref
        intent = await intent_of(two.session, "k")
        assert (float(intent.spent), float(intent.at_risk)) == (4, 0)
        assert len(intent.past_looks) == 1
    assert len(space.ledger) == 2


async def test_a_clock_that_was_set_back_delays_a_resend_by_one_deadline_at_most() -> None:
    """The clock that all processes go by goes back by an hour after the POST: nobody waits for an hour."""
    async with two_processes(transport={"latency": 60.0}) as (one, two, space):
        first = asyncio.create_task(one.session.submit(prompt(), key="k"))
        await asyncio.sleep(5)
        one.database.freeze()
        await asyncio.sleep(2 * LEASE)
        two.database.memory.clock_shift = -timedelta(hours=1)
        await asyncio.sleep(LEASE)
        with pytest.raises(NotSent) as caught:
            await two.session.resend("k", max_wait=10)
        assert caught.value.retry_after == pytest.approx(140 - 10, abs=2)
        began = asyncio.get_running_loop().time()
        job = await two.session.resend("k")
        assert asyncio.get_running_loop().time() - began == pytest.approx(140 + 60, abs=2)
        one.database.thaw()
        assert (await first).ref == job.ref
    assert len(space.ledger) == 2


async def test_a_resend_that_waits_takes_the_answer_that_comes() -> None:
    """Where the process that was presumed dead gets its answer, the resend gives that look for no credits."""
    async with two_processes(transport={"latency": 60.0}) as (one, two, space):
        first = asyncio.create_task(one.session.submit(prompt(), key="k"))
        await asyncio.sleep(5)
        one.database.freeze()
        await asyncio.sleep(2 * LEASE)
        again = asyncio.create_task(two.session.resend("k"))
        await asyncio.sleep(5)
        one.database.thaw()
        assert (await again).ref == (await first).ref
    assert len(space.ledger) == 1


async def test_a_batch_that_resends_unknowns_waits_for_the_answer_too() -> None:
    """``on_unknown="resend"`` pays again only when the process that was presumed dead can get no answer."""
    async with two_processes(transport=SLOW, poll="awaited") as (one, two, space):
        first = asyncio.create_task(one.session.submit(prompt(), key="k"))
        await asyncio.sleep(5)
        one.database.freeze()
        await asyncio.sleep(2 * LEASE)
        runner = BatchRunner(two.session, on_unknown="resend")
        running = asyncio.create_task(runner.run([BatchItem("k", prompt())]))
        await asyncio.sleep(20)
        one.database.thaw()
        (outcome,) = (await running).outcomes
        assert (str(outcome.state), outcome.ref) == ("ready", (await first).ref)
    assert len(space.ledger) == 1


async def test_an_own_loss_can_be_resent_at_once() -> None:
    """Its own process says that nobody waits for the answer any more: no deadline is waited for."""
    async with two_processes() as (one, two, space):
        space.faults.fail_next("create", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown):
            await one.session.submit(prompt(), key="k")
        async with asyncio.timeout(5):
            await two.session.resend("k", max_wait=1)
    assert len(space.ledger) == 2


async def test_a_double_is_told_and_the_key_keeps_its_own_look() -> None:
    """The late answer of a POST that was sent again: an event, its credits, and no other key's look."""
    events: list[Event] = []
    async with two_processes(transport=SLOW, hooks=[events.append]) as (one, two, space):
        first = asyncio.create_task(one.session.submit(prompt(), key="k"))
        await asyncio.sleep(5)
        one.database.freeze()
        await asyncio.sleep(150)
        job = await two.session.resend("k")
        one.database.thaw()
        assert (await first).ref == job.ref
        doubles = [event for event in events if isinstance(event, LookAccepted) and event.double]
        assert [event.ref for event in doubles] == [space.ledger[0].ref]
        assert doubles[0].ref != job.ref
        intent = await intent_of(one.session, "k")
        assert (intent.ref, intent.past_looks, float(intent.spent)) == (job.ref, (doubles[0].ref,), 4)
        assert doubles[0].ref.look_id in await one.ledger.claimed_looks(doubles[0].ref.avatar_id)
        with pytest.raises(InvalidRequest):
            await two.session.resolve("k", doubles[0].ref)


# --- what belongs to whom


async def test_jobs_are_this_processs_and_unknowns_the_workspaces() -> None:
    """Each process lists the looks that it sent; an unknown is listed, and settled, in any of them."""
    async with two_processes(poll="awaited") as (one, two, space):
        mine = await one.session.submit(prompt("one"), key="one")
        other = await two.session.submit(prompt("two"), key="two")
        assert [job.ref for job in await one.session.jobs()] == [mine.ref]
        assert [job.ref for job in await two.session.jobs()] == [other.ref]
        space.faults.fail_next("create", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown):
            await one.session.submit(prompt("three"), key="three")
        for process in (one, two):
            assert [unknown.key for unknown in await process.session.unknowns()] == ["three"]
        await two.session.resolve("three", space.ledger[-1].ref)
        with pytest.raises(InvalidRequest):
            await one.session.drop("three")


async def test_an_ended_session_leaves_nothing_outstanding_in_a_living_process() -> None:
    """A session whose closing was cancelled marks its POST unknown, though the process's lease goes on."""
    async with two_processes(transport={"latency": 60.0}) as (one, two, _):
        first = asyncio.create_task(one.session.submit(prompt(), key="k"))
        await asyncio.sleep(5)
        closing = asyncio.create_task(one.session.aclose())
        await turns()
        closing.cancel()
        await asyncio.wait((closing, first))
        intent = await intent_of(two.session, "k")
        assert (intent.state, intent.answer_by) == (IntentState.UNKNOWN, None)


async def test_an_edit_is_joined_too() -> None:
    """An edit that another process is sending is joined as a new avatar is."""
    async with two_processes(transport=SLOW) as (one, two, space):
        source = made(space)
        first = asyncio.create_task(one.session.submit(edit(source), key="k"))
        await asyncio.sleep(5)
        assert (await two.session.submit(edit(source), key="k")).ref == (await first).ref
    assert len(space.ledger) == 1
