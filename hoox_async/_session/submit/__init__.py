"""The one way a paid POST goes: at most one paid send of an intent, or an unknown that is reported."""

from ..._core.intents.send_decision import Decide, SendDecision, send_stored
from .reservation import Purse, SinglePurse
from .submitter import AcquirePermit, SendOptions, Submitter

__all__ = [
    "AcquirePermit",
    "Decide",
    "Purse",
    "SendDecision",
    "SendOptions",
    "SinglePurse",
    "Submitter",
    "send_stored",
]
