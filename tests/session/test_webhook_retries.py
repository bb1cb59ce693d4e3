"""An acknowledged delivery is processed again if that fails: later, and when the store is reopened."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest
from delivery_kit import PICTURE, Hub, Stage, stage
from internals_kit import Delivery, FileLedger, IntentState, runtime_of
from session_kit import edit, intents, made, prompt, sends, store_of
from test_supervision import Defect, raises_once

from hoox_async import LookStatus
from hoox_async._session.deliveries import Deliveries
from hoox_async.errors import StoreError
from hoox_async.events import LookSettled
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time


def part_of(on: Stage, part: str) -> Any:
    opened = runtime_of(on.session)
    return {
        "deliveries": opened.deliveries,
        "registry": opened.registry,
        "unknowns": opened.unknowns,
    }[part]


@pytest.mark.parametrize(
    ("part", "method"),
    [
        ("deliveries", "apply"),
        ("registry", "report"),
        ("registry", "publish"),
    ],
)
@pytest.mark.parametrize("error", [Defect, StoreError], ids=["a defect", "the store"])
@pytest.mark.parametrize("awaited", [True, False])
async def test_a_delivery_whose_processing_fails_is_processed_again(
    part: str,
    method: str,
    error: type[Exception],
    awaited: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A failure in processing a delivery is logged, and the delivery settles the look some seconds later.

    One of the store is logged without a traceback.
    """
    async with stage() as on:
        job = await on.session.submit(prompt(), key="k")
        wait = asyncio.create_task(job.wait()) if awaited else None
        await asyncio.sleep(0)
        raises_once(part_of(on, part), method, monkeypatch, times=2, error=error)
        assert await on.deliver(on.hub.attempts[0], job.ref, LookStatus.READY)
        assert on.used == []
        await asyncio.sleep(10)
        assert on.used == [True]
        assert await intents(on.session) == {"k": IntentState.READY}
        assert sum(isinstance(event, LookSettled) for event in on.events) == 1
        if wait is not None:
            assert (await wait).thumbnail_url == PICTURE
        assert sends(on.space, "status", "avatar") == 0
    if error is StoreError:
        assert f"deliveries could not be processed yet: 1 time(s), {method}" in caplog.text
        assert "Traceback" not in caplog.text
    else:
        assert f"processing a delivery for look {job.look_id} failed; trying again in 1 s" in caplog.text
        assert f"{error.__name__}: {method}" in caplog.text


