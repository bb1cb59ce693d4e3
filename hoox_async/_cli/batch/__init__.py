"""``batch``: a campaign file, made and resumed."""

from __future__ import annotations

from .command import batch

__all__ = ["batch"]
