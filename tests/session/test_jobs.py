"""The awaitable job: many waiters, many times, none of them disturbing another."""

from __future__ import annotations

import asyncio
import gc
import math
from contextlib import suppress
from decimal import Decimal

import pytest
from session_kit import edit, intents, made, on_space, prompt, sends, turns

from hoox_async import Look, LookRef, LookStatus
from hoox_async._core.intents.intent import IntentState
from hoox_async.errors import GenerationFailed, HooxError, NotFound, SessionClosed, StoreError, WaitTimeout
from hoox_async.events import Event, LookSettled
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


async def test_a_job_says_what_it_costs_and_where_it_stands() -> None:
    """Once it is accepted, without a request."""
    async with on_space() as (session, space):
        job = await session.submit(prompt(resolution="4K", metadata={"who": "me"}), key="k")
        assert (job.key, job.credits) == ("k", Decimal(4))
        assert job.metadata == {"who": "me"}
        assert job.ref == LookRef(job.avatar_id, job.look_id) == space.ledger[0].ref
        assert job.last == Look(job.ref, LookStatus.PENDING)
        assert not job.done
        assert repr(job) == f"<LookJob {job.ref} pending>"
        assert sends(space, "status", "avatar") == 0


async def test_a_job_is_awaited_many_times_by_many_tasks() -> None:
    """All get the same look, and it is asked for once for all of them."""
    async with on_space(requests_per_minute=100) as (session, space):
        job = await session.submit(prompt())
        looks = await asyncio.gather(*(job.wait() for _ in range(50)), job, job.wait(timeout=500))
        asked = sends(space, "status", "avatar")
        assert {look.status for look in looks} == {LookStatus.READY}
        assert all(look is looks[0] for look in looks)
        assert await job is looks[0]
        assert job.done
        assert job.result() is job.last is looks[0]
        assert sends(space, "status", "avatar") == asked <= 12


