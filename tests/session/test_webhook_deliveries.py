"""Deliveries: early, late, doubled, contradicting, forged; and what they prove."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from delivery_kit import PICTURE, Hub, stage
from internals_kit import Delivery, Intent, IntentState, MemoryLedger, Settle, Transition, runtime_of
from session_kit import edit, intent_of, intents, made, prompt, sends, turns

from hoox_async import Evidence, ImageAvatar, Look, LookRef, LookStatus
from hoox_async.events import LookSettled
from hoox_async.sandbox import DeliveryOptions, Fault, Space

pytestmark = pytest.mark.virtual_time


# --- the sandbox's own deliveries


@pytest.mark.parametrize(
    "options",
    [
        DeliveryOptions(),
        DeliveryOptions(form="old"),
        DeliveryOptions(early=1.0),
        DeliveryOptions(early=1.0, form="old"),
        DeliveryOptions(double=1.0, contradict=1.0),
        DeliveryOptions(delay=30.0, reorder=20.0),
        DeliveryOptions(lose=1.0),
    ],
    ids=["new", "old", "early", "early old", "doubled and contradicted", "late", "lost"],
)
async def test_every_look_settles_whatever_happens_to_its_delivery(options: DeliveryOptions) -> None:
    """Each look settles if its delivery is lost, doubled, early, late or false.

    If none is lost or late, an idle quota is spent on one status request a look at most.
    """
    async with stage(sends_webhooks=options) as on:
        ref = made(on.space)
        jobs = [await on.session.submit(edit(ref, f"scene {n}"), key=str(n)) for n in range(6)]
        jobs += [await on.session.submit(prompt(), key="p")]
        looks = await asyncio.gather(*(job.wait() for job in jobs))
        assert {look.status for look in looks} == {LookStatus.READY}
        assert all(look.thumbnail_url for look in looks)
        assert set((await intents(on.session)).values()) == {IntentState.READY}
        if not options.lose and not options.delay:
            assert sends(on.space, "status", "avatar") <= len(jobs)


async def test_a_delivery_before_the_posts_response_settles_the_look_at_once() -> None:
    """A job whose delivery came before the response is done when it is returned, without a status request."""
    async with stage(sends_webhooks=DeliveryOptions(early=1.0)) as on:
        job = await on.session.submit(prompt(), key="k")
        at = asyncio.get_running_loop().time()
        assert (await job).thumbnail_url
        assert asyncio.get_running_loop().time() == at
        assert sends(on.space, "status", "avatar") == 0
        assert on.used == [True]


async def test_a_failure_delivered_before_the_posts_response_keeps_its_reason() -> None:
    """A job whose failure was delivered before the response is FAILED and has its reason."""
    async with stage(sends_webhooks=DeliveryOptions(early=1.0)) as on:
        job = await on.session.submit(prompt("[fail]"), key="k")
        assert job.last.status is LookStatus.FAILED
        assert job.last.error is not None
        assert await intents(on.session) == {"k": IntentState.FAILED}


# --- while the POST is outstanding


async def test_the_most_telling_status_is_kept_for_an_outstanding_post() -> None:
    """Of the deliveries during an outstanding POST a final one replaces the first."""
    space = Space(rng=Random(1))
    async with stage(space) as on:
        on.slow_down()
        task = asyncio.create_task(on.session.submit(prompt(), key="k"))
        await asyncio.sleep(6)
        for status in (LookStatus.PENDING, LookStatus.PROCESSING, LookStatus.READY):
            assert await on.deliver(on.hub.attempts[0], on.last, status)
        job = await task
        assert job.last.status is LookStatus.READY
        assert (await job).thumbnail_url == PICTURE
        assert on.used == [True, False, True]


async def test_a_delivery_before_a_lost_response_confirms_the_look() -> None:
    """A submission whose response is lost after its delivery came is accepted, and is no unknown."""
    space = Space(rng=Random(1))
    async with stage(space) as on:
        on.slow_down()
        on.space.faults.fail_next("create", Fault.DROP_AFTER)
        task = asyncio.create_task(on.session.submit(prompt(), key="k"))
        await asyncio.sleep(6)
        await on.deliver(on.hub.attempts[0], on.last, LookStatus.READY)
        job = await task
        assert (job.ref, job.last.status) == (on.last, LookStatus.READY)
        assert (await intent_of(on.session, "k")).evidence is Evidence.WEBHOOK
        assert sends(on.space, "create") == 1


# --- once it is accepted


async def test_a_repeated_or_contradicting_delivery_changes_nothing() -> None:
    """A repeated or contradicting delivery is unused, and the look keeps its first final status."""
    async with stage() as on:
        job = await on.session.submit(prompt(), key="k")
        attempt = on.hub.attempts[0]
        for status in (LookStatus.READY, LookStatus.READY, LookStatus.FAILED, LookStatus.PROCESSING):
            assert await on.deliver(attempt, job.ref, status)
        assert on.used == [True, False, False, False]
        assert (await job).status is LookStatus.READY
        assert await intents(on.session) == {"k": IntentState.READY}
        assert sum(isinstance(event, LookSettled) for event in on.events) == 1


async def test_equal_deliveries_at_the_same_moment_settle_the_look_once() -> None:
    """Of five equal deliveries in one moment all are acknowledged, and one settles the look."""
    async with stage() as on:
        job = await on.session.submit(prompt(), key="k")
        delivery = Delivery(job.look_id, LookStatus.READY, job.avatar_id, PICTURE)
        taken = await asyncio.gather(*(on.hub(on.hub.attempts[0], delivery) for _ in range(5)))
        await turns()
        assert taken == [True] * 5
        assert sorted(on.used) == [False] * 4 + [True]


async def test_a_delivery_for_a_job_that_nobody_references_is_stored() -> None:
    """A delivery for a job that nobody references is stored, and the event has the request's metadata."""
    async with stage() as on:
        await on.session.submit(prompt(metadata={"who": "me"}), key="k")
        await on.deliver(on.hub.attempts[0], on.last, LookStatus.READY)
        assert await intents(on.session) == {"k": IntentState.READY}
        (settled,) = [event for event in on.events if isinstance(event, LookSettled)]
        assert (settled.key, settled.metadata) == ("k", {"who": "me"})
        job = await on.session.submit(prompt(metadata={"who": "me"}), key="k")
        assert (await job).thumbnail_url == PICTURE


