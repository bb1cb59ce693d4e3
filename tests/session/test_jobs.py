"""The awaitable job of a look: many tasks can wait for it, many times, without disturbing one another."""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Collection
from contextlib import suppress
from decimal import Decimal

import pytest
from internals_kit import Intent, IntentState, LookUpdate, MemoryLedger, runtime_of
from session_kit import edit, intents, made, on_space, prompt, sends, store_of, turns

from hoox_async import Look, LookRef, LookStatus
from hoox_async.errors import GenerationFailed, HooxError, NotFound, SessionClosed, StoreError, WaitTimeout
from hoox_async.events import Event, LookSettled
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


async def test_an_accepted_job_knows_its_key_price_metadata_ref_and_status() -> None:
    """An accepted job has its key, price, metadata, ref and status without a status request."""
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
    """All tasks that await a job get the same Look object, and they share the status requests."""
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
    """Cancelling one waiter affects neither the other waiters nor the job."""
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


async def test_a_look_that_nobody_awaits_is_not_polled_with_poll_awaited() -> None:
    """The cancellation of the last waiter ends the polling, and a new waiter starts it again."""
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


async def test_a_job_can_be_awaited_again_after_a_timeout() -> None:
    """WaitTimeout carries the job, the seconds and charged="yes", and the job stays accepted."""
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


async def test_a_timeout_of_zero_gives_only_a_look_that_is_known_to_be_done() -> None:
    """A wait with timeout 0 raises WaitTimeout unless the look is known to be done."""
    async with on_space() as (session, _):
        job = await session.submit(prompt())
        with pytest.raises(WaitTimeout):
            await job.wait(timeout=0)
        look = await job.wait(timeout=math.inf)
        assert await job.wait(timeout=0) is look


