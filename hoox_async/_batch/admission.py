"""Decides what an item needs next, from what is known of its key and of its source. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .._api.models import LookRef
from .._core.intents.intent import Intent, IntentState
from .._core.intents.outcomes import Outcome, OutcomeState, outcome_of
from .._core.intents.send_decision import Decision, Outstanding, SendDecision, key_conflict, send_stored
from .._core.intents.transitions import Replace, Resend
from ..errors import HooxError, InvalidRequest
from .item_outcomes import conflicting, settled_before, unsent
from .items import Item
from .options import BatchOptions

_SETTLED = frozenset({IntentState.READY, IntentState.FAILED, IntentState.REJECTED, IntentState.DROPPED})
_WHAT_BECAME_OF_IT = {
    OutcomeState.READY: "is ready, but its look is not known",
    OutcomeState.FAILED: "failed",
    OutcomeState.REJECTED: "was rejected",
    OutcomeState.SKIPPED: "was skipped",
    OutcomeState.UNSENT: "was not sent",
    OutcomeState.PENDING: "is not done yet",
    OutcomeState.UNKNOWN: "may have been paid for, and its look is not known",
}
_NEVER_READY = frozenset({OutcomeState.REJECTED, OutcomeState.FAILED, OutcomeState.SKIPPED})


class Finish(NamedTuple):
    """The item has its outcome already."""

    outcome: Outcome


class Resume(NamedTuple):
    """An earlier run sent it: wait for its look, or find out its outcome."""


class Enqueue(NamedTuple):
    """It can be sent. ``source`` is the look that it edits; None for a new avatar."""

    source: LookRef | None


class AwaitItem(NamedTuple):
    """Another item of this input, its source, has to be READY first."""

    source: Item


class AwaitIntent(NamedTuple):
    """Its source was accepted in an earlier run, is not READY yet, and is not in this input so far."""

    source: Intent


Admission = Finish | Resume | Enqueue | AwaitItem | AwaitIntent


def admit(
    item: Item,
    known: Mapping[str, Intent],
    live: Mapping[str, Item],
    ended: Mapping[str, OutcomeState],
    options: BatchOptions,
) -> Admission:
    """What an item needs next. Sets ``stored`` and ``pay_again`` of the item.

    ``known`` are stored intents by key, ``live`` the items of this input without an outcome yet, and
    ``ended`` the outcomes of the items of this input that are not in the store.
    """
    stored = known.get(item.key)
    if stored is None:
        return find_source(item, known, live, ended)
    if options.conflicts(stored, item.digest) or _is_second_content(item, stored):
        error = key_conflict(item.key, stored.request, item.request)
        return Finish(conflicting(item, error, stored))
    item.stored = stored
    item.pay_again = not item.repeated and options.pays_again(stored, item.digest)
    if item.needs_sending:
        return find_source(item, known, live, ended)
    return Finish(settled_before(item, stored)) if stored.state in _SETTLED else Resume()


def decide_sending(item: Item, wanted: Intent, stored: Intent | None, options: BatchOptions) -> Decision:
    """What to send for an item, from the intent under its key immediately before it is sent.

    The intent can have changed since the admission: another run or a single submission can have used the key.
    Then its result is the item's result, and nothing is paid again. Raises `KeyConflict`.
    """
    if stored is None:
        return SendDecision(wanted)
    if stored.digest != item.digest:
        if options.conflicts(stored, item.digest) or _is_second_content(item, stored):
            raise key_conflict(item.key, stored.request, item.request)
        pay_again = not item.repeated and options.pays_again(stored, item.digest)
    else:
        pay_again = item.pay_again and item.is_unchanged(stored)
    if pay_again:
        return send_stored(stored, Replace(item.request, item.digest), wanted.source)
    if stored.state is IntentState.PLANNED:
        return send_stored(stored, source=wanted.source)
    if item.resend and item.is_unchanged(stored) and stored.delivered is None:
        return send_stored(stored, Resend())
    return Outstanding(stored) if stored.state is IntentState.SENDING else stored


def _is_second_content(item: Item, stored: Intent) -> bool:
    """Whether an earlier item of this input has the key with other content, which has cost nothing so far."""
    unpaid = stored.state is IntentState.PLANNED or stored.never_charged
    return item.repeated and unpaid and stored.digest != item.digest


def find_source(
    item: Item, known: Mapping[str, Intent], live: Mapping[str, Item], ended: Mapping[str, OutcomeState]
) -> Admission:
    """What an item that is to be sent needs: to be queued if its source is READY, else to wait for that."""
    key = item.source_key
    if key is None:
        return _find_source_by_ref(item)
    if key in live and live[key] is not item:
        return AwaitItem(live[key])
    if key in ended:  # checked before the store: in this input the key may belong to other content
        return after_source(item, key, ended[key], None)
    if key in known and key != item.key:
        intent = known[key]
        if intent.state is IntentState.ACCEPTED:
            return AwaitIntent(intent)
        return after_source(item, key, outcome_of(intent).state, intent.ref)
    expected = "the key of an item that is earlier in the input or in the store"
    error = InvalidRequest("source", key, expected)
    return Finish(Outcome(item.key, item.request, OutcomeState.REJECTED, error=error))


def _find_source_by_ref(item: Item) -> Admission:
    """As `find_source`, for an edit that names its source by a ref, and for an item that is no edit."""
    intent = item.source_intent
    if intent is None:
        return Enqueue(item.source_ref)
    if intent.state is IntentState.ACCEPTED:
        return AwaitIntent(intent)
    return after_source(item, str(intent.ref), outcome_of(intent).state, intent.ref)


def after_source(item: Item, source: str, state: OutcomeState, ref: LookRef | None) -> Admission:
    """What an item needs once its source (a key, or the text of a ref) has this outcome."""
    if state is OutcomeState.READY and ref is not None:
        return Enqueue(ref)
    error = HooxError(f"its source {source!r} {_WHAT_BECAME_OF_IT[state]}")
    never = state in _NEVER_READY
    return Finish(unsent(item, error, OutcomeState.SKIPPED if never else OutcomeState.UNSENT))
