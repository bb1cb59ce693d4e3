"""The outcome of a batch item: what an intent's state means to the user of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import attrs

from ..._api.models import Look, LookRef, LookStatus
from ..._api.requests import FREE, KnownRequest, Request
from ..._api.responses import api_error
from ..._tracebacks import short_tracebacks
from ...errors import GenerationFailed, HooxError, OutcomeUnknown
from .intent import Evidence, Intent, IntentState, Reason


class OutcomeState(StrEnum):
    """How an item of a batch ended.

    READY and FAILED: paid. REJECTED: no charge; the API refused this item, or it is no valid request.
    SKIPPED: no charge, since its source could not be made; or an unknown that was dropped and may have been
    paid, whose ``error`` is an `OutcomeUnknown`. UNSENT: not sent; it will be sent when the batch is run
    again. PENDING: paid and not done yet. UNKNOWN: may have been paid.
    """

    READY = "ready"
    FAILED = "failed"
    REJECTED = "rejected"
    SKIPPED = "skipped"
    UNSENT = "unsent"
    PENDING = "pending"
    UNKNOWN = "unknown"


STATE_EXPLANATIONS: dict[OutcomeState, str] = {
    OutcomeState.READY: "the picture is ready",
    OutcomeState.FAILED: "paid for, but could not be made",
    OutcomeState.REJECTED: "not accepted, nothing more was charged",
    OutcomeState.SKIPPED: "its source failed, or it was dropped and may have been paid for",
    OutcomeState.UNSENT: "was not sent: run again",
    OutcomeState.PENDING: "paid for, not ready yet",
    OutcomeState.UNKNOWN: "may have been paid for",
}


@attrs.frozen
class BatchItem:
    """A request under a key of your own choosing, such as ``"alex/podcast-2"``."""

    key: str
    request: Request


@short_tracebacks
@attrs.frozen(repr=False)
class Outcome:
    """How one item ended.

    ``credits`` were certainly paid for it, and ``at_risk`` may have been paid, over all runs with its store,
    for other content of its key as well.
    ``credits_failed`` are those of the ``credits`` that were paid for looks that failed: no page of the API
    says whether they are refunded.
    ``request`` is what the item held, even if that was no request (then the state is REJECTED).
    It is a `PrunedRequest` where the store was pruned. ``candidates`` are looks that an UNKNOWN item may have
    made, without the ``older`` ones, and ``unlisted`` those of their avatars whose looks may be of any age:
    see `Unknown`, also for ``delivered``. ``attempt`` is the id of the last POST; a decision about an UNKNOWN
    item names it. ``answer_by``: an UNKNOWN item has been sent and not been answered yet; until then a
    process may still be waiting for the answer. ``watched_since``: it was found settled by a session that
    asks since then only, after the submission, so that ``settled_at`` says little about when the look was
    done.
    """

    key: str
    request: KnownRequest
    state: OutcomeState
    look: Look | None = None
    error: HooxError | None = None
    credits: Decimal = FREE
    at_risk: Decimal = FREE
    evidence: Evidence | None = None
    submitted_at: datetime | None = None
    settled_at: datetime | None = None
    candidates: tuple[LookRef, ...] = ()
    attempt: str | None = None
    answer_by: datetime | None = None
    watched_since: datetime | None = None
    credits_failed: Decimal = FREE
    older: tuple[LookRef, ...] = ()
    unlisted: tuple[str, ...] = ()
    delivered: str | None = None

    def __repr__(self) -> str:
        shown = [str(self.state), *([str(self.ref)] if self.ref else []), f"{self.credits} credits"]
        shown += [f"{self.at_risk} at risk"] if self.at_risk else []
        return f"<Outcome {self.key}: {', '.join(shown)}>"

    @property
    def ref(self) -> LookRef | None:
        """The look's ref, where there is a look: READY, FAILED and PENDING."""
        return self.look.ref if self.look is not None else None

    @property
    def metadata(self) -> Mapping[str, str]:
        """The metadata that the request was made with."""
        return getattr(self.request, "metadata", {})

    def unwrap(self) -> Look:
        """The look, when it is READY. Raises the item's error otherwise."""
        if self.state is OutcomeState.READY and self.look is not None:
            return self.look
        raise self.error or HooxError(f"{self.key}: {self.state}")


