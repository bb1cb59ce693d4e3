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
   intent is kept until the new POST has certainly cost something. If that certainly cost nothing, the
   previous intent is restored.
6. A look belongs to one intent only. A transition that claims another intent's look raises `LookTaken`. Only
   a store can see that, so it checks inside the transaction that applies the transition.
7. An end of a sending (`Revert`, `Reject`, `MarkUnknown`, `Accept`) names its attempt, whose id is the
   fencing token. An end that comes late, when the intent was sent again or is settled, changes nothing. An
   acceptance that comes late is a double: its credits and its look are recorded beside the intent's own. So
   each end can be written any number of times, also by a process that others have presumed dead.

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
from .budget import charges, past_charges_beside
from .intent import Attempt, Evidence, Intent, IntentState, Reason


class IfUnchanged(NamedTuple):
    """A condition that changes nothing: the intent was not sent, settled or given other content meanwhile."""

    earlier: Intent


class Send(NamedTuple):
    """The POST is about to leave: its permit is acquired and its connection is made.

    ``budget`` is the name of the budget that pays for it.
    """

    attempt_id: str
    at: datetime
    source: LookRef | None = None
    answer_by: datetime | None = None
    budget: str | None = None


class Revert(NamedTuple):
    """The POST certainly cost nothing and may be sent again: the previous intent is restored.

    It changes nothing where the attempt was never written, is not the intent's last one, or is settled.
    """

    attempt_id: str


class Accept(NamedTuple):
    """The intent's look is known, and was paid for.

    ``attempt_id``: the POST that was answered with this look. Where the intent cannot take the look any more,
    since it was sent again or has another look, this is a double: it joins `Intent.past_looks`.
    """

    ref: LookRef
    at: datetime
    evidence: Evidence
    attempt_id: str | None = None


class Correct(NamedTuple):
    """The user names another look than before. Allowed only if the evidence is USER."""

    ref: LookRef
    at: datetime


class Reject(NamedTuple):
    """The API refused this request itself, without a charge. The cost of earlier rounds stays counted.

    ``attempt_id``: the POST that was refused; as `Revert`, it changes nothing where that comes late.
    """

    reason: Reason
    at: datetime
    attempt_id: str | None = None


class MarkUnknown(NamedTuple):
    """The POST may have been received, and its outcome is not known.

    ``attempt_id``: the POST that was lost; as `Revert`, it changes nothing where that comes late.
    ``presumed``: the process that sends it is presumed dead by others, and may still get the answer.
    Otherwise nobody waits for the answer any more.
    """

    reason: str
    attempt_id: str | None = None
    presumed: bool = False


class AddCandidates(NamedTuple):
    """Looks that the lost POST may have made. They are shown to people and never accepted without proof.

    They are added to the known candidates, except for those that are ``older``. ``taken`` have been claimed
    by other intents since, and are removed. ``unlisted`` are the avatars of candidates whose ages are not
    known.
    """

    candidates: tuple[LookRef, ...] = ()
    taken: tuple[LookRef, ...] = ()
    older: tuple[LookRef, ...] = ()
    unlisted: tuple[str, ...] = ()


class NoteDelivered(NamedTuple):
    """A delivery on this attempt's own URL has named the unknown's look, without its avatar.

    The first one stays, unless this is the last attempt: a person decides what to do about that one.
    """

    look_id: str
    attempt_id: str


class Settle(NamedTuple):
    """The look is done. Applied again with the same status, it fills in a missing picture or error.

    ``watched_since``: since when the session that knows it has been asking without a gap; None: all the time.
    """

    look: Look
    at: datetime
    watched_since: datetime | None = None


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
    | AddCandidates
    | NoteDelivered
    | Settle
    | Resend
    | Drop
    | Replace
)

