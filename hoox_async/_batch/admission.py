"""What an item that was pulled needs next, by what is known of its key and of its source. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import attrs

from .._api.models import Look, LookRef, LookStatus
from .._api.requests import FREE
from .._core.intents.intent import Intent, IntentState
from .._core.intents.outcomes import Outcome, OutcomeState, outcome_of
from .._core.intents.transitions import Replace, Resend
from .._session.submit import SendDecision, send_stored
from ..errors import HooxError, InvalidRequest, KeyConflict, OutcomeUnknown, StoreError
from .items import Item
from .options import Options

_ENDED = frozenset({IntentState.READY, IntentState.FAILED, IntentState.REJECTED, IntentState.DROPPED})
_NEVER_READY = frozenset({OutcomeState.REJECTED, OutcomeState.FAILED, OutcomeState.SKIPPED})


class End(NamedTuple):
    """Nothing is to be done for it."""

    outcome: Outcome


class WaitFor(NamedTuple):
    """It was sent in an earlier run: accepted or unknown."""


class Enqueue(NamedTuple):
    """It can be sent. ``source`` is the ref of an edit's source look."""

    source: LookRef | None


class Park(NamedTuple):
    """Another item of this input has to be READY first."""

    behind: Item


class AwaitSource(NamedTuple):
    """Its source was accepted in an earlier run and is not in this input so far."""

    source: Intent


Next = End | WaitFor | Enqueue | Park | AwaitSource


def admit(
    item: Item,
    known: Mapping[str, Intent],
    live: Mapping[str, Item],
    ended: Mapping[str, OutcomeState],
    options: Options,
) -> Next:
    """What an item needs. Notes on it what the store knows, and whether it is to be paid anew.

    ``known`` are intents of the store by key, ``live`` the items of this input that have no outcome yet,
    ``ended`` those of this input that came to nothing.
    """
    stands = known.get(item.key)
    if stands is None:
        return find_source(item, known, live, ended)
    if options.conflicts(stands, item.digest) or _is_second_content(item, stands):
        return End(conflict(item))
    item.intent = stands
    item.renew = not item.repeated and options.pays_anew(stands, item.digest)
    if item.needs_sending:
        return find_source(item, known, live, ended)
    return End(as_it_stands(item, stands)) if stands.state in _ENDED else WaitFor()


def decide_turn(item: Item, wanted: Intent, stands: Intent | None, options: Options) -> SendDecision | Intent:
    """What is to be sent for an item whose turn has come, by what the store knows of its key now.

    That can be more than at its admission: another run, or a single submission, may have had the key. What
    was settled since then is the result, and nothing is paid anew for it. Raises `KeyConflict`.
    """
    if stands is None:
        return SendDecision(wanted)
    if stands.digest != item.digest:
        if options.conflicts(stands, item.digest) or _is_second_content(item, stands):
            raise KeyConflict(item.key)
        renews = not item.repeated and options.pays_anew(stands, item.digest)
    else:
        renews = item.renew and item.stands_as_known(stands)
    if renews:
        return send_stored(stands, Replace(item.request, item.digest), wanted.source)
    if stands.state is IntentState.PLANNED:
        return send_stored(stands, source=wanted.source)
    if item.resends and item.stands_as_known(stands):
        return send_stored(stands, Resend())
    return stands


def _is_second_content(item: Item, stands: Intent) -> bool:
    """Whether its key came before in this input with other content, which has cost nothing so far."""
    unpaid = stands.state is IntentState.PLANNED or stands.never_charged
    return item.repeated and unpaid and stands.digest != item.digest


def find_source(
    item: Item, known: Mapping[str, Intent], live: Mapping[str, Item], ended: Mapping[str, OutcomeState]
) -> Next:
    """Where the source of an item that is to be sent stands."""
    key = item.source_key
    if key is None:
        return _find_made(item)
    if key in live and live[key] is not item:
        return Park(live[key])
    if key in ended:  # before what the store knows: in this input the key may stand for other content
        return after_source(item, key, ended[key], None)
    if key in known and key != item.key:
        source_intent = known[key]
        if source_intent.state is IntentState.ACCEPTED:
            return AwaitSource(source_intent)
        return after_source(item, key, outcome_of(source_intent).state, source_intent.ref)
    wanted = "the key of an item that stands earlier in the input or in the store"
    error = InvalidRequest("source", key, wanted)
    return End(Outcome(item.key, item.request, OutcomeState.REJECTED, error=error))


