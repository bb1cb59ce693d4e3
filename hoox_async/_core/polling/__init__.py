"""Decides which status request to send next, and when, by learning how long looks take.

Pure: times and answers come in as arguments. It may import `_api` and `errors` only.
"""

from .scheduler import THRESHOLD, PollScheduler
from .tracked_looks import LookUpdate, PollKind, PollRequest, is_complete

__all__ = ["THRESHOLD", "LookUpdate", "PollKind", "PollRequest", "PollScheduler", "is_complete"]
