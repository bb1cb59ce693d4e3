"""What every store promises of its intents, looks, deliveries and send times, asked of all."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from internals_kit import (
    Accept,
    Correct,
    Delivered,
    Delivery,
    Drop,
    IfUnchanged,
    IllegalTransition,
    Intent,
    IntentState,
    Ledger,
    LookTaken,
    MarkUnknown,
    Replace,
    Resend,
    Revert,
    Send,
    Transition,
    advance,
)
from store_kit import (
    CREATE,
    EDIT,
    NOW,
    WORKSPACE,
    accept,
    after,
    planned,
    send,
    settle,
    turns_counted,
)

from hoox_async import Evidence, LookEdit, LookRef, LookStatus
from hoox_async._io.ledger import ledger, statements
from hoox_async.errors import StoreError


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stores that read pages read 50 intents at a time."""
    monkeypatch.setattr(ledger, "PAGE", 50)
    monkeypatch.setattr(statements, "OPEN_PAGE", 50)


async def plan_in_order(store: Ledger, keys: Sequence[str]) -> None:
    """Plan these keys. Plans of one moment have no order in a database that has several connections."""
    if store.is_shared:
        for key in keys:
            await store.plan(planned(key))
    else:
        await asyncio.gather(*(store.plan(planned(key)) for key in keys))


async def test_a_new_intent_is_kept_whole(store: Ledger) -> None:
    """`plan` returns the new intent, and `get` gives back an equal one."""
    intent = planned("a")
    assert await store.plan(intent) == intent
    assert await store.get(["a", "unheard of"]) == {"a": intent}


async def test_a_known_key_changes_nothing(store: Ledger) -> None:
    """Planning a known key returns the stored intent, with its state, and writes nothing."""
    await store.plan(planned("a"))
    stored = await store.advance("a", send("att_1"))
    again = await store.plan(attrs.evolve(planned("a"), digest="other"))
    assert again == stored == (await store.get(["a"]))["a"]


async def test_the_store_applies_transitions_as_the_core_does(store: Ledger) -> None:
    """`advance` returns and stores the intent that `transitions.advance` gives."""
    transitions: list[Transition] = [send("att_1"), accept("look_9"), settle("look_9")]
    expected = planned("a")
    for transition in transitions:
        expected = advance(expected, transition)
    await store.plan(planned("a"))
    assert await store.advance("a", *transitions) == expected
    assert (await store.get(["a"]))["a"] == expected


async def test_all_steps_or_none(store: Ledger) -> None:
    """An illegal transition raises `IllegalTransition`, and the legal ones before it are not stored."""
    await store.plan(planned("a"))
    with pytest.raises(IllegalTransition):
        await store.advance("a", send("att_1"), accept("look_9"), send("att_2"))
    assert await store.get(["a"]) == {"a": planned("a")}
    assert await store.delivered("att_1") is None
    assert await store.by_ref(LookRef("avtr_1", "look_9")) is None
    assert await store.claimed_looks("avtr_1") == frozenset()


async def test_a_condition_holds_for_the_whole_transaction(store: Ledger) -> None:
    """After `IfUnchanged`, an intent that was changed meanwhile takes none of the transitions, else all."""
    await store.plan(planned("a"))
    pending = await store.advance("a", send("att_1"), accept("look_9"))
    ready = await store.advance("a", settle("look_9"))
    with pytest.raises(IllegalTransition, match="changed meanwhile"):
        await store.advance("a", IfUnchanged(pending), Replace(EDIT, "d"), send("att_2"))
    assert await store.get(["a"]) == {"a": ready}
    assert await store.delivered("att_2") is None
    again = await store.advance("a", IfUnchanged(ready), Replace(EDIT, "d"), send("att_2"))
    assert again.state is IntentState.SENDING


async def test_an_unknown_key_cannot_be_advanced(store: Ledger) -> None:
    """`advance` of a key that was never planned is a `StoreError` naming it."""
    with pytest.raises(StoreError, match="'nobody'"):
        await store.advance("nobody", send("att_1"))


async def test_attempts_lead_to_their_intent(store: Ledger) -> None:
    """An earlier attempt leads to its intent as the newest does, and an unknown one to None."""
    await store.plan(planned("a"))
    intent = await store.advance("a", send("att_1"), Revert("att_1"), send("att_2"))
    assert await store.delivered("att_1") == await store.delivered("att_2") == Delivered(intent, None)
    assert await store.delivered("att_3") is None


