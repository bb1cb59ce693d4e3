"""Defects in our own parts are logged, and the work goes on.

Each test makes one part of an open session raise once, as a defect of this library would.
"""

from __future__ import annotations

import asyncio
import logging
from random import Random
from typing import Any

import pytest
from delivery_kit import stage
from internals_kit import IntentState, runtime_of
from session_kit import intents, made, on_space, prompt, sends, store_of

from hoox_async import HooxSession, LookStatus
from hoox_async.events import Event, LookSettled
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time


class Defect(Exception):
    """An exception that no code expects."""


def raises_once(
    owner: Any, name: str, monkeypatch: pytest.MonkeyPatch, times: int = 1, error: type[Exception] = Defect
) -> list[int]:
    """Let a method raise at its next calls. Returns a list that grows by each of them."""
    method, raised = getattr(owner, name), list[int]()

    def call(*args: Any, **options: Any) -> Any:
        if len(raised) < times:
            raised.append(1)
            raise error(name)
        return method(*args, **options)

    monkeypatch.setattr(owner, name, call)
    return raised


def parts_of(session: HooxSession) -> dict[str, Any]:
    runtime = runtime_of(session)
    return {
        "scheduler": runtime.scheduler,
        "rate_limiter": runtime.rate_limiter,
        "registry": runtime.registry,
        "window": runtime.rate_limiter.window,
    }


POLLING = [
    ("scheduler", "due"),
    ("scheduler", "take"),
    ("scheduler", "answered_avatar"),
    ("scheduler", "answered_look"),
    ("registry", "publish"),
    ("rate_limiter", "_grant"),
]


