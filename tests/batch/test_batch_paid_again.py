"""Until its POST leaves, and if that is refused, an item that is paid again is unchanged in the store."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from batch_kit import avatar, edits, opened, space_of, states
from internals_kit import Clock, Intent, IntentState, MemoryLedger, Send, Settle, Transition
from session_kit import intent_of, now, paid_prompts, store_of

from hoox_async import (
    BatchItem,
    BatchReport,
    BatchRunner,
    Event,
    HooxSession,
    Look,
    LookEdit,
    LookRef,
    LookSettled,
    LookStatus,
)
from hoox_async.errors import ApiError, BadRequest, OutcomeUnknown
from hoox_async.sandbox import Fault, Space
from hoox_async.webhooks import WebhookHub

pytestmark = pytest.mark.virtual_time

REFUSALS = [Fault.status(401), Fault.status(402), Fault.status(400)]
CHECKS = 4  # requests by which a key is checked that worked and was refused


async def lose(session: HooxSession, space: Space, source: LookRef, key: str = "lost") -> None:
    """An edit that was made and paid, and whose answer was lost."""
    space.faults.fail_next("edit", Fault.DROP_AFTER)
    with pytest.raises(OutcomeUnknown):
        await session.submit(LookEdit(source, key), key=key)


async def busy(session: HooxSession, space: Space, source: LookRef) -> asyncio.Task[Any]:
    """The quota is spent for half a minute."""
    space.faults.fail_next("status", Fault.rate_limited(retry_after=30))
    reading = asyncio.create_task(session.status(source))
    await asyncio.sleep(2)
    return reading


def hub_of() -> WebhookHub:
    return WebhookHub("https://example.com/hooks", "a secret for tests only")


async def deliver(hub: WebhookHub, space: Space, prompt: str, ref: LookRef, attempt: int = 0) -> None:
    """The webhook of an attempt: its look is done."""
    bodies = [r.body for r in space.requests if r.body and r.body.get("prompt") == prompt]
    body = {
        "task": "avatar_edit", "avatar_id": ref.avatar_id, "look_id": ref.look_id, "status": "completed",
        "result": {"thumbnail_url": "https://example.com/p.jpg"},
    }  # fmt: skip
    token = bodies[attempt]["webhook_url"].rpartition("/")[2]
    assert await hub.handle(token, json.dumps(body).encode()) == 200
    await asyncio.sleep(0.1)


# --- unknowns


async def test_proof_that_comes_before_a_resend_leaves_stops_it() -> None:
    """A look that is delivered while its resend waits for the quota is not paid twice."""
    space, hub = space_of(), hub_of()
    async with opened(space, webhooks=hub) as session:
        source = await avatar(session)
        await lose(session, space, source)
        first = space.ledger[-1].ref
        reading = await busy(session, space, source)
        again = asyncio.create_task(session.resend("lost"))
        await asyncio.sleep(2)
        await deliver(hub, space, "lost", first)
        job = await again
        await reading
    assert job is not None
    assert job.ref == first
    assert paid_prompts(space)["lost"] == 1


async def test_proof_that_comes_while_a_resend_connects_stops_it() -> None:
    """A look that is delivered while its resend connects is not paid twice."""
    space, hub = space_of(), hub_of()
    async with opened(space, webhooks=hub, transport={"connect": 5.0}) as session:
        source = await avatar(session)
        await lose(session, space, source)
        again = asyncio.create_task(session.resend("lost"))
        await asyncio.sleep(2)
        await deliver(hub, space, "lost", space.ledger[-1].ref)
        job = await again
    assert job is not None
    assert paid_prompts(space)["lost"] == 1


async def test_an_unknown_that_is_dropped_while_its_resend_waits_is_not_sent() -> None:
    """`drop` during the wait for the quota ends the resend: nothing is sent, and nothing is paid."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        await lose(session, space, source)
        reading = await busy(session, space, source)
        again = asyncio.create_task(session.resend("lost"))
        await asyncio.sleep(2)
        await session.drop("lost")
        with pytest.raises(OutcomeUnknown):
            await again
        await reading
        assert (await intent_of(session, "lost")).state is IntentState.DROPPED
    assert paid_prompts(space)["lost"] == 1


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda fault: fault.name)
async def test_an_unknown_whose_resend_was_refused_is_an_unknown_as_before(refusal: Fault) -> None:
    """An unknown whose resend was refused is unchanged and listed, and its delivery still proves it."""
    space, hub = space_of(), hub_of()
    async with opened(space, webhooks=hub) as session:
        source = await avatar(session)
        await lose(session, space, source)
        before = await intent_of(session, "lost")
        space.faults.fail_next("edit", refusal)
        space.faults.fail_next("status", refusal, times=CHECKS)
        with pytest.raises(ApiError):
            await session.resend("lost")
        assert await intent_of(session, "lost") == before
        assert [unknown.key for unknown in await session.unknowns()] == ["lost"]
        await deliver(hub, space, "lost", space.ledger[-1].ref)
        assert (await intent_of(session, "lost")).ref == space.ledger[-1].ref