async def test_an_attempt_id_is_used_once(store: Ledger) -> None:
    """A second attempt under the same id is refused, and its intent is not changed."""
    await store.plan(planned("a"))
    await store.plan(planned("b"))
    await store.advance("a", send("att_1"))
    with pytest.raises(StoreError):
        await store.advance("b", send("att_1"))
    assert (await store.get(["b"]))["b"].state is IntentState.PLANNED


async def test_a_look_leads_to_its_intent(store: Ledger) -> None:
    """`by_ref` finds the intent of a look until another look was accepted in its place."""
    ref = LookRef("avtr_1", "look_9")
    await store.plan(planned("a"))
    intent = await store.advance("a", send("att_1"), accept("look_9"))
    assert await store.by_ref(ref) == intent
    again = await store.advance(
        "a", settle("look_9", status=LookStatus.FAILED), Replace(EDIT, "d"), send("att_2")
    )
    assert await store.by_ref(ref) == again
    await store.advance("a", accept("look_10"))
    assert await store.by_ref(ref) is None


@pytest.mark.parametrize("evidence", Evidence)
async def test_a_look_is_claimed_once(store: Ledger, evidence: Evidence) -> None:
    """A second intent that is to have the same look is refused, whatever the evidence, and is not changed."""
    for key in "ab":
        await store.plan(planned(key))
        await store.advance(key, send(f"att_{key}"))
    first = await store.advance("a", accept("look_9"))
    before = (await store.get(["b"]))["b"]
    with pytest.raises(LookTaken, match="'a'") as caught:
        await store.advance("b", accept("look_9", evidence=evidence))
    assert (caught.value.ref, caught.value.owner) == (LookRef("avtr_1", "look_9"), "a")
    assert await store.get(["a", "b"]) == {"a": first, "b": before}
    assert await store.by_ref(LookRef("avtr_1", "look_9")) == first
    assert (await store.advance("b", MarkUnknown(str(caught.value)))).state is IntentState.UNKNOWN


async def test_of_claims_in_the_same_moment_one_is_taken(store: Ledger) -> None:
    """Twenty intents claim one look at once: the store itself lets one have it."""
    keys = [f"k{n}" for n in range(20)]
    for key in keys:
        await store.plan(planned(key))
        await store.advance(key, send(f"att_{key}"))
    ends = await asyncio.gather(
        *(store.advance(key, accept("look_9")) for key in keys), return_exceptions=True
    )
    assert [type(end) for end in ends].count(Intent) == 1
    assert [type(end) for end in ends].count(LookTaken) == 19


async def test_a_look_stays_claimed_until_its_next_round_is_paid(store: Ledger) -> None:
    """While a failed look is paid again, its look stays claimed; a refusal then restores it."""
    for key in "ab":
        await store.plan(planned(key))
        await store.advance(key, send(f"att_{key}"))
    await store.advance("a", accept("look_9"), settle("look_9", status=LookStatus.FAILED))
    await store.advance("a", Replace(EDIT, "d"), send("att_a2"))
    with pytest.raises(LookTaken):
        await store.advance("b", accept("look_9"))
    back = await store.advance("a", Revert("att_a2"))
    assert await store.by_ref(LookRef("avtr_1", "look_9")) == back


async def test_a_look_that_the_user_corrected_can_be_claimed_by_another_intent(store: Ledger) -> None:
    """After the user has named another look, another intent can claim the look that was named first."""
    for key in "ab":
        await store.plan(planned(key))
        await store.advance(key, send(f"att_{key}"), MarkUnknown("dropped"))
    await store.advance("a", accept("look_1", evidence=Evidence.USER), settle("look_1"))
    await store.advance("a", Correct(LookRef("avtr_1", "look_2"), NOW))
    assert await store.by_ref(LookRef("avtr_1", "look_1")) is None
    assert await store.claimed_looks("avtr_1") == {"look_2"}
    b = await store.advance("b", accept("look_1"))
    assert await store.by_ref(LookRef("avtr_1", "look_1")) == b
    with pytest.raises(LookTaken):
        await store.advance("a", Correct(LookRef("avtr_1", "look_1"), NOW))


async def test_states_are_listed_oldest_first(store: Ledger) -> None:
    """`in_states` lists in the order of the plan, whatever the order of the later transitions."""
    for key in "abcd":
        await store.plan(planned(key))
    for key in "dbca":
        await store.advance(key, send(f"att_{key}"), MarkUnknown("dropped"))
    await store.advance("b", accept("look_b"), settle("look_b"))
    await store.advance("a", Drop(), Resend())
    unknown = [intent.key for intent in await store.in_states([IntentState.UNKNOWN])]
    every = [intent.key for intent in await store.in_states(list(IntentState))]
    assert (unknown, every) == (["c", "d"], ["a", "b", "c", "d"])
    assert await store.in_states([]) == []


