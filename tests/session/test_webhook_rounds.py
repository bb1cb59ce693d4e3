"""Deliveries of an intent that was paid anew: of which of its rounds they tell."""

from __future__ import annotations

import asyncio

import pytest
from delivery_kit import Stage, claimed, stage
from session_kit import IntentState, edit, intent_of, made

from hoox_async import BatchItem, BatchRunner, Evidence, ImageAvatar, LookRef, LookStatus, Request
from hoox_async.errors import OutcomeUnknown
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time

Attempt = tuple[str, LookRef]


async def lose_anew(on: Stage, request: Request, state: str) -> Attempt:
    """Pay again for an intent that ended in this state, and lose the response: its attempt and look."""
    on.space.faults.fail_next("edit" if hasattr(request, "source") else "create", Fault.DROP_AFTER)
    runner = BatchRunner(on.session, retry=[state], changed="redo", look_timeout=1)
    (outcome,) = (await runner.run([BatchItem("k", request)])).outcomes
    assert str(outcome.state) == "unknown"
    return on.hub.attempts[-1], on.last


async def fail_then_lose(on: Stage, source: LookRef) -> tuple[Attempt, Attempt]:
    """A look failed, was paid again and lost."""
    await on.session.submit(edit(source), key="k")
    first = on.hub.attempts[-1], on.last
    await on.deliver(*first, LookStatus.FAILED)
    return first, await lose_anew(on, edit(source), "failed")


async def lose_again(on: Stage) -> Attempt:
    """Send the request again on the user's demand, and lose it again."""
    on.space.faults.fail_next("edit", Fault.DROP_AFTER)
    with pytest.raises(OutcomeUnknown):
        await on.session.resend("k")
    return on.hub.attempts[-1], on.last


async def test_a_delivery_for_the_middle_attempt_confirms_its_look() -> None:
    """After a failed and two lost attempts the look that is delivered first becomes the intent's."""
    async with stage() as on:
        source = made(on.space)
        _, middle = await fail_then_lose(on, source)
        last = await lose_again(on)
        assert await on.deliver(*middle, LookStatus.READY)
        intent = await intent_of(on.session, "k")
        assert (intent.state, intent.ref) == (IntentState.READY, middle[1])
        assert intent.evidence is Evidence.WEBHOOK
        assert (float(intent.spent), float(intent.at_risk)) == (4, 2)
        assert await on.deliver(*last, LookStatus.READY)
        assert last[1].look_id in await claimed(on, source.avatar_id)
        assert on.used == [True, True, True]
        assert (await intent_of(on.session, "k")).past_looks[-1] == last[1]


async def test_a_delivery_for_the_middle_attempt_is_stored_while_the_last_one_is_outstanding() -> None:
    """The middle attempt's delivery, stored during the last one, confirms the intent when that is lost."""
    async with stage() as on:
        _, middle = await fail_then_lose(on, made(on.space))
        on.slow_down()
        on.space.faults.fail_next("edit", Fault.DROP_BEFORE)
        again = asyncio.create_task(on.session.resend("k"))
        await asyncio.sleep(3)
        assert await on.deliver(*middle, LookStatus.READY)
        job = await again
        assert job is not None
        assert (job.ref, job.last.status) == (middle[1], LookStatus.READY)


async def test_a_late_look_of_an_earlier_rounds_content_is_claimed_and_confirms_nothing() -> None:
    """A late look of an earlier round's content is claimed and does not confirm the new round.

    It lacks the new content, and must not be taken for the look of another lost intent either.
    """
    async with stage() as on:
        source = made(on.space)
        first = await on.lose(edit(source, "old"), "k"), on.last
        job = await on.session.resend("k")
        assert job is not None
        await on.deliver(on.hub.attempts[-1], on.last, LookStatus.FAILED)
        await lose_anew(on, edit(source, "new"), "failed")
        assert await on.deliver(*first, LookStatus.READY)
        assert (await intent_of(on.session, "k")).state is IntentState.UNKNOWN
        assert first[1].look_id in await claimed(on, source.avatar_id)


@pytest.mark.parametrize("status", [LookStatus.READY, LookStatus.FAILED])
async def test_a_repeated_delivery_of_an_earlier_round_confirms_nothing(status: LookStatus) -> None:
    """A repeated delivery of the look that an earlier round settled does not confirm the lost new round."""
    async with stage() as on:
        first, middle = await fail_then_lose(on, made(on.space))
        assert await on.deliver(*first, status)
        assert (await intent_of(on.session, "k")).state is IntentState.UNKNOWN
        assert await on.deliver(*middle, LookStatus.READY)
        assert (await intent_of(on.session, "k")).ref == middle[1]


async def test_a_repeated_delivery_of_an_earlier_free_round_confirms_nothing() -> None:
    """A repeated delivery of an earlier round of an avatar from images does not confirm the new round."""
    async with stage() as on:
        request = ImageAvatar(["https://example.com/a.jpg"])
        await on.session.run(request, key="k")
        first = on.hub.attempts[-1], on.last
        anew = await lose_anew(on, request, "ready")
        assert await on.deliver(*first, LookStatus.READY)
        assert (await intent_of(on.session, "k")).state is IntentState.UNKNOWN
        assert await on.deliver(*anew, LookStatus.READY)
        assert (await intent_of(on.session, "k")).ref == anew[1]
