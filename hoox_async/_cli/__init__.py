"""The command line ``hoox-async``.

It uses the library as any program would: it may import the public doors, cyclopts and rich, and besides only
the pure rules that it shares with other rooms, which `tests/test_layering.py` names.
"""

from __future__ import annotations

from .main import run

__all__ = ["run"]
