"""What every store promises, asked of both."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_kit import (
    API_KEY, CREATE, EDIT, FREE_CREATE, NOW, WORKSPACE, accept, after, planned, send, settle
)  # fmt: skip

from hoox_async._core.ledger import (
    Drop, Evidence, IllegalStep, Intent, IntentState, Lose, Refusal, Refuse, Renew, Resend, Retire, Step,
    Suspect, TakeBack
)  # fmt: skip
from hoox_async._core.ledger import advance as ledger_advance
from hoox_async._core.models import LookRef, LookStatus
from hoox_async._protocols import Delivery, Store, Workspace
from hoox_async._store.memory import MemoryStore
from hoox_async._store.sqlite import SQLiteStore
from hoox_async.errors import StoreError, StoreLocked, StoreMismatch


def make(kind: str, folder: Path) -> Store:
    return MemoryStore() if kind == "memory" else SQLiteStore(folder / "campaign.db")


@pytest.fixture(params=["memory", "sqlite"])
def closed(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return make(request.param, tmp_path)


@pytest.fixture
async def store(closed: Store) -> AsyncIterator[Store]:
    await closed.open(WORKSPACE)
    yield closed
    await closed.aclose()


async def test_a_new_intent_is_kept_whole(store: Store) -> None:
    """`plan` returns the new intent, and `get` gives back an equal one."""
    intent = planned("a")
    assert await store.plan(intent) == intent
    assert await store.get(["a", "unheard of"]) == {"a": intent}


async def test_a_known_key_changes_nothing(store: Store) -> None:
    """Planning a key again returns what stands, with its state, and writes nothing."""
    await store.plan(planned("a"))
    standing = await store.advance("a", send("att_1"))
    again = await store.plan(attrs.evolve(planned("a"), digest="other"))
    assert again == standing == (await store.get(["a"]))["a"]


async def test_steps_are_the_ledgers(store: Store) -> None:
    """`advance` returns and stores what the ledger makes of the steps."""
    steps = [send("att_1"), accept("look_9"), settle("look_9")]
    expected = planned("a")
    for step in steps:
        expected = ledger_advance(expected, step)
    await store.plan(planned("a"))
    assert await store.advance("a", *steps) == expected
    assert (await store.get(["a"]))["a"] == expected


async def test_all_steps_or_none(store: Store) -> None:
    """An illegal step raises `IllegalStep`, and the legal ones before it leave no trace."""
    await store.plan(planned("a"))
    with pytest.raises(IllegalStep):
        await store.advance("a", send("att_1"), accept("look_9"), send("att_2"))
    assert await store.get(["a"]) == {"a": planned("a")}
    assert await store.by_attempt("att_1") is None
    assert await store.by_ref(LookRef("avtr_1", "look_9")) is None
    await store.add_seen("avtr_1", [])
    assert await store.seen_looks("avtr_1") == frozenset()


async def test_an_unknown_key_cannot_be_advanced(store: Store) -> None:
    """`advance` of a key that was never planned is a `StoreError` naming it."""
    with pytest.raises(StoreError, match="'nobody'"):
        await store.advance("nobody", send("att_1"))


async def test_attempts_lead_to_their_intent(store: Store) -> None:
    """An earlier attempt leads to its intent as the newest does, and an unknown one to None."""
    await store.plan(planned("a"))
    intent = await store.advance("a", send("att_1"), TakeBack(), send("att_2"))
    assert await store.by_attempt("att_1") == await store.by_attempt("att_2") == intent
    assert await store.by_attempt("att_3") is None


async def test_an_attempt_id_is_used_once(store: Store) -> None:
    """A second attempt under the same id is refused, and its intent stands as it was."""
    await store.plan(planned("a"))
    await store.plan(planned("b"))
    await store.advance("a", send("att_1"))
    with pytest.raises(StoreError):
        await store.advance("b", send("att_1"))
    assert (await store.get(["b"]))["b"].state is IntentState.PLANNED


async def test_a_look_leads_to_its_intent(store: Store) -> None:
    """`by_ref` finds the intent that has the look, until it is paid anew."""
    await store.plan(planned("a"))
    intent = await store.advance("a", send("att_1"), accept("look_9"))
    assert await store.by_ref(LookRef("avtr_1", "look_9")) == intent
    await store.advance("a", settle("look_9", status=LookStatus.FAILED), Renew(EDIT, "d"))
    assert await store.by_ref(LookRef("avtr_1", "look_9")) is None


async def test_states_are_listed_oldest_first(store: Store) -> None:
    """`in_states` lists by the plan's order, whatever the order of the later steps."""
    for key in "abcd":
        await store.plan(planned(key))
    for key in "dbca":
        await store.advance(key, send(f"att_{key}"), Lose("dropped", NOW))
    await store.advance("b", accept("look_b"), settle("look_b"))
    await store.advance("a", Drop(), Resend())
    unknown = [intent.key for intent in await store.in_states([IntentState.UNKNOWN])]
    every = [intent.key for intent in await store.in_states(list(IntentState))]
    assert (unknown, every) == (["c", "d"], ["a", "b", "c", "d"])
    assert await store.in_states([]) == []