@pytest.mark.parametrize(("part", "method"), POLLING)
@pytest.mark.parametrize("looks", [1, 3])
async def test_the_poller_goes_on_after_a_defect(
    part: str, method: str, looks: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect in polling is logged with its traceback, and each look is settled with little delay."""
    async with on_space(requests_per_minute=100) as (session, space):
        ref = made(space)
        jobs = [await session.edit_look(ref, f"scene {n}") for n in range(looks)]
        waits = [asyncio.create_task(job.wait()) for job in jobs]
        await asyncio.sleep(0)
        raised = raises_once(parts_of(session)[part], method, monkeypatch)
        async with asyncio.timeout(200):
            ends = [await wait for wait in waits]
        assert {look.status for look in ends} == {LookStatus.READY}
    if raised:  # a look alone is not asked for by its avatar, and the other way round
        assert f"Defect: {method}" in caplog.text


async def test_polling_goes_on_after_a_defect_in_processing_a_failed_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a defect in processing a failed request it is processed again, and the look is polled later."""
    async with on_space(requests_per_minute=100) as (session, space):
        job = await session.submit(prompt())
        for endpoint in ("status", "avatar"):
            space.faults.fail_next(endpoint, Fault.status(404))
        raised = raises_once(parts_of(session)["scheduler"], "failed", monkeypatch, times=2)
        assert (await job).status is LookStatus.READY
        assert len(raised) == 2
    assert caplog.text.count("Defect: failed") == 2


async def test_a_look_that_the_scheduler_dropped_before_a_defect_is_published(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer is published although the scheduler raises after it has dropped the answer's looks."""
    async with on_space(requests_per_minute=100) as (session, space):
        ref = made(space)
        jobs = [await session.edit_look(ref, f"scene {n}") for n in range(3)]
        scheduler = runtime_of(session).scheduler
        answered, raised = scheduler.answered_avatar, list[int]()

        def takes_in_and_raises(*args: Any) -> Any:
            updates = answered(*args)
            if updates and not raised:
                raised.append(1)
                raise Defect("too late")
            return updates

        monkeypatch.setattr(scheduler, "answered_avatar", takes_in_and_raises)
        async with asyncio.timeout(300):
            ends = await asyncio.gather(*jobs)
        assert {look.status for look in ends} == {LookStatus.READY}
        assert raised


async def test_a_job_can_be_awaited_again_after_a_defect_in_scheduling_its_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A waiter gets the defect that scheduling its look raised; the next waiter gets the look."""
    async with on_space(requests_per_minute=100, poll="awaited") as (session, _):
        job = await session.submit(prompt())
        raises_once(parts_of(session)["scheduler"], "add", monkeypatch)
        with pytest.raises(Defect):
            await job
        assert (await job).status is LookStatus.READY


# --- paid POSTs


PAID: list[tuple[str, str]] = [
    ("rate_limiter", "_grant"),
    ("rate_limiter", "wake"),
    ("rate_limiter", "observe"),
    ("scheduler", "due"),
]


@pytest.mark.parametrize(("part", "method"), PAID)
async def test_a_paid_post_is_not_affected_by_defects_of_rate_limiter_and_scheduler(
    part: str, method: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect while a POST is sent or answered is logged; the POST is accepted and sent once."""
    space = Space(rng=Random(1), requests_per_minute=100)
    async with on_space(space, requests_per_minute=100) as (session, _):
        ref = made(space)
        waiting = asyncio.create_task(session.wait(await session.submit(prompt())))
        await asyncio.sleep(0)
        services = {**parts_of(session), "store": store_of(session)}
        # from the moment in which it has its permit
        sent = asyncio.create_task(session.edit_look(ref, "scene", key="k"))
        await asyncio.sleep(0.01)
        raised = raises_once(services[part], method, monkeypatch, times=3)
        job = await sent
        monkeypatch.undo()
        assert (await job).status is LookStatus.READY
        assert (await waiting).status is LookStatus.READY
        assert (await intents(session))["k"] is IntentState.READY
        assert sends(space, "edit") == 1
    # nothing asks the scheduler while permits are free
    assert f"Defect: {method}" in caplog.text or not raised


@pytest.mark.parametrize("times", [1, 2])
async def test_a_429_is_sent_again_though_pausing_fails(
    times: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A POST that was answered 429 is sent again although the rate limiter raises when it should pause."""
    async with on_space() as (session, space):
        space.faults.fail_next("create", Fault.status(429), times=times)
        raises_once(runtime_of(session).rate_limiter, "pause", monkeypatch, times=times)
        job = await session.submit(prompt(), key="k")
        assert (await job).status is LookStatus.READY
        assert sends(space, "create") == times + 1
    assert "Defect: pause" in caplog.text


async def test_a_hook_that_raises_at_every_event_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """With hooks that raise at every event a look is paid once and settled, and each error is logged."""
    events: list[Event] = []

    def bad(event: Event) -> None:
        events.append(event)
        raise Defect(type(event).__name__)

    async def also_bad(event: Event) -> None:
        raise Defect(f"async {type(event).__name__}")

    async with on_space(hooks=[bad, also_bad]) as (session, space):
        space.faults.fail_next("create", Fault.status(429))
        space.faults.fail_next("status", Fault.status(500))
        job = await session.submit(prompt(), key="k")
        assert (await job).status is LookStatus.READY
        assert sends(space, "create") == 2
    names = {type(event).__name__ for event in events}
    assert {"RequestSent", "Answered", "Retried", "Paused", "LookAccepted", "LookSettled"} <= names
    for name in names:
        assert f"Defect: {name}" in caplog.text
        assert f"Defect: async {name}" in caplog.text


async def test_a_hook_that_raises_at_deliveries_and_losses_harms_nothing() -> None:
    """With a hook that raises at every event a lost POST is still settled by its delivery."""

    def bad(event: Event) -> None:
        raise Defect

    async with stage() as on:
        hooks: Any = on.session._hooks
        hooks._hooks = (bad, *hooks._hooks)
        hooks._queues = (*hooks._queues, *hooks._queues)
        attempt = await on.lose(prompt(), "k")
        await on.deliver(attempt, on.last, LookStatus.READY)
        assert await intents(on.session) == {"k": IntentState.READY}
        assert [event for event in on.events if isinstance(event, LookSettled)]


async def test_an_error_of_a_batch_items_ready_callback_ends_only_its_own_wait(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An item whose ``is_ready`` raises gets the error, and the others go on waiting for permits."""
    async with on_space(requests_per_minute=5) as (session, _):
        rate_limiter = runtime_of(session).rate_limiter
        while (permit := rate_limiter.try_acquire()) is not None:
            with permit.start_read():
                pass

        def bad() -> bool:
            raise Defect("ready")

        broken = asyncio.create_task(rate_limiter.acquire_for_batch(bad))
        fine = asyncio.create_task(rate_limiter.acquire_for_batch())
        await asyncio.sleep(120)
        with pytest.raises(Defect):
            await broken
        (await fine).cancel()
        assert rate_limiter.waiting == 0


# --- the log


async def test_defects_are_logged_by_the_library_logger(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Defects are logged as errors with a traceback by the logger "hoox_async"."""
    async with on_space() as (session, _):
        raises_once(runtime_of(session).scheduler, "take", monkeypatch)
        assert (await session.run(prompt())).status is LookStatus.READY
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors
    assert {record.name for record in errors} == {"hoox_async"}
    assert all(record.exc_info for record in errors)
