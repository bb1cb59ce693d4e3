"""What a batch came to: the report, its lines of JSON, and the contact sheet."""

from __future__ import annotations

from .report import BatchReport

__all__ = ["BatchReport"]
