"""The one way a paid POST goes: at most one paid send of an intent, or an unknown that is reported."""

from ..._core.intents.send_decision import Decide, ToSend, to_send
from .reservation import Purse, SinglePurse
from .submitter import How, Submitter, TakeSlot

__all__ = ["Decide", "How", "Purse", "SinglePurse", "Submitter", "TakeSlot", "ToSend", "to_send"]
