"""The life of one intent: one look that somebody wants to pay for, once.

The rules:

1. An intent is sent only from PLANNED, and SENDING is written down before the first byte leaves.
   So whatever is found SENDING after a crash may have been paid: it becomes UNKNOWN.
2. Only two things lead from SENDING back to what stood before: it is certain that nothing left or that
   the API refused without a charge for a reason that is not the request's own (429, 401, 402 …).
3. UNKNOWN is left by proof (the look is found and accepted) or by the user's word, never by a guess.
4. ACCEPTED has cost credits and has a ref. From there on only the look's own state matters.
5. What was paid or may have been paid stays on the books when an intent is paid anew. The user's word
   for that (`Resend`, `Replace`) is written in one transaction with the `Send` that it leads to, and what
   stood before is kept until the new sending has cost something: when it surely cost nothing, the
   unknown, or the look that was there, stands as if nobody had touched it.

6. One look is one intent's: a step that claims a look which another intent has raises `LookTaken`. Only
   a store can see that, so it looks inside the transaction that takes the step.

A step that the table does not allow raises `IllegalTransition` and changes nothing. What was decided by
what an
intent was when it was read goes with `IfUnchanged` in front: then it is taken only where that still holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import attrs

from ..._api.models import Look, LookRef, LookStatus
from ..._api.requests import Request
from .intent import Attempt, Evidence, Intent, IntentState, Refusal


class IfUnchanged(NamedTuple):
    """A condition and no change: it was not sent, settled or given other content since it stood so."""

    since: Intent


class Send(NamedTuple):
    """It is about to leave: the quota permit is in hand, the connection stands."""

    attempt_id: str
    at: datetime
    source: LookRef | None = None
    in_lane: bool = False


class Revert(NamedTuple):
    """It surely cost nothing and may be sent again: what stood before the sending stands."""


class Accept(NamedTuple):
    """Its look is known."""

    ref: LookRef
    at: datetime
    evidence: Evidence


class Correct(NamedTuple):
    """The user's word again: another look is its own. Only where the user's word is all the evidence."""

    ref: LookRef
    at: datetime


class Reject(NamedTuple):
    """The API said no to this very request; no charge. What was paid before, or may have been, stands."""

    refusal: Refusal
    at: datetime


class MarkUnknown(NamedTuple):
    """It was sent, and what became of it is not known."""

    reason: str
    at: datetime


class EndSearch(NamedTuple):
    """The last search found no look that can only be its own. It stays unknown and at risk."""


class AddCandidates(NamedTuple):
    """Looks that may be its own and cannot be proved to be. For people to choose from, never adopted.

    They join those that are known already, of which ``others`` have become another intent's.
    """

    candidates: tuple[LookRef, ...] = ()
    others: tuple[LookRef, ...] = ()


class Settle(NamedTuple):
    """The look is done. Said again with the same status, it fills in a missing picture or reason."""

    look: Look
    at: datetime


class Resend(NamedTuple):
    """The user's word: send an unknown again, whatever it may have cost."""


class Drop(NamedTuple):
    """The user's word: leave an unknown alone for good."""


class Replace(NamedTuple):
    """The user's word: pay anew for something that ended, perhaps with another request."""

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
    # None: the state that the step itself names (the look's status). TakeBack and Refuse lead to what
    # stood before instead, where the intent was being paid anew.
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
    """A step that the table does not allow, or a condition that does not hold.

    Something else was faster, or it is a mistake of this library; never one of its user.
    """


class LookTaken(IllegalTransition):
    """The look that a step claims is another intent's already: what names it contradicts what is stored."""

    def __init__(self, ref: LookRef, owner: str) -> None:
        self.ref = ref
        self.owner = owner
        super().__init__(f"the look {ref} is {owner!r}'s already")


def claimed_look(intent: Intent) -> LookRef | None:
    """The look that nobody else may claim: its own, or the one that it goes back to where it is paid anew."""
    if intent.ref is None and intent.before is not None:
        return intent.before.ref
    return intent.ref


def advance(intent: Intent, step: Transition) -> Intent:
    """The intent after the step. Raises `IllegalTransition`, and the intent stands as it was."""
    if isinstance(step, IfUnchanged):
        return _stands(intent, step)
    kind = type(step)
    if kind not in TRANSITIONS[intent.state]:
        raise IllegalTransition(f"intent {intent.key!r} is {intent.state}: no {kind.__name__} from there")
    target = TRANSITIONS[intent.state][kind]
    return _APPLY[kind](intent, step, target)


def recover(intent: Intent, at: datetime) -> tuple[Transition, ...]:
    """The steps that a crash makes necessary: what was being sent may have been paid."""
    if intent.state is S.SENDING:
        return (MarkUnknown("the process ended while the request was being sent", at),)
    return ()