async def test_every_intent_is_streamed_in_order(store: Store) -> None:
    """`stream` gives every intent once, in the order of the plan, also past a page."""
    keys = [f"item {number}" for number in range(1203)]
    await asyncio.gather(*(store.plan(planned(key)) for key in keys))
    assert [intent.key async for intent in store.stream()] == keys


async def test_no_baseline_is_none(store: Store) -> None:
    """Of an avatar without baseline None is said, also where an intent has a look of it."""
    await store.plan(planned("a"))
    await store.advance("a", send("att_1"), accept("look_9"))
    assert await store.seen_looks("avtr_1") is None


async def test_baseline_and_claimed_are_seen(store: Store) -> None:
    """The baseline's looks and those that intents claim, before or after it, count as seen."""
    for key in "ab":
        await store.plan(planned(key))
    await store.advance("a", send("att_a"), accept("look_a"))
    await store.add_seen("avtr_1", ["look_source"])
    await store.add_seen("avtr_1", iter(["look_other", "look_source"]))
    await store.advance("b", send("att_b"), accept("look_b"))
    assert await store.seen_looks("avtr_1") == {"look_source", "look_other", "look_a", "look_b"}
    assert await store.seen_looks("avtr_2") is None


async def test_an_empty_baseline_is_one(store: Store) -> None:
    """A baseline of no looks stands: nothing is seen, which is not the same as None."""
    await store.add_seen("avtr_1", [])
    assert await store.seen_looks("avtr_1") == frozenset()


@pytest.mark.parametrize("request_", [CREATE, FREE_CREATE], ids=["prompt", "images"])
async def test_an_avatar_of_our_own_needs_no_baseline(store: Store, request_: Any) -> None:
    """An avatar that an intent of this store created has its first look as baseline."""
    await store.plan(planned("a", request_))
    await store.advance("a", send("att_1"), accept("look_1", "avtr_new"))
    assert await store.seen_looks("avtr_new") == {"look_1"}


async def test_the_users_word_is_no_baseline(store: Store) -> None:
    """A look that a user named for a lost create proves nothing about the avatar's other looks."""
    await store.plan(planned("a", CREATE))
    await store.advance("a", send("att_1"), Lose("dropped", NOW), accept("look_1", "avtr_x", Evidence.USER))
    assert await store.seen_looks("avtr_x") is None


async def test_a_look_stays_claimed(store: Store) -> None:
    """The look of an intent that is paid anew stays claimed, also within one call: it is no lost POST's."""
    await store.add_seen("avtr_1", [])
    await store.plan(planned("a"))
    await store.advance(
        "a", send("att_1"), accept("look_9"), settle("look_9", status=LookStatus.FAILED), Renew(EDIT, "d")
    )
    assert await store.seen_looks("avtr_1") == {"look_9"}


