"""Lost POSTs where the store, the API or the session's end gets in the way: nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import pytest
from batch_kit import QUICK, avatar, edits, lose, now, opened, prompts, space_of, states

from hoox_async import BatchRunner, HooxSession, LookEdit, LookRef, Timeouts
from hoox_async._core.intents.intent import Intent, IntentState
from hoox_async._core.intents.transitions import EndSearch, MarkUnknown, Transition
from hoox_async._io.stores.memory import MemoryStore
from hoox_async._session import runtime_of
from hoox_async.errors import NotFound, NotSent, RateLimited, SessionClosed, StoreError
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time


class Hiccup(MemoryStore):
    """Does not take steps of one kind."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses: type[Any] | None = None
        self.with_error: Exception = StoreError("the disk is full")

    async def advance(self, key: str, *steps: Transition) -> Intent:
        if self.refuses is not None and isinstance(steps[0], self.refuses):
            raise self.with_error
        return await super().advance(key, *steps)


# --- the store


@pytest.mark.parametrize("fault", [Fault.DROP_BEFORE, Fault.DROP_AFTER], ids=["uncharged", "charged"])
async def test_a_loss_that_the_store_never_records_does_not_lock_its_avatar_for_ever(
    fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    """The search for a loss that the store never recorded ends too, and the avatar is unlocked."""
    space, store = space_of(), Hiccup()
    async with opened(space, store=store, exclusive=True, timeouts=QUICK) as session:
        source = await avatar(session)
        store.refuses = MarkUnknown
        await lose(session, space, source, "lost", fault)
        unknowns = runtime_of(session).reconciler
        intent = (await store.get(("lost",)))["lost"]
        await unknowns.avatars.note_lost(intent)
        async with asyncio.timeout(3600):
            await unknowns.avatars.wait_for_avatar(source.avatar_id, None)
        assert unknowns.avatars.lock(source.avatar_id)
        assert "does not know" not in caplog.text
        store.refuses = None


class NoReads(MemoryStore):
    """Reads nothing any more once a POST was lost, with an error of its own."""

    lost = False

    async def advance(self, key: str, *steps: Transition) -> Intent:
        self.lost = self.lost or isinstance(steps[0], MarkUnknown)
        return await super().advance(key, *steps)

    async def get(self, keys: Collection[str]) -> dict[str, Intent]:
        if self.lost:
            raise OSError("gone")
        return await super().get(keys)


async def test_a_loss_is_reported_though_the_store_cannot_be_read() -> None:
    """The caller gets OutcomeUnknown although the store fails, and nothing is inferred for the avatar."""
    space, store = space_of(), NoReads()
    async with opened(space, store=store, exclusive=True, timeouts=QUICK) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_AFTER)
        assert not runtime_of(session).reconciler.avatars.infers(
            (await store.in_states([IntentState.UNKNOWN]))[0]
        )


async def test_a_search_whose_end_cannot_be_written_opens_the_avatar_lock() -> None:
    """The avatar is unlocked whatever the store raises, and nothing more is inferred for it."""
    space, store = space_of(), Hiccup()
    async with opened(space, store=store, exclusive=True, timeouts=QUICK) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_BEFORE)
        store.refuses, store.with_error = EndSearch, OSError("gone")
        async with asyncio.timeout(3600):
            await session.submit(LookEdit(source, "next"))
        await lose(session, space, source, "second", Fault.DROP_AFTER)
        await session.submit(LookEdit(source, "last"))
        await asyncio.sleep(600)
        unknowns = {unknown.key: unknown for unknown in await session.unknowns()}
    assert set(unknowns) == {"lost", "second"}
    assert len(unknowns["second"].candidates) == 1


async def test_a_batch_does_not_hang_where_the_end_of_a_search_cannot_be_stored() -> None:
    """All items of the avatar have an outcome although the end of the search can't be written."""
    space, store = space_of(), Hiccup()
    async with opened(space, store=store, exclusive=True, timeouts=QUICK) as session:
        source = await avatar(session)
        store.refuses = EndSearch
        space.faults.fail_next("edit", Fault.DROP_BEFORE)
        async with asyncio.timeout(24 * 3600):
            report = await BatchRunner(session, look_timeout=3600.0).run(edits(source, 5))
    assert sorted(states(report).values()) == ["ready"] * 4 + ["unknown"]


