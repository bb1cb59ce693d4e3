"""One look that somebody wants to pay for, as a value: where it stands, and what is known of its money."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

import attrs

from ..._api.models import Look, LookRef
from ..._api.requests import FREE, ImageAvatar, Request


class IntentState(StrEnum):
    """Where an intent stands."""

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
        """Whether it surely cost credits in this round, and has a ref."""
        return self in _PAID

    @property
    def in_doubt(self) -> bool:
        """Whether it may have cost credits in this round."""
        return self in _IN_DOUBT


class Evidence(StrEnum):
    """How we know which look is the intent's: the POST's answer, a delivery on the attempt's own
    token, elimination under ``exclusive=True``, or the user's word."""

    ANSWER = "answer"
    WEBHOOK = "webhook"
    INFERRED = "inferred"
    USER = "user"


@attrs.frozen
class Attempt:
    """One time that an intent was sent, under a random id of its own.

    ``in_lane``: no other edit of its avatar was outstanding, and the looks that the avatar had were on
    record.
    """

    id: str
    sent_at: datetime
    in_lane: bool = False


@attrs.frozen
class Refusal:
    """How the API said no, or why an intent is lost: enough to raise the same error again."""

    status: int | None
    code: str | None
    message: str


@attrs.frozen
class Intent:
    """One look that somebody wants, and all that is known of its money."""

    key: str
    own_key: bool
    request: Request
    digest: str
    planned_at: datetime
    state: IntentState = IntentState.PLANNED
    source: LookRef | None = None
    attempts: tuple[Attempt, ...] = ()
    ref: LookRef | None = None
    evidence: Evidence | None = None
    accepted_at: datetime | None = None
    settled_at: datetime | None = None
    look: Look | None = None
    refusal: Refusal | None = None
    lost_at: datetime | None = None
    retired: bool = False
    candidates: tuple[LookRef, ...] = ()
    past_spent: Decimal = FREE
    past_at_risk: Decimal = FREE
    past_attempts: tuple[str, ...] = ()
    """Ids of the attempts of earlier rounds: what they made was told of then, or is of another content."""
    before: Intent | None = None
    """What stood before it is paid anew, as long as the new sending is outstanding."""

    @property
    def credits(self) -> Decimal:
        """The price of sending it once."""
        return self.request.credits

    @property
    def spent(self) -> Decimal:
        """Credits that were surely paid for it, in all its rounds."""
        return self.past_spent + (self.credits if self.state.paid else FREE)

    @property
    def at_risk(self) -> Decimal:
        """Credits that may have been paid for it, in all its rounds."""
        return self.past_at_risk + (self.credits if self.state.in_doubt else FREE)

    @property
    def replaceable(self) -> bool:
        """Whether other content may take its place: not sent or refused, it never cost anything."""
        return self.state in _UNPAID and not self.spent and not self.at_risk

    def unmoved(self, since: Intent) -> bool:
        """Whether it was neither sent nor settled nor given other content since it stood so."""
        return (self.state, self.attempts, self.digest) == (since.state, since.attempts, since.digest)

    @property
    def sent_at(self) -> datetime | None:
        """When it was last sent."""
        return self.attempts[-1].sent_at if self.attempts else None

    @property
    def avatar_id(self) -> str | None:
        """The avatar it concerns, once that is known."""
        if self.ref is not None:
            return self.ref.avatar_id
        return self.source.avatar_id if self.source is not None else None


def refuses_edits(intent: Intent) -> bool:
    """Whether an edit of its look would be refused, as far as is known: it is not done, or it failed.

    A look from images is ready when it is accepted (API reference).
    """
    if intent.state is IntentState.ACCEPTED:
        return not isinstance(intent.request, ImageAvatar)
    return intent.state is IntentState.FAILED


_PAID = frozenset({IntentState.ACCEPTED, IntentState.READY, IntentState.FAILED})
_UNPAID = frozenset({IntentState.PLANNED, IntentState.REJECTED})
_IN_DOUBT = frozenset({IntentState.SENDING, IntentState.UNKNOWN, IntentState.DROPPED})


class Unknown(NamedTuple):
    """A paid request whose fate is not known. ``candidates`` are looks that may be its own."""

    key: str
    request: Request
    sent_at: datetime | None
    candidates: tuple[LookRef, ...]
