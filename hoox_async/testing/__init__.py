"""The kit for tests of programs that use this library."""

from __future__ import annotations

from ._virtual_time import VirtualTimeLoop

__all__ = ["VirtualTimeLoop"]