async def test_a_delivery_that_came_during_a_refused_resend_proves_the_first_attempt() -> None:
    """The first attempt's delivery that comes during a resend is applied when that is answered 402."""
    space, hub = space_of(), hub_of()
    async with opened(space, webhooks=hub, transport={"latency": 10.0}) as session:
        source = await avatar(session)
        await lose(session, space, source)
        first = space.ledger[-1].ref
        space.faults.fail_next("edit", Fault.status(402))
        again = asyncio.create_task(session.resend("lost"))
        await asyncio.sleep(3)
        await deliver(hub, space, "lost", first)
        job = await again
    assert job is not None
    assert job.ref == first


async def test_a_resend_that_is_answered_429_is_sent_again() -> None:
    """After each 429 the unknown is restored in the store, and the resend is sent again."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        await lose(session, space, source)
        space.faults.fail_next("edit", Fault.rate_limited(retry_after=5), times=3)
        again = asyncio.create_task(session.resend("lost"))
        await asyncio.sleep(3)
        assert (await intent_of(session, "lost")).state is IntentState.UNKNOWN
        job = await again
        assert job is not None
        intent = await intent_of(session, "lost")
    assert intent.spent == intent.at_risk == 2
    assert paid_prompts(space)["lost"] == 2


async def test_a_resend_that_did_not_fit_the_cap_is_held_by_the_next_run() -> None:
    """An unknown whose resend did not fit under the cap stays unknown, and the next run sends nothing."""
    space, store = space_of(), MemoryLedger()
    async with opened(space, store=store) as session:
        items = edits(await avatar(session), 1)
        space.faults.fail_next("edit", Fault.DROP_AFTER)
        await BatchRunner(session).run(items)
        second = await BatchRunner(session, on_unknown="resend", max_credits=2).run(items)
        third = await BatchRunner(session, on_unknown="hold").run(items)
    assert states(second) == states(third) == {"e0": "unknown"}
    assert third.outcomes[0].at_risk == 2
    assert paid_prompts(space)["e0"] == 1


@pytest.mark.parametrize("ends", ["cancel", "stop"])
async def test_a_resend_that_is_ended_at_the_rate_limiter_is_held_by_the_next_run(ends: str) -> None:
    """An unknown whose resend ended at the rate limiter stays unknown, and the next run sends nothing."""
    space, store = space_of(), MemoryLedger()
    async with opened(space, store=store) as session:
        source = await avatar(session)
        items = edits(source, 1)
        space.faults.fail_next("edit", Fault.DROP_AFTER)
        await BatchRunner(session).run(items)
        reading = await busy(session, space, source)
        runner = BatchRunner(session, on_unknown="resend")
        run = asyncio.create_task(runner.run(items))
        await asyncio.sleep(2)
        run.cancel() if ends == "cancel" else runner.stop()
        await asyncio.wait([run, reading])
        if ends == "stop":
            assert states(run.result()) == {"e0": "unknown"}
        assert states(await BatchRunner(session).run(items)) == {"e0": "unknown"}
    assert paid_prompts(space)["e0"] == 1


# --- looks that are there


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("how", [{"retry": ["ready"]}, {"changed": "redo"}], ids=str)
async def test_a_redo_that_is_refused_leaves_the_old_look(refusal: Fault, how: dict[str, Any]) -> None:
    """A refused redo has no look in its outcome, and the store keeps the look that was paid."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        (first,) = (await BatchRunner(session).run(edits(source, 1))).outcomes
        items = [BatchItem("e0", LookEdit(source, "v2"))] if "changed" in how else edits(source, 1)
        space.faults.fail_next("edit", refusal)
        space.faults.fail_next("status", refusal, times=CHECKS)
        (got,) = (await BatchRunner(session, **how).run(items)).outcomes
        (again,) = (await BatchRunner(session).run(edits(source, 1))).outcomes
        assert first.ref is not None
        by_ref = await store_of(session).by_ref(first.ref)
    assert str(got.state) == ("rejected" if isinstance(got.error, BadRequest) else "unsent")
    assert got.credits == 2
    assert (got.ref, got.request) == (None, items[0].request)
    assert (str(again.state), again.ref) == ("ready", first.ref)
    assert by_ref is not None
    assert space.credits_spent == 2


