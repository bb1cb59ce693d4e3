"""What the parts of one session share."""

from __future__ import annotations

from typing import NamedTuple

from ._clock import Clock
from ._core.settings import Timeouts
from ._gate import Gate
from ._hooks import Hooks
from ._protocols import Deliveries, Store, Transport
from ._tasks import TaskSet


class Parts(NamedTuple):
    """The shells of one session. ``tasks`` end with the session; ``posts`` are let finish first."""

    clock: Clock
    store: Store
    gate: Gate
    transport: Transport
    hooks: Hooks
    timeouts: Timeouts
    deliveries: Deliveries | None
    tasks: TaskSet
    posts: TaskSet
