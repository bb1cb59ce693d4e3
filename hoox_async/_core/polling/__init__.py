"""The looks that somebody waits for, and which status request to send next, and when. Pure."""

from .look_updates import LookUpdate, is_complete
from .scheduler import PRICE, PollScheduler
from .tracked_looks import PollKind, PollRequest

__all__ = ["PRICE", "LookUpdate", "PollKind", "PollRequest", "PollScheduler", "is_complete"]
