"""Deliveries of an intent that was sent more than once, or that nobody wants any more."""

from __future__ import annotations

import asyncio

import pytest
from delivery_kit import Stage, claimed, stage
from internals_kit import (
    Accept,
    Delivery,
    Intent,
    IntentState,
    MarkUnknown,
    MemoryLedger,
    Transition,
    WireResponse,
    read_looks,
    runtime_of,
)
from session_kit import edit, intent_of, made, prompt

from hoox_async import Evidence, LookDetails, LookRef, LookStatus
from hoox_async.errors import InvalidRequest, OutcomeUnknown
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


async def lose_twice(on: Stage, source: LookRef) -> tuple[tuple[str, LookRef], tuple[str, LookRef]]:
    """Send a request twice, charge and lose both. Returns their attempts and looks."""
    first = await on.lose(edit(source, "twice"), "k")
    look = on.last
    on.space.faults.fail_next("edit", Fault.DROP_AFTER)
    with pytest.raises(OutcomeUnknown):
        await on.session.resend("k")
    return (first, look), (on.hub.attempts[-1], on.last)


async def test_an_unknown_that_was_sent_again_names_what_its_last_attempt_made() -> None:
    """Each attempt's look was delivered without its avatar. Neither is a candidate of another unknown."""
    async with stage() as on:
        source = made(on.space)
        (first, look), (second, other) = await lose_twice(on, source)
        await on.lose(edit(source, "other"), "other")
        delivered = []
        for attempt, made_look in ((first, look), (second, other), (first, look)):
            await on.deliver(attempt, made_look, LookStatus.FAILED, avatar_id=None)
            delivered.append((await intent_of(on.session, "k")).delivered)
        assert delivered == [look.look_id, other.look_id, other.look_id]
        assert (await on.session.unknowns())[-1].candidates == (on.last,)


async def test_a_double_whose_avatar_was_not_found_in_time_is_no_candidate_of_another_unknown() -> None:
    """Nor can it be named for that one, after a restart that does not look for its avatar again."""
    store = MemoryLedger()
    async with stage(store=store) as on:
        source = made(on.space)
        first, look = await on.lose(edit(source, "twice"), "k"), on.last
        await on.session.resend("k")
        await on.deliver(on.hub.attempts[-1], on.last, LookStatus.READY)
        await on.deliver(first, look, LookStatus.READY, avatar_id=None)
    async with stage(on.space, store=store) as on:
        await on.lose(edit(source, "other"), "other")
        (unknown,) = await on.session.unknowns()
        assert unknown.candidates == (on.last,)
        with pytest.raises(InvalidRequest, match="does not belong to the key 'k'"):
            await on.session.resolve("other", look)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in order", "the other way round"])
async def test_both_looks_of_an_intent_that_was_sent_twice_belong_to_no_other_intent(
    order: tuple[int, int],
) -> None:
    """The look that is delivered first becomes the intent's; the other one is claimed."""
    async with stage() as on:
        source = made(on.space)
        attempts = await lose_twice(on, source)
        for index in order:
            assert await on.deliver(*attempts[index], LookStatus.READY)
        assert (await intent_of(on.session, "k")).ref == attempts[order[0]][1]
        assert {look.look_id for _, look in attempts} <= await claimed(on, source.avatar_id)


async def test_a_delivery_for_an_earlier_attempt_confirms_a_resend_that_was_lost_too() -> None:
    """The first attempt's delivery, which comes while a resend is outstanding, confirms its look."""
    async with stage() as on:
        source = made(on.space)
        first = await on.lose(edit(source, "lost"), "k")
        look = on.last
        on.slow_down()
        on.space.faults.fail_next("edit", Fault.DROP_BEFORE)
        again = asyncio.create_task(on.session.resend("k"))
        await asyncio.sleep(3)
        assert (await intent_of(on.session, "k")).state is IntentState.SENDING
        assert await on.deliver(first, look, LookStatus.READY)
        job = await again
        assert job is not None
        assert job.ref == look
        intent = await intent_of(on.session, "k")
        assert (intent.state, intent.evidence) == (IntentState.READY, Evidence.WEBHOOK)
        assert intent.at_risk == 2  # what the second one may have cost


class SlowToProve(MemoryLedger):
    """A store that takes three seconds to write what a delivery has confirmed."""

    async def advance(self, key: str, *steps: Transition) -> Intent:
        if isinstance(steps[-1], Accept) and steps[-1].evidence is Evidence.WEBHOOK:
            await asyncio.sleep(3)
        return await super().advance(key, *steps)


async def test_a_delivery_that_is_written_while_the_resend_is_outstanding_is_kept_until_its_end() -> None:
    """A first attempt's delivery that is written during the resend leaves the resend's look to the job."""
    async with stage(store=SlowToProve()) as on:
        source = made(on.space)
        first = await on.lose(edit(source, "twice"), "k")
        look = on.last
        on.slow_down()
        proving = asyncio.create_task(on.deliver(first, look, LookStatus.READY))
        await asyncio.sleep(1)
        again = asyncio.create_task(on.session.resend("k"))
        assert await proving
        job = await again
        assert job is not None
        assert job.ref == on.last != look
        assert {look.look_id, on.last.look_id} <= await claimed(on, source.avatar_id)