# --- the session's end


async def end_of(waiter: asyncio.Task[Any]) -> BaseException | None:
    """What a waiter was told; it neither hangs nor is cancelled."""
    done, _ = await asyncio.wait([waiter], timeout=3600)
    assert done, "it hangs"
    assert not waiter.cancelled()
    return waiter.exception()


async def test_waits_for_a_locked_avatar_end_with_session_closed() -> None:
    """Edits that wait for a search of their avatar end with SessionClosed at the close."""
    space = space_of()
    async with opened(space, exclusive=True) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_BEFORE)
        waiters = [asyncio.create_task(session.submit(LookEdit(source, f"w{n}"))) for n in range(3)]
        await asyncio.sleep(5)
        closed_at = now()
    for waiter in waiters:
        assert isinstance(await end_of(waiter), SessionClosed)
    assert now() == pytest.approx(closed_at, abs=0.1)
    assert sum(prompts(space).values()) == 1


async def test_waits_for_a_baseline_end_with_session_closed() -> None:
    """Edits that wait for their avatar's baseline end with SessionClosed at the close."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
    async with opened(space, exclusive=True) as session:
        space.faults.fail_next("avatar", Fault.HANG)
        waiters = [asyncio.create_task(session.submit(LookEdit(source, f"w{n}"))) for n in range(2)]
        await asyncio.sleep(5)
    ends = [await end_of(waiter) for waiter in waiters]
    assert all(isinstance(end, SessionClosed) for end in ends)
    assert ends[0] is not ends[1]


async def test_a_cancelled_caller_does_not_end_a_shared_baseline_request() -> None:
    """Of two edits that wait for one baseline, the second goes on when the first is cancelled."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
    async with opened(space, exclusive=True) as session:
        one = asyncio.create_task(session.submit(LookEdit(source, "one")))
        two = asyncio.create_task(session.submit(LookEdit(source, "two")))
        await asyncio.sleep(0.1)
        one.cancel()
        await two
    assert prompts(space)["one"] == 0


# --- the API


async def busy(session: HooxSession, space: Space, source: LookRef, seconds: int) -> asyncio.Task[Any]:
    """The API has answered 429: everything pauses."""
    space.faults.fail_next("status", Fault.rate_limited(retry_after=seconds))
    reading = asyncio.create_task(session.status(source))
    await asyncio.sleep(2)
    return reading


async def test_max_wait_bounds_the_baselines_wait_too() -> None:
    """An edit whose baseline waits for the quota is NotSent, with retry_after, after max_wait."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
    async with opened(space, exclusive=True) as session:
        reading = await busy(session, space, source, 50)
        began = now()
        with pytest.raises(NotSent) as told:
            await session.submit(LookEdit(source, "a"), max_wait=1.0)
        assert now() - began == pytest.approx(1.0, abs=0.1)
        assert told.value.retry_after is not None
        await reading
    assert prompts(space)["a"] == 0


async def test_max_wait_bounds_the_wait_for_a_locked_avatar() -> None:
    """An edit that waits for a search of its avatar is NotSent after max_wait."""
    space = space_of()
    async with opened(space, exclusive=True) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_BEFORE)
        began = now()
        with pytest.raises(NotSent):
            await session.submit(LookEdit(source, "a"), max_wait=5.0)
        assert now() - began == pytest.approx(5.0, abs=0.1)


async def test_an_edit_whose_baseline_exists_is_sent_with_max_wait_0() -> None:
    """With max_wait=0 an edit whose baseline exists is sent where a permit is free."""
    space = space_of()
    async with opened(space, exclusive=True) as session:
        source = await avatar(session)
        await session.submit(LookEdit(source, "a"), max_wait=0)
    assert prompts(space)["a"] == 1


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        (Fault.rate_limited(retry_after=60), 3),
        (Fault.status(500), 5),
        (Fault.REFUSED, 5),
        (Fault.DROP_BEFORE, 5),
    ],
    ids=["429", "500", "no connection", "dropped"],
)
async def test_a_failed_baseline_request_is_repeated_and_stops_no_batch(fault: Fault, times: int) -> None:
    """A baseline request that failed is repeated, and the batch goes on."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
    async with opened(space, exclusive=True) as session:
        space.faults.fail_next("avatar", fault, times=times)
        report = await BatchRunner(session).run(edits(source, 3))
    assert set(states(report).values()) == {"ready"}


