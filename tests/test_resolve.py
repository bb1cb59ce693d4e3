"""The user's word on an unknown, where a proof comes in the same moment, and words that say nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from decimal import Decimal
from typing import Any

import pytest
from session_kit import edit, intent_of, made, on_space, turns

from hoox_async import HooxSession, LookRef
from hoox_async._core.intents import Evidence, Intent, IntentState
from hoox_async._core.ledger import Accept, Drop, Lose, Resend, Send, Step
from hoox_async._store.memory import MemoryStore
from hoox_async.errors import InvalidRequest, OutcomeUnknown
from hoox_async.events import Event, LookAccepted
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time


class Racing(MemoryStore):
    """In the moment before a step is taken, something else moves the intent on."""

    def __init__(self) -> None:
        super().__init__()
        self.first: tuple[Step, ...] = ()
        self.before: type[Any] = Drop

    async def advance(self, key: str, *steps: Step) -> Intent:
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


class SlowToSay(MemoryStore):
    """Says a second after it that it has written the user's word."""

    async def advance(self, key: str, *steps: Step) -> Intent:
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


@pytest.mark.parametrize("word", ["drop", "a look"])
async def test_a_proof_that_comes_first_makes_it_no_unknown_any_more(word: Any) -> None:
    """The user is told so, and what was proved stands."""
    store = Racing()
    async with on_space(store=store) as (session, space):
        ref = await lose(session, space, made(space))
        other = LookRef(ref.avatar_id, "look_of_the_users_choice")
        store.first = (Accept(ref, session._ready().parts.clock.utc(), Evidence.WEBHOOK),)
        store.before = Drop if word == "drop" else Accept
        with pytest.raises(InvalidRequest, match="in this moment"):
            await session.resolve("lost", "drop" if word == "drop" else other)
        intent = await intent_of(session, "lost")
    assert (intent.state, intent.ref) == (IntentState.ACCEPTED, ref)


@pytest.mark.parametrize("lost", [False, True], ids=["in the air", "lost again"])
@pytest.mark.parametrize("word", ["drop", "a look"])
async def test_a_word_on_an_unknown_is_none_on_what_was_sent_again_since(word: Any, lost: bool) -> None:
    """It was said of what stood then."""
    store = Racing()
    async with on_space(store=store) as (session, space):
        ref = await lose(session, space, made(space))
        at = session._ready().parts.clock.utc()
        store.first = (Resend(), Send("again", at, ref), *([Lose("cut off", at)] if lost else []))
        store.before = Drop if word == "drop" else Accept
        with pytest.raises(InvalidRequest, match="in this moment"):
            await session.resolve("lost", "drop" if word == "drop" else ref)
        state = (await intent_of(session, "lost")).state
        assert state is (IntentState.UNKNOWN if lost else IntentState.SENDING)


async def test_a_look_that_was_proved_to_be_its_own_in_the_same_moment_is_its_job() -> None:
    """The user said what the proof says."""
    store = Racing()
    async with on_space(store=store) as (session, space):
        ref = await lose(session, space, made(space))
        store.first = (Accept(ref, session._ready().parts.clock.utc(), Evidence.WEBHOOK),)
        store.before = type(None)
        job = await session.resolve("lost", ref)
        assert job is not None
        assert job.ref == ref
        assert (await intent_of(session, "lost")).evidence is Evidence.WEBHOOK


@pytest.mark.parametrize("word", ["sometime", "RESEND", "avtr_1:look_1", ""])
async def test_another_word_is_refused_and_the_right_ones_are_named(word: Any) -> None:
    """Nothing is sent or written."""
    async with on_space() as (session, space):
        await lose(session, space, made(space))
        with pytest.raises(InvalidRequest, match='"resend", "drop", or the LookRef'):
            await session.resolve("lost", word)
        assert (await intent_of(session, "lost")).state is IntentState.UNKNOWN
        assert space.credits_spent == 2


async def test_the_hooks_hear_whose_word_it_was() -> None:
    """The evidence of an accepted look is the enum's member."""
    told: list[Event] = []
    async with on_space(hooks=[told.append]) as (session, space):
        ref = await lose(session, space, made(space))
        await session.resolve("lost", ref)
    (accepted,) = [event for event in told if isinstance(event, LookAccepted)]
    assert accepted.evidence is Evidence.USER
    assert (accepted.key, accepted.ref, accepted.credits) == ("lost", ref, Decimal(2))


@pytest.mark.parametrize("word", ["drop", "a look"])
@pytest.mark.parametrize("at", [0.0, 0.5], ids=["at once", "while it is written"])
async def test_a_word_is_carried_out_whole_though_its_caller_leaves(word: str, at: float) -> None:
    """The lane that the unknown shut opens; the look of one that is dropped may still show up, and is taken
    for no other one's."""
    told: list[Event] = []
    async with on_space(store=SlowToSay(), exclusive=True, hooks=[told.append]) as (session, space):
        source = made(space)
        ref = await lose(session, space, source)
        unknowns, unknown = session._ready().unknowns, await intent_of(session, "lost")
        assert unknowns.is_searched(unknown)
        resolving = asyncio.create_task(session.resolve("lost", "drop" if word == "drop" else ref))
        await (asyncio.sleep(at) if at else turns(1))
        resolving.cancel()
        await asyncio.wait([resolving])
        await asyncio.sleep(1)
        assert (await intent_of(session, "lost")).state is not IntentState.UNKNOWN
        assert not unknowns.is_searched(unknown)
        assert unknowns.free(source.avatar_id)
        assert unknowns.is_contested(unknown) is (word == "drop")
        assert len([event for event in told if isinstance(event, LookAccepted)]) == (word != "drop")