def _find_made(item: Item) -> Next:
    """As `find_source`, for an edit of a look that is named by its ref, or for what is no edit."""
    maker = item.maker
    if maker is None:
        return Enqueue(item.source_ref)
    if maker.state is IntentState.ACCEPTED:
        return AwaitSource(maker)
    return after_source(item, str(maker.ref), outcome_of(maker).state, maker.ref)


def after_source(item: Item, key: str, state: OutcomeState, ref: LookRef | None) -> Next:
    """What an item needs once its source has this outcome."""
    if state is OutcomeState.READY and ref is not None:
        return Enqueue(ref)
    error = HooxError(f"its source {key!r} is {state}")
    never = state in _NEVER_READY
    return End(unsent(item, error, OutcomeState.SKIPPED if never else OutcomeState.UNSENT))


def unsent(item: Item, error: HooxError, state: OutcomeState = OutcomeState.UNSENT) -> Outcome:
    """The outcome of an item for which nothing was sent now; what earlier runs paid stays on it."""
    return for_want_of(item, item.intent, error, state)


def for_want_of(item: Item, stands: Intent | None, error: HooxError, state: OutcomeState) -> Outcome:
    """The outcome of an item for which nothing was sent because of an error, by what stands under its key.

    What may have been paid is never told as unsent.
    """
    if stands is None:
        return Outcome(item.key, item.request, state, error=error)
    unpaid = stands.state in (IntentState.PLANNED, IntentState.REJECTED)
    if unpaid or (item.renew and item.stands_as_known(stands)):
        return outcome_of(stands, state=state, error=error, request=item.request, look=None)
    outcome = outcome_of(stands)
    return attrs.evolve(outcome, error=error) if outcome.state is OutcomeState.PENDING else outcome


def cancelled_unclear(item: Item, error: HooxError) -> Outcome:
    """The outcome of an item whose task was cancelled, where the store cannot tell what became of it.

    Where it was to be sent, it may have been.
    """
    known = item.intent
    if known is not None and not item.needs_sending:
        return for_want_of(item, known, error, OutcomeState.UNSENT)
    at_risk = item.request.credits + (known.at_risk if known else FREE)
    unknown = OutcomeUnknown(f"{item.key}: {error}; it may have been charged", key=item.key)
    credits = known.spent if known else FREE
    return Outcome(item.key, item.request, OutcomeState.UNKNOWN, None, unknown, credits, at_risk)


def accepted_unwritten(item: Item, ref: LookRef, error: StoreError) -> Outcome:
    """The outcome of an item that was paid, which the store did not take; with what was paid before."""
    credits, at_risk, known = item.request.credits, FREE, item.intent
    if known is not None:
        credits += known.spent
        at_risk = known.past_at_risk if known.state is IntentState.SENDING else known.at_risk
    look = Look(ref, LookStatus.PENDING)
    return Outcome(item.key, item.request, OutcomeState.PENDING, look, error, credits, at_risk)


def conflict(item: Item) -> Outcome:
    """The outcome of an item whose key stands for other content."""
    return Outcome(item.key, item.request, OutcomeState.REJECTED, error=KeyConflict(item.key))


def as_it_stands(item: Item, stands: Intent) -> Outcome:
    """The outcome of an item that an earlier run, or an earlier item, has settled."""
    same = stands.digest == item.digest
    outcome = outcome_of(stands, request=item.request if same else stands.request)
    return for_nothing(outcome) if item.repeated else outcome


def for_nothing(outcome: Outcome) -> Outcome:
    """The outcome of a look that another item of the same input has told of already."""
    return attrs.evolve(outcome, credits=FREE, at_risk=FREE)
