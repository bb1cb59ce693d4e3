"""What became of a paid POST and the store did not take is written as soon as the store takes it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from delivery_kit import stage
from internals_kit import (
    Accept,
    Intent,
    IntentState,
    MarkUnknown,
    MemoryLedger,
    Reject,
    Revert,
    Send,
    Transition,
)
from session_kit import edit, intent_of, made, on_space, others, prompt

from hoox_async import BatchItem, BatchRunner, LookStatus, Timeouts
from hoox_async.errors import ApiError, OutcomeUnknown, StoreError
from hoox_async.events import Event, LookAccepted
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time

QUICK = Timeouts(answer=10.0)
TROUBLES = [StoreError("another program keeps the file locked"), OSError("gone")]


class Refusing(MemoryLedger):
    """Does not take steps of one kind, as often as it is told to."""

    def __init__(
        self, kind: type[Any] | None = None, times: int = 10**9, error: Exception | None = None
    ) -> None:
        super().__init__()
        self.kind = kind
        self.times = times
        self.error = error or StoreError("the disk is full")
        self.tried: list[float] = []

    async def advance(self, key: str, *steps: Transition) -> Intent:
        if self.kind is not None and isinstance(steps[-1], self.kind) and self.times > 0:
            self.times -= 1
            self.tried.append(asyncio.get_running_loop().time())
            raise self.error
        return await super().advance(key, *steps)

    async def plan(self, intent: Intent) -> Intent:
        if self.kind is Send and self.times > 0:
            raise self.error
        return await super().plan(intent)


# --- what was paid


@pytest.mark.parametrize("trouble", TROUBLES, ids=["ours", "odd"])
async def test_an_acceptance_that_was_refused_once_is_written_down_later(trouble: Exception) -> None:
    """The caller has the ref at once; a second later the job is listed and hooks are notified."""
    events: list[Event] = []
    store = Refusing(Accept, 1, trouble)
    async with on_space(store=store, hooks=[events.append]) as (session, space):
        with pytest.raises(StoreError) as caught:
            await session.submit(prompt(), key="k")
        assert (caught.value.charged, caught.value.ref) == ("yes", space.ledger[0].ref)
        assert await session.jobs() == []
        await asyncio.sleep(1.5)
        (job,) = await session.jobs()
        assert job.ref == space.ledger[0].ref
        assert (await job.wait()).ref == job.ref
        assert (await intent_of(session, "k")).state is IntentState.READY
    assert [event.key for event in events if isinstance(event, LookAccepted)] == ["k"]


async def test_it_is_tried_again_and_again_and_ever_less_often() -> None:
    """A deferred write is tried after 1, 2, 4 … 30 seconds, by one task that ends with it."""
    store = Refusing(Accept, 8)
    async with on_space(store=store, poll="awaited") as (session, _):
        before = others()
        for key in "ab":
            with pytest.raises(StoreError):
                await session.submit(prompt(), key=key)
        await asyncio.sleep(200)
        assert len(await session.jobs()) == 2
        assert others() == before
    pauses = [round(b - a) for a, b in zip(store.tried[1:-1:2], store.tried[3::2], strict=False)]
    assert pauses == [1, 2, 4]


async def test_the_same_key_is_the_same_job_as_soon_as_the_store_works() -> None:
    """A submission of its key tries the deferred write at once, and raises its error if that fails."""
    store = Refusing(Accept, 2)
    async with on_space(store=store) as (session, space):
        for _ in range(2):
            with pytest.raises(StoreError) as caught:
                await session.submit(prompt(), key="k")
            assert (caught.value.charged, caught.value.ref) == ("yes", space.ledger[0].ref)
        job = await session.submit(prompt(), key="k")
        assert job.ref == space.ledger[0].ref
        await asyncio.sleep(60)
        assert len(space.ledger) == 1


async def test_it_is_written_at_the_close_at_the_latest() -> None:
    """A deferred write is tried when the session closes: the next session finds it accepted."""
    space, store = Space(rng=Random(1)), Refusing(Accept, 1)
    async with on_space(space, store=store) as (session, _):
        with pytest.raises(StoreError):
            await session.submit(prompt(), key="k")
    async with on_space(space, store=store) as (session, _):
        assert (await session.submit(prompt(), key="k")).ref == space.ledger[0].ref
    assert len(space.ledger) == 1


async def test_a_store_that_never_works_again_keeps_no_session_open() -> None:
    """A deferred write that always fails does not keep the session from closing."""
    space, store = Space(rng=Random(1)), Refusing(Accept)
    async with on_space(space, store=store) as (session, _):
        with pytest.raises(StoreError):
            await session.submit(prompt(), key="k")
        await asyncio.sleep(300)
    store.kind = None
    async with on_space(space, store=store) as (session, _):
        assert [unknown.key for unknown in await session.unknowns()] == ["k"]


# --- what was lost, or taken back


@pytest.mark.parametrize("trouble", TROUBLES, ids=["ours", "odd"])
async def test_a_loss_that_was_refused_once_is_an_unknown_later(trouble: Exception) -> None:
    """The caller gets OutcomeUnknown, and the unknown is listed once the store takes it."""
    store = Refusing(MarkUnknown, 1, trouble)
    async with on_space(store=store) as (session, space):
        space.faults.fail_next("create", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown) as caught:
            await session.submit(prompt(), key="k")
        assert caught.value.__cause__ is trouble
        with pytest.raises(OutcomeUnknown):
            await session.submit(prompt(), key="k")
        assert [unknown.key for unknown in await session.unknowns()] == ["k"]
        assert len(space.ledger) == 1


@pytest.mark.parametrize(("fault", "state"), [(402, IntentState.PLANNED), (400, IntentState.REJECTED)])
async def test_a_refusal_that_the_store_did_not_take_is_written_down_later(
    fault: int, state: IntentState
) -> None:
    """A free refusal whose write was deferred is found as that, and not as an unknown."""
    store = Refusing(Revert if fault == 402 else Reject, 1)
    async with on_space(store=store) as (session, space):
        space.faults.fail_next("create", Fault.status(fault))
        with pytest.raises(StoreError) as caught:
            await session.submit(prompt(), key="k")
        assert caught.value.charged == "no"
        await asyncio.sleep(2)
        assert (await intent_of(session, "k")).state is state
        assert await session.unknowns() == []


@pytest.mark.parametrize("trouble", TROUBLES, ids=["ours", "odd"])
async def test_what_fails_before_the_post_sends_nothing(trouble: Exception) -> None:
    """Where SENDING can't be written, a submission and a batch send nothing, and the batch ends."""
    store = Refusing(Send, error=trouble)
    async with on_space(store=store) as (session, space):
        with pytest.raises(StoreError) as caught:
            await session.submit(prompt(), key="k")
        assert caught.value.charged == "no"
        (outcome,) = (await BatchRunner(session).run([BatchItem("k", prompt())])).outcomes
        assert str(outcome.state) == "unsent"
        store.kind = None
        space.faults.fail_next("create", Fault.status(402))
        with pytest.raises(ApiError):
            await session.submit(prompt(), key="k")
        store.kind = Send
        with pytest.raises(StoreError):
            await session.submit(prompt(), key="k")
        assert space.ledger == []


