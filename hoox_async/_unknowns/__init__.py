"""Intents whose fate is not known: searched for by lanes, settled by proof or the user's word, and listed."""

from .listing import Unknown, list_unknowns
from .unknowns import Unknowns

__all__ = ["Unknown", "Unknowns", "list_unknowns"]
