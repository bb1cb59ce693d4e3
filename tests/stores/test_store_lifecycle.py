"""Opening, binding, closing and opening again, asked of all stores."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import attrs
import pytest
from internals_kit import Delivered, Delivery, IntentState, Ledger, Workspace
from store_kit import (
    API_KEY,
    NOW,
    WORKSPACE,
    planned,
    send,
)

from hoox_async import LookRef, LookStatus
from hoox_async.errors import StoreError, StoreLocked, StoreMismatch


async def test_a_later_session_goes_on(closed: Ledger) -> None:
    """What one session wrote the next one finds, and what was being sent is UNKNOWN then."""
    await closed.open(WORKSPACE)
    for key in "ab":
        await closed.plan(planned(key))
    await closed.advance("a", send("att_1"))
    closed.note_sends([NOW])
    await closed.note_listed("avtr_1", ["look_seen"])
    await closed.aclose()
    await closed.open(WORKSPACE)
    found = {intent.key: intent async for intent in closed.stream()}
    assert found["a"].state is IntentState.UNKNOWN
    assert found["a"].reason is not None
    assert found["b"] == planned("b")
    assert await closed.delivered("att_1") == Delivered(found["a"], None)
    sends = [NOW] if closed.is_shared else [NOW, NOW]  # an attempt, and a read that only a store of one keeps
    assert await closed.recent_sends(NOW - timedelta(seconds=1)) == sends
    await closed.advance("b", send("att_2"))
    assert await closed.listed_before("b", ["avtr_1"]) == {"avtr_1": frozenset({"", "look_seen"})}
    await closed.aclose()


async def test_one_session_at_a_time(store: Ledger) -> None:
    """Opening an open store again raises `StoreLocked`, and the first session goes on."""
    with pytest.raises(StoreLocked, match="one session"):
        await store.open(WORKSPACE)
    assert await store.plan(planned("a")) == planned("a")


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        (Workspace("https://other.example/v1", API_KEY), "belongs to https://api.example/v1"),
        (Workspace("https://other.example/v1", API_KEY, new_key=True), "belongs to https://api.example/v1"),
        (Workspace("https://api.example/v1", "hx_live_other"), "new_key=True"),
    ],
    ids=["url", "url with new_key", "key"],
)
async def test_another_workspace_is_refused(closed: Ledger, other: Workspace, wanted: str) -> None:
    """Another base URL or key is a `StoreMismatch` that says what to do; the owner still gets in."""
    await closed.open(WORKSPACE)
    closed.confirm_key()
    await closed.aclose()
    with pytest.raises(StoreMismatch, match=wanted) as caught:
        await closed.open(other)
    assert other.api_key not in str(caught.value)
    await closed.open(attrs.evolve(WORKSPACE, base_url=WORKSPACE.base_url + "/"))
    await closed.aclose()


@pytest.mark.kinds("memory", "sqlite")
async def test_a_rotated_key_is_accepted_by_the_users_word(closed: Ledger) -> None:
    """With ``new_key`` the store is bound to the new key, and the old one is refused from then on."""
    await closed.open(WORKSPACE)
    await closed.aclose()
    rotated = Workspace(WORKSPACE.base_url, "hx_live_rotated", new_key=True)
    await closed.open(rotated)
    closed.confirm_key()
    await closed.aclose()
    await closed.open(attrs.evolve(rotated, new_key=False))
    await closed.aclose()
    with pytest.raises(StoreMismatch):
        await closed.open(WORKSPACE)


CALLS: dict[str, Callable[[Ledger], Awaitable[object]]] = {
    "get": lambda store: store.get(["a"]),
    "plan": lambda store: store.plan(planned("a")),
    "advance": lambda store: store.advance("a", send("att_1")),
    "by_ref": lambda store: store.by_ref(LookRef("avtr_1", "look_1")),
    "in_states": lambda store: store.in_states([IntentState.PLANNED]),
    "stream": lambda store: anext(aiter(store.stream())),
    "claimed_looks": lambda store: store.claimed_looks("avtr_1"),
    "known_avatar": lambda store: store.known_avatar("avtr_1"),
    "keep_delivery": lambda store: store.keep_delivery("att_1", Delivery("look_1", LookStatus.READY)),
    "delivered": lambda store: store.delivered("att_1"),
    "delivered_attempts": lambda store: store.delivered_attempts("a"),
    "delivered_to": lambda store: store.delivered_to("look_1"),
    "stream_delivered": lambda store: anext(aiter(store.stream_delivered())),
    "recent_sends": lambda store: store.recent_sends(NOW),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_store_that_is_not_open_says_so(
    closed: Ledger, call: Callable[[Ledger], Awaitable[object]]
) -> None:
    """Before opening and after closing, reading and writing is a `StoreError`; closing again is nothing."""
    with pytest.raises(StoreError, match="not open"):
        await call(closed)
    await closed.aclose()
    await closed.open(WORKSPACE)
    await closed.aclose()
    await closed.aclose()
    with pytest.raises(StoreError, match=r"not open|closed"):
        await call(closed)


@pytest.mark.virtual_time
@pytest.mark.kinds("memory", "sqlite", "shared memory")
async def test_a_loop_of_virtual_time_suits_it(store: Ledger) -> None:
    """On a loop whose clock jumps, writes, timers and closing work as on a real one."""
    store.note_sends([NOW])
    await store.plan(planned("a"))
    await asyncio.sleep(3600)
    await store.advance("a", send("att_1"))
    assert (await store.recent_sends(NOW - timedelta(seconds=1)))[-1] == NOW
