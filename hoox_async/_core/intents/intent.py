"""An intent: one look that is to be paid for, its state, and what is known of its cost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

import attrs

from ..._api.models import Look, LookRef
from ..._api.requests import FREE, ImageAvatar, KnownRequest, PrunedRequest, Request
from ...errors import StoreError
from .candidates import CandidatesFrom


class IntentState(StrEnum):
    """The state of an intent. `transitions` holds the rules by which it changes.

    PLANNED: not sent. SENDING: its POST is outstanding. UNKNOWN: its POST may have been received, and its
    outcome is not known. ACCEPTED: its look exists and was paid for. READY and FAILED: its look is done.
    REJECTED: the API refused it without a charge. DROPPED: an unknown that the user gave up.
    """

    PLANNED = "planned"
    SENDING = "sending"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    READY = "ready"
    FAILED = "failed"
    REJECTED = "rejected"
    DROPPED = "dropped"

    @property
    def paid(self) -> bool:
        """Whether the intent certainly cost credits in its current round, and has a ref."""
        return self in _PAID

    @property
    def in_doubt(self) -> bool:
        """Whether the intent may have cost credits in its current round."""
        return self in _IN_DOUBT


class Evidence(StrEnum):
    """How it is known which look is the intent's.

    ANSWER: from the POST's answer. WEBHOOK: from a delivery on the attempt's own token. USER: named by the
    user with `HooxSession.resolve`.
    """

    ANSWER = "answer"
    WEBHOOK = "webhook"
    USER = "user"


@attrs.frozen
class Attempt:
    """One POST of an intent, with its own random id, which is the fencing token of its sending.

    ``credits``: what it costs, if it was received. ``answer_by``: until then its process may still be waiting
    for the answer; None where that is certainly over.
    """

    id: str
    sent_at: datetime
    credits: Decimal
    answer_by: datetime | None = None


@attrs.frozen
class Reason:
    """Why an intent was rejected, or why its outcome is unknown: enough to raise the same error again.

    ``status`` and ``code`` are those of the API's refusal, and None where the API refused nothing.
    """

    status: int | None
    code: str | None
    message: str


@attrs.frozen
class Intent:
    """One look that is to be paid for, and all that is known of its cost.

    An intent that is paid again (`Resend`, `Replace`) begins another round. ``past_spent`` and
    ``past_at_risk`` are the credits of its earlier rounds, ``past_failed`` those of them that were spent on
    looks that failed, and ``past_attempts`` the ids of the attempts whose looks belong to earlier content.
    ``past_looks`` are looks that were paid for besides its own: those of earlier rounds, and doubles (see
    `Accept`). ``previous`` is the intent as it was before the current round, as long as the outcome of this
    round's POST is not known; it is restored if the POST certainly cost nothing. It has no ``previous`` of
    its own.

    ``candidates`` are looks that an UNKNOWN may have made, without the ``older`` ones, which were listed
    before its POST. ``unlisted`` are the avatars of candidates that were not (see `ages`). ``delivered`` is
    the id of an UNKNOWN's look, which a delivery on an attempt's own URL has named without its avatar: it was
    surely paid, and is known once the avatar is found.

    ``budget`` is the name of the budget that pays for this round, once it was sent; ``past_charges`` is what
    earlier rounds have charged to each budget (see `charges`).

    ``own_key``: the key can be used again, since the user chose it or it is a batch item's. ``digest`` is
    that of the request's content (`keys.digest`). ``source`` is the look that is edited. ``reason`` is set
    for REJECTED, UNKNOWN and DROPPED. ``watched_since``: since when the session that found it settled
    had been asking without a gap, where it was sent before that, so that nobody may have asked meanwhile.
    """

    key: str
    own_key: bool
    request: KnownRequest
    digest: str
    planned_at: datetime
    state: IntentState = IntentState.PLANNED
    source: LookRef | None = None
    attempts: tuple[Attempt, ...] = ()
    ref: LookRef | None = None
    evidence: Evidence | None = None
    accepted_at: datetime | None = None
    settled_at: datetime | None = None
    watched_since: datetime | None = None
    look: Look | None = None
    reason: Reason | None = None
    candidates: tuple[LookRef, ...] = ()
    older: tuple[LookRef, ...] = ()
    unlisted: tuple[str, ...] = ()
    delivered: str | None = None
    past_spent: Decimal = FREE
    past_at_risk: Decimal = FREE
    past_failed: Decimal = FREE
    past_attempts: tuple[str, ...] = ()
    past_looks: tuple[LookRef, ...] = ()
    budget: str | None = None
    past_charges: Mapping[str, Decimal] = attrs.field(factory=dict)
    previous: Intent | None = None

    @property
    def content(self) -> Request:
        """The request as the user gave it. Raises `StoreError` if it is pruned: then it can't be sent."""
        if isinstance(self.request, PrunedRequest):
            raise StoreError(f"{self.key}: the content of its request was erased when the store was pruned")
        return self.request

    @property
    def credits(self) -> Decimal:
        """The price of sending it once."""
        return self.request.credits

    def credits_of(self, attempt_id: str) -> Decimal:
        """The price of this attempt: that of the intent's content when it was sent."""
        return next((each.credits for each in self.attempts if each.id == attempt_id), self.credits)

    @property
    def spent(self) -> Decimal:
        """Credits that were certainly paid for the intent, in all its rounds."""
        return self.past_spent + (self.credits if self.state.paid else FREE)

    @property
    def at_risk(self) -> Decimal:
        """Credits that may have been paid for the intent, in all its rounds."""
        return self.past_at_risk + (self.credits if self.state.in_doubt else FREE)

    @property
    def failed(self) -> Decimal:
        """Those of the credits `spent` that were paid for looks that failed, in all its rounds."""
        return self.past_failed + (self.credits if self.state is IntentState.FAILED else FREE)

    @property
    def never_charged(self) -> bool:
        """Whether the intent certainly cost nothing in all rounds. Then other content may replace it."""
        return self.state in _UNPAID and not self.spent and not self.at_risk

    def unchanged_since(self, earlier: Intent) -> bool:
        """Whether the intent was neither sent, nor settled, nor given other content since ``earlier``."""
        own, others = self.attempts, earlier.attempts
        same_attempts = [attempt.id for attempt in own] == [attempt.id for attempt in others]
        return same_attempts and (self.state, self.digest) == (earlier.state, earlier.digest)

    def was_last_sent_by(self, attempt_id: str) -> bool:
        """Whether this is the intent's last attempt."""
        return bool(self.attempts) and self.attempts[-1].id == attempt_id

    @property
    def answer_by(self) -> datetime | None:
        """Until when a process may still be waiting for the answer to its last POST; None: none is.

        Those before were sent again only after that time.
        """
        return self.attempts[-1].answer_by if self.attempts else None

    def seconds_until_answer(self, now: datetime) -> float:
        """How long a process may still be waiting for the answer to its last POST; 0 if none is.

        It is no longer than it may wait in all, also where the clock was set back since.
        """
        if self.answer_by is None or self.sent_at is None:
            return 0.0
        return max(0.0, (self.answer_by - max(now, self.sent_at)).total_seconds())

    @property
    def last_attempt(self) -> str | None:
        """The id of the intent's last attempt."""
        return self.attempts[-1].id if self.attempts else None

    @property
    def sent_at(self) -> datetime | None:
        """When the intent was last sent."""
        return self.attempts[-1].sent_at if self.attempts else None

    @property
    def avatar_id(self) -> str | None:
        """The avatar that was edited, though the look may be in a copy of it; else that of the look."""
        known = self.source or self.ref
        return known.avatar_id if known is not None else None


