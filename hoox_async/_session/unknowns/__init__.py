"""Unknowns, paid requests with an unknown outcome: settled by proof or by the user, never by a guess.

It may use the session's services, reads and jobs.
"""

from .candidates import list_unknowns
from .reconciler import Reconciler

__all__ = ["Reconciler", "list_unknowns"]
