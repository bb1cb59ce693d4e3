"""The user's word on an unknown, where a proof comes in the same moment, and words that say nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from decimal import Decimal
from typing import Any

import pytest
from internals_kit import (
    Accept,
    Drop,
    Intent,
    IntentState,
    MarkUnknown,
    MemoryLedger,
    Resend,
    Send,
    Transition,
    runtime_of,
)
from session_kit import edit, intent_of, made, now, on_space, sends, turns

from hoox_async import Budget, Evidence, HooxSession, ImageAvatar, Look, LookRef, LookStatus
from hoox_async.errors import BudgetExceeded, InvalidRequest, NotFound, NotSent, OutcomeUnknown
from hoox_async.events import Event, LookAccepted
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time


class Racing(MemoryLedger):
    """In the moment before a step is taken, something else moves the intent on."""

    def __init__(self) -> None:
        super().__init__()
        self.first: tuple[Transition, ...] = ()
        self.before: type[Any] = Drop

    async def advance(self, key: str, *steps: Transition) -> Intent:
        if self.first and isinstance(steps[-1], self.before):
            first, self.first = self.first, ()
            await super().advance(key, *first)
        return await super().advance(key, *steps)

    async def get(self, keys: Collection[str]) -> dict[str, Intent]:
        found = await super().get(keys)
        if self.first and self.before is type(None):
            first, self.first = self.first, ()
            await super().advance(next(iter(keys)), *first)
        return found


class SlowToSay(MemoryLedger):
    """Says a second after it that it has written the user's word."""

    async def advance(self, key: str, *steps: Transition) -> Intent:
        after = await super().advance(key, *steps)
        if isinstance(steps[-1], Drop | Accept):
            await asyncio.sleep(1)
        return after


async def lose(session: HooxSession, space: Space, source: LookRef) -> LookRef:
    """Lose an edit under the key "lost", and give the look that it made."""
    space.faults.fail_next("edit", Fault.DROP_AFTER)
    with pytest.raises(OutcomeUnknown):
        await session.submit(edit(source, "lost"), key="lost")
    return space.ledger[-1].ref


async def say(session: HooxSession, word: str, ref: LookRef) -> None:
    """Drop what was lost, or name its look."""
    await (session.drop("lost") if word == "drop" else session.resolve("lost", ref))


def arrives(space: Space, source: LookRef) -> LookRef:
    """A look of the avatar that somebody else had made."""
    body = {"avatar_id": source.avatar_id, "look_id": source.look_id, "prompt": "a stranger's"}
    _, answered = space._edit(body, now())
    space.ledger.pop()
    return LookRef(answered["avatar_id"], answered["look_id"])


@pytest.mark.parametrize("word", ["drop", "a look"])
async def test_drop_and_resolve_of_an_unknown_that_was_just_proved_are_refused(word: Any) -> None:
    """`drop` and `resolve` raise InvalidRequest if a delivery proves the look first, and change nothing."""
    store = Racing()
    async with on_space(store=store) as (session, space):
        source = made(space)
        ref = await lose(session, space, source)
        other = arrives(space, source)
        store.first = (Accept(ref, runtime_of(session).clock.utc(), Evidence.WEBHOOK),)
        store.before = Drop if word == "drop" else Accept
        with pytest.raises(InvalidRequest, match="sent again meanwhile"):
            await say(session, word, other)
        intent = await intent_of(session, "lost")
    assert (intent.state, intent.ref) == (IntentState.ACCEPTED, ref)


@pytest.mark.parametrize("lost", [False, True], ids=["outstanding", "lost again"])
@pytest.mark.parametrize("word", ["drop", "a look"])
async def test_drop_and_resolve_of_an_unknown_that_was_just_resent_are_refused(word: Any, lost: bool) -> None:
    """`drop` and `resolve` raise InvalidRequest and change nothing if the unknown was resent first."""
    store = Racing()
    async with on_space(store=store) as (session, space):
        ref = await lose(session, space, made(space))
        at = runtime_of(session).clock.utc()
        store.first = (Resend(), Send("again", at, ref), *([MarkUnknown("cut off")] if lost else []))
        store.before = Drop if word == "drop" else Accept
        with pytest.raises(InvalidRequest, match="sent again meanwhile"):
            await say(session, word, ref)
        state = (await intent_of(session, "lost")).state
        assert state is (IntentState.UNKNOWN if lost else IntentState.SENDING)


