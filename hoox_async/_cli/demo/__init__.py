"""``demo``: the whole way from a prompt to a contact sheet, on a sandbox."""

from __future__ import annotations

from .command import demo

__all__ = ["demo"]
