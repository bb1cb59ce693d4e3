"""The looks that somebody waits for, one by one, and the requests that ask about them."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from ..durations import Durations
from ..models import Look, LookRef, LookStatus
from ._agenda import Alarm


class AskKind(Enum):
    """GROUP is ``GET /avatar/{id}``, STATUS is ``GET /avatar/status``."""

    GROUP = "group"
    STATUS = "status"


class Ask(NamedTuple):
    """A status request to send at ``at``. ``look_id`` is None for GROUP."""

    kind: AskKind
    avatar_id: str
    look_id: str | None
    at: float


class Place(Enum):
    """Where an entry of the list stands."""

    GROUPED = 0
    PUSHED = 1  # a webhook will tell; joins the group when that is overdue
    STRAY = 2  # its avatar's answer fails or lacks it: asked for alone
    SETTLED = 3  # known to be settled; its picture or reason is missing


class Entry:
    """A look that somebody waits for."""

    __slots__ = ("accepted", "index", "look", "model", "overdue", "place", "ref", "status")

    def __init__(self, ref: LookRef, model: Durations, accepted: float) -> None:
        self.ref = ref
        self.model = model
        self.accepted = accepted
        self.place = Place.PUSHED
        self.index = -1
        self.status = LookStatus.PENDING
        self.look: Look | None = None
        self.overdue: Alarm[Entry] | None = None
