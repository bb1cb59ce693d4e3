"""Fixtures: one browser for the tests of a module."""

from __future__ import annotations

from browser_kit import browser

__all__ = ["browser"]