async def test_each_waiter_has_its_own_exception() -> None:
    """Each waiter of a failed look gets a GenerationFailed of its own: a shared one collects tracebacks."""
    async with on_space() as (session, space):
        job = await session.submit(prompt("[fail] on purpose"))
        errors = await asyncio.gather(*(job.wait() for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in errors] == [GenerationFailed] * 3
        assert len({id(error) for error in errors}) == 3
        for error in errors:
            assert isinstance(error, GenerationFailed)
            assert error.charged == "yes"
            assert error.look.error is not None
            assert error.look.error.code == space.forms.failure_code
        with pytest.raises(GenerationFailed):
            await job


async def test_updates_give_each_status_once() -> None:
    """`updates` yields each status once, from the known one to READY; later it yields READY alone."""
    async with on_space() as (session, _):
        job = await session.submit(prompt())
        seen = [look.status async for look in job.updates()]
        assert seen[0] is LookStatus.PENDING
        assert seen[-1] is LookStatus.READY
        assert len(seen) == len(set(seen))
        assert [look.status async for look in job.updates()] == [LookStatus.READY]


async def test_updates_end_with_the_reason_of_a_failure() -> None:
    """FAILED is given once, with its reason, though an avatar's answer tells the failure without it."""
    async with on_space() as (session, _):
        source = await session.run(prompt())
        job = await session.submit(edit(source.ref, "[fail] on purpose"))
        seen = [look async for look in job.updates()]
        assert [look.status for look in seen].count(LookStatus.FAILED) == 1
        assert seen[-1].error is not None


async def test_the_result_of_a_job_that_is_not_done_is_a_wait_timeout() -> None:
    """`result()` gives no look that is not READY: it raises what `wait(0)` raises."""
    async with on_space() as (session, space):
        space.hold(0.0)
        job = await session.submit(prompt())
        with pytest.raises(WaitTimeout) as caught:
            job.result()
        assert caught.value.job is job


async def test_leaving_updates_ends_the_polling_with_poll_awaited() -> None:
    """After a break out of `updates` nobody awaits the look, so it is polled no more."""
    async with on_space(poll="awaited") as (session, space):
        space.hold(0.0)
        job = await session.submit(prompt())
        async for _ in job.updates():
            break
        await turns()
        asked = sends(space, "status", "avatar")
        await asyncio.sleep(300)
        assert sends(space, "status", "avatar") == asked


async def test_status_sends_one_request_and_wakes_the_waiters() -> None:
    """A caller's own status request settles the look for everybody who waits for it."""
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
    """`status` of a look that is done settles it in the store and emits LookSettled with its duration."""
    events: list[Event] = []
    async with on_space(hooks=[events.append], poll="awaited") as (session, _):
        job = await session.submit(prompt(), key="k")
        await asyncio.sleep(600)
        assert (await job.status()).status is LookStatus.READY
        assert job.done
        assert await intents(session) == {"k": IntentState.READY}
    settled = [event for event in events if isinstance(event, LookSettled)]
    assert [(event.key, event.look.status) for event in settled] == [("k", LookStatus.READY)]
    assert settled[0].seconds == pytest.approx(600, abs=5)


async def test_a_look_has_one_job_object() -> None:
    """As long as somebody holds the job, every method that returns the look's job returns that object."""
    async with on_space() as (session, _):
        job = await session.submit(prompt(), key="k")
        assert session.job(job.ref) is job
        assert await session.jobs() == [job]
        assert await session.submit(prompt(), key="k") is job


async def test_a_look_of_somebody_else_can_be_awaited() -> None:
    """The job of somebody else's look has no key, credits or metadata, and can be awaited."""
    async with on_space() as (session, space):
        ref = made(space)
        job = session.job(ref)
        assert (job.key, job.credits, job.metadata) == (None, None, {})
        assert (await job).status is LookStatus.READY
        assert (await session.wait(str(ref))).thumbnail_url  # type: ignore[arg-type]


async def test_a_wait_survives_failed_requests() -> None:
    """Some failed status requests of any kind do not end the waiting."""
    async with on_space() as (session, space):
        job = await session.submit(prompt())
        faults = (Fault.DROP_BEFORE, Fault.BAD_GATEWAY, Fault.RATE_LIMITED, Fault.NOT_JSON, Fault.TRUNCATED)
        for endpoint in ("status", "avatar"):
            for fault in faults:
                space.faults.fail_next(endpoint, fault)
        assert (await job).status is LookStatus.READY


async def test_a_lasting_404_ends_the_wait() -> None:
    """A single 404 does not end a wait; a lasting one ends each wait with its own charged NotFound."""
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


async def test_waiting_for_a_look_that_does_not_exist_ends_with_not_found() -> None:
    """A wait for a look that does not exist ends with NotFound within two minutes. Nothing was charged."""
    async with on_space() as (session, space):
        made(space)
        with pytest.raises(NotFound) as caught:
            await session.wait(LookRef("avtr_none", "look_none"))
        assert caught.value.charged == "no"
        assert asyncio.get_running_loop().time() < 120


async def test_a_closed_session_charges_nothing_for_a_look_that_it_did_not_pay_for() -> None:
    """SessionClosed is marked as charged only for a look that the session, or its store, has paid for."""
    async with on_space() as (session, space):
        others = session.job(made(space))
        waiting = asyncio.create_task(others.wait())
        await asyncio.sleep(0)
        await session.aclose()
        with pytest.raises(SessionClosed) as caught:
            await waiting
        assert (caught.value.ref, caught.value.charged) == (others.ref, "no")
        assert "paid" not in str(caught.value)


async def test_waits_end_with_the_session() -> None:
    """Closing gives each waiter its own SessionClosed, and a job that is done keeps its result."""
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


async def test_waiters_get_their_look_though_the_store_fails_to_record_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Waiters get their look although the store fails, the look stays ACCEPTED, and the failure is logged."""
    for error in (StoreError("disk full"), RuntimeError("a store of the user's own")):
        async with on_space() as (session, _):
            job = await session.submit(prompt(), key="k")

            async def advance(*_: object, error: Exception = error) -> None:
                raise error

            monkeypatch.setattr(store_of(session), "advance", advance)
            assert (await job).status is LookStatus.READY
            assert await intents(session) == {"k": IntentState.ACCEPTED}
    assert "disk full" in caplog.text


async def test_the_first_settled_status_of_a_job_is_final() -> None:
    """A settled look that is reported with another status later does not change; its picture is filled in."""
    async with on_space() as (session, _):
        job = await session.submit(prompt(), key="k")
        registry = runtime_of(session).registry
        bare = Look(job.ref, LookStatus.READY)
        await registry.report(bare)
        for other in (LookStatus.FAILED, LookStatus.PENDING):
            await registry.report(Look(job.ref, other))
            assert job.last is bare
        await registry.report(Look(job.ref, LookStatus.READY, "https://media.example/a.jpg"))
        assert job.done
        assert job.last.thumbnail_url == "https://media.example/a.jpg"
        assert await intents(session) == {"k": IntentState.READY}


async def test_a_ready_look_without_its_picture_is_polled_once_more() -> None:
    """A job whose look is READY without its picture is done only when the picture is there."""
    async with on_space() as (session, _):
        job = await session.submit(prompt())
        bare = LookUpdate(Look(job.ref, LookStatus.READY), complete=False)
        await runtime_of(session).registry.publish([bare])
        assert not job.done
        assert (await job).thumbnail_url
        assert job.done


async def test_the_store_forgets_a_settled_look_whose_job_nobody_holds() -> None:
    """The memory store forgets a settled look whose job nobody holds, unless the user chose its key."""
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


async def test_a_group_answer_updates_also_jobs_that_nobody_awaits() -> None:
    """A request that is made for two looks of an avatar reports the status of the third one too."""
    async with on_space() as (session, space):
        ref = made(space)
        jobs = [await session.submit(edit(ref, f"scene {n}")) for n in range(3)]
        await asyncio.sleep(300)
        await asyncio.gather(jobs[0], jobs[1])
        assert jobs[2].last.status is LookStatus.READY
        assert sends(space, "avatar") >= 1


async def test_forgetting_a_released_job_reads_nothing_from_the_store() -> None:
    """A submission after one whose job nobody holds reads the store as often as the first one did."""

    class Counting(MemoryLedger):
        reads = 0

        async def get(self, keys: Collection[str]) -> dict[str, Intent]:
            self.reads += 1
            return await super().get(keys)

    store, reads = Counting(), []
    async with on_space(store=store) as (session, _):
        for _ in range(3):
            before = store.reads
            await session.submit(prompt())
            reads.append(store.reads - before)
            gc.collect()
            await asyncio.sleep(300)
    assert reads[0] == reads[1] == reads[2]