async def test_a_delivery_that_names_another_look_is_ignored() -> None:
    """A valid token confirms the look of its own attempt only."""
    async with stage() as on:
        other = made(on.space)
        job = await on.session.submit(prompt(), key="k")
        assert await on.deliver(on.hub.attempts[0], other, LookStatus.READY)
        assert on.used == [False]
        assert job.last.status is LookStatus.PENDING


async def test_a_delivery_with_a_status_that_is_not_final_updates_the_job() -> None:
    """A delivery that says processing updates the job and does not end the wait, even if it has a picture."""
    async with stage() as on:
        job = await on.session.submit(prompt(), key="k")
        await on.deliver(on.hub.attempts[0], job.ref, LookStatus.PROCESSING, thumbnail_url=PICTURE)
        assert job.last.status is LookStatus.PROCESSING
        assert not job.done


async def test_the_picture_of_a_settled_look_is_written_before_its_delivery_is_acknowledged() -> None:
    """The opening of a store reads no settled rows: what is only kept beside one would have no effect."""
    async with stage(store=SlowToSettle()) as on:
        await on.session.submit(prompt(), key="k")
        attempt, ref = on.hub.attempts[-1], on.last
        await on.deliver(attempt, ref, LookStatus.READY, thumbnail_url=None)
        await asyncio.sleep(5)
        assert await intents(on.session) == {"k": IntentState.READY}
        assert await on.hub(attempt, Delivery(ref.look_id, LookStatus.READY, ref.avatar_id, PICTURE))
        look = (await intent_of(on.session, "k")).look
        assert look is not None
        assert look.thumbnail_url == PICTURE


class SlowToSettle(MemoryLedger):
    """A store that takes two seconds to write the end of a look."""

    async def advance(self, key: str, *steps: Transition) -> Intent:
        if isinstance(steps[-1], Settle):
            await asyncio.sleep(2)
        return await super().advance(key, *steps)


async def test_a_picture_that_the_delivery_lacks_is_requested() -> None:
    """The delivery settles the look, and one status request brings its picture."""
    async with stage() as on:
        job = await on.session.submit(prompt(), key="k")
        on.space.settle(job, "ready", 1.0)
        await on.deliver(on.hub.attempts[0], job.ref, LookStatus.READY, thumbnail_url=None)
        assert await intents(on.session) == {"k": IntentState.READY}
        assert (await job).thumbnail_url
        assert (await intent_of(on.session, "k")).look.thumbnail_url  # type: ignore[union-attr]


async def test_a_delivery_for_an_unknown_attempt_is_not_acknowledged() -> None:
    """A delivery for an unknown attempt is not acknowledged; the API may send it to another process."""
    async with stage() as on:
        assert not await on.deliver("never-heard-of", LookRef("a", "b"), LookStatus.READY)
        assert on.used == []


# --- the edges


async def test_a_delivery_whose_acceptance_is_cancelled_can_be_sent_again() -> None:
    """After the acceptance of a delivery was cancelled, the API's retry of it is accepted."""
    async with stage() as on:
        attempt = await on.lose(prompt(), "k")
        deliveries = runtime_of(on.session).deliveries
        for _ in range(200):
            await deliveries._slots.acquire()
        delivery = Delivery(on.last.look_id, LookStatus.READY, on.last.avatar_id, PICTURE)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await on.hub(attempt, delivery)
        assert await intents(on.session) == {"k": IntentState.UNKNOWN}
        for _ in range(200):
            deliveries._slots.release()
        assert await on.hub(attempt, delivery)
        await turns()
        assert await intents(on.session) == {"k": IntentState.READY}


async def test_a_closed_session_acknowledges_no_delivery() -> None:
    """A session that is being closed acknowledges no delivery, and a closed one has unsubscribed."""
    hub = Hub()
    async with stage(hub=hub) as on:
        await on.session.submit(prompt(), key="k")
        (receiver,) = hub.receivers
        opened = runtime_of(on.session)
        opened.tasks.closed = True
        assert not await receiver(hub.attempts[0], Delivery("look", LookStatus.READY))
        opened.tasks.closed = False
    assert hub.receivers == []


async def test_a_webhook_url_of_the_request_itself_is_used_in_place_of_the_hubs() -> None:
    """A look whose request has its own webhook URL is polled, and its delivery does not reach the hub."""
    async with stage(sends_webhooks=DeliveryOptions()) as on:
        job = await on.session.submit(prompt(webhook_url="https://me.example/hook"))
        assert isinstance(await job, Look)
        assert on.space.ledger[0].request["webhook_url"] == "https://me.example/hook"
        assert on.used == []


async def test_an_avatar_from_images_is_ready_at_once_and_so_is_its_job() -> None:
    """The job of an avatar from images becomes READY in a session with webhooks."""
    async with stage(sends_webhooks=DeliveryOptions()) as on:
        job = await on.session.submit(ImageAvatar(["https://example.com/a.jpg"]))
        assert (await job.wait(timeout=60)).status is LookStatus.READY
