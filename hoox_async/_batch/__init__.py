"""The batch runner: makes many looks at once, bounded in number and in credits, and waits for each of them.

It may import the packages below it; of `_session` only `HooxSession` and `batch_access`, the narrow interface
that a session offers to a batch.

The way of an item:

1. `InputReader` reads it and gives it a key.
2. `admit` decides by what the store knows: finished, resumed, behind its source, or to be sent.
3. `LocalityQueue` chooses items avatar by avatar.
4. `ItemRunner` sends it through `BatchAccess` and waits for its look.
5. The outcome goes to the reader, and its dependents go on.
"""

from .estimate import Estimate
from .runner import BatchRunner, OutcomeStream

__all__ = ["BatchRunner", "Estimate", "OutcomeStream"]