S = IntentState
_FROM_UNKNOWN: Mapping[type[Transition], IntentState | None] = {
    Accept: S.ACCEPTED, AddCandidates: S.UNKNOWN, NoteDelivered: S.UNKNOWN, Resend: S.PLANNED,
    Drop: S.DROPPED, Revert: S.PLANNED, Reject: S.REJECTED, MarkUnknown: S.UNKNOWN,
}  # fmt: skip
_FROM_PAID: Mapping[type[Transition], IntentState | None] = {
    Settle: None, Correct: S.ACCEPTED, Replace: S.PLANNED, Accept: None
}  # fmt: skip
TRANSITIONS: Mapping[IntentState, Mapping[type[Transition], IntentState | None]] = {
    # None: the look's status decides, or the state stays. If the intent was being paid again, Revert and
    # Reject restore the previous intent instead.
    S.PLANNED:  {Send: S.SENDING, Reject: S.REJECTED, Replace: S.PLANNED},
    S.SENDING:  {Revert: S.PLANNED, Accept: S.ACCEPTED, Reject: S.REJECTED, MarkUnknown: S.UNKNOWN},
    S.UNKNOWN:  _FROM_UNKNOWN,
    S.ACCEPTED: _FROM_PAID,
    S.READY:    _FROM_PAID,
    S.FAILED:   _FROM_PAID,
    S.REJECTED: {Replace: S.PLANNED},
    S.DROPPED:  {Accept: S.ACCEPTED, Resend: S.PLANNED},
}  # fmt: skip
_OF_AN_ATTEMPT: Mapping[IntentState, frozenset[type[Transition]]] = {
    # legal only where the transition names an attempt: its answer came after it was presumed lost
    S.UNKNOWN: frozenset({Revert, Reject, MarkUnknown}),
    S.ACCEPTED: frozenset({Accept}),
    S.READY: frozenset({Accept}),
    S.FAILED: frozenset({Accept}),
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
    if isinstance(transition, Revert | Reject | MarkUnknown) and _is_over(intent, transition.attempt_id):
        return intent
    kind = type(transition)
    if kind not in TRANSITIONS[intent.state] or (
        kind in _OF_AN_ATTEMPT.get(intent.state, ()) and getattr(transition, "attempt_id", None) is None
    ):
        raise IllegalTransition(f"intent {intent.key!r} is {intent.state}: no {kind.__name__} from there")
    target = TRANSITIONS[intent.state][kind]
    return _APPLY[kind](intent, transition, target)


def recovery_transitions(intent: Intent) -> tuple[Transition, ...]:
    """The transitions that the certain end of an earlier process makes necessary.

    An intent that is still SENDING may have been paid: it becomes UNKNOWN.
    """
    if intent.state is S.SENDING:
        return (MarkUnknown("the process ended while the request was being sent"),)
    return ()


def _is_over(intent: Intent, attempt_id: str | None) -> bool:
    """Whether this attempt's sending was never written, has ended, or was followed by another one."""
    if attempt_id is None:
        return False
    return intent.state not in (S.SENDING, S.UNKNOWN) or not intent.was_last_sent_by(attempt_id)


def _require_unchanged(intent: Intent, transition: IfUnchanged) -> Intent:
    if not intent.unchanged_since(transition.earlier):
        raise IllegalTransition(f"intent {intent.key!r} was changed meanwhile: it is {intent.state}")
    return intent


def _send(intent: Intent, transition: Send, state: IntentState) -> Intent:
    attempt = Attempt(transition.attempt_id, transition.at, intent.credits, transition.answer_by)
    return attrs.evolve(
        intent,
        state=state,
        attempts=(*intent.attempts, attempt),
        source=transition.source,
        budget=transition.budget,
        reason=None,
    )


def _revert(intent: Intent, _: Revert, state: IntentState) -> Intent:
    # the attempts of `previous` are those that can still be proved, the last one is its own
    if intent.previous is not None:
        return intent.previous
    return intent if _is_owed(intent) else _without_loss(intent, state)


def _is_owed(intent: Intent) -> bool:
    """Whether earlier rounds have cost something, and it is not known any more what stood before this one."""
    has_cost = bool(intent.past_spent or intent.past_at_risk)
    return intent.state is S.UNKNOWN and intent.previous is None and has_cost


def _without_loss(intent: Intent, state: IntentState) -> Intent:
    return attrs.evolve(_without_candidates(intent), state=state, reason=None)


def _without_candidates(intent: Intent) -> Intent:
    return attrs.evolve(intent, candidates=(), older=(), unlisted=(), delivered=None)


def _accept(intent: Intent, transition: Accept, _: IntentState | None) -> Intent:
    if intent.state.paid and intent.ref == transition.ref:
        return intent
    if transition.attempt_id is not None and not _can_take_look_of(intent, transition.attempt_id):
        return _accept_double(intent, transition, transition.attempt_id)
    previous = intent.previous
    if transition.ref in intent.past_looks or (previous is not None and previous.ref == transition.ref):
        # each round is paid separately: the look of an earlier round cannot be this one's too
        raise LookTaken(transition.ref, intent.key)
    return attrs.evolve(
        _without_candidates(intent),
        state=S.ACCEPTED,
        ref=transition.ref,
        evidence=transition.evidence,
        accepted_at=transition.at,
        reason=None,
        previous=None,
    )


def _can_take_look_of(intent: Intent, attempt_id: str) -> bool:
    """Whether the look of this attempt can become the intent's own.

    The look of an earlier attempt can, as long as the last one has no look and its answer is not awaited.
    """
    if intent.state.paid or attempt_id in intent.past_attempts:
        return False
    return intent.was_last_sent_by(attempt_id) or intent.state is not S.SENDING


def _accept_double(intent: Intent, transition: Accept, attempt_id: str) -> Intent:
    """Record what an attempt made besides the intent's own look: its credits were spent, not at risk.

    If the last POST turns out to have cost nothing, the intent is restored with that look.
    """
    if all(attempt.id != attempt_id for attempt in intent.attempts):
        raise IllegalTransition(f"intent {intent.key!r} has no attempt {attempt_id!r}")
    if transition.ref in intent.past_looks:
        return intent
    moved = min(intent.credits_of(attempt_id), intent.past_at_risk)
    previous = intent.previous
    return attrs.evolve(
        intent,
        past_looks=(*intent.past_looks, transition.ref),
        past_spent=intent.past_spent + moved,
        past_at_risk=intent.past_at_risk - moved,
        previous=None if previous is None else advance(previous, transition),
    )


def _correct(intent: Intent, transition: Correct, state: IntentState) -> Intent:
    if intent.evidence is not Evidence.USER:
        raise IllegalTransition(f"intent {intent.key!r}: its look is known by {intent.evidence}")
    return attrs.evolve(
        intent,
        state=state,
        ref=transition.ref,
        accepted_at=transition.at,
        settled_at=None,
        look=None,
        watched_since=None,
    )


def _reject(intent: Intent, transition: Reject, state: IntentState) -> Intent:
    previous = intent.previous
    if previous is not None and (previous.state.paid or previous.state.in_doubt):
        return previous
    if _is_owed(intent):
        return intent
    fresh = _without_loss(intent, state)
    return attrs.evolve(fresh, reason=transition.reason, settled_at=transition.at, previous=None)


def _mark_unknown(intent: Intent, transition: MarkUnknown, state: IntentState) -> Intent:
    if intent.state is S.UNKNOWN and transition.presumed:
        return intent
    previous = intent.previous
    if previous is not None and previous.state.paid and _is_resent(intent, previous):
        # the POST that was sent again was answered meanwhile: the intent has that look, and this POST is lost
        attempts = (*previous.attempts, *intent.attempts[len(previous.attempts) :])
        at_risk = previous.past_at_risk + intent.credits
        found = attrs.evolve(previous, attempts=attempts, past_at_risk=at_risk)
        return attrs.evolve(found, past_charges=past_charges_beside(found, charges(intent)))
    reason = Reason(None, None, transition.reason)
    attempts = intent.attempts
    if attempts and not transition.presumed:
        attempts = (*attempts[:-1], attrs.evolve(attempts[-1], answer_by=None))
    return attrs.evolve(intent, state=state, attempts=attempts, reason=reason)


def _is_resent(intent: Intent, previous: Intent) -> bool:
    """Whether the round was begun by `Resend`, and not with other content by `Replace`."""
    return not set(intent.past_attempts) & {attempt.id for attempt in previous.attempts[-1:]}


def _add_candidates(intent: Intent, transition: AddCandidates, state: IntentState) -> Intent:
    known = dict.fromkeys((*intent.older, *transition.older))
    older = tuple(ref for ref in known if ref not in transition.taken)
    known = dict.fromkeys((*intent.candidates, *transition.candidates))
    candidates = tuple(ref for ref in known if ref not in (*transition.taken, *older))
    return attrs.evolve(intent, state=state, candidates=candidates, older=older, unlisted=transition.unlisted)


def _note_delivered(intent: Intent, transition: NoteDelivered, state: IntentState) -> Intent:
    if intent.delivered is not None and not intent.was_last_sent_by(transition.attempt_id):
        return intent
    return attrs.evolve(intent, state=state, delivered=transition.look_id)


def _settle(intent: Intent, transition: Settle, _: None) -> Intent:
    if transition.look.ref != intent.ref:
        raise IllegalTransition(f"intent {intent.key!r} has the look {intent.ref}, not {transition.look.ref}")
    if not transition.look.status.settled:
        raise IllegalTransition(f"intent {intent.key!r}: a look that is {transition.look.status} is not done")
    state = S.READY if transition.look.status is LookStatus.READY else S.FAILED
    if intent.state is S.ACCEPTED:
        since, sent_at = transition.watched_since, intent.sent_at
        was_watched = since is None or sent_at is None or sent_at >= since
        return attrs.evolve(
            intent,
            state=state,
            look=transition.look,
            settled_at=transition.at,
            watched_since=None if was_watched else since,
        )
    if state is not intent.state or intent.look is None:
        raise IllegalTransition(f"intent {intent.key!r} is {intent.state} already and cannot become {state}")
    return attrs.evolve(intent, look=intent.look.merged_with(transition.look))


def _begin_round(intent: Intent, state: IntentState) -> Intent:
    return attrs.evolve(
        _without_candidates(intent),
        state=state,
        ref=None,
        evidence=None,
        accepted_at=None,
        settled_at=None,
        watched_since=None,
        look=None,
        reason=None,
        past_spent=intent.spent,
        past_at_risk=intent.at_risk,
        past_failed=intent.failed,
        past_charges=charges(intent),
        previous=intent.previous if intent.state is S.PLANNED else attrs.evolve(intent, previous=None),
    )


def _resend(intent: Intent, _: Resend, state: IntentState) -> Intent:
    # one of them may be the first attempt's look
    return attrs.evolve(
        _begin_round(intent, state),
        candidates=intent.candidates,
        older=intent.older,
        unlisted=intent.unlisted,
    )


def _drop(intent: Intent, _: Drop, state: IntentState) -> Intent:
    return attrs.evolve(intent, state=state, previous=None)


def _replace(intent: Intent, transition: Replace, state: IntentState) -> Intent:
    earlier = tuple(attempt.id for attempt in intent.attempts)
    return attrs.evolve(
        _begin_round(intent, state),
        request=transition.request,
        digest=transition.digest,
        past_attempts=earlier,
        past_looks=intent.past_looks if intent.ref is None else (*intent.past_looks, intent.ref),
    )


_APPLY: Mapping[type[Transition], Callable[[Intent, Any, Any], Intent]] = {
    Send: _send,
    Revert: _revert,
    Accept: _accept,
    Correct: _correct,
    Reject: _reject,
    MarkUnknown: _mark_unknown,
    AddCandidates: _add_candidates,
    NoteDelivered: _note_delivered,
    Settle: _settle,
    Resend: _resend,
    Drop: _drop,
    Replace: _replace,
}