async def test_a_pending_look_that_became_ready_before_its_turn_is_not_paid_again() -> None:
    """``retry=('pending',)`` does not pay for a look that is delivered while the item waits for the quota."""
    space, hub = space_of(10_000.0), hub_of()
    async with opened(space, webhooks=hub) as session:
        source = await avatar(session)
        items = edits(source, 1)
        (first,) = (await BatchRunner(session, look_timeout=1).run(items)).outcomes
        assert str(first.state) == "pending"
        assert first.ref is not None
        reading = await busy(session, space, source)
        run = asyncio.create_task(BatchRunner(session, retry=["pending"]).run(items))
        await asyncio.sleep(1)
        await deliver(hub, space, "e0", first.ref)
        (second,) = (await run).outcomes
        await reading
    assert (str(second.state), second.ref) == ("ready", first.ref)
    assert paid_prompts(space)["e0"] == 1


class Faster(MemoryLedger):
    """In the moment in which a sending is written down, the look that was paid before is settled."""

    async def advance(self, key: str, *steps: Transition) -> Intent:
        ref = (await self.get([key]))[key].ref
        if isinstance(steps[-1], Send) and ref is not None:
            at = Clock(asyncio.get_running_loop()).utc()
            await super().advance(key, Settle(Look(ref, LookStatus.READY), at))
        return await super().advance(key, *steps)


async def test_a_pending_look_that_becomes_ready_in_the_last_moment_is_not_paid_again() -> None:
    """A look that is settled while its new POST is being recorded is not paid again."""
    space = space_of(10_000.0)
    async with opened(space, store=Faster()) as session:
        items = edits(await avatar(session), 1)
        (first,) = (await BatchRunner(session, look_timeout=1).run(items)).outcomes
        assert str(first.state) == "pending"
        (second,) = (await BatchRunner(session, retry=["pending"]).run(items)).outcomes
    assert (str(second.state), second.ref) == ("ready", first.ref)
    assert paid_prompts(space)["e0"] == 1


async def test_an_item_that_a_hook_pays_again_at_once_has_its_own_outcome() -> None:
    """What another run sends under the key of a look that has just failed is not this run's outcome."""
    space = space_of()
    others: list[asyncio.Task[BatchReport]] = []

    def pay_again(event: Event) -> None:
        if isinstance(event, LookSettled) and event.look.status is LookStatus.FAILED and not others:
            space.faults.fail_next("edit", Fault.slow(5.0))
            run = BatchRunner(session, retry=["failed"]).run(items[:1])
            others.append(asyncio.create_task(run))

    async with opened(space, hooks=[pay_again]) as session:
        source = await avatar(session)
        items = [BatchItem("e0", LookEdit(source, "e0 [fail]")), *edits(source, 1, "other")]
        first = (await BatchRunner(session).run(items)).outcomes[0]
        (second,) = (await others[0]).outcomes
    assert [str(each.state) for each in (first, second)] == ["failed", "failed"]
    assert [float(each.credits) for each in (first, second)] == [2, 4]
    assert not first.at_risk
    assert [first.ref, second.ref] == [space.ledger[1].ref, space.ledger[3].ref]


async def test_an_async_hook_that_pays_again_does_not_wait_for_its_own_end() -> None:
    """A further round waits until hooks were told of the last one, but not where one of them begins it."""
    space = space_of()
    told: list[LookRef] = []
    took: list[float] = []

    async def pay_again(event: Event) -> None:
        if isinstance(event, LookSettled) and event.look.status is LookStatus.FAILED:
            told.append(event.look.ref)
            if len(told) < 3:
                began = now()
                await BatchRunner(session, retry=["failed"]).run(items)
                took.append(now() - began)

    async with opened(space, hooks=[pay_again]) as session:
        items = [BatchItem("e0", LookEdit(await avatar(session), "e0 [fail]"))]
        await BatchRunner(session).run(items)
        await asyncio.sleep(300.0)
    assert told == [charge.ref for charge in space.ledger[1:]]
    assert max(took) < 40.0
