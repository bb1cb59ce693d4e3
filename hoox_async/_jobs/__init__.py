"""The awaitable job, and the book that knows every job that somebody holds."""

from .job import LookJob

__all__ = ["LookJob"]
