"""The transitions of an intent, that is of one look that is to be paid for once.

The rules:

1. An intent is sent only from PLANNED, and SENDING is written before the first byte leaves. So an
   intent found SENDING after a crash may have been paid: it becomes UNKNOWN.
2. SENDING goes back to the state before it in two cases only: it is certain that nothing was sent, or the
   API refused without a charge for a reason that does not concern this request alone (429, 401, 402 …).
3. UNKNOWN is left by proof (the look is found and accepted) or on the user's instruction, never by a guess.
4. ACCEPTED has cost credits and has a ref. From there on only the look's own state matters.
5. What was paid, or may have been paid, stays counted when an intent is paid again. The user's instruction
   for that (`Resend`, `Replace`) is written in one transaction with the `Send` that it leads to. The previous
   intent is kept until the new POST has cost something. If that certainly cost nothing, the previous intent
   is restored.
6. A look belongs to one intent only. A transition that claims another intent's look raises `LookTaken`. Only
   a store can see that, so it checks inside the transaction that applies the transition.

A transition that the table does not allow raises `IllegalTransition` and changes nothing. A decision that was
made from an intent that was read earlier is written with `IfUnchanged` in front, so that it is applied only
if the intent is still the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import attrs

from ..._api.models import Look, LookRef, LookStatus
from ..._api.requests import Request
from .intent import Attempt, Evidence, Intent, IntentState, Reason


class IfUnchanged(NamedTuple):
    """A condition that changes nothing: the intent was not sent, settled or given other content meanwhile."""

    earlier: Intent


class Send(NamedTuple):
    """The POST is about to leave: its permit is acquired and its connection is made."""

    attempt_id: str
    at: datetime
    source: LookRef | None = None
    under_lock: bool = False


class Revert(NamedTuple):
    """The POST certainly cost nothing and may be sent again: the previous intent is restored."""


class Accept(NamedTuple):
    """The intent's look is known, and was paid for."""

    ref: LookRef
    at: datetime
    evidence: Evidence


class Correct(NamedTuple):
    """The user names another look than before. Allowed only if the evidence is USER."""

    ref: LookRef
    at: datetime


class Reject(NamedTuple):
    """The API refused this request itself, without a charge. The cost of earlier rounds stays counted."""

    reason: Reason
    at: datetime


class MarkUnknown(NamedTuple):
    """The POST may have been received, and its outcome is not known."""

    reason: str
    at: datetime


class EndSearch(NamedTuple):
    """The last search for the intent's look proved nothing. The intent stays unknown and at risk."""


class AddCandidates(NamedTuple):
    """Looks that the lost POST may have made. They are shown to people and never accepted without proof.

    They are added to the known candidates. ``taken`` have been claimed by other intents since, and are
    removed from the candidates.
    """

    candidates: tuple[LookRef, ...] = ()
    taken: tuple[LookRef, ...] = ()


class Settle(NamedTuple):
    """The look is done. Applied again with the same status, it fills in a missing picture or error."""

    look: Look
    at: datetime


class Resend(NamedTuple):
    """The user's instruction to send an unknown again, although it may have been charged."""


class Drop(NamedTuple):
    """The user's instruction to give up an unknown for good."""


class Replace(NamedTuple):
    """The user's instruction to pay again for an intent that has ended, possibly with another request."""

    request: Request
    digest: str


Transition = (
    IfUnchanged
    | Send
    | Revert
    | Accept
    | Correct
    | Reject
    | MarkUnknown
    | EndSearch
    | AddCandidates
    | Settle
    | Resend
    | Drop
    | Replace
)

S = IntentState
_FROM_UNKNOWN: Mapping[type[Transition], IntentState | None] = {
    Accept: S.ACCEPTED, EndSearch: S.UNKNOWN, AddCandidates: S.UNKNOWN, Resend: S.PLANNED, Drop: S.DROPPED
}  # fmt: skip
TRANSITIONS: Mapping[IntentState, Mapping[type[Transition], IntentState | None]] = {
    # None: the look's status decides. If the intent was being paid again, Revert and Reject restore the
    # previous intent instead.
    S.PLANNED:  {Send: S.SENDING, Reject: S.REJECTED, Replace: S.PLANNED},
    S.SENDING:  {Revert: S.PLANNED, Accept: S.ACCEPTED, Reject: S.REJECTED, MarkUnknown: S.UNKNOWN},
    S.UNKNOWN:  _FROM_UNKNOWN,
    S.ACCEPTED: {Settle: None, Correct: S.ACCEPTED, Replace: S.PLANNED},
    S.READY:    {Settle: None, Correct: S.ACCEPTED, Replace: S.PLANNED},
    S.FAILED:   {Settle: None, Correct: S.ACCEPTED, Replace: S.PLANNED},
    S.REJECTED: {Replace: S.PLANNED},
    S.DROPPED:  {Accept: S.ACCEPTED, Resend: S.PLANNED},
}  # fmt: skip


class IllegalTransition(RuntimeError):
    """A transition that the table does not allow, or a condition that does not hold.

    Another task or process changed the intent first, or this is a bug in the library; it is never a mistake
    of the user.
    """


class LookTaken(IllegalTransition):
    """The look that a transition claims belongs to another intent already."""

    def __init__(self, ref: LookRef, owner: str) -> None:
        self.ref = ref
        self.owner = owner
        super().__init__(f"the look {ref} belongs to {owner!r} already")


def claimed_look(intent: Intent) -> LookRef | None:
    """The look that no other intent may claim: the intent's own, or that of the round before."""
    if intent.ref is None and intent.previous is not None:
        return intent.previous.ref
    return intent.ref


