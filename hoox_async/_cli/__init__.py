"""The command line. It uses the library as any program would: through its public door."""

from __future__ import annotations

from .entry import run

__all__ = ["run"]
