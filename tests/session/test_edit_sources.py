"""An edit of a look that is still being made waits for it, before anything is sent for the edit."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from delivery_kit import stage
from internals_kit import IntentState, MemoryLedger
from session_kit import cancel_and_wait, edit, intents, made, money, now, on_space, prompt, sends, turns

from hoox_async import (
    BatchItem,
    BatchRunner,
    Budget,
    ImageAvatar,
    LookEdit,
    LookRef,
    LookStatus,
    OutcomeState,
)
from hoox_async.errors import ApiError, InvalidRequest, NotSent, SessionClosed
from hoox_async.sandbox import Space

pytestmark = pytest.mark.virtual_time


async def test_an_edit_of_a_job_waits_until_it_is_ready() -> None:
    """An edit whose source is a job is sent once that look is ready, and never before."""
    async with on_space(requests_per_minute=100) as (session, space):
        source = await session.submit(prompt())
        job = await session.edit_look(source, "podcast scene")
        assert source.last.status is LookStatus.READY
        assert [record.status in (200, 201) for record in space.requests if record.endpoint == "edit"] == [
            True
        ]
        assert (await job).status is LookStatus.READY


async def test_an_edit_waits_for_a_source_that_only_the_store_knows() -> None:
    """An edit waits for the look of an earlier process, also if the session polls only awaited looks."""
    for poll in ("all", "awaited"):
        store, space = MemoryLedger(), Space(rng=Random(1), requests_per_minute=None)
        async with on_space(space, store=store, poll="awaited") as (session, _):
            ref = (await session.submit(prompt(), key="source")).ref
        async with on_space(space, store=store, poll=poll) as (session, _):
            await session.submit(edit(ref), key="edit")
            assert [
                record.status in (200, 201) for record in space.requests if record.endpoint == "edit"
            ] == [True]
            assert (await intents(session))["source"] is IntentState.READY


async def test_an_edit_of_a_strangers_look_that_is_known_to_be_pending_waits() -> None:
    """An edit waits for a stranger's look that a status request of this session has shown to be pending."""
    async with on_space() as (session, space):
        space.hold(0.0)
        _, body = space._create({"prompt": "a stranger's"}, now())
        job = session.job(LookRef(body["avatar_id"], body["look_id"]))
        assert (await job.status()).status is LookStatus.PENDING
        waiting = asyncio.create_task(session.submit(edit(job.ref)))
        await asyncio.sleep(60)
        assert sends(space, "edit") == 0
        space.settle(job, "ready", now())
        await waiting
        assert sends(space, "edit") == 1


async def test_an_unknown_source_costs_no_request_and_is_sent() -> None:
    """An edit of a look that the session knows nothing of is sent at once, without a status request."""
    async with on_space() as (session, space):
        ref = made(space)
        held = session.job(ref)
        assert held.last.status is LookStatus.PENDING, "as long as nothing was heard of it"
        await session.submit(LookEdit(held, "podcast scene"))
        assert sends(space, "edit") == 1
        assert sends(space, "status", "avatar", "look") == 0
        with pytest.raises(ApiError):
            await session.submit(edit(LookRef(ref.avatar_id, "look_of_nobody")))


async def test_a_look_from_images_is_edited_at_once() -> None:
    """An edit of a look from images is sent without a status request, since such a look is ready at once."""
    async with on_space(poll="awaited") as (session, space):
        source = await session.submit(ImageAvatar(["https://example.com/a.jpg"]))
        await session.submit(edit(source.ref))
        await BatchRunner(session).run([LookEdit(source, "scene")])
        assert [record.endpoint for record in space.requests][:3] == ["create", "edit", "edit"]


async def test_max_wait_bounds_the_wait_for_the_source() -> None:
    """An edit is NotSent after max_wait seconds of waiting for its source, which can be edited later."""
    async with on_space(requests_per_minute=100) as (session, space):
        space.hold(0.0)
        source = await session.submit(prompt())
        for max_wait in (0.0, 30.0):
            began = now()
            with pytest.raises(NotSent) as caught:
                await session.submit(edit(source.ref), max_wait=max_wait)
            assert caught.value.charged == "no"
            assert now() - began == pytest.approx(max_wait, abs=0.01)
        assert sends(space, "edit") == 0
        space.settle(source, "ready", now())
        await session.submit(edit(source.ref), max_wait=30.0)


async def test_without_max_wait_it_waits_for_as_long_as_a_job_is_awaited() -> None:
    """A source that is never done ends the edit with NotSent after Timeouts.wait."""
    async with on_space(requests_per_minute=100) as (session, space):
        space.hold(0.0)
        source = await session.submit(prompt())
        began = now()
        with pytest.raises(NotSent):
            await session.submit(edit(source.ref))
        assert now() - began == pytest.approx(900, abs=1)


