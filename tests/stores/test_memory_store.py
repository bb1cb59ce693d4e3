"""The memory store: which intents it forgets, and which it never forgets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from internals_kit import Delivery, Drop, IntentState, MarkUnknown, MemoryLedger, Reason, Reject, Transition
from store_kit import NOW, WORKSPACE, accept, planned, send, settle

from hoox_async import LookRef, LookStatus


@pytest.fixture
async def store() -> AsyncIterator[MemoryLedger]:
    store = MemoryLedger()
    await store.open(WORKSPACE)
    yield store
    await store.aclose()


ENDS: dict[str, tuple[Transition, ...]] = {
    "never sent": (),
    "ready": (send("att_1"), accept("look_9"), settle("look_9")),
    "failed": (send("att_1"), accept("look_9"), settle("look_9", status=LookStatus.FAILED)),
    "rejected": (send("att_1"), Reject(Reason(400, None, "no"), NOW)),
}
OPEN: dict[str, tuple[Transition, ...]] = {
    "sending": (send("att_1"),),
    "unknown": (send("att_1"), MarkUnknown("dropped")),
    "dropped": (send("att_1"), MarkUnknown("dropped"), Drop()),
    "accepted": (send("att_1"), accept("look_9")),
}


@pytest.mark.parametrize("transitions", ENDS.values(), ids=ENDS)
async def test_a_settled_intent_is_forgotten(
    store: MemoryLedger, transitions: tuple[Transition, ...]
) -> None:
    """A forgotten intent is found no more: not by key, attempt, look or state, nor in the stream."""
    await store.plan(planned("a", own_key=False))
    await store.advance("a", *transitions)
    await store.keep_delivery("att_1", Delivery("look_9", LookStatus.READY))
    await store.forget("a")
    assert await store.get(["a"]) == {}
    assert await store.delivered("att_1") is None
    assert await store.delivered_to("look_9") == frozenset()
    assert await store.by_ref(LookRef("avtr_1", "look_9")) is None
    assert await store.in_states(list(IntentState)) == []
    assert [intent async for intent in store.stream()] == []


@pytest.mark.parametrize("transitions", OPEN.values(), ids=OPEN)
async def test_money_in_doubt_is_never_forgotten(
    store: MemoryLedger, transitions: tuple[Transition, ...]
) -> None:
    """An intent that is not settled, or may have been paid, is kept."""
    await store.plan(planned("a", own_key=False))
    intent = await store.advance("a", *transitions)
    await store.forget("a")
    assert await store.get(["a"]) == {"a": intent}


async def test_a_users_key_is_never_forgotten(store: MemoryLedger) -> None:
    """A settled intent under a user's own key stays: the same key must be the same job."""
    await store.plan(planned("a", own_key=True))
    await store.advance("a", *ENDS["ready"])
    await store.forget("a")
    assert "a" in await store.get(["a"])


async def test_a_forgotten_intents_look_stays_claimed(store: MemoryLedger) -> None:
    """The look of a forgotten intent still counts as claimed, so it is no candidate of a lost POST."""
    await store.plan(planned("a", own_key=False))
    await store.advance("a", *ENDS["ready"])
    await store.forget("a")
    assert await store.claimed_looks("avtr_1") == frozenset({"look_9"})


async def test_forgetting_an_unknown_key_does_nothing(store: MemoryLedger) -> None:
    """An unknown key is no error: it may have been forgotten before."""
    await store.forget("nobody")
    assert await store.in_states(list(IntentState)) == []


async def test_a_flood_of_deliveries_takes_no_room(store: MemoryLedger) -> None:
    """Deliveries for unknown attempts are not kept, and an attempt keeps one, however many come."""
    await store.plan(planned("a"))
    await store.advance("a", send("att_1"))
    for number in range(1000):
        await store.keep_delivery(f"stranger {number}", Delivery("look_1", LookStatus.READY))
        await store.keep_delivery("att_1", Delivery(f"look_{number}", LookStatus.READY))
    assert await store._rows("SELECT attempt FROM hoox.deliveries WHERE workspace = :workspace") == [
        ("att_1",)
    ]


async def test_the_store_can_change_while_its_stream_is_read(store: MemoryLedger) -> None:
    """Planning and forgetting while the stream is read neither raises nor hides what stays."""
    for key in "abc":
        await store.plan(planned(key, own_key=False))
    found = []
    async for intent in store.stream():
        found.append(intent.key)
        await store.forget("b")
        await store.plan(planned("d"))
    assert set(found) >= {"a", "c"}


async def test_neither_key_nor_prompts_are_shown(store: MemoryLedger) -> None:
    """The repr of a memory store has neither the key nor prompts."""
    await store.plan(planned("secret plan"))
    assert repr(store) == "MemoryLedger()"


async def test_only_the_send_times_of_two_minutes_are_kept(store: MemoryLedger) -> None:
    """Of send times noted for an hour the last two minutes are kept, also after a clock is set back."""
    for second in range(3600):
        store.note_sends([NOW + timedelta(seconds=second)])
    assert await _sends(store) == 121
    store.note_sends([NOW + timedelta(seconds=3500)])
    assert await _sends(store) == 122
    assert await store.recent_sends(NOW + timedelta(seconds=3597)) == [
        NOW + timedelta(seconds=second) for second in (3598, 3599)
    ]
    store.note_sends([NOW])
    assert await store.recent_sends(NOW - timedelta(hours=1)) == [NOW]


async def _sends(store: MemoryLedger) -> int:
    return len(await store._rows("SELECT sent_at FROM hoox.sends WHERE workspace = :workspace"))


async def test_what_was_forgotten_takes_no_key_from_anybody(store: MemoryLedger) -> None:
    """Keys that look like what is left of a forgotten intent can be used before and after it."""
    keys = [f"forgotten {number}" for number in range(1, 6)]
    for key in keys[:2]:
        await store.plan(planned(key))
    for number in range(2):
        await store.plan(planned(f"generated {number}", own_key=False))
        attempt, look = f"att_{number}", f"look_{number}"
        await store.advance(f"generated {number}", send(attempt), accept(look), settle(look))
        await store.forget(f"generated {number}")
    for key in keys[2:]:
        assert await store.plan(planned(key)) == planned(key)
    assert [intent.key async for intent in store.stream()] == keys
