"""The batch runner: many looks at once, bounded, each awaited."""

from .runner import BatchRunner, Estimate
from .stream import OutcomeStream

__all__ = ["BatchRunner", "Estimate", "OutcomeStream"]