def is_awaited(outcome: Outcome, now: datetime) -> bool:
    """Whether it was sent, and whoever sent it may still be waiting for the answer."""
    return outcome.answer_by is not None and now < outcome.answer_by


def undecided(outcomes: Iterable[Outcome], now: datetime) -> list[Outcome]:
    """The unknowns, without those whose answer a process may still be waiting for."""
    return [
        outcome
        for outcome in outcomes
        if outcome.state is OutcomeState.UNKNOWN and not is_awaited(outcome, now)
    ]


def seconds_of(done: Intent | Outcome) -> float | None:
    """The seconds from the last POST until the look was known to be done, where somebody watched its making.

    None where one of the two moments is not known; and where the look was found done after a time in which
    nobody asked for it, or by a person after its POST was lost: that says nothing about how long it took.
    """
    sent_at = done.submitted_at if isinstance(done, Outcome) else done.sent_at
    was_watched = done.watched_since is None and done.evidence is not Evidence.USER
    if sent_at is None or done.settled_at is None or not was_watched:
        return None
    return max(0.0, (done.settled_at - sent_at).total_seconds())


_STATES = {
    IntentState.PLANNED: OutcomeState.UNSENT,
    IntentState.SENDING: OutcomeState.UNKNOWN,
    IntentState.UNKNOWN: OutcomeState.UNKNOWN,
    IntentState.ACCEPTED: OutcomeState.PENDING,
    IntentState.READY: OutcomeState.READY,
    IntentState.FAILED: OutcomeState.FAILED,
    IntentState.REJECTED: OutcomeState.REJECTED,
    IntentState.DROPPED: OutcomeState.SKIPPED,
}


def state_of(intent: Intent) -> OutcomeState:
    """What an intent's present state is called in reports."""
    return _STATES[intent.state]


def explanation(outcome: Outcome) -> str:
    """What its state means: of a SKIPPED one which of the two it is."""
    if outcome.state is not OutcomeState.SKIPPED:
        return STATE_EXPLANATIONS[outcome.state]
    is_dropped = isinstance(outcome.error, OutcomeUnknown)
    return "it was dropped and may have been paid for" if is_dropped else "its source failed"


def outcome_of(intent: Intent, **changes: Any) -> Outcome:
    """The outcome of an intent in its present state. ``changes`` replace fields of the outcome."""
    outcome = Outcome(
        key=intent.key,
        request=intent.request,
        state=state_of(intent),
        look=_look_of(intent),
        error=error_of(intent),
        credits=intent.spent,
        at_risk=intent.at_risk,
        credits_failed=intent.failed,
        evidence=intent.evidence,
        submitted_at=intent.sent_at,
        settled_at=intent.settled_at,
        watched_since=intent.watched_since,
        candidates=intent.candidates,
        older=intent.older,
        unlisted=intent.unlisted,
        delivered=intent.delivered,
        attempt=intent.last_attempt,
        answer_by=intent.answer_by if intent.state is IntentState.SENDING else None,
    )
    return attrs.evolve(outcome, **changes)


def _look_of(intent: Intent) -> Look | None:
    if intent.look is None and intent.ref is not None:
        return Look(intent.ref, LookStatus.PENDING)
    return intent.look


def error_of(intent: Intent) -> HooxError | None:
    """The error of an intent's state, or None. Each call makes a new exception object."""
    if intent.state is IntentState.FAILED and intent.look is not None:
        return GenerationFailed(intent.look)
    if intent.state is IntentState.REJECTED:
        return _rejection(intent.reason or Reason(None, None, "refused"))
    if intent.state in (IntentState.UNKNOWN, IntentState.SENDING, IntentState.DROPPED):
        reason = intent.reason.message if intent.reason else "it is being sent"
        if intent.state is IntentState.DROPPED:
            reason += "; you dropped it, it may have been charged"
        return OutcomeUnknown(f"{intent.key}: {reason}", key=intent.key)
    return None


def _rejection(reason: Reason) -> HooxError:
    if reason.status is None:
        return HooxError(reason.message)
    return api_error(reason.status, reason.code, reason.message)
