"""The one way a paid POST goes: at most one paid send of an intent, or an unknown that is reported."""

from .purse import Purse, SinglePurse
from .submitter import Submitter, TakeSlot

__all__ = ["Purse", "SinglePurse", "Submitter", "TakeSlot"]