class SlowToSay(Refusing):
    """What it does take, it says so a second later."""

    async def advance(self, key: str, *steps: Transition) -> Intent:
        after = await super().advance(key, *steps)
        if self.tried:
            await asyncio.sleep(1)
        return after


@pytest.mark.parametrize("leaves", [True, False])
async def test_what_follows_from_a_deferred_write_is_missed_by_no_try(leaves: bool) -> None:
    """A delivery confirms a lost edit whichever of several tries wrote it, also if its caller left."""
    store = SlowToSay(MarkUnknown, 1)
    async with stage(store=store, timeouts=QUICK) as on:
        session, source = on.session, made(on.space)
        attempt = await on.lose(edit(source), "k")
        assert await on.deliver(attempt, on.last, LookStatus.READY)
        again = asyncio.create_task(session.submit(edit(source), key="k"))
        await asyncio.sleep(0.7 if leaves else 1.2)  # the background's own try is after a second
        if leaves:
            assert (await intent_of(session, "k")).state is IntentState.UNKNOWN
            again.cancel()
        await asyncio.wait([again])
        await asyncio.sleep(1.5)
        assert (await intent_of(session, "k")).ref == on.last


def sqlite_lock(path: str) -> Callable[[], None]:
    """Another program that keeps the file locked, until the returned function is called."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")

    def let_go() -> None:
        db.execute("ROLLBACK")
        db.close()

    return let_go


async def test_a_file_that_another_program_locks_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A SQLite file that was locked by another program gets the deferred write later."""
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **how: connect(path, **{**how, "timeout": 0.01}))
    path = str(tmp_path / "campaign.db")
    async with on_space(store=path, transport={"latency": 20.0}) as (session, space):
        task = asyncio.create_task(session.submit(prompt(), key="k"))
        await asyncio.sleep(5)
        let_go = sqlite_lock(path)
        try:
            with pytest.raises(StoreError) as caught:
                await task
        finally:
            let_go()
        assert caught.value.ref == space.ledger[0].ref
        await asyncio.sleep(5)
        (job,) = await session.jobs()
        assert job.ref == space.ledger[0].ref