def advance(intent: Intent, transition: Transition) -> Intent:
    """The intent after the transition. Raises `IllegalTransition`."""
    if isinstance(transition, IfUnchanged):
        return _require_unchanged(intent, transition)
    kind = type(transition)
    if kind not in TRANSITIONS[intent.state]:
        raise IllegalTransition(f"intent {intent.key!r} is {intent.state}: no {kind.__name__} from there")
    target = TRANSITIONS[intent.state][kind]
    return _APPLY[kind](intent, transition, target)


def recovery_transitions(intent: Intent, at: datetime) -> tuple[Transition, ...]:
    """The transitions that the end of an earlier process makes necessary.

    An intent that is still SENDING may have been paid: it becomes UNKNOWN.
    """
    if intent.state is S.SENDING:
        return (MarkUnknown("the process ended while the request was being sent", at),)
    return ()


def _require_unchanged(intent: Intent, transition: IfUnchanged) -> Intent:
    if not intent.unchanged_since(transition.earlier):
        raise IllegalTransition(f"intent {intent.key!r} was changed meanwhile: it is {intent.state}")
    return intent


def _send(intent: Intent, transition: Send, state: IntentState) -> Intent:
    attempts = (*intent.attempts, Attempt(transition.attempt_id, transition.at, transition.under_lock))
    return attrs.evolve(
        intent, state=state, attempts=attempts, source=transition.source, lost_at=None, reason=None
    )


def _revert(intent: Intent, _: Revert, state: IntentState) -> Intent:
    # the attempts of `previous` are those that can still be proved, the last one is its own
    return intent.previous or attrs.evolve(intent, state=state)


def _accept(intent: Intent, transition: Accept, state: IntentState) -> Intent:
    if intent.previous is not None and intent.previous.ref == transition.ref:
        # each round is paid separately: the look of the previous round cannot be this one's too
        raise LookTaken(transition.ref, intent.key)
    return attrs.evolve(
        intent,
        state=state,
        ref=transition.ref,
        evidence=transition.evidence,
        accepted_at=transition.at,
        reason=None,
        candidates=(),
        previous=None,
    )


def _correct(intent: Intent, transition: Correct, state: IntentState) -> Intent:
    if intent.evidence is not Evidence.USER:
        raise IllegalTransition(f"intent {intent.key!r}: its look is known by {intent.evidence}")
    return attrs.evolve(
        intent, state=state, ref=transition.ref, accepted_at=transition.at, settled_at=None, look=None
    )


def _reject(intent: Intent, transition: Reject, state: IntentState) -> Intent:
    previous = intent.previous
    if previous is not None and (previous.state.paid or previous.state.in_doubt):
        return previous
    return attrs.evolve(
        intent, state=state, reason=transition.reason, settled_at=transition.at, previous=None
    )


def _mark_unknown(intent: Intent, transition: MarkUnknown, state: IntentState) -> Intent:
    reason = Reason(None, None, transition.reason)
    return attrs.evolve(intent, state=state, reason=reason, lost_at=transition.at, previous=None)


def _end_search(intent: Intent, _: EndSearch, state: IntentState) -> Intent:
    return attrs.evolve(intent, state=state, search_ended=True)


def _add_candidates(intent: Intent, transition: AddCandidates, state: IntentState) -> Intent:
    known = dict.fromkeys((*intent.candidates, *transition.candidates))
    candidates = tuple(ref for ref in known if ref not in transition.taken)
    return attrs.evolve(intent, state=state, candidates=candidates)


def _settle(intent: Intent, transition: Settle, _: None) -> Intent:
    if transition.look.ref != intent.ref:
        raise IllegalTransition(f"intent {intent.key!r} has the look {intent.ref}, not {transition.look.ref}")
    if not transition.look.status.settled:
        raise IllegalTransition(f"intent {intent.key!r}: a look that is {transition.look.status} is not done")
    state = S.READY if transition.look.status is LookStatus.READY else S.FAILED
    if intent.state is S.ACCEPTED:
        return attrs.evolve(intent, state=state, look=transition.look, settled_at=transition.at)
    if state is not intent.state or intent.look is None:
        raise IllegalTransition(f"intent {intent.key!r} is {intent.state} already and cannot become {state}")
    return attrs.evolve(intent, look=intent.look.merged_with(transition.look))


def _begin_round(intent: Intent, state: IntentState) -> Intent:
    return attrs.evolve(
        intent,
        state=state,
        ref=None,
        evidence=None,
        accepted_at=None,
        settled_at=None,
        look=None,
        reason=None,
        lost_at=None,
        search_ended=False,
        candidates=(),
        past_spent=intent.spent,
        past_at_risk=intent.at_risk,
        previous=intent.previous if intent.state is S.PLANNED else intent,
    )


def _resend(intent: Intent, _: Resend, state: IntentState) -> Intent:
    # one of them may be the first attempt's look, and may have joined the avatar's baseline meanwhile
    return attrs.evolve(_begin_round(intent, state), candidates=intent.candidates)


def _drop(intent: Intent, _: Drop, state: IntentState) -> Intent:
    return attrs.evolve(intent, state=state)


def _replace(intent: Intent, transition: Replace, state: IntentState) -> Intent:
    earlier = tuple(attempt.id for attempt in intent.attempts)
    return attrs.evolve(
        _begin_round(intent, state),
        request=transition.request,
        digest=transition.digest,
        past_attempts=earlier,
    )


_APPLY: Mapping[type[Transition], Callable[[Intent, Any, Any], Intent]] = {
    Send: _send,
    Revert: _revert,
    Accept: _accept,
    Correct: _correct,
    Reject: _reject,
    MarkUnknown: _mark_unknown,
    EndSearch: _end_search,
    AddCandidates: _add_candidates,
    Settle: _settle,
    Resend: _resend,
    Drop: _drop,
    Replace: _replace,
}
