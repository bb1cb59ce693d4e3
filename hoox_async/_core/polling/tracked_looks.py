"""The looks that are polled, the requests that ask about them, and what their answers change."""

from __future__ import annotations

import math
from enum import Enum
from typing import NamedTuple

from ..._api.models import Look, LookRef, LookStatus
from .durations import Durations
from .indexed_heap import NOT_IN_HEAP


class PollKind(Enum):
    """GROUP is ``GET /avatar/{id}``, STATUS is ``GET /avatar/status``."""

    GROUP = "group"
    STATUS = "status"


class PollRequest(NamedTuple):
    """A status request to send at ``at`` (loop time). ``look_id`` is None for GROUP."""

    kind: PollKind
    avatar_id: str
    look_id: str | None
    at: float


class LookUpdate(NamedTuple):
    """A look whose status or picture changed.

    ``complete``: no further update follows, and the scheduler has dropped the look. A settled look that is
    not complete lacks its picture or its reason, which is asked for once.
    """

    look: Look
    complete: bool


def is_complete(look: Look) -> bool:
    """Whether a look is settled and has what its status promises: a picture, or the reason of a failure."""
    if look.status is LookStatus.READY:
        return look.thumbnail_url is not None
    return look.status is LookStatus.FAILED and look.error is not None


class TrackingState(Enum):
    """How a tracked look is polled."""

    GROUPED = 0  # with the other looks of its avatar
    ALONE = 1  # the avatar's answer fails or does not list it, so it is polled alone
    SETTLED = 2  # it is settled; only its picture or its reason is missing
    RESTING = 3  # not asked for before a certain time


class TrackedLook:
    """A look that is not known to be complete.

    ``expects_webhook``: a delivery will probably report its end. ``settled_look``: the look as it was found
    settled, while a detail of it is missing. ``group_index``: its index in the list of its avatar's group.
    ``rests_until`` and ``heap_index`` are for the heap of looks that rest.
    """

    __slots__ = (
        "accepted_at", "durations", "expects_webhook", "group_index", "heap_index", "ref", "rests_until",
        "settled_look", "state", "status",
    )  # fmt: skip

    def __init__(
        self, ref: LookRef, durations: Durations, accepted_at: float, *, expects_webhook: bool = False
    ) -> None:
        self.ref = ref
        self.durations = durations
        self.accepted_at = accepted_at
        self.expects_webhook = expects_webhook
        self.state = TrackingState.GROUPED
        self.group_index = -1
        self.rests_until, self.heap_index = math.inf, NOT_IN_HEAP
        self.status = LookStatus.PENDING
        self.settled_look: Look | None = None