async def test_a_decision_that_names_its_attempt_is_carried_out_once() -> None:
    """Once an attempt was sent again, also if that was lost, decisions about it raise InvalidRequest."""
    async with on_space() as (session, space):
        ref = await lose(session, space, made(space))
        [unknown] = await session.unknowns()
        paid = space.credits_spent
        space.faults.fail_next("edit", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown):
            await session.resend("lost", attempt=unknown.attempt)
        for again in (
            session.resend("lost", attempt=unknown.attempt),
            session.drop("lost", attempt=unknown.attempt),
            session.resolve("lost", ref, attempt=unknown.attempt),
        ):
            with pytest.raises(InvalidRequest, match="attempt"):
                await again
        assert space.credits_spent == paid + 2
        [unknown] = await session.unknowns()
        job = await session.resend("lost", attempt=unknown.attempt)
        assert job.key == "lost"


async def test_two_who_carry_out_one_decision_at_once_pay_once() -> None:
    """Of two resends of one attempt at the same time one is sent; its loss is not sent again by the other."""
    async with on_space() as (session, space):
        await lose(session, space, made(space))
        [unknown] = await session.unknowns()
        paid = space.credits_spent
        space.faults.fail_next("edit", Fault.DROP_AFTER)
        both = [session.resend("lost", attempt=unknown.attempt) for _ in range(2)]
        ends = await asyncio.gather(*both, return_exceptions=True)
        assert [type(end) for end in ends] == [OutcomeUnknown, OutcomeUnknown]
        assert space.credits_spent == paid + 2


async def test_resolve_with_the_look_that_was_just_proved_returns_its_job() -> None:
    """`resolve` with the look that a delivery has just proved returns its job and keeps that evidence."""
    store = Racing()
    async with on_space(store=store) as (session, space):
        ref = await lose(session, space, made(space))
        store.first = (Accept(ref, runtime_of(session).clock.utc(), Evidence.WEBHOOK),)
        store.before = type(None)
        job = await session.resolve("lost", ref)
        assert job is not None
        assert job.ref == ref
        assert (await intent_of(session, "lost")).evidence is Evidence.WEBHOOK


@pytest.mark.parametrize("named", ["resend", "drop", "", "avtr_1", 7, None, object()])
async def test_resolve_refuses_a_value_that_names_no_look(named: Any) -> None:
    """`resolve` with a value that names no look raises InvalidRequest, and sends and writes nothing."""
    async with on_space() as (session, space):
        await lose(session, space, made(space))
        with pytest.raises(InvalidRequest):
            await session.resolve("lost", named)
        assert (await intent_of(session, "lost")).state is IntentState.UNKNOWN
        assert sends(space, "look", "status", "avatar") == 0
        assert space.credits_spent == 2


@pytest.mark.parametrize("form", ["ref", "text", "look", "job"])
async def test_a_look_is_named_in_any_form_and_checked_by_one_request(form: str) -> None:
    """`resolve` takes a ref, its text, a Look or a job, and one request gives the status of the look."""
    async with on_space() as (session, space):
        ref = await lose(session, space, made(space))
        await asyncio.sleep(300)
        forms: dict[str, Any] = {
            "ref": ref,
            "text": str(ref),
            "look": Look(ref, LookStatus.READY),
            "job": session.job(ref),
        }
        job = await session.resolve("lost", forms[form])
        assert (job.ref, job.key, job.credits) == (ref, "lost", Decimal(2))
        assert sends(space, "look", "status", "avatar") == 1
        intent = await intent_of(session, "lost")
        assert (intent.state, intent.evidence) == (IntentState.READY, Evidence.USER)


async def test_a_look_that_does_not_exist_is_not_found() -> None:
    """`resolve` with a look that does not exist raises NotFound, and the intent stays unknown."""
    async with on_space() as (session, space):
        source = made(space)
        await lose(session, space, source)
        with pytest.raises(NotFound):
            await session.resolve("lost", LookRef(source.avatar_id, "look_mistyped"))
        assert (await intent_of(session, "lost")).state is IntentState.UNKNOWN


async def test_resolve_refuses_a_look_that_cannot_be_the_lost_edits() -> None:
    """Another avatar's look, the edited look and another intent's are refused without a request."""
    async with on_space(poll="awaited") as (session, space):
        source = (await session.submit(ImageAvatar("https://example.com/a.jpg"))).ref
        elsewhere = made(space)
        other = await session.submit(edit(source, "other"), key="other")
        await lose(session, space, source)
        for look in (elsewhere, source, other):
            with pytest.raises(InvalidRequest, match="look"):
                await session.resolve("lost", look)
        assert sends(space, "look", "status", "avatar") == 0
        assert (await intent_of(session, "lost")).state is IntentState.UNKNOWN