async def test_every_intent_is_streamed_in_order(store: Ledger, small_pages: None) -> None:
    """`stream` gives every intent once, in the order of the plan, also past a page."""
    keys = [f"item {number}" for number in range(120)]
    await plan_in_order(store, keys)
    assert [intent.key async for intent in store.stream()] == keys


async def test_the_loop_has_a_turn_after_each_page(store: Ledger, small_pages: None) -> None:
    """However many intents are read, `stream`, `in_states` and `read_unopened` decode a page in a turn."""
    keys = [f"item {number}" for number in range(120)]
    await plan_in_order(store, keys)
    async with turns_counted() as turn:
        for intents in (store.stream(), store.read_unopened()):
            read = [turn() async for _ in intents]
            assert len(read) == len(keys)
            assert max(Counter(read).values()) <= 50
        before = turn()
        assert len(await store.in_states([IntentState.PLANNED])) == len(keys)
        assert turn() - before >= 3


async def test_a_store_is_read_without_opening_it(closed: Ledger, tmp_path: Path) -> None:
    """`read_unopened` gives every intent in order, before, while and after a session has the store open.

    Nothing is made or changed, so what is being sent stays SENDING; a store that does not exist has none.
    """
    assert [intent async for intent in closed.read_unopened()] == []
    assert list(tmp_path.iterdir()) == []
    await closed.open(WORKSPACE)
    try:
        for key in ("b", "a"):
            await closed.plan(planned(key))
        sending = await closed.advance("a", send("t1"))
        assert [intent async for intent in closed.read_unopened()] == [planned("b"), sending]
        assert await closed.get(("a",)) == {"a": sending}
        await closed.advance("a", accept("look_1"))
    finally:
        await closed.aclose()
    assert [(i.key, i.state.value) async for i in closed.read_unopened()] == [
        ("b", "planned"),
        ("a", "accepted"),
    ]


async def test_looks_that_were_made_for_an_intent_are_claimed(store: Ledger) -> None:
    """An intent's look is claimed, and so is one that was made for an intent besides."""
    await store.plan(planned("a"))
    await store.advance("a", send("att_a"), accept("look_a"))
    for _ in range(2):
        await store.advance("a", Accept(LookRef("avtr_1", "look_extra"), NOW, Evidence.WEBHOOK, "att_a"))
    assert await store.claimed_looks("avtr_1") == frozenset({"look_a", "look_extra"})
    assert await store.claimed_looks("avtr_2") == frozenset()


async def test_it_knows_which_avatars_were_created_and_which_are_copies(store: Ledger) -> None:
    """An avatar is created by a creation or as a copy; its copies are the other avatars of its edits' looks.

    Also where the requests hold texts that no database can hold unescaped.
    """
    odd = 'avtr_"\\\u00e9'
    unwritable = LookEdit(LookRef("avtr_new", "s"), "nul \0, surrogate \ud800")
    for key, request, source, avatar_id in (
        ("new", CREATE, None, "avtr_new"),
        ("of new", unwritable, "avtr_new", "avtr_new"),
        ("public", EDIT, odd, "avtr_copy"),
        ("again", EDIT, odd, "avtr_copy_2"),
        ("of copy", EDIT, "avtr_copy", "avtr_copy"),
        ("in place", EDIT, "avtr_old", "avtr_old"),
    ):
        edited = LookRef(source, "s") if source is not None else None
        await store.plan(planned(key, request))
        await store.advance(key, Send(f"att {key}", NOW, edited), accept(f"look {key}", avatar_id))
    await store.plan(planned("lost"))
    await store.advance("lost", Send("att lost", NOW, LookRef("avtr_lost", "s")))
    asked = ("avtr_new", odd, "avtr_copy", "avtr_old", "avtr_lost", "avtr_none")
    known = {avatar_id: await store.known_avatar(avatar_id) for avatar_id in asked}
    assert {avatar_id for avatar_id, one in known.items() if one.created} == {"avtr_new", "avtr_copy"}
    assert {avatar_id: set(one.copies) for avatar_id, one in known.items() if one.copies} == {
        odd: {"avtr_copy", "avtr_copy_2"}
    }


async def test_a_look_of_an_earlier_round_stays_claimed(store: Ledger) -> None:
    """The look of an intent that is paid again stays claimed and is no candidate of a lost POST."""
    await store.plan(planned("a"))
    await store.advance(
        "a", send("att_1"), accept("look_9"), settle("look_9", status=LookStatus.FAILED), Replace(EDIT, "d")
    )
    assert await store.claimed_looks("avtr_1") == frozenset({"look_9"})


