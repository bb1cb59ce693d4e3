"""The user's word on an unknown, where a proof comes in the same moment, and words that say nothing."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any

import pytest
from session_kit import edit, intent_of, made, on_space

from hoox_async import HooxSession, LookRef
from hoox_async._core.ledger import Accept, Drop, Evidence, Intent, IntentState, Step
from hoox_async._store.memory import MemoryStore
from hoox_async.errors import InvalidRequest, OutcomeUnknown
from hoox_async.events import Event, LookAccepted
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time


class Racing(MemoryStore):
    """In the moment before a step is taken, something else proves the look."""

    def __init__(self) -> None:
        super().__init__()
        self.proof: Accept | None = None
        self.before: type[Any] = Drop

    async def advance(self, key: str, *steps: Step) -> Intent:
        proof = self.proof
        if proof is not None and isinstance(steps[0], self.before):
            self.proof = None
            await super().advance(key, proof)
        return await super().advance(key, *steps)

    async def get(self, keys: Collection[str]) -> dict[str, Intent]:
        found = await super().get(keys)
        if self.proof is not None and self.before is type(None):
            proof, self.proof = self.proof, None
            await super().advance(next(iter(keys)), proof)
        return found


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
        store.proof = Accept(ref, session._ready().parts.clock.utc(), Evidence.WEBHOOK)
        store.before = Drop if word == "drop" else Accept
        with pytest.raises(InvalidRequest, match="settled in this moment"):
            await session.resolve("lost", "drop" if word == "drop" else other)
        intent = await intent_of(session, "lost")
    assert (intent.state, intent.ref) == (IntentState.ACCEPTED, ref)


async def test_a_look_that_was_proved_to_be_its_own_in_the_same_moment_is_its_job() -> None:
    """The user said what the proof says."""
    store = Racing()
    async with on_space(store=store) as (session, space):
        ref = await lose(session, space, made(space))
        store.proof = Accept(ref, session._ready().parts.clock.utc(), Evidence.WEBHOOK)
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