# --- a store that took it, and said that it did not


class LosingReplies(MemoryLedger):
    """Takes the first step of one kind, and raises all the same."""

    def __init__(self, kind: type[Any]) -> None:
        super().__init__()
        self.kind: type[Any] | None = kind

    async def advance(self, key: str, *steps: Transition) -> Intent:
        after = await super().advance(key, *steps)
        if self.kind is not None and isinstance(steps[-1], self.kind):
            self.kind = None
            raise StoreError("the connection to the store broke after the commit")
        return after


async def test_an_acceptance_whose_commit_was_not_confirmed_is_told_and_polled() -> None:
    """A look is told by one LookAccepted and polled until it is done, also where its commit seems lost."""
    events: list[Event] = []
    async with on_space(store=LosingReplies(Accept), hooks=[events.append]) as (session, space):
        with pytest.raises(StoreError) as caught:
            await session.submit(prompt(), key="k")
        assert caught.value.charged == "yes"
        await asyncio.sleep(300)
        assert (await intent_of(session, "k")).state is IntentState.READY
        assert [event.ref for event in events if isinstance(event, LookAccepted)] == [space.ledger[0].ref]


async def test_a_store_that_is_cancelled_is_a_store_that_fails() -> None:
    """A CancelledError of the store's own, while nobody was cancelled, loses nothing of what was paid."""
    store = Refusing(Accept, times=1)
    store.error = asyncio.CancelledError()  # type: ignore[assignment]
    async with on_space(store=store) as (session, space):
        with pytest.raises(StoreError) as caught:
            await session.submit(prompt(), key="k")
        assert (caught.value.charged, caught.value.ref) == ("yes", space.ledger[0].ref)
        await asyncio.sleep(300)
        assert (await intent_of(session, "k")).state is IntentState.READY


class LosingSends(MemoryLedger):
    """Takes the first writing of SENDING, and raises all the same."""

    lost = False

    def _lose(self) -> None:
        if not self.lost:
            self.lost = True
            raise OSError("the connection to the store broke after the commit")

    async def advance(self, key: str, *steps: Transition) -> Intent:
        after = await super().advance(key, *steps)
        if isinstance(steps[-1], Send):
            self._lose()
        return after

    async def plan(self, intent: Intent) -> Intent:
        after = await super().plan(intent)
        self._lose()
        return after


async def test_a_sending_whose_commit_was_not_confirmed_is_taken_back() -> None:
    """Where SENDING was written but the store raised, nothing was sent: the key can be submitted again."""
    async with on_space(store=LosingSends()) as (session, space):
        ref = made(space)
        with pytest.raises(StoreError) as caught:
            await session.submit(edit(ref), key="k")
        assert caught.value.charged == "no"
        assert space.ledger == []
        await session.submit(edit(ref), key="k")
        assert len(space.ledger) == 1


async def test_a_resend_whose_sending_was_not_confirmed_is_an_unknown_again() -> None:
    """Where the SENDING of a resend was written but the store raised, the intent is the unknown it was."""
    store = LosingSends()
    store.lost = True
    async with on_space(store=store) as (session, space):
        space.faults.fail_next("create", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown):
            await session.submit(prompt(), key="k")
        store.lost = False
        with pytest.raises(StoreError):
            await session.resend("k")
        await asyncio.sleep(5)
        assert [unknown.key for unknown in await session.unknowns()] == ["k"]
        await session.resend("k")
        assert len(space.ledger) == 2
