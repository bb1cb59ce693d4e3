"""Several submissions of one key, some of them cancelled: one POST, and one content."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from internals_kit import IntentState, runtime_of
from session_kit import edit, intent_of, intents, made, on_space, prompt, sends, turns

from hoox_async import BatchItem, BatchRunner, LookEdit
from hoox_async._session.submit.key_locks import KeyBusy, KeyLocks
from hoox_async.errors import (
    HooxError,
    InsufficientCredits,
    InvalidRequest,
    KeyConflict,
    NotSent,
    OutcomeUnknown,
    RateLimited,
)
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


async def leave(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def test_a_key_whose_caller_left_is_held_against_other_content() -> None:
    """While a POST connects whose caller was cancelled, other content under its key is a conflict."""
    async with on_space(transport={"connect": 1.0}) as (session, space):
        first = asyncio.create_task(session.submit(prompt("first"), key="k"))
        await asyncio.sleep(0.5)
        await leave(first)
        with pytest.raises(KeyConflict):
            await session.submit(prompt("second"), key="k")
        job = await session.submit(prompt("first"), key="k")
        assert [charge.request["prompt"] for charge in space.ledger] == ["first"]
        assert job.ref == space.ledger[0].ref


async def test_a_field_as_argument_and_in_extra_is_one_look_under_a_key() -> None:
    """`tags` given either way is the same content: no conflict, one POST, also in a batch without keys."""
    async with on_space() as (session, space):
        source = await session.run(prompt("source"))
        given = LookEdit(source, "sea", tags=["a"]), LookEdit(source, "sea", extra={"tags": ["a"]})
        jobs = [await session.submit(request, key="k") for request in given]
        report = await BatchRunner(session).run([given[0]])
        again = await BatchRunner(session).run([given[1]])
    assert jobs[0].ref == jobs[1].ref
    assert report.outcomes[0].ref == again.outcomes[0].ref
    assert [charge.request.get("tags") for charge in space.ledger] == [None, ["a"], ["a"]]


@pytest.mark.parametrize("changed", ["error", "keep", "redo"])
async def test_a_batch_meets_other_content_that_is_connecting(changed: Any) -> None:
    """A batch item waits for an outstanding POST of other content, then keeps, redoes or refuses."""
    async with on_space(transport={"connect": 1.0}) as (session, space):
        first = asyncio.create_task(session.submit(prompt("first"), key="k"))
        await asyncio.sleep(0.5)
        await leave(first)
        runner = BatchRunner(session, changed=changed)
        (outcome,) = (await runner.run([BatchItem("k", prompt("second"))])).outcomes
        paid = [charge.request["prompt"] for charge in space.ledger]
    if changed == "error":
        assert isinstance(outcome.error, KeyConflict)
    else:
        assert str(outcome.state) == "ready"
        assert paid == (["first", "second"] if changed == "redo" else ["first"])


@pytest.mark.parametrize(
    ("fault", "error"), [(Fault.status(402), InsufficientCredits), (Fault.REFUSED, NotSent)], ids=str
)
async def test_a_corrected_prompt_goes_under_its_old_key(fault: Fault, error: type[HooxError]) -> None:
    """Other content is sent under a key whose first content never cost anything."""
    async with on_space() as (session, space):
        source, other = made(space), made(space)
        space.faults.fail_next("edit", fault, times=4 if error is NotSent else 1)
        with pytest.raises(error):
            await session.submit(edit(source, "frist"), key="k")
        job = await session.submit(edit(other, "first"), key="k")
        intent = await intent_of(session, "k")
        assert (intent.request, intent.source) == (edit(other, "first"), other)
        assert job.avatar_id == other.avatar_id
        with pytest.raises(KeyConflict):
            await session.submit(edit(source, "frist"), key="k")
        assert [charge.request["prompt"] for charge in space.ledger] == ["first"]


async def test_a_key_that_no_store_can_hold_is_refused() -> None:
    """A key with a lone surrogate, which is no valid UTF-8, is refused."""
    async with on_space() as (session, space):
        with pytest.raises(InvalidRequest, match="UTF-8"):
            await session.submit(prompt(), key="bad\ud800")
        assert space.requests == []


async def test_refusals_do_not_use_up_the_tries_of_a_connection() -> None:
    """Five 429 leave a submission all its tries of making a connection."""
    async with on_space() as (session, space):
        space.faults.fail_next("create", Fault.rate_limited(retry_after=1), times=5)
        space.faults.fail_next("create", Fault.REFUSED, times=3)
        await session.submit(prompt())
        assert sends(space, "create") == 9
        space.faults.fail_next("create", Fault.rate_limited(retry_after=1), times=5)
        space.faults.fail_next("create", Fault.REFUSED, times=4)
        with pytest.raises(NotSent):
            await session.submit(prompt())


@pytest.mark.parametrize("at", [n / 20 for n in range(1, 80)])
async def test_a_caller_cancelled_anywhere_pays_once_and_loses_nothing(at: float) -> None:
    """An edit whose caller is cancelled at any moment is paid once when it is submitted again."""
    async with on_space(requests_per_minute=100) as (session, space):
        source = made(space)
        job = asyncio.create_task(session.run(edit(source, "x"), key="x"))
        other = asyncio.create_task(session.submit(edit(source, "y"), key="y"))
        await asyncio.sleep(at)
        await leave(job)
        await session.run(edit(source, "x"), key="x")
        await other
        assert runtime_of(session).rate_limiter.window.held == 0
        assert sorted(charge.request["prompt"] for charge in space.ledger) == ["x", "y"]


async def test_a_429_without_a_key_is_sent_again_as_the_same_intent() -> None:
    """After a 429 a submission without a key goes on with the intent that it has already."""
    async with on_space() as (session, space):
        space.faults.fail_next("create", Fault.RATE_LIMITED, times=2)
        await session.submit(prompt())
        assert len(space.ledger) == 1
        assert list((await intents(session)).values()) == [IntentState.ACCEPTED]


async def test_a_hub_that_gives_no_url_leaks_no_permit() -> None:
    """A hub that raises when it is asked for a URL ends the submission, and no permit stays held."""

    class Broken:
        def url_for(self, attempt_id: str) -> str:
            raise RuntimeError("no URL")

        def subscribe(self, receiver: Any) -> Any:
            return lambda: None

    async with on_space(webhooks=Broken()) as (session, space):
        with pytest.raises(RuntimeError):
            await session.submit(prompt())
        assert runtime_of(session).rate_limiter.window.held == 0
        assert space.requests == []


async def test_what_a_post_comes_to_can_be_waited_for_without_its_key() -> None:
    """`join` gives the intent of an outstanding POST, or None where it cost nothing."""
    async with on_space(transport={"latency": 10.0}) as (session, space):
        submitter = runtime_of(session).submitter
        assert await submitter.join("k") is None
        for fault, comes_to in ((None, "accepted"), (Fault.DROP_AFTER, "lost"), (Fault.RATE_LIMITED, None)):
            key = str(comes_to)
            if fault is not None:
                space.faults.fail_next("create", fault)
            task = asyncio.create_task(session.submit(prompt(), key=key))
            await asyncio.sleep(1)
            await leave(task)
            if comes_to == "lost":
                with pytest.raises(OutcomeUnknown):
                    await submitter.join(key)
            else:
                landed = await submitter.join(key)
                assert (landed and str(landed.state)) == comes_to


async def test_max_wait_bounds_the_wait_behind_another_of_the_same_key() -> None:
    """A submission behind one that waits for the quota is NotSent when its max_wait is over."""
    async with on_space(requests_per_minute=1) as (session, space):
        await session.submit(prompt("a"), key="a")
        first = asyncio.create_task(session.submit(prompt("b"), key="b"))
        await asyncio.sleep(1)
        began = asyncio.get_running_loop().time()
        with pytest.raises(NotSent) as caught:
            await session.submit(prompt("b"), key="b", max_wait=5)
        assert asyncio.get_running_loop().time() - began == pytest.approx(5)
        assert caught.value.retry_after is not None
        job = await session.submit(prompt("b"), key="b", max_wait=120)
        assert job.ref == (await first).ref
        assert len(space.ledger) == 2


@pytest.mark.parametrize("fault", [None, Fault.DROP_AFTER, Fault.RATE_LIMITED], ids=str)
async def test_what_is_outstanding_is_never_reported_as_not_sent(fault: Fault | None) -> None:
    """A submission whose max_wait ends beside an outstanding POST of its key gets that POST's end."""
    async with on_space(transport={"latency": 10.0}) as (session, space):
        if fault is not None:
            space.faults.fail_next("create", fault)
        first = asyncio.create_task(session.submit(prompt("x"), key="k"))
        await asyncio.sleep(1)
        second = session.submit(prompt("x"), key="k", max_wait=2)
        other = session.submit(prompt("y"), key="k", max_wait=2)
        found, conflict = await asyncio.gather(second, other, return_exceptions=True)
        if fault is None:
            assert found is await first
            assert isinstance(conflict, KeyConflict)
        elif fault is Fault.DROP_AFTER:
            assert isinstance(found, OutcomeUnknown)
            with pytest.raises(OutcomeUnknown):
                await first
        else:
            assert isinstance(found, NotSent)
            await first
        assert len(space.ledger) == 1


async def test_a_key_is_waited_for_as_long_as_is_said() -> None:
    """A key that is not free in time raises KeyBusy, and one that is free is acquired at once."""
    locks = KeyLocks()
    async with locks.holding("k", 0.0):
        with pytest.raises(KeyBusy):
            async with locks.holding("k", 1.0):
                raise AssertionError("it is held")
    async with locks.holding("k", 0.0):
        pass
    assert not locks._locks


async def test_one_at_a_time_holds_a_key() -> None:
    """Waiters of one key get it in the order of their arrival, except those that are cancelled."""
    locks, order = KeyLocks(), []

    async def hold(key: str, name: str) -> None:
        async with locks.holding(key):
            order.append(name)
            await asyncio.sleep(1)
            if name == "fails":
                raise RateLimited(429, None, "no")

    tasks = [asyncio.create_task(hold("k", name)) for name in ("fails", "leaves", "last")]
    await turns(3)
    await leave(tasks[1])
    async with locks.holding("another"):
        order.append("another")
    await asyncio.wait(tasks)
    with suppress(RateLimited):
        tasks[0].result()
    assert order == ["fails", "another", "last"]
    assert not locks._locks
