"""What stands between the session and the world: transport, store and deliveries."""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Sequence,
)
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import attrs

from .._api.models import LookRef

if TYPE_CHECKING:
    from .._core.intents.intent import Intent, IntentState
    from .._core.intents.transitions import Transition
from .._api.endpoints import WireRequest, WireResponse
from .._api.webhook_payloads import Delivery


class Fetched(NamedTuple):
    """A picture on its way: its content type and its bytes as they come."""

    content_type: str
    chunks: AsyncIterator[bytes]


BeforeSend = Callable[[], Awaitable[None]]


class Transport(Protocol):
    """Carries requests of the API. One transport belongs to one session, which opens and closes it.

    No byte of a paid request leaves before ``before_send`` was awaited. So what is raised before that call
    means that nothing was sent; after it, that the request may have been received.
    """

    async def start(self) -> None:
        """Open what is needed; called once, on the session's loop."""

    def send(
        self, request: WireRequest, before_send: BeforeSend | None = None
    ) -> Coroutine[Any, Any, WireResponse]:
        """Send once and read the whole answer.

        ``before_send`` is awaited when the connection stands and before any byte of the request
        leaves; what it raises is raised here, and nothing was sent. Raises `NotSent` when the connection was
        never made and `TransportError` when the request may have been received, as anything else is taken
        to mean. Once ``before_send`` has returned, a paid request may have been received whatever is raised.
        """
        ...

    def fetch(self, url: str) -> AbstractAsyncContextManager[Fetched]:
        """Open a picture's URL, without the API key. Raises `TransportError` or `UnexpectedResponse`."""
        ...

    async def aclose(self) -> None:
        """Close what `start` opened."""


@attrs.frozen
class Workspace:
    """Whose money a store remembers: the API's base URL and the API key (which is never stored)."""

    base_url: str
    api_key: str = attrs.field(repr=False)
    new_key: bool = False
    """The user's word that this key replaces the one that the store was bound to."""


class Store(Protocol):
    """The session's memory of money: intents, attempts, claimed looks, early deliveries, send times.

    Every method that writes returns after the write is durable (as far as the store can be), and
    raises `StoreError` when it is not. `advance` reads the intent and takes it through steps of the ledger in
    one transaction.
    """

    async def open(self, workspace: Workspace) -> None:
        """Open and bind to the workspace. Raises `StoreLocked`, `StoreMismatch` or `StoreError`.

        Where it raises, it holds nothing, and another session that has it open is not disturbed: it is not
        closed by the one that was refused.
        """

    async def aclose(self) -> None:
        """Write what is waiting and let go of the file."""

    def confirm_key(self) -> None:
        """An answer has shown that the API key is valid: from now on the store belongs to it for good.

        Until then another key may be given at the next opening, as long as nothing was or may have been
        paid. Called with each such answer: it returns at once, never raises, and is written when convenient.
        """

    async def get(self, keys: Collection[str]) -> dict[str, Intent]:
        """The intents of these keys, those that are known."""
        ...

    async def plan(self, intent: Intent) -> Intent:
        """Write a new intent; where its key is known already, change nothing and return what stands."""
        ...

    async def advance(self, key: str, *steps: Transition) -> Intent:
        """Take the intent, as it stands now, through the steps, all or none.

        Raises `IllegalTransition`, also for a condition (`IfUnchanged`) that does not hold, and changes
        nothing.
        """
        ...

    async def by_attempt(self, attempt_id: str) -> Intent | None:
        """The intent that this attempt, also an earlier one, belongs to."""
        ...

    async def by_ref(self, ref: LookRef) -> Intent | None:
        """The intent whose look this is."""
        ...

    async def in_states(self, states: Collection[IntentState]) -> list[Intent]:
        """All intents in these states, oldest first."""
        ...

    def stream(self) -> AsyncIterator[Intent]:
        """Every intent, in the order in which they were planned."""
        ...

    def stream_accepted(self) -> AsyncIterator[Intent]:
        """Every intent that is accepted and not settled, oldest first; few at a time are in memory."""
        ...

    async def forget(self, key: str) -> None:
        """Drop a settled intent that nobody can ask for again. A store on disk keeps it and does nothing."""

    async def seen_looks(self, avatar_id: str) -> frozenset[str] | None:
        """The looks that are nobody's lost POST's: baseline and claimed. None where no baseline stands.

        An avatar that an intent of this store created needs none: its own looks are its baseline.
        """
        ...

    async def add_seen(self, avatar_id: str, look_ids: Iterable[str]) -> None:
        """Add to an avatar's baseline (and make it one, if it is the first)."""

    async def keep_delivery(self, attempt_id: str, delivery: Delivery) -> None:
        """Keep a delivery that came before the answer to its POST. The first one of an attempt stands."""

    async def kept_delivery(self, attempt_id: str) -> Delivery | None:
        """The delivery kept for this attempt."""
        ...

    def note_sends(self, sent_at: Sequence[datetime]) -> Awaitable[None]:
        """Remember when reads go out. Returns at once; what it gives is awaited until that is durable.

        The times of attempts need not be noted: `plan` and `advance` do that with them.
        """
        ...

    async def recent_sends(self, since: datetime) -> list[datetime]:
        """The send times after ``since``, of reads and of attempts, oldest first."""
        ...


class Deliveries(Protocol):
    """Where webhooks come in, as the session sees it (a `WebhookHub`)."""

    def url_for(self, attempt_id: str) -> str:
        """The URL to give to the API for this attempt. Its last part is a bearer secret."""
        ...

    def attach(self, receiver: Callable[[str, Delivery], Awaitable[bool]]) -> Callable[[], None]:
        """Send deliveries to this receiver until the returned function is called.

        The receiver takes an attempt id and what was delivered, and says whether it knows the attempt.
        """
        ...