async def test_the_first_delivery_stands(store: Store) -> None:
    """The first delivery of an attempt is kept, and a contradicting second changes nothing."""
    first = Delivery("look_9", LookStatus.FAILED, None, None, "GENERATION_FAILED", "too dark")
    await store.plan(planned("a"))
    await store.advance("a", send("att_1"))
    assert await store.kept_delivery("att_1") is None
    await store.keep_delivery("att_1", first)
    await store.keep_delivery("att_1", Delivery("look_8", LookStatus.READY))
    assert await store.kept_delivery("att_1") == first


async def test_a_strangers_delivery_is_not_kept(store: Store) -> None:
    """A delivery for an attempt that the store doesn't know takes no room."""
    await store.keep_delivery("att_unknown", Delivery("look_9", LookStatus.READY))
    assert await store.kept_delivery("att_unknown") is None


async def test_send_times_come_back_in_order(store: Store) -> None:
    """`recent_sends` tells those after the moment asked for, oldest first, to the microsecond."""
    store.note_sends([after(3), after(1)])
    store.note_sends([])
    store.note_sends([after(2)])
    assert await store.recent_sends(after(1)) == [after(2), after(3)]
    assert await store.recent_sends(after(0)) == [after(1), after(2), after(3)]


async def test_old_send_times_are_dropped(store: Store) -> None:
    """Send times out of reach of any quota's window are dropped, also those of a clock that was set back."""
    store.note_sends([after(0), after(9000), after(170)])
    store.note_sends([after(200)])
    await store.get([])
    assert await store.recent_sends(NOW - timedelta(days=1)) == [after(170), after(200)]


async def test_a_later_session_goes_on(closed: Store) -> None:
    """What one session wrote the next one finds, and what was being sent is UNKNOWN then."""
    await closed.open(WORKSPACE)
    for key in "ab":
        await closed.plan(planned(key))
    await closed.advance("a", send("att_1"))
    closed.note_sends([NOW])
    await closed.add_seen("avtr_1", ["look_source"])
    await closed.aclose()
    await closed.open(WORKSPACE)
    found = {intent.key: intent async for intent in closed.stream()}
    assert found["a"].state is IntentState.UNKNOWN
    assert found["a"].refusal is not None
    assert found["b"] == planned("b")
    assert await closed.by_attempt("att_1") == found["a"]
    assert await closed.recent_sends(NOW - timedelta(seconds=1)) == [NOW]
    assert await closed.seen_looks("avtr_1") == {"look_source"}
    await closed.aclose()


async def test_one_session_at_a_time(store: Store) -> None:
    """Opened a second time it is `StoreLocked`, and the first session goes on."""
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
async def test_another_workspace_is_refused(closed: Store, other: Workspace, wanted: str) -> None:
    """Another base URL or key is a `StoreMismatch` that says what to do; the owner still gets in."""
    await closed.open(WORKSPACE)
    await closed.aclose()
    with pytest.raises(StoreMismatch, match=wanted) as caught:
        await closed.open(other)
    assert other.api_key not in str(caught.value)
    await closed.open(attrs.evolve(WORKSPACE, base_url=WORKSPACE.base_url + "/"))
    await closed.aclose()


async def test_a_rotated_key_is_accepted_by_the_users_word(closed: Store) -> None:
    """With ``new_key`` the store is bound to the new key, and the old one is refused from then on."""
    await closed.open(WORKSPACE)
    await closed.aclose()
    rotated = Workspace(WORKSPACE.base_url, "hx_live_rotated", new_key=True)
    await closed.open(rotated)
    await closed.aclose()
    await closed.open(attrs.evolve(rotated, new_key=False))
    await closed.aclose()
    with pytest.raises(StoreMismatch):
        await closed.open(WORKSPACE)