async def test_a_cancelled_waiter_disturbs_nobody() -> None:
    """Neither the other waiters nor the job."""
    async with on_space() as (session, space):
        space.hold(0.0)
        job = await session.submit(prompt())
        waiters = [asyncio.create_task(job.wait()) for _ in range(3)]
        await asyncio.sleep(1)
        waiters[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiters[1]
        space.settle(job, "ready", asyncio.get_running_loop().time())
        assert (await waiters[0]).status is (await waiters[2]).status is LookStatus.READY


async def test_nobody_waits_nothing_is_asked() -> None:
    """With poll="awaited", the last waiter's cancellation ends the polling; a new one starts it again."""
    async with on_space(poll="awaited") as (session, space):
        space.hold(0.0)
        job = await session.submit(prompt())
        waiter = asyncio.create_task(job.wait())
        await asyncio.sleep(60)
        waiter.cancel()
        with suppress(asyncio.CancelledError):
            await waiter
        asked = sends(space, "status", "avatar")
        assert asked > 0
        await asyncio.sleep(600)
        assert sends(space, "status", "avatar") == asked
        space.release(asyncio.get_running_loop().time())
        assert (await job).status is LookStatus.READY


async def test_a_timeout_loses_nothing() -> None:
    """Its error has the job, and waiting goes on where it stood."""
    async with on_space() as (session, space):
        space.hold(0.0)
        job = await session.submit(prompt())
        with pytest.raises(WaitTimeout) as caught:
            await job.wait(timeout=5)
        assert isinstance(caught.value, TimeoutError)
        assert (caught.value.job, caught.value.seconds, caught.value.charged) == (job, 5, "yes")
        assert await intents(session) == {job.key: IntentState.ACCEPTED}
        space.release(asyncio.get_running_loop().time())
        assert (await caught.value.job.wait()).status is LookStatus.READY


async def test_a_wait_of_no_time_asks_nothing() -> None:
    """It tells whether the look is done, as far as is known."""
    async with on_space() as (session, _):
        job = await session.submit(prompt())
        with pytest.raises(WaitTimeout):
            await job.wait(timeout=0)
        look = await job.wait(timeout=math.inf)
        assert await job.wait(timeout=0) is look


async def test_each_waiter_has_its_own_exception() -> None:
    """A shared one would gather the tracebacks of all."""
    async with on_space() as (session, _):
        job = await session.submit(prompt("[fail] on purpose"))
        errors = await asyncio.gather(*(job.wait() for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in errors] == [GenerationFailed] * 3
        assert len({id(error) for error in errors}) == 3
        for error in errors:
            assert isinstance(error, GenerationFailed)
            assert error.charged == "yes"
            assert error.look.error is not None
            assert error.look.error.code == "GENERATION_FAILED"
        with pytest.raises(GenerationFailed):
            await job


async def test_updates_tell_each_state_once() -> None:
    """From what is known to the end, and again for who comes later."""
    async with on_space() as (session, _):
        job = await session.submit(prompt())
        seen = [look.status async for look in job.updates()]
        assert seen[0] is LookStatus.PENDING
        assert seen[-1] is LookStatus.READY
        assert len(seen) == len(set(seen))
        assert [look.status async for look in job.updates()] == [LookStatus.READY]


async def test_updates_can_be_left() -> None:
    """With poll="awaited", a break leaves nothing behind that polls."""
    async with on_space(poll="awaited") as (session, space):
        space.hold(0.0)
        job = await session.submit(prompt())
        async for _ in job.updates():
            break
        await turns()
        asked = sends(space, "status", "avatar")
        await asyncio.sleep(300)
        assert sends(space, "status", "avatar") == asked


async def test_status_asks_once_and_is_heard_by_who_waits() -> None:
    """A caller's own request is news for the scheduler too."""
    async with on_space(requests_per_minute=100) as (session, space):
        space.hold(0.0)
        job = await session.submit(prompt())
        waiter = asyncio.create_task(job.wait())
        await asyncio.sleep(1)
        space.settle(job, "ready", asyncio.get_running_loop().time())
        asked = sends(space, "status", "avatar")
        look = await job.status()
        assert sends(space, "status", "avatar") == asked + 1
        assert await asyncio.wait_for(waiter, 0.001) == look


async def test_status_settles_a_job_that_nobody_waits_for() -> None:
    """In the store as well, and with its event."""
    told: list[Event] = []
    async with on_space(hooks=[told.append], poll="awaited") as (session, _):
        job = await session.submit(prompt(), key="k")
        await asyncio.sleep(600)
        assert (await job.status()).status is LookStatus.READY
        assert job.done
        assert await intents(session) == {"k": IntentState.READY}
    settled = [event for event in told if isinstance(event, LookSettled)]
    assert [(event.key, event.look.status) for event in settled] == [("k", LookStatus.READY)]
    assert settled[0].seconds == pytest.approx(600, abs=5)


async def test_one_job_stands_for_one_look() -> None:
    """As long as somebody holds it."""
    async with on_space() as (session, _):
        job = await session.submit(prompt(), key="k")
        assert session.job(job.ref) is job
        assert await session.jobs() == [job]
        assert await session.submit(prompt(), key="k") is job


async def test_a_look_of_somebody_else_is_waited_for_too() -> None:
    """The session knows no price of it, and asks all the same."""
    async with on_space() as (session, space):
        ref = made(space)
        job = session.job(ref)
        assert (job.key, job.credits, job.metadata) == (None, None, {})
        assert (await job).status is LookStatus.READY
        assert (await session.wait(str(ref))).thumbnail_url  # type: ignore[arg-type]


async def test_a_wait_survives_failed_requests() -> None:
    """A bounded run of them, of any kind."""
    async with on_space() as (session, space):
        job = await session.submit(prompt())
        faults = (Fault.DROP_BEFORE, Fault.BAD_GATEWAY, Fault.RATE_LIMITED, Fault.NOT_JSON, Fault.TRUNCATED)
        for endpoint in ("status", "avatar"):
            for fault in faults:
                space.faults.fail_next(endpoint, fault)
        assert (await job).status is LookStatus.READY


async def test_a_lasting_404_ends_the_wait() -> None:
    """One alone does not; and whoever waits hears what was paid for it."""
    async with on_space() as (session, space):
        job = await session.submit(prompt())
        for endpoint in ("status", "avatar"):
            space.faults.fail_next(endpoint, Fault.status(404))
        assert (await job).status is LookStatus.READY
        lost = await session.submit(prompt())
        for endpoint in ("status", "avatar"):
            space.faults.fail_next(endpoint, Fault.status(404), times=10_000)
        errors = await asyncio.gather(lost.wait(), lost.wait(), return_exceptions=True)
        assert [type(error) for error in errors] == [NotFound] * 2
        assert [error.charged for error in errors if isinstance(error, HooxError)] == ["yes"] * 2
        assert errors[0] is not errors[1]


async def test_an_unknown_look_is_not_found() -> None:
    """A wait for what never was ends long before its timeout."""
    async with on_space() as (session, space):
        made(space)
        with pytest.raises(NotFound):
            await session.wait(LookRef("avtr_none", "look_none"))
        assert asyncio.get_running_loop().time() < 120


async def test_waits_end_with_the_session() -> None:
    """Each with its own SessionClosed; a job that is done keeps its result."""
    async with on_space() as (session, space):
        done = await session.submit(prompt())
        look = await done
        space.hold(asyncio.get_running_loop().time())
        job = await session.submit(prompt())
        waiters = [asyncio.create_task(job.wait()) for _ in range(2)]
        await asyncio.sleep(1)
    errors = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(error) for error in errors] == [SessionClosed] * 2
    assert errors[0] is not errors[1]
    with pytest.raises(SessionClosed) as caught:
        await job
    assert caught.value.charged == "yes"
    assert await done is look


async def test_a_store_that_fails_does_not_keep_a_look_from_who_waits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays accepted in the store, which is said in the log, and is asked for again next time."""
    for error in (StoreError("disk full"), RuntimeError("a store of the user's own")):
        async with on_space() as (session, _):
            job = await session.submit(prompt(), key="k")

            async def advance(*_: object, error: Exception = error) -> None:
                raise error

            monkeypatch.setattr(session._store, "advance", advance)
            assert (await job).status is LookStatus.READY
            assert await intents(session) == {"k": IntentState.ACCEPTED}
    assert "disk full" in caplog.text


async def test_what_was_told_first_stands() -> None:
    """A settled look that is told of differently later does not change."""
    async with on_space() as (session, _):
        job = await session.submit(prompt(), key="k")
        registry = job._registry
        bare = Look(job.ref, LookStatus.READY)
        await registry.update(job, bare)
        for other in (LookStatus.FAILED, LookStatus.PENDING):
            await registry.update(job, Look(job.ref, other))
            assert job.last is bare
        await registry.update(job, Look(job.ref, LookStatus.READY, "https://media.example/a.jpg"))
        assert job.done
        assert job.last.thumbnail_url == "https://media.example/a.jpg"
        assert await intents(session) == {"k": IntentState.READY}


async def test_a_settled_look_without_its_picture_is_asked_for_it() -> None:
    """The group answer may lack it; once more, and then the look is given as it is."""
    async with on_space() as (session, _):
        job = await session.submit(prompt())
        await job._registry.update(job, Look(job.ref, LookStatus.READY))
        assert not job.done
        assert (await job).thumbnail_url
        assert job.done


async def test_a_look_of_a_job_nobody_holds_is_forgotten_once_settled() -> None:
    """Only without a key of the user's: that one may be asked for again."""
    async with on_space() as (session, _):
        job = await session.submit(prompt())
        kept = await session.submit(prompt(), key="mine")
        await job
        await kept
        await turns()
        del job, kept
        gc.collect()
        await session.submit(prompt(), key="next")
        assert set(await intents(session)) == {"mine", "next"}


async def test_a_job_nobody_waits_for_rides_along() -> None:
    """Two looks of an avatar are asked for at once: the answer tells of the third too."""
    async with on_space() as (session, space):
        ref = made(space)
        jobs = [await session.submit(edit(ref, f"scene {n}")) for n in range(3)]
        await asyncio.sleep(300)
        await asyncio.gather(jobs[0], jobs[1])
        assert jobs[2].last.status is LookStatus.READY
        assert sends(space, "avatar") >= 1