async def test_the_look_of_an_earlier_attempt_is_claimed_if_the_resend_was_accepted() -> None:
    """The look of the first attempt is claimed where its delivery came during a resend that was accepted."""
    async with stage() as on:
        source = made(on.space)
        first = await on.lose(edit(source, "twice"), "k")
        look = on.last
        on.slow_down()
        again = asyncio.create_task(on.session.resend("k"))
        await asyncio.sleep(3)
        assert await on.deliver(first, look, LookStatus.READY)
        job = await again
        assert job is not None
        assert job.ref == on.last != look
        assert {look.look_id, on.last.look_id} <= await claimed(on, source.avatar_id)
        assert job.last.status is LookStatus.PENDING  # it was not this look's delivery


@pytest.mark.parametrize("form", ["new", "old"])
async def test_the_look_of_a_dropped_intent_belongs_to_no_other_intent(form: str) -> None:
    """The look that a delivery names for a dropped intent is no candidate of another one, nor its result."""
    async with stage() as on:
        source = made(on.space)
        attempt, dropped = await on.lose(edit(source, "lost"), "k"), on.last
        await on.session.drop("k")
        await on.lose(edit(source, "other"), "other")
        assert dropped in (await on.session.unknowns())[0].candidates
        fields = {"avatar_id": None} if form == "old" else {}
        assert await on.deliver(attempt, dropped, LookStatus.READY, **fields)
        (other,) = await on.session.unknowns()
        assert other.candidates == (on.last,)
        with pytest.raises(InvalidRequest, match="does not belong to the key 'k'"):
            await on.session.resolve("other", dropped)
        assert (await intent_of(on.session, "k")).state is IntentState.DROPPED


async def test_a_delivery_that_contradicts_an_accepted_look_claims_nothing() -> None:
    """A delivery that names another look than the accepted one claims nothing and is unused."""
    async with stage() as on:
        source = made(on.space)
        await on.session.submit(edit(source, "a"), key="k")
        other = LookRef(source.avatar_id, "look_of_somebody")
        assert await on.deliver(on.hub.attempts[-1], other, LookStatus.READY)
        assert other.look_id not in await claimed(on, source.avatar_id)
        assert on.used == [False]


async def test_a_look_that_is_twice_in_the_list_does_not_end_the_lookup_of_avatars(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lookup of avatars finds both looks although the API's list contains each look twice."""

    def twice(response: WireResponse) -> list[LookDetails]:
        return [look for look in read_looks(response) for _ in range(2)]

    monkeypatch.setattr("hoox_async._session.reads.read_looks", twice)
    async with stage() as on:
        attempts = [await on.lose(prompt(key), key) for key in ("a", "b")]
        looks = [charge.ref for charge in on.space.ledger]
        for attempt, look in zip(attempts, looks, strict=True):
            on.space.settle(look, "ready", 1.0)
            assert await on.hub(attempt, Delivery(look.look_id, LookStatus.READY))
        await asyncio.sleep(600)
        assert await on.session.unknowns() == []


class SlowToSay(MemoryLedger):
    """A store that returns one second after it has written that a POST was lost."""

    async def advance(self, key: str, *steps: Transition) -> Intent:
        after = await super().advance(key, *steps)
        if isinstance(steps[-1], MarkUnknown):
            await asyncio.sleep(1)
        return after


async def test_a_delivery_that_is_applied_before_the_loss_is_reported_makes_the_submission_succeed() -> None:
    """A submission returns the job if a delivery confirms it before the loss is reported to its caller."""
    async with stage(store=SlowToSay()) as on:
        source = made(on.space)
        on.space.faults.fail_next("edit", Fault.DROP_AFTER)
        submitted = asyncio.create_task(on.session.submit(edit(source), key="k"))
        await asyncio.sleep(1)
        assert (await intent_of(on.session, "k")).state is IntentState.UNKNOWN
        assert not submitted.done()
        assert await on.deliver(on.hub.attempts[-1], on.last, LookStatus.READY)
        job = await submitted
        assert (job.ref, job.last.status) == (on.last, LookStatus.READY)


async def test_a_stored_delivery_of_an_earlier_attempt_confirms_the_look_after_a_restart() -> None:
    """The first attempt's delivery, stored during a resend that the process's end cuts off, is applied."""
    store = MemoryLedger()
    async with stage(store=store) as on:
        source = made(on.space)
        first = await on.lose(edit(source, "lost"), "k")
        look = on.last
        on.slow_down()
        on.space.faults.fail_next("edit", Fault.HANG_BEFORE)
        again = asyncio.create_task(on.session.resend("k"))
        await asyncio.sleep(3)
        assert await on.deliver(first, look, LookStatus.READY)
        await runtime_of(on.session).submitter.posts.cancel()
        with pytest.raises(OutcomeUnknown):
            await again
    async with stage(on.space, store=store) as on:
        await asyncio.sleep(5)
        assert (await intent_of(on.session, "k")).ref == look
