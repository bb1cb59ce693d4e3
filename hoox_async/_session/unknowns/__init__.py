"""Paid requests whose fate is not known: settled by a proof or by the user's word, never by a guess.

It may use the session's services, reads and jobs.
"""

from .candidates import list_unknowns
from .reconciler import Reconciler

__all__ = ["Reconciler", "list_unknowns"]
