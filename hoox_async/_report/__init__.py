"""The report of a batch: all outcomes with their sums, as lines of JSON, and as a contact sheet.

It may import `_api`, `_core`, `_io` and `errors`, but neither a session nor the batch runner.
"""

from __future__ import annotations

from .report import BatchReport

__all__ = ["BatchReport"]
