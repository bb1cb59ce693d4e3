"""The awaitable job, and the book that knows every job that somebody holds."""

from .book import JobBook
from .job import LookJob

__all__ = ["JobBook", "LookJob"]