async def kept(store: Ledger, attempt_id: str) -> Delivery | None:
    """What is kept for an attempt."""
    delivered = await store.delivered(attempt_id)
    return delivered.delivery if delivered is not None else None


async def test_the_most_telling_delivery_of_the_first_look_is_kept(store: Ledger) -> None:
    """A final status replaces an earlier one and stays; one that names another look changes nothing."""
    first = Delivery("look_9", LookStatus.PROCESSING)
    failed = Delivery("look_9", LookStatus.FAILED, None, None, "GENERATION_FAILED", "too dark")
    await store.plan(planned("a"))
    await store.advance("a", send("att_1"))
    assert await kept(store, "att_1") is None
    for delivery, is_new in ((first, True), (first, False), (failed, True)):
        delivered = await store.keep_delivery("att_1", delivery)
        assert delivered is not None
        assert (delivered.delivery, delivered.is_new) == (delivery, is_new)
    for other in (Delivery("look_9", LookStatus.READY), Delivery("look_8", LookStatus.READY)):
        delivered = await store.keep_delivery("att_1", other)
        assert delivered is not None
        assert (delivered.delivery, delivered.is_new) == (failed, False)
    assert await kept(store, "att_1") == failed
    assert await store.delivered_attempts("a") == {"att_1"}
    assert await store.delivered_to("look_9") == {"a"}
    await store.advance("a", accept("look_9"))
    assert await store.delivered_to("look_9") == frozenset()


async def test_a_delivery_that_names_the_look_of_another_intent_is_not_kept(store: Ledger) -> None:
    """It proves nothing about its own attempt. Without an avatar nobody can tell whose look it is."""
    for key in "ab":
        await store.plan(planned(key))
        await store.advance(key, send(f"att_{key}"))
    await store.advance("a", accept("look_a"))
    await store.keep_delivery("att_b", Delivery("look_a", LookStatus.READY, "avtr_1"))
    assert await kept(store, "att_b") is None
    await store.keep_delivery("att_b", Delivery("look_a", LookStatus.READY, "avtr_2"))
    assert await kept(store, "att_b") is not None


async def test_what_was_delivered_and_is_not_settled_is_streamed(store: Ledger, small_pages: None) -> None:
    """`stream_delivered` gives each attempt with a kept delivery once, also past a page, while some settle.

    Only those of intents that are ACCEPTED or UNKNOWN, in the order of the plan.
    """
    count = 110
    for number in range(count + 3):
        await store.plan(planned(f"k{number}"))
        await store.advance(f"k{number}", send(f"att_{number}"))
        if number != 0:
            await store.keep_delivery(f"att_{number}", Delivery(f"look_{number}", LookStatus.READY))
        if number != 1:
            await store.advance(f"k{number}", accept(f"look_{number}"))
    await store.advance("k2", settle("look_2"))
    streamed = []
    async for attempt_id in store.stream_delivered():
        streamed.append(attempt_id)
        of = attempt_id.removeprefix("att_")
        await store.advance(f"k{of}", settle(f"look_{of}"))
    assert streamed == [f"att_{number}" for number in range(3, count + 3)]
    await store.advance("k1", MarkUnknown("lost", "att_1"))
    assert [attempt_id async for attempt_id in store.stream_delivered()] == ["att_1"]


async def test_a_strangers_delivery_is_not_kept(store: Ledger) -> None:
    """A delivery for an attempt that the store doesn't know takes no room."""
    assert await store.keep_delivery("att_unknown", Delivery("look_9", LookStatus.READY)) is None
    assert await store.delivered("att_unknown") is None


@pytest.mark.kinds("memory", "sqlite")  # a shared store has the times of attempts only
async def test_send_times_come_back_in_order(store: Ledger) -> None:
    """`recent_sends` returns the times after the given one, oldest first, to the microsecond."""
    store.note_sends([after(3), after(1)])
    store.note_sends([])
    store.note_sends([after(2)])
    assert await store.recent_sends(after(1)) == [after(2), after(3)]
    assert await store.recent_sends(after(0)) == [after(1), after(2), after(3)]


async def test_the_times_of_attempts_are_send_times(store: Ledger) -> None:
    """The time of an attempt is written with it, without `note_sends`, and stays after a `Revert`."""
    await store.plan(planned("a"))
    await store.advance("a", send("att_1"))
    assert await store.recent_sends(after(-1)) == [NOW]
    await store.advance("a", Revert("att_1"))
    assert await store.recent_sends(after(-1)) == [NOW]
    await store.plan(advance(planned("b"), send("att_2")))
    assert await store.recent_sends(after(-1)) == [NOW, NOW]