class TakenMeanwhile(MemoryLedger):
    """While the user's word is written, another intent's answer names the same look."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: LookRef | None = None

    async def advance(self, key: str, *steps: Transition) -> Intent:
        if self.taken is not None and isinstance(steps[-1], Accept):
            at, ref, self.taken = steps[-1].at, self.taken, None
            await super().advance("other", Resend(), Send("a-other", at), Accept(ref, at, Evidence.ANSWER))
        return await super().advance(key, *steps)


async def test_a_look_that_another_intent_has_just_claimed_is_refused() -> None:
    """The store refuses a look that another intent claims in the same moment, and it stays unknown."""
    store = TakenMeanwhile()
    async with on_space(store=store) as (session, space):
        source = made(space)
        ref = await lose(session, space, source)
        space.faults.fail_next("edit", Fault.DROP_BEFORE)
        with pytest.raises(OutcomeUnknown):
            await session.submit(edit(source, "other"), key="other")
        store.taken = ref
        with pytest.raises(InvalidRequest, match="'other'"):
            await session.resolve("lost", ref)
        assert (await intent_of(session, "lost")).state is IntentState.UNKNOWN


async def test_a_look_that_the_user_named_can_be_corrected() -> None:
    """The user can name another look where no proof exists; another unknown can then have the first one."""
    events: list[Event] = []
    async with on_space(hooks=[events.append]) as (session, space):
        source = made(space)
        ref = await lose(session, space, source)
        space.faults.fail_next("edit", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown):
            await session.submit(edit(source, "second"), key="second")
        second = space.ledger[-1].ref
        wrong = await session.resolve("lost", second)
        assert [unknown.candidates for unknown in await session.unknowns()] == [(ref,)]
        await wrong
        right = await session.resolve("lost", ref)
        assert (right.ref, right.key, wrong.key) == (ref, "lost", None)
        assert (await right).ref == ref
        assert [unknown.candidates for unknown in await session.unknowns()] == [(second,)]
        await session.resolve("second", second)
        assert await session.resolve("lost", ref) is right
        lost = await intent_of(session, "lost")
        assert (lost.ref, lost.evidence, float(lost.spent)) == (ref, Evidence.USER, 2)
    accepted = [event for event in events if isinstance(event, LookAccepted)]
    assert [event.key for event in accepted] == ["lost", "second"]


async def test_a_proved_look_cannot_be_replaced_by_the_user() -> None:
    """`resolve` refuses a key whose look was named by the API's answer, and the look stays."""
    async with on_space() as (session, space):
        source = made(space)
        job = await session.submit(edit(source), key="k")
        with pytest.raises(InvalidRequest, match="unknown"):
            await session.resolve("k", arrives(space, source))
        assert (await intent_of(session, "k")).ref == job.ref


async def test_a_resend_keeps_to_its_budget_and_max_wait() -> None:
    """A resend over the cap, or without a permit in time, sends nothing, and the unknown is unchanged."""
    async with on_space(requests_per_minute=100) as (session, space):
        await lose(session, space, made(space))
        before = await intent_of(session, "lost")
        with pytest.raises(BudgetExceeded):
            await session.resend("lost", budget=Budget(1))
        with pytest.raises(InvalidRequest, match="budget"):
            await session.resend("lost", budget=1)  # type: ignore[arg-type]
        runtime_of(session).rate_limiter.pause(30.0, "a test")
        with pytest.raises(NotSent):
            await session.resend("lost", max_wait=1.0)
        assert await intent_of(session, "lost") == before
        budget = Budget(2)
        job = await session.resend("lost", budget=budget)
        assert (job.ref, budget.spent) == (space.ledger[-1].ref, Decimal(2))
        assert len(space.ledger) == 2


async def test_the_event_of_a_resolved_unknown_has_the_evidence_user() -> None:
    """`resolve` emits LookAccepted with Evidence.USER, the key, the look and its credits."""
    events: list[Event] = []
    async with on_space(hooks=[events.append]) as (session, space):
        ref = await lose(session, space, made(space))
        await session.resolve("lost", ref)
    (accepted,) = [event for event in events if isinstance(event, LookAccepted)]
    assert accepted.evidence is Evidence.USER
    assert (accepted.key, accepted.ref, accepted.credits) == ("lost", ref, Decimal(2))


@pytest.mark.parametrize("word", ["drop", "a look"])
@pytest.mark.parametrize("at", [0.0, 0.5], ids=["at once", "while it is written"])
async def test_drop_and_resolve_are_completed_though_their_caller_is_cancelled(word: str, at: float) -> None:
    """`drop` and `resolve` are completed after their caller was cancelled."""
    events: list[Event] = []
    async with on_space(store=SlowToSay(), hooks=[events.append]) as (session, space):
        source = made(space)
        ref = await lose(session, space, source)
        resolving = asyncio.create_task(say(session, word, ref))
        await (asyncio.sleep(at) if at else turns(3))  # once it is read what it decides about
        resolving.cancel()
        await asyncio.wait([resolving])
        await asyncio.sleep(2)
        assert (await intent_of(session, "lost")).state is not IntentState.UNKNOWN
        assert len([event for event in events if isinstance(event, LookAccepted)]) == (word != "drop")