async def test_a_baseline_that_cannot_be_read_concerns_its_own_avatar_only() -> None:
    """Items whose baseline can't be read are UNSENT; those of another avatar are made."""
    space = space_of()
    async with opened(space) as session:
        sources = [await avatar(session) for _ in range(2)]
    async with opened(space, exclusive=True) as session:
        await session.submit(LookEdit(sources[1], "first"))
        space.faults.fail_next("avatar", Fault.status(500), times=10_000)
        items = [*edits(sources[0], 2, "a"), *edits(sources[1], 2, "b")]
        report = await BatchRunner(session, look_timeout=3600.0).run(items)
    assert states(report) == {"a0": "unsent", "a1": "unsent", "b0": "ready", "b1": "ready"}
    assert all(isinstance(outcome.error, NotSent) for outcome in report if outcome.key[0] == "a")


async def test_a_baseline_that_meets_only_429_ends_after_the_refusal_timeout() -> None:
    """As the POST itself would: `RateLimited` after `Timeouts.refused`, in a submission and in a batch."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
    async with opened(space, exclusive=True, timeouts=Timeouts(refused=300.0)) as session:
        space.faults.fail_next("avatar", Fault.rate_limited(retry_after=60), times=10_000)
        began = now()
        report, single = await asyncio.gather(
            BatchRunner(session).run(edits(source, 2)),
            session.submit(LookEdit(source, "a")),
            return_exceptions=True,
        )
        assert 300.0 <= now() - began <= 440.0
    assert isinstance(single, RateLimited)
    assert not isinstance(report, BaseException)
    assert {type(outcome.error) for outcome in report} == {RateLimited}
    assert set(states(report).values()) == {"unsent"}


async def test_an_edit_of_an_avatar_that_does_not_exist_raises_not_found() -> None:
    """Each of two edits of an avatar that does not exist gets its own NotFound, and is not sent."""
    space = space_of()
    async with opened(space, exclusive=True) as session:
        nowhere = LookRef("avtr_none", "look_none")
        tries = [session.submit(LookEdit(nowhere, f"n{n}")) for n in range(2)]
        one, two = await asyncio.gather(*tries, return_exceptions=True)
    assert isinstance(one, NotFound)
    assert isinstance(two, NotFound)
    assert one is not two
    assert space.credits_spent == 0


class Unreadable(MemoryStore):
    """Once it is told to, it can't be read: what it raises is no error of ours."""

    is_broken = False

    async def get(self, keys: Collection[str]) -> dict[str, Intent]:
        if self.is_broken:
            raise OSError("the disk is gone")
        return await super().get(keys)

    async def advance(self, key: str, *steps: Transition) -> Intent:
        after = await super().advance(key, *steps)
        self.is_broken = True
        return after


@pytest.mark.parametrize("charged_and_lost", [False, True])
async def test_every_item_has_its_outcome_whatever_a_reading_store_raises(charged_and_lost: bool) -> None:
    """A store that raises what is no error of ours, after the POSTs, takes no outcome from the batch."""
    space, store = space_of(), Unreadable()
    async with opened(space, store=store, exclusive=True) as session:
        ref = await avatar(session)
        store.is_broken = False
        if charged_and_lost:
            space.faults.fail_next("edit", Fault.DROP_AFTER)
        report = await BatchRunner(session, look_timeout=60).run([LookEdit(ref, "a scene")])
        assert [outcome.state for outcome in report.outcomes] == ["unknown" if charged_and_lost else "ready"]
