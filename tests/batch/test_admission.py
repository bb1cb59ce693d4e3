"""What an item needs next: decided from the store, the input and the options alone."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs
import pytest
from batch_kit import PICTURE
from internals_kit import (
    Accept,
    BatchOptions,
    Drop,
    Intent,
    IntentState,
    Item,
    MarkUnknown,
    Reason,
    Reject,
    Send,
    Settle,
    decide_sending,
    digest,
    retry_states,
)
from internals_kit import advance as step

from hoox_async import Evidence, ImageAvatar, Look, LookEdit, LookRef, LookStatus, OutcomeState
from hoox_async._batch.admission import AwaitIntent, AwaitItem, Enqueue, Finish, Resume, admit, after_source
from hoox_async._batch.item_outcomes import unsent, without_credits
from hoox_async.errors import HooxError, InvalidRequest, KeyConflict

AT = datetime(2030, 1, 1, tzinfo=UTC)
SOURCE = LookRef("avtr_1", "look_1")
MADE = LookRef("avtr_1", "look_2")
EDIT = LookEdit(SOURCE, "a beach")
OTHER = LookEdit(SOURCE, "a desk")


def options(**changes: Any) -> BatchOptions:
    return BatchOptions(**{
        "max_in_flight": 4, "max_credits": None, "budget": None, "max_failures": None, "look_timeout": 9.0,
        "on_unknown": "hold", "retry": frozenset(), "changed": "error", **changes,
    })  # fmt: skip


def item(key: str = "a", request: Any = EDIT, *, repeated: bool = False) -> Item:
    return Item(0, key, request, digest(request), repeated=repeated)


def intent(state: str = "planned", key: str = "a", request: Any = EDIT) -> Intent:
    """An intent that got as far as this state."""
    found = Intent(key, True, request, digest(request), AT, source=SOURCE)
    if state == "planned":
        return found
    if state == "rejected":
        return step(found, Reject(Reason(400, "X", "no"), AT))
    found = step(found, Send("attempt", AT, SOURCE))
    if state == "sending":
        return found
    if state == "unknown":
        return step(found, MarkUnknown("lost"))
    found = step(found, Accept(MADE, AT, Evidence.ANSWER))
    if state == "accepted":
        return found
    status = LookStatus.READY if state == "ready" else LookStatus.FAILED
    return step(found, Settle(Look(MADE, status, "https://example.com/p.jpg"), AT))


def known(*intents: Intent) -> dict[str, Intent]:
    return {one.key: one for one in intents}


def test_a_new_item_is_enqueued_under_its_sources_ref() -> None:
    """An item whose key the store does not know is enqueued under the ref of its source."""
    assert admit(item(), {}, {}, {}, options()) == Enqueue(SOURCE)
    assert admit(item(request=ImageAvatar([PICTURE])), {}, {}, {}, options()) == Enqueue(None)


@pytest.mark.parametrize(
    ("state", "expected"), [("ready", "ready"), ("failed", "failed"), ("rejected", "rejected")]
)
def test_an_item_that_is_settled_is_not_sent_again(state: str, expected: str) -> None:
    """Items that were READY, FAILED or REJECTED in an earlier run finish at once, with what they cost."""
    found = admit(item(), known(intent(state)), {}, {}, options())
    assert isinstance(found, Finish)
    assert str(found.outcome.state) == expected
    assert found.outcome.credits == (0 if state == "rejected" else 2)


@pytest.mark.parametrize("state", ["accepted", "unknown", "sending"])
def test_an_item_that_was_sent_earlier_is_resumed(state: str) -> None:
    """Items that were sent in an earlier run and have no result are resumed, and nothing is sent."""
    assert admit(item(), known(intent(state)), {}, {}, options()) == Resume()


def test_an_item_that_was_only_planned_is_enqueued() -> None:
    """An item whose intent was only planned is enqueued like a new one."""
    assert admit(item(), known(intent("planned")), {}, {}, options()) == Enqueue(SOURCE)


@pytest.mark.parametrize("state", ["ready", "unknown", "accepted", "failed"])
def test_another_content_under_a_known_key_is_a_conflict(state: str) -> None:
    """An item with other content than its key's is REJECTED with a `KeyConflict`, and has its key's costs."""
    stored = intent(state)
    found = admit(item(request=OTHER), known(stored), {}, {}, options())
    assert isinstance(found, Finish)
    assert found.outcome.state is OutcomeState.REJECTED
    assert isinstance(found.outcome.error, KeyConflict)
    assert (found.outcome.credits, found.outcome.at_risk) == (stored.spent, stored.at_risk)
    assert found.outcome.credits + found.outcome.at_risk == 2


@pytest.mark.parametrize("state", ["planned", "rejected"])
def test_other_content_replaces_what_never_cost_anything(state: str) -> None:
    """Other content replaces an intent that never cost anything, unless the key is twice in this input."""
    given = item(request=OTHER)
    assert admit(given, known(intent(state)), {}, {}, options()) == Enqueue(SOURCE)
    assert given.pay_again
    owing = attrs.evolve(intent(state), past_at_risk=Decimal(2))
    assert isinstance(admit(item(request=OTHER), known(owing), {}, {}, options()), Finish)
    twice = item(request=OTHER, repeated=True)
    found = admit(twice, known(intent(state)), {}, {}, options())
    assert isinstance(found, Finish)
    assert isinstance(found.outcome.error, KeyConflict)
    with pytest.raises(KeyConflict):
        decide_sending(twice, intent(request=OTHER), intent(state), options())


def test_changed_keep_gives_the_old_look() -> None:
    """With ``changed="keep"`` the outcome has the request that the stored look was made from."""
    found = admit(item(request=OTHER), known(intent("ready")), {}, {}, options(changed="keep"))
    assert isinstance(found, Finish)
    assert found.outcome.request == EDIT


@pytest.mark.parametrize("state", ["planned", "rejected"])
def test_changed_keep_of_what_was_never_paid_takes_the_new_content(state: str) -> None:
    """With ``changed="keep"`` the new content is sent where nothing was ever made under the key."""
    given = item(request=OTHER)
    assert admit(given, known(intent(state)), {}, {}, options(changed="keep")) == Enqueue(SOURCE)
    assert given.pay_again


@pytest.mark.parametrize("state", ["ready", "failed", "accepted", "planned", "rejected"])
def test_changed_redo_pays_for_the_new_content(state: str) -> None:
    """With ``changed="redo"`` the new content is paid, whatever the state of the old one is."""
    given = item(request=OTHER)
    assert admit(given, known(intent(state)), {}, {}, options(changed="redo")) == Enqueue(SOURCE)
    assert given.pay_again


@pytest.mark.parametrize("changed", ["keep", "redo"])
def test_an_unknown_is_never_paid_again_because_its_content_changed(changed: str) -> None:
    """An unknown with other content is resumed and never paid again, whatever ``changed`` says."""
    given = item(request=OTHER)
    assert admit(given, known(intent("unknown")), {}, {}, options(changed=changed)) == Resume()
    assert not given.pay_again


@pytest.mark.parametrize(
    ("word", "state"),
    [("ready", "ready"), ("failed", "failed"), ("rejected", "rejected"), ("pending", "accepted")],
)
def test_each_word_of_retry_pays_its_own_state_again_and_no_other(word: str, state: str) -> None:
    """``"pending"`` is an accepted intent; the other words are named as their states."""
    for stored in ("ready", "failed", "rejected", "accepted"):
        given = item()
        found = admit(given, known(intent(stored)), {}, {}, options(retry=retry_states([word])))
        assert given.pay_again is (stored == state)
        assert isinstance(found, Enqueue) is (stored == state)


def test_a_repeated_item_has_no_credits_and_is_never_paid_again() -> None:
    """The outcome of an item whose key came before in this input has no credits, and ``retry`` skips it."""
    given = item(repeated=True)
    found = admit(given, known(intent("failed")), {}, {}, options(retry=retry_states("failed")))
    assert isinstance(found, Finish)
    assert found.outcome.credits == 0
    assert found.outcome.look is not None


def test_an_item_waits_for_a_source_of_this_input() -> None:
    """An item waits for a source of this input that has no outcome yet."""
    source = item("s", ImageAvatar([PICTURE]))
    given = item("a", LookEdit("s", "a beach"))
    assert admit(given, {}, {"s": source, "a": given}, {}, options()) == AwaitItem(source)


@pytest.mark.parametrize(
    ("state", "ends"),
    [("failed", "skipped"), ("rejected", "skipped"), ("unknown", "unsent"), ("planned", "unsent")],
)
def test_a_source_of_an_earlier_run_that_has_no_look(state: str, ends: str) -> None:
    """An edit is SKIPPED if its source of an earlier run can never be READY, and UNSENT if it may be."""
    given = item("a", LookEdit("s", "a beach"))
    found = admit(given, known(intent(state, "s")), {"a": given}, {}, options())
    assert isinstance(found, Finish)
    assert str(found.outcome.state) == ends


def test_a_source_of_an_earlier_run_that_is_ready_or_accepted() -> None:
    """An edit of a READY source of an earlier run is enqueued, and one of an ACCEPTED source waits."""
    given = item("a", LookEdit("s", "a beach"))
    assert admit(given, known(intent("ready", "s")), {}, {}, options()) == Enqueue(MADE)
    accepted = intent("accepted", "s")
    assert admit(given, known(accepted), {}, {}, options()) == AwaitIntent(accepted)


@pytest.mark.parametrize("key", ["nowhere", "a"])
def test_a_source_key_that_nothing_has_is_an_invalid_request(key: str) -> None:
    """An edit whose source key is unknown, or its own, is REJECTED with an `InvalidRequest`."""
    given = item("a", LookEdit(key, "a beach"))
    found = admit(given, {}, {"a": given}, {}, options())
    assert isinstance(found, Finish)
    assert found.outcome.state is OutcomeState.REJECTED
    assert isinstance(found.outcome.error, InvalidRequest)
    assert found.outcome.error.field == "source"


def test_the_outcome_of_a_source_in_this_input_counts_before_the_store() -> None:
    """An edit is SKIPPED if its source was rejected in this input, though the store has a READY look."""
    given = item("a", LookEdit("s", "a beach"))
    found = admit(given, known(intent("ready", "s")), {}, {"s": OutcomeState.REJECTED}, options())
    assert isinstance(found, Finish)
    assert found.outcome.state is OutcomeState.SKIPPED


@pytest.mark.parametrize("state", list(OutcomeState))
def test_what_each_state_of_a_source_means_for_its_edits(state: OutcomeState) -> None:
    """Edits of a REJECTED, FAILED or SKIPPED source are SKIPPED, of a READY one enqueued, else UNSENT."""
    found = after_source(item("a", LookEdit("s", "x")), "s", state, MADE)
    if state is OutcomeState.READY:
        assert found == Enqueue(MADE)
        return
    assert isinstance(found, Finish)
    skipped = state in (OutcomeState.REJECTED, OutcomeState.FAILED, OutcomeState.SKIPPED)
    assert found.outcome.state is (OutcomeState.SKIPPED if skipped else OutcomeState.UNSENT)
    assert str(found.outcome.error).startswith("its source 's' ")


def test_unsent_keeps_credits_and_never_hides_an_unknown() -> None:
    """`unsent` gives UNSENT with the credits of earlier rounds, and UNKNOWN where the intent is unknown."""
    reason = HooxError("stopped")
    assert unsent(item(), reason).state is OutcomeState.UNSENT
    given = item()
    given.stored = intent("unknown")
    assert unsent(given, reason).state is OutcomeState.UNKNOWN
    assert unsent(given, reason).at_risk == 2
    given.stored = intent("failed")
    given.pay_again = True
    assert unsent(given, reason).state is OutcomeState.UNSENT
    assert unsent(given, reason).credits == 2
    assert unsent(given, reason).ref is None


def test_without_credits_changes_nothing_but_the_credits() -> None:
    """`without_credits` gives an outcome with the same look, no credits and nothing at risk."""
    found = admit(item(), known(intent("ready")), {}, {}, options())
    assert isinstance(found, Finish)
    again = without_credits(found.outcome)
    assert again.credits == 0
    assert again.at_risk == 0
    assert again.look == found.outcome.look


def test_a_dropped_unknown_ends_skipped() -> None:
    """`drop` leaves it alone for good, with its credits still at risk."""
    stored = intent("unknown")
    found = admit(item(), known(step(stored, Drop())), {}, {}, options(retry=retry_states("failed")))
    assert isinstance(found, Finish)
    assert found.outcome.state is OutcomeState.SKIPPED
    assert found.outcome.at_risk == 2
    assert step(stored, Drop()).state is IntentState.DROPPED