def _stands(intent: Intent, step: IfUnchanged) -> Intent:
    if not intent.unmoved(step.since):
        raise IllegalTransition(f"intent {intent.key!r} has moved on: it is {intent.state}")
    return intent


def _send(intent: Intent, step: Send, state: IntentState) -> Intent:
    attempts = (*intent.attempts, Attempt(step.attempt_id, step.at, step.in_lane))
    return attrs.evolve(
        intent, state=state, attempts=attempts, source=step.source, lost_at=None, refusal=None
    )


def _take_back(intent: Intent, _: Revert, state: IntentState) -> Intent:
    # with its attempts: those of the unknown are what can still be proved, the last of them its own
    return intent.before or attrs.evolve(intent, state=state)


def _accept(intent: Intent, step: Accept, state: IntentState) -> Intent:
    if intent.before is not None and intent.before.ref == step.ref:
        raise LookTaken(step.ref, intent.key)  # of its earlier round, which was paid for by itself
    return attrs.evolve(
        intent,
        state=state,
        ref=step.ref,
        evidence=step.evidence,
        accepted_at=step.at,
        refusal=None,
        candidates=(),
        before=None,
    )


def _correct(intent: Intent, step: Correct, state: IntentState) -> Intent:
    if intent.evidence is not Evidence.USER:
        raise IllegalTransition(f"intent {intent.key!r}: its look is known by {intent.evidence}")
    return attrs.evolve(intent, state=state, ref=step.ref, accepted_at=step.at, settled_at=None, look=None)


def _refuse(intent: Intent, step: Reject, state: IntentState) -> Intent:
    before = intent.before
    if before is not None and (before.state.paid or before.state.in_doubt):
        return before
    return attrs.evolve(intent, state=state, refusal=step.refusal, settled_at=step.at, before=None)


def _lose(intent: Intent, step: MarkUnknown, state: IntentState) -> Intent:
    refusal = Refusal(None, None, step.reason)
    return attrs.evolve(intent, state=state, refusal=refusal, lost_at=step.at, before=None)


def _retire(intent: Intent, _: EndSearch, state: IntentState) -> Intent:
    return attrs.evolve(intent, state=state, retired=True)


def _suspect(intent: Intent, step: AddCandidates, state: IntentState) -> Intent:
    known = dict.fromkeys((*intent.candidates, *step.candidates))
    candidates = tuple(ref for ref in known if ref not in step.others)
    return attrs.evolve(intent, state=state, candidates=candidates)


def _settle(intent: Intent, step: Settle, _: None) -> Intent:
    if step.look.ref != intent.ref:
        raise IllegalTransition(f"intent {intent.key!r} has the look {intent.ref}, not {step.look.ref}")
    if not step.look.status.settled:
        raise IllegalTransition(f"intent {intent.key!r}: a look that is {step.look.status} settles nothing")
    state = S.READY if step.look.status is LookStatus.READY else S.FAILED
    if intent.state is S.ACCEPTED:
        return attrs.evolve(intent, state=state, look=step.look, settled_at=step.at)
    if state is not intent.state or intent.look is None:
        raise IllegalTransition(f"intent {intent.key!r} is {intent.state} already, not {state}")
    return attrs.evolve(intent, look=intent.look.merged_with(step.look))


def _to_plan(intent: Intent, state: IntentState) -> Intent:
    return attrs.evolve(
        intent,
        state=state,
        ref=None,
        evidence=None,
        accepted_at=None,
        settled_at=None,
        look=None,
        refusal=None,
        lost_at=None,
        retired=False,
        candidates=(),
        past_spent=intent.spent,
        past_at_risk=intent.at_risk,
        before=intent.before if intent.state is S.PLANNED else intent,
    )


def _resend(intent: Intent, _: Resend, state: IntentState) -> Intent:
    # the first attempt's look may still be among them, and a baseline may have swallowed it
    return attrs.evolve(_to_plan(intent, state), candidates=intent.candidates)


def _drop(intent: Intent, _: Drop, state: IntentState) -> Intent:
    return attrs.evolve(intent, state=state)


def _renew(intent: Intent, step: Replace, state: IntentState) -> Intent:
    earlier = tuple(attempt.id for attempt in intent.attempts)
    return attrs.evolve(
        _to_plan(intent, state), request=step.request, digest=step.digest, past_attempts=earlier
    )


_APPLY: Mapping[type[Transition], Callable[[Intent, Any, Any], Intent]] = {
    Send: _send,
    Revert: _take_back,
    Accept: _accept,
    Correct: _correct,
    Reject: _refuse,
    MarkUnknown: _lose,
    EndSearch: _retire,
    AddCandidates: _suspect,
    Settle: _settle,
    Resend: _resend,
    Drop: _drop,
    Replace: _renew,
}
