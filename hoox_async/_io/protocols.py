"""What a session is given for I/O: the interfaces of a transport and of shared permits, and plain values."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Any, Literal, NamedTuple, Protocol

import attrs

from .._api.endpoints import WireRequest, WireResponse
from .._core.intents.intent import Intent
from .._core.quota.quota_learning import QuotaCounts, QuotaTerms


class Fetched(NamedTuple):
    """A picture that is being downloaded: its content type, and its bytes in chunks."""

    content_type: str
    chunks: AsyncIterator[bytes]


BeforeSend = Callable[[], Awaitable[None]]
"""Called when the connection is made, before any byte of the request is sent."""


class Transport(Protocol):
    """Carries requests of the API. One transport belongs to one session, which starts and closes it.

    It promises that no byte of a paid request leaves before ``before_send`` has returned.
    """

    async def start(self) -> None:
        """Open what is needed. Called once, on the session's loop."""

    def send(
        self, request: WireRequest, before_send: BeforeSend | None = None
    ) -> Coroutine[Any, Any, WireResponse]:
        """Send the request once and read the whole answer.

        ``before_send`` is awaited when the connection is made and before any byte of the request leaves.
        What it raises is raised here, and nothing was sent. A session writes the intent's SENDING in it: a
        paid request that left without that call would leave no trace if the process ended.

        Raises `NotSent` where the connection was never made, and `TransportError` where the request may
        have been received. Once ``before_send`` has returned, the session takes every exception, `NotSent`
        too, to mean that a paid request may have been received.
        """
        ...

    def fetch(self, url: str) -> AbstractAsyncContextManager[Fetched]:
        """Open the URL of a picture, without the API key. Raises `TransportError` or `UnexpectedResponse`."""
        ...

    async def aclose(self) -> None:
        """Close what `start` opened."""


@attrs.frozen
class Workspace:
    """The workspace that a store belongs to: the API's base URL, and the key (which is not stored).

    ``new_key``: the user states that this key replaces the one that the store was bound to. ``hooks``: what
    the session has; ``"display"`` if all of them only show something.
    """

    base_url: str
    api_key: str = attrs.field(repr=False)
    new_key: bool = False
    hooks: Literal["none", "display", "hooks"] = "none"


class Reservation(NamedTuple):
    """The answer to a reservation of a permit, and what is known of the quota at that moment.

    ``permit``: its number, None if there is none to be had so soon. ``wait``: the seconds until it may be
    used, or until it is worth asking again. ``moment``: the quota's time, in seconds.
    ``limit``: requests a minute that hold now, ``interval``: the seconds between two of them, ``counted``:
    how many count. ``learned``: the state of `QuotaLearning` as text, None while nothing was learned.
    """

    permit: int | None
    wait: float
    moment: float
    limit: int
    interval: float
    counted: int
    learned: str | None


class SentPermit(NamedTuple):
    """A permit whose request was sent and has arrived, so many seconds ago."""

    permit: int
    sent_ago: float
    arrived_ago: float


class Learned(NamedTuple):
    """What was learned of the quota, with its version, and what the database counts for one answer."""

    learned: str | None
    version: int
    counts: QuotaCounts


class SharedPermits(Protocol):
    """The permits of a workspace's quota where several processes take them from one place.

    Every method raises `StoreError`. One whose answer was lost may have taken place.
    """

    async def reserve(self, limit: int, horizon: float, hold: float) -> Reservation:
        """Reserve a permit that may be used at most ``horizon`` seconds from now.

        ``limit``: the requests a minute that this process states; the lowest that was stated lately holds.
        ``hold``: for how many seconds after that moment its request may still be sent.
        """
        ...

    async def report(self, sent: Sequence[SentPermit], cancelled: Sequence[int]) -> None:
        """Say which requests have arrived when, and which permits were not used. Twice changes nothing."""

    async def learned(self, sent_ago: float) -> Learned:
        """What was learned, for the answer to a request that was sent so many seconds ago."""
        ...

    async def learn(self, version: int, learned: str, terms: QuotaTerms, even_in: float) -> bool:
        """Write what was learned. False, and nothing is written, where ``version`` is not the latest.

        If that ends a pause, the even pace begins anew ``even_in`` seconds from now.
        """
        ...


class PollDuty(Enum):
    """Which looks a process polls.

    ALL: every look of the workspace that was paid for. OTHERS: another process polls those; this one polls
    only looks that nobody is known to have paid for. AWAITED: no process polls for all, so this one polls
    what is awaited here. UNCERTAIN: the same, but this process's lease is over, since the store can't be
    written; then the others' may be over for the same reason.
    """

    ALL = "all"
    OTHERS = "others"
    AWAITED = "awaited"
    UNCERTAIN = "uncertain"


class StoreGauges(NamedTuple):
    """How many intents are UNKNOWN and how many ACCEPTED, and which of the accepted was planned first."""

    unknowns: int
    unsettled: int
    oldest_unsettled: Intent | None


class Coordination(NamedTuple):
    """A session's part in what one process does for all processes of a workspace.

    ``may_lead`` is asked about once a second: whether this process may be the one that polls for all. If not,
    another one is. ``on_duty`` is called when its duty changes.
    ``on_delivery`` is called with the id of an attempt for which another process has kept a delivery, only in
    the process that polls for all. They are called on the session's loop and must not raise.
    """

    may_lead: Callable[[], bool]
    on_duty: Callable[[PollDuty], None]
    on_delivery: Callable[[str], None]