async def test_while_the_store_is_away_processing_costs_one_log_line_a_second(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of 40 deliveries that fail in one minute, none has a traceback; all are applied once it is back."""
    async with stage() as on:
        jobs = [await on.session.submit(prompt(f"{n}"), key=f"{n}") for n in range(40)]
        raises_once(part_of(on, "deliveries"), "apply", monkeypatch, times=200, error=StoreError)
        caplog.clear()
        began = asyncio.get_running_loop().time()
        for job, attempt in zip(jobs, on.hub.attempts, strict=True):
            assert await on.deliver(attempt, job.ref, LookStatus.READY)
        await asyncio.gather(*jobs)
        seconds = asyncio.get_running_loop().time() - began
        lines = [line for line in caplog.messages if "deliveries" in line]
        assert 2 <= len(lines) <= seconds + 1
        assert "Traceback" not in caplog.text


async def test_a_delivery_that_waits_for_its_retry_blocks_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit of one, a delivery is processed while two that failed wait for their retries."""
    async with stage() as on:
        jobs = [await on.session.submit(prompt(f"{n}"), key=f"{n}") for n in range(3)]
        monkeypatch.setattr("hoox_async._session.deliveries._MAX_CONCURRENT", 1)
        deliveries = runtime_of(on.session).deliveries
        deliveries._slots = asyncio.Semaphore(1)
        raises_once(deliveries, "apply", monkeypatch, times=2)
        for job, attempt in zip(jobs, on.hub.attempts, strict=True):
            assert await on.deliver(attempt, job.ref, LookStatus.READY)
        assert [job.done for job in jobs] == [False, False, True]
        await asyncio.sleep(5)
        assert all(job.done for job in jobs)
        assert deliveries._slots._value == 1


async def test_a_delivery_confirms_an_unknown_although_the_first_try_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An acknowledged delivery is the only proof that the request was paid, so it is applied again."""
    async with stage() as on:
        attempt = await on.lose(prompt(), "k")
        raises_once(part_of(on, "unknowns"), "confirm", monkeypatch)
        await on.deliver(attempt, on.last, LookStatus.READY)
        assert await intents(on.session) == {"k": IntentState.UNKNOWN}
        await asyncio.sleep(5)
        assert await intents(on.session) == {"k": IntentState.READY}


async def test_the_avatar_of_a_delivery_is_looked_up_again_if_that_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The avatar that a delivery does not name is looked up again after an error in or after the lookup."""
    async with stage() as on:
        attempt = await on.lose(prompt(), "k")
        opened = runtime_of(on.session)
        on.space.settle(on.last, "ready", 0.0)
        raises_once(opened.reads, "looks", monkeypatch)
        await on.deliver(attempt, on.last, LookStatus.READY, avatar_id=None)
        await asyncio.sleep(1)
        raises_once(opened.unknowns, "confirm", monkeypatch)
        await asyncio.sleep(120)
        assert await intents(on.session) == {"k": IntentState.READY}


@pytest.mark.parametrize("lost", [False, True], ids=["answered", "lost"])
async def test_a_delivery_before_its_posts_response_is_applied_again_if_that_fails(
    lost: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A delivery that came before the response is applied soon after its first application failed."""
    async with stage(Space(rng=Random(1))) as on:
        on.slow_down()
        if lost:
            on.space.faults.fail_next("create", Fault.DROP_AFTER)
        post = asyncio.create_task(on.session.submit(prompt(), key="k"))
        await asyncio.sleep(6)
        await on.deliver(on.hub.attempts[0], on.last, LookStatus.READY)
        raises_once(store_of(on.session), "delivered", monkeypatch)
        await asyncio.wait([post])
        await asyncio.sleep(5)
        assert await intents(on.session) == {"k": IntentState.READY}
        assert sends(on.space, "status", "avatar") == 0
        await asyncio.gather(post, return_exceptions=True)
    assert "could not be applied: delivered" in caplog.text


@pytest.mark.parametrize("lost", [False, True], ids=["accepted", "lost"])
async def test_a_delivery_that_could_not_be_applied_is_applied_when_the_store_is_reopened(
    lost: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An acknowledged delivery that could not be applied is stored, and applied by the next session."""
    hub, space = Hub(), Space(rng=Random(1), requests_per_minute=None)
    space.hold(0.0)
    async with stage(space, hub=hub, store=tmp_path / "a.db", poll="awaited") as on:
        ref = made(space)
        if lost:
            attempt = await on.lose(edit(ref), "k")
        else:
            await on.session.submit(edit(ref), key="k")
            attempt = hub.attempts[-1]
        raises_once(runtime_of(on.session).deliveries, "apply", monkeypatch, times=100)
        assert await on.deliver(attempt, on.last, LookStatus.READY)
        await asyncio.sleep(300)  # until no more is tried
        assert (await intents(on.session))["k"] is not IntentState.READY
    async with stage(space, hub=hub, store=tmp_path / "a.db", poll="awaited") as on:
        await asyncio.sleep(5)
        assert (await intents(on.session))["k"] is IntentState.READY
        (settled,) = [event for event in on.events if isinstance(event, LookSettled)]
        assert settled.look.thumbnail_url == PICTURE
        assert sends(space, "status", "avatar") == 0


async def test_an_opening_looks_up_only_what_was_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 20 accepted looks, two were delivered meanwhile: only those two deliveries are read."""
    hub, space = Hub(), Space(rng=Random(1), requests_per_minute=None)
    space.hold(0.0)
    async with stage(space, hub=hub, store=tmp_path / "a.db", poll="awaited") as on:
        refs = [(await on.session.submit(prompt(f"{n}"), key=f"{n}")).ref for n in range(20)]
        for attempt, ref in list(zip(hub.attempts, refs, strict=True))[:2]:
            await store_of(on.session).keep_delivery(
                attempt, Delivery(ref.look_id, LookStatus.READY, ref.avatar_id, PICTURE)
            )
    read: list[str] = []
    delivered = FileLedger.delivered

    async def noted(self: FileLedger, attempt_id: str) -> Any:
        read.append(attempt_id)
        return await delivered(self, attempt_id)

    monkeypatch.setattr(FileLedger, "delivered", noted)
    async with stage(space, hub=hub, store=tmp_path / "a.db", poll="awaited") as on:
        await asyncio.sleep(1)
        assert [key for key, state in (await intents(on.session)).items() if state is IntentState.READY] == [
            "0",
            "1",
        ]
    assert read == hub.attempts[:2]


async def test_a_stored_delivery_that_fails_at_the_start_is_retried_and_delays_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the first of three stored deliveries fails, the others are applied at once, and it later."""
    hub, space = Hub(), Space(rng=Random(1), requests_per_minute=None)
    space.hold(0.0)
    async with stage(space, hub=hub, store=tmp_path / "a.db") as on:
        refs = [(await on.session.submit(prompt(f"{n}"), key=f"{n}")).ref for n in range(3)]
        for attempt, ref in zip(hub.attempts, refs, strict=True):
            await store_of(on.session).keep_delivery(
                attempt, Delivery(ref.look_id, LookStatus.READY, ref.avatar_id, PICTURE)
            )
    opened: list[str] = []
    with monkeypatch.context() as patch:
        apply = Deliveries.apply

        async def fails_for_the_first(self: Any, attempt_id: str) -> Any:
            if attempt_id == hub.attempts[0] and len(opened) < 2:
                opened.append(attempt_id)
                raise Defect(attempt_id)
            return await apply(self, attempt_id)

        patch.setattr(Deliveries, "apply", fails_for_the_first)
        async with stage(space, hub=hub, store=tmp_path / "a.db") as on:
            await asyncio.sleep(0.5)
            assert sorted((await intents(on.session)).values()) == [
                IntentState.ACCEPTED,
                IntentState.READY,
                IntentState.READY,
            ]
            await asyncio.sleep(5)
            assert set((await intents(on.session)).values()) == {IntentState.READY}


async def test_a_delivery_that_cannot_be_stored_is_not_acknowledged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The store's error is raised for a delivery that cannot be stored; sent again, it settles the look."""
    async with stage() as on:
        job = await on.session.submit(prompt(), key="k")
        raises_once(store_of(on.session), "keep_delivery", monkeypatch, error=StoreError)
        with pytest.raises(StoreError):
            await on.deliver(on.hub.attempts[0], job.ref, LookStatus.READY)
        assert not job.done
        assert await on.deliver(on.hub.attempts[0], job.ref, LookStatus.READY)
        assert job.done
