"""What an item that was pulled needs next, by what is known of its key and of its source. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import attrs

from .._core.ledger import Intent, IntentState
from .._core.models import LookRef
from .._core.outcomes import Outcome, OutcomeState, outcome_of
from .._core.requests import FREE, LookEdit
from ..errors import HooxError, InvalidRequest, KeyConflict
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
    if stands.digest != item.digest and options.changed == "error":
        return End(conflict(item))
    item.intent = stands
    item.renew = not item.repeated and options.pays_anew(stands, item.digest)
    if item.waits_at_gate:
        return find_source(item, known, live, ended)
    return End(as_it_stands(item, stands)) if stands.state in _ENDED else WaitFor()


def find_source(
    item: Item, known: Mapping[str, Intent], live: Mapping[str, Item], ended: Mapping[str, OutcomeState]
) -> Next:
    """Where the source of an item that is to be sent stands."""
    key = item.source_key
    if key is None:
        source = item.request.source if isinstance(item.request, LookEdit) else None
        return Enqueue(source if isinstance(source, LookRef) else None)
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


def after_source(item: Item, key: str, state: OutcomeState, ref: LookRef | None) -> Next:
    """What an item needs once its source has this outcome."""
    if state is OutcomeState.READY and ref is not None:
        return Enqueue(ref)
    error = HooxError(f"its source {key!r} is {state}")
    never = state in _NEVER_READY
    return End(unsent(item, error, OutcomeState.SKIPPED if never else OutcomeState.UNSENT))


def unsent(item: Item, error: HooxError, state: OutcomeState = OutcomeState.UNSENT) -> Outcome:
    """The outcome of an item for which nothing was sent now; what earlier runs paid stays on it."""
    if item.intent is None:
        return Outcome(item.key, item.request, state, error=error)
    if item.renew or item.intent.state is IntentState.PLANNED:
        return outcome_of(item.intent, state=state, error=error, request=item.request, look=None)
    return outcome_of(item.intent)


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
