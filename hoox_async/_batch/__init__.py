"""The batch runner: makes many looks at once, bounded in number and in credits, and waits for each of them.

It may import the packages below it. Each part knows those parts of the open session that it uses.

The way of an item:

1. `InputReader` reads it and gives it a key.
2. `admit` decides by what the store knows: finished, resumed, behind its source, or to be sent.
3. `LocalityQueue` chooses items avatar by avatar.
4. `ItemSender` sends it through the session's `Submitter` and waits for its look.
5. The outcome goes to the reader, and its dependents go on.

`BatchWindow` counts the items from 1 to 5, and bounds them.
"""

from .estimate import Estimate
from .progress import Progress
from .runner import BatchRunner, OutcomeStream

__all__ = ["BatchRunner", "Estimate", "OutcomeStream", "Progress"]
