"""The looks that somebody waits for, one by one, and the requests that ask about them."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from ..._api.models import Look, LookRef, LookStatus
from .durations import Durations


class PollKind(Enum):
    """GROUP is ``GET /avatar/{id}``, STATUS is ``GET /avatar/status``."""

    GROUP = "group"
    STATUS = "status"


class PollRequest(NamedTuple):
    """A status request to send at ``at``. ``look_id`` is None for GROUP."""

    kind: PollKind
    avatar_id: str
    look_id: str | None
    at: float


class TrackingState(Enum):
    """Where an entry of the list stands."""

    GROUPED = 0
    STRAY = 1  # its avatar's answer fails or lacks it: asked for alone
    SETTLED = 2  # known to be settled; its picture or reason is missing


class TrackedLook:
    """A look that is not known to be done. ``expects_webhook``: a delivery will probably tell of it."""

    __slots__ = ("accepted", "expects_webhook", "index", "look", "model", "place", "ref", "status")

    def __init__(
        self, ref: LookRef, model: Durations, accepted: float, *, expects_webhook: bool = False
    ) -> None:
        self.ref = ref
        self.model = model
        self.accepted = accepted
        self.expects_webhook = expects_webhook
        self.place = TrackingState.GROUPED
        self.index = -1
        self.status = LookStatus.PENDING
        self.look: Look | None = None
