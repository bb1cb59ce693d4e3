"""The batch runner: makes many looks at once, bounded in number and in credits, and waits for each of them.

It may import the packages below it; of `_session` only `HooxSession` and `batch_access`, the narrow interface
that a session offers to a batch.
"""

from .estimate import Estimate
from .runner import BatchRunner, OutcomeStream

__all__ = ["BatchRunner", "Estimate", "OutcomeStream"]
