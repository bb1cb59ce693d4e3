"""Which delivery of an attempt is kept, and what the kept one changes in its intent."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from intents_kit import AT, REF, SOURCE, STEPS, S, after, in_state

from hoox_async import Evidence, Look, LookRef, LookStatus
from hoox_async._api.webhook_payloads import Delivery
from hoox_async._core.intents.deliveries import Effect, effect_of, kept_after, must_be_kept
from hoox_async._core.intents.transitions import (
    Accept,
    MarkUnknown,
    NoteDelivered,
    Replace,
    Resend,
    Send,
    Settle,
    advance,
)

PICTURE = "https://x.example/t.jpg"
OTHER = LookRef("avtr_abc", "look_other")
DONE, OTHER_DONE = (Delivery(look_id, LookStatus.READY) for look_id in (REF.look_id, OTHER.look_id))

deliveries = st.builds(
    Delivery,
    st.sampled_from(["look_new", "look_other"]),
    st.sampled_from([LookStatus.PENDING, LookStatus.PROCESSING, LookStatus.READY, LookStatus.FAILED]),
    st.sampled_from([None, "avtr_abc"]),
    st.sampled_from([None, PICTURE]),
    st.none(),
    st.sampled_from([None, "Edit failed"]),
)


@given(st.lists(deliveries, min_size=1, max_size=8))
def test_what_is_kept_is_the_first_look_with_its_first_final_status_and_the_most_details(
    received: list[Delivery],
) -> None:
    """Whatever comes, the first look and its first final status stay, and nothing that was told is lost."""
    kept: Delivery | None = None
    for delivery in received:
        kept = kept_after(kept, delivery)
        assert kept_after(kept, delivery) == kept  # a repeated one changes nothing
    assert kept is not None
    of_look = [each for each in received if each.look_id == received[0].look_id]
    final = [each for each in of_look if each.status.settled]
    assert kept.look_id == received[0].look_id
    assert not final or kept.status is final[0].status
    agreeing = [each for each in of_look if each.status is kept.status]
    assert (kept.thumbnail_url is None) == all(each.thumbnail_url is None for each in agreeing)
    assert (kept.avatar_id is None) == all(each.avatar_id is None for each in of_look)


def test_a_delivery_settles_the_look_of_an_accepted_intent() -> None:
    """A final status settles the look; an earlier one, and one that contradicts it, change nothing."""
    accepted = in_state(S.ACCEPTED)
    assert effect_of(accepted, "a1", DONE) is Effect.SETTLES
    assert effect_of(accepted, "a1", Delivery("look_new", LookStatus.PROCESSING)) is Effect.NONE
    ready = after(Settle(Look(REF, LookStatus.READY), AT), start=accepted)
    assert effect_of(ready, "a1", DONE) is Effect.NONE
    assert effect_of(ready, "a1", Delivery("look_new", LookStatus.FAILED)) is Effect.NONE
    assert effect_of(ready, "a1", attrs.evolve(DONE, thumbnail_url=PICTURE)) is Effect.SETTLES


@pytest.mark.parametrize("status", list(LookStatus))
def test_a_delivery_of_any_status_proves_the_look_of_an_unknown(status: LookStatus) -> None:
    """It names the look, whatever its status is."""
    assert effect_of(in_state(S.UNKNOWN), "a1", Delivery("look_new", status)) is Effect.PROVES


@pytest.mark.parametrize("state", [S.PLANNED, S.SENDING, S.REJECTED, S.DROPPED])
def test_a_delivery_is_only_kept_where_no_look_can_be_taken(state: S) -> None:
    """While the POST is outstanding, and where the intent has ended without a look, it changes nothing."""
    intent = in_state(state)
    assert effect_of(intent, "a1", DONE) is Effect.NONE
    assert must_be_kept(intent, "a1", DONE)


def test_a_look_besides_the_intents_own_is_a_double() -> None:
    """A POST was sent again and answered; then the first one turns out to have made a look, too."""
    again = after(*(STEPS[kind] for kind in (Send, MarkUnknown, Resend)))
    answered = after(Send("a2", AT, SOURCE), Accept(REF, AT, Evidence.ANSWER, "a2"), start=again)
    assert effect_of(answered, "a2", OTHER_DONE) is Effect.NONE  # it has its look
    assert effect_of(answered, "a1", OTHER_DONE) is Effect.DOUBLE
    double = advance(answered, Accept(OTHER, AT, Evidence.WEBHOOK, "a1"))
    assert (double.ref, double.past_looks) == (REF, (OTHER,))
    assert double.at_risk == 0
    assert double.spent == 2 * double.credits
    assert effect_of(double, "a1", OTHER_DONE) is Effect.NONE


def test_a_delivery_for_earlier_content_does_not_prove_the_look_of_the_present_one() -> None:
    """An attempt of an earlier round made what that round asked for: it is a double of the intent."""
    round_two = after(*(STEPS[kind] for kind in (Send, MarkUnknown)))
    round_two = after(Accept(REF, AT, Evidence.USER), STEPS[Replace], Send("a2", AT), start=round_two)
    unknown = after(MarkUnknown("dropped", "a2"), start=round_two)
    assert effect_of(unknown, "a1", OTHER_DONE) is Effect.DOUBLE
    assert effect_of(unknown, "a1", DONE) is Effect.NONE  # the look of that round
    assert effect_of(unknown, "a2", OTHER_DONE) is Effect.PROVES


def test_a_delivery_contradicts_an_answer_and_not_the_users_word() -> None:
    """Where the user has named a look, another one on the attempt's own URL was paid for besides."""
    for evidence, effect in ((Evidence.ANSWER, Effect.NONE), (Evidence.USER, Effect.DOUBLE)):
        named = after(*(STEPS[kind] for kind in (Send, MarkUnknown)), Accept(REF, AT, evidence))
        assert effect_of(named, "a1", OTHER_DONE) is effect


def test_what_tells_nothing_new_of_an_intent_need_not_be_kept() -> None:
    """What is known, and what names the edited look itself, is acknowledged unwritten."""
    accepted = in_state(S.ACCEPTED)
    assert not must_be_kept(accepted, "a1", Delivery("look_new", LookStatus.PROCESSING))
    assert must_be_kept(accepted, "a1", DONE)
    assert not must_be_kept(in_state(S.UNKNOWN), "a1", Delivery(SOURCE.look_id, LookStatus.READY))


def test_the_look_that_was_delivered_is_known_until_the_unknown_is_settled() -> None:
    """It is gone with the round that it was about."""
    unknown = after(NoteDelivered("look_new", "a1"), start=in_state(S.UNKNOWN))
    assert unknown.delivered == "look_new"
    assert advance(unknown, Accept(REF, AT, Evidence.WEBHOOK)).delivered is None
    assert advance(unknown, Resend()).delivered is None
