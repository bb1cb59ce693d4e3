"""What pruning erases of an intent, and that what money needs is left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest
import request_strategies as our
from hypothesis import given
from hypothesis import strategies as st

from hoox_async import ImageAvatar, Look, LookEdit, LookRef, LookStatus, PromptAvatar, PrunedRequest
from hoox_async._api.models import LookFailure
from hoox_async._core.intents.intent import Intent, IntentState, Reason
from hoox_async._core.intents.outcomes import error_of, outcome_of
from hoox_async._core.intents.pruning import PRUNABLE, may_be_pruned, prune, settled_at
from hoox_async._core.intents.records import dump_intent, load_intent
from hoox_async._core.intents.transitions import claimed_look
from hoox_async.errors import GenerationFailed, HooxError, StoreError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "Ada Lovelace"
REF = LookRef("avtr_1", "look_1")
SOURCE = LookRef("avtr_1", "look_0")
KEPT = (
    "key",
    "own_key",
    "digest",
    "state",
    "source",
    "attempts",
    "ref",
    "evidence",
    "accepted_at",
    "settled_at",
)
EDIT = LookEdit(
    SOURCE,
    f"{SECRET} on stage",
    metadata={"customer": SECRET},
    extra={"note": SECRET},
    images=["https://pictures.example/Ada%20Lovelace.jpg"],
    webhook_url="https://hooks.example/Ada%20Lovelace",
    resolution="4K",
    upscale=True,
)


def settled(request: Any = EDIT, **changes: Any) -> Intent:
    """A READY intent that is full of a person's name."""
    failure = LookFailure("no_face", f"no face of {SECRET}")
    look = Look(REF, LookStatus.READY, "https://cdn.example/Ada%20Lovelace.jpg", failure, {"prompt": SECRET})
    values: dict[str, Any] = {
        "state": IntentState.READY,
        "source": SOURCE,
        "ref": REF,
        "look": look,
        "reason": Reason(400, "bad_prompt", f"{SECRET} is no prompt"),
        "past_spent": Decimal(4),
        "past_at_risk": Decimal(2),
        "past_failed": Decimal(2),
        "past_attempts": ("att_0",),
        "settled_at": NOW,
    }
    return Intent("scene", True, request, "digest", NOW, **(values | changes))


@pytest.mark.parametrize("state", sorted(PRUNABLE))
def test_nothing_of_the_content_is_left(state: IntentState) -> None:
    """No part of prompt, metadata, ``extra``, URLs, reasons and answers is left in the record."""
    record = dump_intent(prune(settled(state=state)))
    assert SECRET not in record
    assert "Ada" not in record


@given(our.intents, st.sampled_from(sorted(PRUNABLE)))
def test_what_money_needs_is_left(stored: Intent, state: IntentState) -> None:
    """Of any settled intent the refs, attempts, digest and all costs are as before, also when read again."""
    stored = attrs.evolve(stored, state=state)
    pruned = load_intent(dump_intent(prune(stored)))
    assert [getattr(pruned, name) for name in KEPT] == [getattr(stored, name) for name in KEPT]
    assert (pruned.spent, pruned.at_risk, pruned.credits) == (stored.spent, stored.at_risk, stored.credits)
    assert (pruned.past_attempts, claimed_look(pruned)) == (stored.past_attempts, claimed_look(stored))
    assert pruned.never_charged == stored.never_charged
    assert pruned.unchanged_since(stored)
    assert outcome_of(pruned).credits == outcome_of(stored).credits


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (EDIT, "edit"),
        (PromptAvatar("x"), "prompt"),
        (ImageAvatar(["https://pictures.example/a.jpg"]), "images"),
    ],
)
def test_the_kind_and_the_price_are_left(request_: Any, kind: str) -> None:
    """A pruned request has its kind and its price, an empty metadata and no content to be sent."""
    pruned = prune(settled(request_))
    assert pruned.request == PrunedRequest(kind, request_.credits)
    assert (pruned.request.metadata, pruned.request.webhook_url) == ({}, None)
    with pytest.raises(StoreError, match="pruned"):
        _ = pruned.content


def test_only_what_was_settled_before_is_pruned() -> None:
    """An intent is pruned if it was settled before the moment; one that is pruned already is not again."""
    intent = settled()
    moment = timedelta(microseconds=1)
    assert may_be_pruned(intent, NOW + moment)
    assert not may_be_pruned(intent, NOW)
    assert not may_be_pruned(prune(intent), NOW + moment)
    assert settled_at(settled(settled_at=None)) == NOW


@pytest.mark.parametrize("state", sorted(set(IntentState) - PRUNABLE))
def test_what_is_not_settled_is_never_touched(state: IntentState) -> None:
    """An intent that is planned, outstanding, unknown, accepted or dropped is refused."""
    intent = settled(state=state)
    assert not may_be_pruned(intent, NOW + timedelta(days=9999))
    with pytest.raises(ValueError, match="not settled"):
        prune(intent)


def test_an_intent_of_a_round_that_may_be_restored_is_left_alone() -> None:
    """An intent that still has the one before it is not pruned: its costs and its look count."""
    assert not may_be_pruned(settled(previous=settled()), NOW + timedelta(days=1))


def test_errors_of_a_pruned_intent_say_so() -> None:
    """The error of a failed or refused one has its class and code, and says that the reason was erased."""
    failed = error_of(prune(settled(state=IntentState.FAILED)))
    refused = error_of(prune(settled(state=IntentState.REJECTED)))
    assert isinstance(failed, GenerationFailed)
    assert failed.look.error is not None
    assert failed.look.error.code == "no_face"
    assert isinstance(refused, HooxError)
    assert getattr(refused, "code", None) == "bad_prompt"
    assert all("pruned" in str(error) for error in (failed, refused))


def test_pruned_records_are_read_strictly() -> None:
    """A pruned request of an unknown kind, or without a price, is damage."""
    record = dump_intent(prune(settled()))
    for damaged in (
        record.replace('"kind":"edit"', '"kind":"video"'),
        record.replace(',"credits":"5.5"', "", 1),
    ):
        assert damaged != record
        with pytest.raises(StoreError, match="damaged"):
            load_intent(damaged)
    assert load_intent(record) == prune(settled())
