"""What was acknowledged is worked on again where that fails: later, and when the store is opened again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest
from delivery_kit import PICTURE, Hub, Stage, stage
from session_kit import edit, intents, made, prompt, sends
from test_supervision import Defect, raises_once

from hoox_async import LookStatus
from hoox_async._api.webhook_payloads import Delivery
from hoox_async._core.intents.intent import IntentState
from hoox_async._session.webhook_processor import Receiver
from hoox_async.errors import StoreError
from hoox_async.events import LookSettled
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time


def part_of(on: Stage, part: str) -> Any:
    opened = on.session._ready()
    return {"receiver": opened.receiver, "registry": opened.registry, "unknowns": opened.unknowns}[part]


@pytest.mark.parametrize(
    ("part", "method"),
    [("receiver", "_apply"), ("receiver", "_settle"), ("receiver", "_hear"), ("registry", "tell")],
)
@pytest.mark.parametrize("error", [Defect, StoreError], ids=["a defect", "the store"])
@pytest.mark.parametrize("awaited", [True, False])
async def test_a_delivery_whose_work_fails_is_worked_on_again(
    part: str,
    method: str,
    error: type[Exception],
    awaited: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever was raised is logged, and the look is known a few seconds later, without a request."""
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
        assert sum(isinstance(event, LookSettled) for event in on.told) == 1
        if wait is not None:
            assert (await wait).thumbnail_url == PICTURE
        assert sends(on.space, "status", "avatar") == 0
    assert f"working on a delivery for look {job.look_id} failed; it is started again in 1 s" in caplog.text
    assert f"{error.__name__}: {method}" in caplog.text


async def test_deliveries_that_fail_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is to be worked on later holds no place while it waits for that."""
    async with stage() as on:
        jobs = [await on.session.submit(prompt(f"{n}"), key=f"{n}") for n in range(3)]
        monkeypatch.setattr("hoox_async._session.webhook_processor._AT_ONCE", 1)
        receiver = on.session._ready().receiver
        receiver._room = asyncio.Semaphore(1)
        raises_once(receiver, "_apply", monkeypatch, times=2)
        for job, attempt in zip(jobs, on.hub.attempts, strict=True):
            assert await on.deliver(attempt, job.ref, LookStatus.READY)
        assert [job.done for job in jobs] == [False, False, True]
        await asyncio.sleep(5)
        assert all(job.done for job in jobs)
        assert receiver._room._value == 1


async def test_an_unknown_that_a_delivery_names_is_proved_though_that_fails_at_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The only proof that it was paid is not lost."""
    async with stage() as on:
        attempt = await on.lose(prompt(), "k")
        raises_once(part_of(on, "unknowns"), "confirm", monkeypatch)
        await on.deliver(attempt, on.last, LookStatus.READY)
        assert await intents(on.session) == {"k": IntentState.UNKNOWN}
        await asyncio.sleep(5)
        assert await intents(on.session) == {"k": IntentState.READY}


async def test_a_nameless_look_is_found_though_that_fails_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The older payload names no avatar: neither a defect in the search nor one after it ends that."""
    async with stage() as on:
        attempt = await on.lose(prompt(), "k")
        opened = on.session._ready()
        on.space.settle(on.last, "ready", 0.0)
        raises_once(opened.reads, "looks", monkeypatch)
        await on.deliver(attempt, on.last, LookStatus.READY, avatar_id=None)
        await asyncio.sleep(1)
        raises_once(opened.receiver, "prove", monkeypatch)
        await asyncio.sleep(120)
        assert await intents(on.session) == {"k": IntentState.READY}


@pytest.mark.parametrize("lost", [False, True], ids=["answered", "lost"])
async def test_a_delivery_that_overtook_its_post_is_worked_on_again(
    lost: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The POST ends as its answer says, and what was delivered follows at once."""
    async with stage(Space(rng=Random(1))) as on:
        on.slow_down()
        if lost:
            on.space.faults.fail_next("create", Fault.DROP_AFTER)
        post = asyncio.create_task(on.session.submit(prompt(), key="k"))
        await asyncio.sleep(6)
        await on.deliver(on.hub.attempts[0], on.last, LookStatus.READY)
        raises_once(on.session._store, "kept_delivery", monkeypatch)
        await asyncio.wait([post])
        await asyncio.sleep(5)
        assert await intents(on.session) == {"k": IntentState.READY}
        assert sends(on.space, "status", "avatar") == 0
        await asyncio.gather(post, return_exceptions=True)
    assert "Defect('kept_delivery')" in caplog.text