CALLS: dict[str, Callable[[Store], Awaitable[object]]] = {
    "get": lambda store: store.get(["a"]),
    "plan": lambda store: store.plan(planned("a")),
    "advance": lambda store: store.advance("a", send("att_1")),
    "by_attempt": lambda store: store.by_attempt("att_1"),
    "by_ref": lambda store: store.by_ref(LookRef("avtr_1", "look_1")),
    "in_states": lambda store: store.in_states([IntentState.PLANNED]),
    "stream": lambda store: anext(aiter(store.stream())),
    "forget": lambda store: store.forget("a"),
    "seen_looks": lambda store: store.seen_looks("avtr_1"),
    "add_seen": lambda store: store.add_seen("avtr_1", []),
    "keep_delivery": lambda store: store.keep_delivery("att_1", Delivery("look_1", LookStatus.READY)),
    "kept_delivery": lambda store: store.kept_delivery("att_1"),
    "note_sends": lambda store: asyncio.sleep(0, store.note_sends([NOW])),
    "recent_sends": lambda store: store.recent_sends(NOW),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_store_that_is_not_open_says_so(
    closed: Store, call: Callable[[Store], Awaitable[object]]
) -> None:
    """Before opening and after closing every call is a `StoreError`; closing again is nothing."""
    with pytest.raises(StoreError, match="not open"):
        await call(closed)
    await closed.aclose()
    await closed.open(WORKSPACE)
    await closed.aclose()
    await closed.aclose()
    with pytest.raises(StoreError, match="not open|closed"):
        await call(closed)


@pytest.mark.virtual_time
async def test_a_loop_of_virtual_time_suits_it(store: Store) -> None:
    """On a loop whose clock jumps, writes, timers and closing work as on a real one."""
    store.note_sends([NOW])
    await store.plan(planned("a"))
    await asyncio.sleep(3600)
    await store.advance("a", send("att_1"))
    assert await store.recent_sends(NOW - timedelta(seconds=1)) == [NOW]


_KEYS = st.sampled_from(["a", "b", "c", "ключ\x00\N{SNOWMAN}"])
_LOOKS = st.sampled_from(["look_1", "look_2", "look_3"])
_STEPS: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([TakeBack(), Retire(), Resend(), Drop(), Lose("dropped", NOW), Suspect(())]),
    st.builds(accept, _LOOKS, evidence=st.sampled_from(Evidence)),
    st.builds(settle, _LOOKS, status=st.sampled_from([LookStatus.READY, LookStatus.FAILED])),
    st.builds(Refuse, st.just(Refusal(400, "INVALID_VALUE", "no")), st.just(NOW)),
    st.builds(Renew, st.sampled_from([EDIT, CREATE]), st.just("other digest")),
    st.just("send"),
)


@given(st.lists(st.tuples(_KEYS, st.lists(_STEPS, min_size=1, max_size=4)), max_size=25))
@settings(deadline=None, max_examples=25)
def test_both_stores_tell_the_same(calls: list[tuple[str, list[Any]]]) -> None:
    """Whatever is done to them, the two stores hold, list and refuse the same."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_lockstep(Path(folder), calls))


async def _lockstep(folder: Path, calls: list[tuple[str, list[Any]]]) -> None:
    stores = [make(kind, folder) for kind in ("memory", "sqlite")]
    for store in stores:
        await store.open(WORKSPACE)
    for number, (key, wanted) in enumerate(calls):
        steps = [send(f"att_{number}_{n}") if step == "send" else step for n, step in enumerate(wanted)]
        memory, disk = [await _told(store, key, steps) for store in stores]
        assert memory == disk
    memory, disk = [await _everything(store) for store in stores]
    assert memory == disk
    for store in stores:
        await store.aclose()


async def _told(store: Store, key: str, steps: list[Step]) -> Intent | str:
    await store.plan(planned(key))
    try:
        return await store.advance(key, *steps)
    except IllegalStep as error:
        return str(error)


async def _everything(store: Store) -> list[object]:
    told: list[object] = [[intent async for intent in store.stream()]]
    told += [await store.in_states([state]) for state in IntentState]
    told += [await store.seen_looks("avtr_1")]
    await store.add_seen("avtr_1", [])
    return [*told, await store.seen_looks("avtr_1")]
