"""The interfaces of a session to I/O: `Transport` sends requests, `Store` records what was paid."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple, Protocol

import attrs

from .._api.endpoints import WireRequest, WireResponse
from .._api.models import LookRef
from .._api.webhook_payloads import Delivery
from .._core.intents.budget import StoredBudget
from .._core.intents.copies import KnownAvatar
from .._core.intents.intent import Intent, IntentState
from .._core.intents.transitions import Transition
from .._core.quota.quota_learning import QuotaCounts, QuotaTerms


class Fetched(NamedTuple):
    """A picture that is being downloaded: its content type, and its bytes in chunks.

    ``modified`` is when the server says that the picture was last changed.
    """

    content_type: str
    chunks: AsyncIterator[bytes]
    modified: datetime | None = None


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

    ``new_key``: the user states that this key replaces the one that the store was bound to.
    """

    base_url: str
    api_key: str = attrs.field(repr=False)
    new_key: bool = False


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
    what is awaited here.
    """

    ALL = "all"
    OTHERS = "others"
    AWAITED = "awaited"


class StoreGauges(NamedTuple):
    """How many intents are UNKNOWN and how many ACCEPTED, and which of the accepted was planned first."""

    unknowns: int
    unsettled: int
    oldest_unsettled: Intent | None


class Coordination(NamedTuple):
    """A session's part in what one process does for all processes of a workspace.

    ``may_lead`` is asked about once a second: whether this process may be the one that polls for all. If not,
    another one is. ``on_duty`` is called when its duty changes.
    ``on_unnotified`` is called with a settled intent whose sender did not have hooks notified, and
    ``on_delivery`` with the id of an attempt for which another process has kept a delivery; both only in the
    process that polls for all. They are called on the session's loop and must not raise.
    """

    may_lead: Callable[[], bool]
    on_duty: Callable[[PollDuty], None]
    on_unnotified: Callable[[Intent], None]
    on_delivery: Callable[[str], None]


class Store(Protocol):
    """A session's records of what was paid: intents, attempts, claimed looks, early deliveries, send times.

    A method that writes returns when its write is durable (as durable as this store can be), and raises
    `StoreError` when it is not. Each call is one transaction. A caller that is cancelled meanwhile must
    assume that the write took place. So must one that gets a `StoreError`: the write may have taken place, or
    may still take place, until a later `plan` or `advance` of the same key has returned.
    """

    @property
    def is_shared(self) -> bool:
        """Whether other processes may have it open at the same time, and change what it holds."""
        ...

    @property
    def epoch(self) -> datetime | None:
        """The datetime of this machine's boot time 0 (`Clock.boot`), by the clock that all users go by.

        None where that is this machine's UTC: in a store of one process.
        """
        ...

    @property
    def shared_permits(self) -> SharedPermits | None:
        """The quota's permits, where processes that share the store take them from it; else None."""
        ...

    def on_changed_elsewhere(self, listener: Callable[[Intent], None]) -> Callable[[], None]:
        """Call ``listener`` on the session's loop with each intent that another process has changed.

        Also with one that this process has marked UNKNOWN because another process's lease was over.

        It is called within about a second of the change, with the latest version only, and may be called with
        an intent that has not changed. It must not raise. Returns a function that ends the calls. A store of
        one process never calls it.
        """
        ...

    def coordinate(self, coordination: Coordination) -> None:
        """Take part in what one process does for all, until the store is closed.

        ``on_duty`` is called soon, at once in a store of one process: there it is always ALL.
        """

    def confirm_notified(self, key: str) -> None:
        """Hooks were notified that the look of this intent is settled. Returns at once, and is written soon.

        Without it the process that polls for all notifies its own hooks, once this process has ended.
        """

    def read_unopened(self) -> AsyncIterator[Intent]:
        """Every intent, in the order of the plan, without opening the store; none where there is no store.

        It needs no API key, takes no lock and no lease, migrates nothing and writes nothing, and works while
        others have the store open. Raises `StoreError`.
        """
        ...

    async def open(self, workspace: Workspace) -> None:
        """Open the store, bind it to the workspace, and mark what an ended process left SENDING as UNKNOWN.

        A shared store marks what an ended process was sending later, once that process's lease is over.

        Raises `StoreLocked` where another session has it open, `StoreMismatch` where it is bound to another
        workspace, and `StoreError`. Then it holds nothing, and the other session is not disturbed.
        """

    async def aclose(self) -> None:
        """Write what is waiting to be written, and release what `open` acquired."""

    def confirm_key(self) -> None:
        """Bind the store to its API key for good, since an answer has shown that the key is valid.

        Until then another key may be given at the next opening, as long as nothing was or may have been
        paid. Called with each such answer. It returns at once, never raises, and is written with a later
        write.
        """

    async def get(self, keys: Collection[str]) -> dict[str, Intent]:
        """The intents of those of these keys that are known."""
        ...

    async def plan(self, intent: Intent) -> Intent:
        """Insert a new intent. Where its key exists already, change nothing and return the stored intent."""
        ...

    async def advance(self, key: str, *transitions: Transition) -> Intent:
        """Read the intent and apply the transitions, all or none, in one transaction.

        It writes also where they change nothing: once it has returned, an earlier write of this key whose
        caller got a `StoreError` cannot take place any more.

        This is the store's compare-and-set: `IfUnchanged` in front compares with the intent that a decision
        was made from. Raises `IllegalTransition` where the condition does not hold or the table of
        transitions does not allow it, `LookTaken` where the look belongs to another intent, and `StoreError`
        where the key is not known; then nothing has changed.

        `plan` and `advance` also charge named budgets by what they change (`charge_changes`). They raise
        `BudgetExceeded` where a `Send` would exceed its budget's cap, and `KeyConflict` where a `Replace`
        would give other content to what another process, which is alive, is about to send again. Then
        nothing has changed either, and nothing will.
        """
        ...

    async def open_budget(self, name: str, max_credits: Decimal, spent: Decimal) -> StoredBudget:
        """Create the budget, unless there is one of this name. Returns what is stored.

        ``spent``: what a new one has charged already.
        """
        ...

    async def budget(self, name: str) -> StoredBudget | None:
        """The budget of this name."""
        ...

    async def by_attempt(self, attempt_id: str) -> Intent | None:
        """The intent that has this attempt, the latest or an earlier one."""
        ...

    async def by_ref(self, ref: LookRef) -> Intent | None:
        """The intent that has this look."""
        ...

    async def in_states(self, states: Collection[IntentState], *, own: bool = False) -> list[Intent]:
        """All intents in these states, in the order in which they were planned.

        ``own``: of a shared store, only those that this process was the last to send.
        """
        ...

    def stream(self) -> AsyncIterator[Intent]:
        """Every intent, in the order in which they were planned."""
        ...

    def stream_accepted(self) -> AsyncIterator[Intent]:
        """Every intent that is ACCEPTED, in the order of the plan, with few in memory at a time."""
        ...

    async def recently_settled(self, count: int) -> list[Intent]:
        """Up to ``count`` settled intents, those that were planned last. None in a store of one process."""
        ...

    async def gauges(self) -> StoreGauges:
        """What monitoring asks every few seconds: cheap, however many intents there are."""
        ...

    async def release(self, key: str) -> None:
        """Say that this process is not about to send the key's planned intent (any more).

        Until then no other living process can give it other content: see `advance`.
        """

    async def forget(self, key: str) -> None:
        """Delete an intent whose key cannot be used again, once its cost is certain. Others are kept.

        Only a store in memory does so.
        """

    async def claimed_looks(self, avatar_id: str) -> frozenset[str]:
        """The ids of an avatar's looks that were made for an intent: its own, and those of `claim_look`.

        Looks that were paid for besides (`Intent.past_looks`) are among them.
        """
        ...

    async def known_avatar(self, avatar_id: str) -> KnownAvatar:
        """What the store's intents tell of an avatar."""
        ...

    async def claim_look(self, ref: LookRef) -> None:
        """Write that this look was made for an intent, though it is not the intent's own."""

    async def keep_delivery(self, attempt_id: str, delivery: Delivery) -> None:
        """Keep the first delivery of an attempt until it is needed. One of an unknown attempt is not kept."""

    async def kept_delivery(self, attempt_id: str) -> Delivery | None:
        """The delivery that was kept for this attempt."""
        ...

    def stream_delivered(self) -> AsyncIterator[str]:
        """The ids of attempts for which a delivery was kept, of intents that are ACCEPTED or UNKNOWN."""
        ...

    def note_sends(self, sent_at: Sequence[datetime]) -> Awaitable[None]:
        """Write when GET requests were sent. Returns at once; await the result to know that it is durable.

        The times of attempts are written by `plan` and `advance`.
        """
        ...

    async def recent_sends(self, since: datetime) -> list[datetime]:
        """The send times after ``since``, of GET requests and of attempts, oldest first."""
        ...
