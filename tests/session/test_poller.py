"""The one task that polls: it survives failures, and asks for many looks at once."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from internals_kit import runtime_of
from session_kit import edit, made, on_space, others, prompt, sends, turns

from hoox_async import Answered, Event, LookRef, LookStatus
from hoox_async.errors import AuthenticationError, NotFound
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


async def test_looks_of_one_avatar_are_polled_by_shared_requests() -> None:
    """Of 30 looks of one avatar, few are polled by requests of their own."""
    async with on_space(requests_per_minute=100) as (session, space):
        ref = made(space)
        jobs = [await session.submit(edit(ref, f"scene {n}")) for n in range(30)]
        looks = await asyncio.gather(*(job.wait() for job in jobs))
        assert {look.status for look in looks} == {LookStatus.READY}
        assert 1 <= sends(space, "avatar") <= 100
        assert sends(space, "status") <= 10


async def test_hooks_are_told_which_looks_a_status_request_asked_for() -> None:
    """An answer about an avatar names all looks of it that are polled and not settled yet.

    An answer about one look names that one, and the answer to a paid request none.
    """
    events: list[Event] = []
    async with on_space(hooks=[events.append]) as (session, space):
        space.hold(0.0)
        ref = made(space)
        jobs = [await session.submit(edit(ref, f"scene {n}")) for n in range(3)]
        single = await session.submit(prompt("alone"))
        await asyncio.sleep(120)
        assert asked_for(events, jobs[0].avatar_id)[-1] == {job.ref for job in jobs}
        assert asked_for(events, single.avatar_id)[-1] == {single.ref}
        space.settle(jobs[0].ref, "ready", asyncio.get_running_loop().time())
        await jobs[0].wait()
        await asyncio.sleep(120)
        assert asked_for(events, jobs[0].avatar_id)[-1] == {job.ref for job in jobs[1:]}
    assert not [event.looks for event in events if isinstance(event, Answered) and event.key and event.looks]


def asked_for(events: list[Event], avatar_id: str) -> list[set[LookRef]]:
    """The looks of this avatar that each status request asked for."""
    answered = (set(event.looks) for event in events if isinstance(event, Answered))
    return [looks for looks in answered if any(look.avatar_id == avatar_id for look in looks)]


async def test_there_is_no_task_for_each_look() -> None:
    """While 50 looks are awaited, there is one poller and a task for each of at most 8 requests."""
    async with on_space() as (session, space):
        ref = made(space)
        space.hold(0.0)
        jobs = [await session.submit(edit(ref, f"scene {n}")) for n in range(50)]
        waiters = [asyncio.create_task(job.wait(), name="waiter") for job in jobs]
        await asyncio.sleep(30)
        ours = [task for task in asyncio.all_tasks() if task.get_name().startswith("hoox-")]
        assert len(ours) <= 1 + 8
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)


async def test_a_request_that_hangs_does_not_hold_up_others() -> None:
    """The look of another avatar is settled while one answer is still missing."""
    async with on_space(transport={"read": 600.0}) as (session, space):
        first, second = await session.submit(prompt("a")), await session.submit(prompt("b"))
        space.faults.fail_next("status", Fault.HANG)
        looks = [asyncio.create_task(job.wait()) for job in (first, second)]
        done, _ = await asyncio.wait(looks, timeout=300, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1
        await asyncio.gather(*looks)


async def test_looks_are_polled_one_by_one_where_their_avatar_cannot_be_read() -> None:
    """GET /avatar/{id} keeps failing: all looks are settled by GET /avatar/status."""
    async with on_space() as (session, space):
        ref = made(space)
        space.faults.fail_next("avatar", Fault.status(403), times=10_000)
        jobs = [await session.submit(edit(ref, f"scene {n}")) for n in range(4)]
        looks = await asyncio.gather(*(job.wait() for job in jobs))
        assert {look.status for look in looks} == {LookStatus.READY}
        assert sends(space, "status") >= 4


async def test_a_key_that_stays_refused_ends_all_waits() -> None:
    """Each waiter gets AuthenticationError, within 15 minutes."""
    async with on_space() as (session, space):
        jobs = [await session.submit(prompt(text)) for text in "ab"]
        for endpoint in ("avatar", "status"):
            space.faults.fail_next(endpoint, Fault.status(401), times=10_000)
        errors = await asyncio.gather(*(job.wait() for job in jobs), return_exceptions=True)
        assert [type(error) for error in errors] == [AuthenticationError] * 2
        assert asyncio.get_running_loop().time() < 900


async def test_an_unexpected_error_does_not_end_the_poller(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected error of the poller is logged, and the look is polled again."""
    async with on_space() as (session, _):
        job = await session.submit(prompt())
        transport = runtime_of(session).transport
        send, failures = transport.send, iter(range(2))

        async def odd(*args: Any) -> Any:
            if next(failures, None) is not None:
                raise ZeroDivisionError("from a transport of the user's own")
            return await send(*args)

        monkeypatch.setattr(transport, "send", odd)
        with caplog.at_level(logging.ERROR, logger="hoox_async"):
            assert (await job).status is LookStatus.READY
        assert "not expected" in caplog.text


async def test_a_session_with_poll_awaited_sends_nothing_while_nobody_waits() -> None:
    """No status request is made in four hours."""
    async with on_space(poll="awaited") as (session, space):
        await session.submit(prompt())
        await asyncio.sleep(4 * 3600)
        assert sends(space, "status", "avatar") == 0


async def test_closing_while_looks_are_polled_leaves_no_task() -> None:
    """Requests are outstanding and looks are awaited when the session is closed."""
    before = others()
    async with on_space(transport={"latency": 5.0}) as (session, _):
        jobs = [await session.submit(prompt(text)) for text in "abc"]
        waiters = [asyncio.create_task(job.wait(), name="waiter") for job in jobs]
        await asyncio.sleep(60)
    await asyncio.gather(*waiters, return_exceptions=True)
    assert others() == before


async def test_looks_of_an_avatar_whose_id_is_no_path_segment_are_polled_one_by_one() -> None:
    """The avatar's request is refused before it is sent: its permit is cancelled, and /status is used."""
    async with on_space(requests_per_minute=100) as (session, space):
        refs = [LookRef("avtr/1", f"look_{n}") for n in range(2)]
        waits = [asyncio.create_task(session.wait(ref, timeout=7200)) for ref in refs]
        await asyncio.sleep(30)
        assert sends(space, "status") >= 2
        ends = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(end) for end in ends] == [NotFound] * 2
        assert runtime_of(session).rate_limiter.window.held == 0


@pytest.mark.parametrize("turns_later", range(5))
async def test_a_permit_that_the_poller_gets_while_the_session_closes_is_given_back(
    turns_later: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would count for good in the quota that the sessions of a process share."""
    async with on_space() as (session, _):
        await session.submit(prompt())
        runtime, closing = runtime_of(session), []
        window = runtime.rate_limiter.window
        take = window.take

        async def close() -> None:
            await turns(turns_later)
            await runtime.close()

        def take_while_closing(now: float) -> int:
            closing.append(asyncio.create_task(close()))
            return take(now)

        monkeypatch.setattr(window, "take", take_while_closing)
        await asyncio.sleep(5)
        assert len(closing) == 1
        assert closing[0].done()
        assert window.held == 0