@pytest.mark.parametrize("lost", [False, True], ids=["accepted", "lost"])
async def test_what_could_not_be_worked_on_is_worked_on_when_the_store_is_opened_again(
    lost: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was written down before it was acknowledged, also where its POST was answered long ago."""
    hub, space = Hub(), Space(rng=Random(1), requests_per_minute=None)
    space.hold(0.0)
    async with stage(space, hub=hub, store=tmp_path / "a.db", poll="awaited") as on:
        ref = made(space)
        if lost:
            attempt = await on.lose(edit(ref), "k")
        else:
            await on.session.submit(edit(ref), key="k")
            attempt = hub.attempts[-1]
        raises_once(on.session._ready().receiver, "_apply", monkeypatch, times=100)
        assert await on.deliver(attempt, on.last, LookStatus.READY)
        await asyncio.sleep(300)  # until no more is tried
        assert (await intents(on.session))["k"] is not IntentState.READY
    async with stage(space, hub=hub, store=tmp_path / "a.db", poll="awaited") as on:
        await asyncio.sleep(5)
        assert (await intents(on.session))["k"] is IntentState.READY
        (settled,) = [event for event in on.told if isinstance(event, LookSettled)]
        assert settled.look.thumbnail_url == PICTURE
        assert sends(space, "status", "avatar") == 0


async def test_what_an_earlier_run_kept_is_worked_on_again_where_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that fails keeps none of the others from its turn."""
    hub, space = Hub(), Space(rng=Random(1), requests_per_minute=None)
    space.hold(0.0)
    async with stage(space, hub=hub, store=tmp_path / "a.db") as on:
        refs = [(await on.session.submit(prompt(f"{n}"), key=f"{n}")).ref for n in range(3)]
        for attempt, ref in zip(hub.attempts, refs, strict=True):
            await on.session._store.keep_delivery(
                attempt, Delivery(ref.look_id, LookStatus.READY, ref.avatar_id, PICTURE)
            )
    opened: list[str] = []
    with monkeypatch.context() as patch:
        apply = Receiver._apply

        async def fails_for_the_first(self: Any, attempt_id: str, delivery: Delivery) -> Any:
            if attempt_id == hub.attempts[0] and len(opened) < 2:
                opened.append(attempt_id)
                raise Defect(attempt_id)
            return await apply(self, attempt_id, delivery)

        patch.setattr(Receiver, "_apply", fails_for_the_first)
        async with stage(space, hub=hub, store=tmp_path / "a.db") as on:
            await asyncio.sleep(0.5)
            assert sorted((await intents(on.session)).values()) == [
                IntentState.ACCEPTED,
                IntentState.READY,
                IntentState.READY,
            ]
            await asyncio.sleep(5)
            assert set((await intents(on.session)).values()) == {IntentState.READY}


async def test_a_delivery_that_cannot_be_written_down_is_not_acknowledged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also of a look whose POST was answered: the API sends it again."""
    async with stage() as on:
        job = await on.session.submit(prompt(), key="k")
        raises_once(on.session._store, "keep_delivery", monkeypatch, error=StoreError)
        with pytest.raises(StoreError):
            await on.deliver(on.hub.attempts[0], job.ref, LookStatus.READY)
        assert not job.done
        assert await on.deliver(on.hub.attempts[0], job.ref, LookStatus.READY)
        assert job.done