async def test_an_edit_of_a_failed_source_is_not_sent() -> None:
    """An edit is NotSent if its source fails during the wait, or was known to have failed before."""
    async with on_space() as (session, space):
        source = await session.submit(prompt("[fail]"), key="source")
        for _ in range(2):
            with pytest.raises(NotSent, match="could not be made"):
                await session.submit(edit(source.ref), key="edit")
        assert sends(space, "edit") == 0
        assert "edit" not in await intents(session)


async def test_an_edit_that_waits_for_its_source_holds_nothing() -> None:
    """An edit that waits for its source holds no budget, no permit and no key."""
    async with on_space(requests_per_minute=100) as (session, space):
        ref = made(space)
        space.hold(0.0)
        source = await session.submit(edit(ref, "first"))
        budget = Budget(2)
        waiting = asyncio.create_task(session.submit(edit(source.ref, "second"), key="k", budget=budget))
        await turns()
        assert money(budget) == (0.0, 0.0)
        await asyncio.wait_for(session.submit(edit(ref, "third"), budget=budget), 5)
        await cancel_and_wait(waiting)
        assert "k" not in await intents(session)


async def test_a_key_that_is_paid_for_needs_no_source() -> None:
    """A key that was paid gives its job at once, whatever the state of the source is."""
    store, space = MemoryLedger(), Space(rng=Random(1), requests_per_minute=None)
    async with on_space(space, store=store) as (session, _):
        source = await session.submit(prompt("[fail]"), key="source")
        await asyncio.sleep(300)
        assert (await intents(session))["source"] is IntentState.FAILED
        ref = made(space)
        job = await session.submit(edit(ref), key="edit")
        assert await session.submit(edit(ref), key="edit") is job
        assert source.done


async def test_a_session_that_is_closed_ends_the_wait() -> None:
    """Closing the session ends an edit's wait for its source with SessionClosed, and nothing was charged."""
    async with on_space() as (session, space):
        space.hold(0.0)
        source = await session.submit(prompt())
        waiting = asyncio.create_task(session.submit(edit(source.ref)))
        await asyncio.sleep(10)
    with pytest.raises(SessionClosed) as caught:
        await waiting
    assert caught.value.charged == "no"
    assert sends(space, "edit") == 0


async def test_a_delivery_ends_the_wait_at_once() -> None:
    """A delivery for the source ends the wait of the edit, and no status request is made."""
    async with stage() as on:
        source = await on.session.submit(prompt(), key="source")
        waiting = asyncio.create_task(on.session.submit(edit(source.ref)))
        await asyncio.sleep(3)
        on.space.settle(source, "ready", now())
        await on.deliver(on.hub.attempts[0], source.ref, LookStatus.READY)
        await asyncio.wait_for(waiting, 2)
        assert sends(on.space, "status", "avatar") == 0


async def test_a_batch_waits_for_sources_that_are_named_by_their_refs() -> None:
    """Items that wait for a pending look hold up no others; those of a failed look are SKIPPED."""
    async with on_space(requests_per_minute=100) as (session, space):
        ready = made(space)
        source, bad = await session.submit(prompt()), await session.submit(prompt("[fail]"))
        items = [BatchItem(f"late {n}", LookEdit(source, f"scene {n}")) for n in range(30)]
        items += [BatchItem("of a failure", LookEdit(bad, "scene"))]
        items += [BatchItem(f"now {n}", LookEdit(ready, f"scene {n}")) for n in range(5)]
        report = await BatchRunner(session, max_in_flight=10).run(items)
        states = {outcome.key: outcome.state for outcome in report}
        assert states.pop("of a failure") is OutcomeState.SKIPPED
        assert set(states.values()) == {OutcomeState.READY}
        sent = [record for record in space.requests if record.endpoint == "edit"]
        assert len(sent) == 35
        assert {record.status for record in sent} <= {200, 201}
        assert sent[4].at < 10, "those that can go do so at once"


async def test_the_text_of_a_ref_is_a_source() -> None:
    """An edit whose source is the text of a ref waits for that look, and is the same job as with the ref."""
    async with on_space(requests_per_minute=100) as (session, space):
        source = await session.submit(prompt())
        job = await session.submit(LookEdit(str(source.ref), "podcast scene"), key="podcast")
        assert source.last.status is LookStatus.READY
        assert await session.submit(LookEdit(source.ref, "podcast scene"), key="podcast") == job
        assert [charge.request["look_id"] for charge in space.ledger[1:]] == [source.look_id]
        assert (await session.edit_look(str(source.ref), "car")).avatar_id == source.avatar_id


async def test_a_source_text_that_is_no_ref_is_refused_before_anything_is_sent() -> None:
    """A submission refuses a source text that is no ref, since only a batch has items with keys."""
    async with on_space() as (session, space):
        with pytest.raises(InvalidRequest) as caught:
            await session.submit(LookEdit("alex", "podcast scene"))
        assert (caught.value.field, caught.value.value) == ("source", "alex")
        assert space.requests == []