def refuses_edits(intent: Intent) -> bool:
    """Whether the API would refuse an edit of the intent's look: the look is not done, or it failed.

    A look from images is ready as soon as it is accepted (API reference).
    """
    if intent.state is IntentState.ACCEPTED:
        return not isinstance(intent.request, ImageAvatar)
    return intent.state is IntentState.FAILED


_PAID = frozenset({IntentState.ACCEPTED, IntentState.READY, IntentState.FAILED})
_UNPAID = frozenset({IntentState.PLANNED, IntentState.REJECTED})
_IN_DOUBT = frozenset({IntentState.SENDING, IntentState.UNKNOWN, IntentState.DROPPED})


class Unknown(NamedTuple):
    """A paid request whose outcome is not known. ``candidates`` are looks that it may have made.

    They are without the ``older`` ones: these were listed by an answer about their avatar before the request
    was first sent, so that they are not its result. ``unlisted`` are the avatars of candidates that no answer
    had listed before, so that it is not known which of their looks are older.

    ``candidates_from`` says where those of an edit were found: in the ``"avatar"`` that was edited; in known
    ``"copies"`` of it, since the API copies a public avatar that is edited; or, where there were none, among
    the workspace's own looks of avatars of that ``"name"``. None where there are none, or nothing was read.

    ``attempt`` is the id of its last POST. A decision that names it is carried out once: see
    `HooxSession.resend`.

    ``delivered``: a webhook delivery on the request's own URL has named this look, so that the request was
    surely paid, and it is not known (yet) of which avatar the look is. None where there was no such delivery.
    """

    key: str
    request: Request
    attempt: str
    sent_at: datetime | None
    candidates: tuple[LookRef, ...]
    older: tuple[LookRef, ...] = ()
    candidates_from: CandidatesFrom | None = None
    unlisted: tuple[str, ...] = ()
    delivered: str | None = None
