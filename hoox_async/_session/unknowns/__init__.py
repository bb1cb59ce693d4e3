"""Intents whose fate is not known: searched for by avatar locks, settled by proof or the user's word,
and listed."""

from .listing import list_unknowns
from .reconciler import Unknowns

__all__ = ["Unknowns", "list_unknowns"]