@pytest.mark.kinds("memory", "sqlite")  # a shared store has the times of attempts only
async def test_an_attempt_that_is_written_late_drops_no_newer_times(store: Ledger) -> None:
    """An attempt that is recorded late, after a failed write, drops no newer send times."""
    await store.note_sends([after(600)])
    await store.plan(planned("a"))
    await store.advance("a", send("att_1"))
    assert after(600) in await store.recent_sends(after(-1))


@pytest.mark.kinds("memory", "sqlite")  # a shared store has the times of attempts only
async def test_old_send_times_are_dropped(store: Ledger) -> None:
    """Send times out of reach of any quota's window are dropped, also those of a clock that was set back."""
    for times in ([after(9000)], [after(0), after(170)], [after(200)]):
        store.note_sends(times)
        await store.recent_sends(NOW)
    assert await store.recent_sends(NOW - timedelta(days=1)) == [after(170), after(200)]


async def test_accepted_intents_are_streamed(store: Ledger, small_pages: None) -> None:
    """The accepted intents are streamed in the order of their plan, also while some settle."""
    count = 110
    await plan_in_order(store, [f"k{n}" for n in range(count)])
    even = range(0, count, 2)
    await asyncio.gather(*(store.advance(f"k{n}", send(f"att_{n}"), accept(f"look_{n}")) for n in even))
    await store.advance("k4", settle("look_4"))
    found = []
    async for intent in store.stream([IntentState.ACCEPTED]):
        found.append(intent.key)
        if intent.key == "k6":
            await store.advance("k6", settle("look_6"))
    assert found == [f"k{n}" for n in even if n != 4]


@pytest.mark.parametrize("page", [2, 1000])
async def test_gauges_count_what_is_open(store: Ledger, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    """`gauges` counts what is UNKNOWN and what is ACCEPTED, and gives the accepted that was planned first."""
    monkeypatch.setattr(statements, "OPEN_PAGE", page)
    assert await store.gauges() == (0, 0, None)
    for key in ("first", "second", "third", "done", "lost", "not sent"):
        await store.plan(planned(key))
    for key in ("third", "second", "done", "lost"):
        await store.advance(key, send(f"attempt {key}"))
    for key in ("third", "second", "done"):
        await store.advance(key, accept(f"look_{key}"))
    await store.advance("done", settle("look_done"))
    await store.advance("lost", MarkUnknown("lost"))
    unknowns, unsettled, oldest = await store.gauges()
    assert (unknowns, unsettled) == (1, 2)
    assert oldest is not None
    assert oldest.key == "second"


async def test_all_ends_that_a_session_has_left_are_told_by_the_next_one_oldest_first(store: Ledger) -> None:
    """They are read in pages, until none is left."""
    with_hooks, keys = attrs.evolve(WORKSPACE, hooks="hooks"), [f"k{number}" for number in range(250)]
    await store.aclose()
    await store.open(with_hooks)
    store.tell_by(lambda _: None, lambda: True)
    await plan_in_order(store, keys)
    await asyncio.gather(
        *(store.advance(key, send(f"a{key}"), accept(f"l{key}"), settle(f"l{key}")) for key in keys)
    )
    await store.aclose()
    await store.open(with_hooks)
    told: list[str] = []
    store.tell_by(lambda intent: told.append(intent.key), lambda: True)
    await store.tell_owed()
    assert told == keys


async def test_what_is_open_is_left_and_adopted_in_pages(store: Ledger, small_pages: None) -> None:
    """The loop has a turn after each page of the open intents, and the next session tells the ends of all."""
    with_hooks, keys = attrs.evolve(WORKSPACE, hooks="hooks"), [f"k{number}" for number in range(120)]
    await store.aclose()
    await store.open(with_hooks)
    store.tell_by(lambda _: None, lambda: True)
    await plan_in_order(store, keys)
    await asyncio.gather(*(store.advance(key, send(f"a{key}"), accept(f"l{key}")) for key in keys))
    async with turns_counted() as turn:
        await store.aclose()
        assert turn() >= 6
        await store.open(with_hooks)
        told: list[str] = []
        store.tell_by(lambda intent: told.append(intent.key), lambda: True)
        before = turn()
        await store.tell_owed()
        assert turn() - before >= 6 or store.is_shared
    await asyncio.gather(*(store.advance(key, settle(f"l{key}")) for key in keys))
    await store.tell_owed()
    assert sorted(told) == sorted(keys)
