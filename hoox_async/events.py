"""The events of a session: what its hooks are called with.

A hook is a callable that takes one event. Events are frozen and made for ``match``. None of them
contains the API key, a webhook token or a picture. Times are the event loop's, in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from ._api.endpoints import Endpoint
from ._api.models import Look, LookRef
from ._api.requests import Resolution
from ._checks import option

if TYPE_CHECKING:
    from ._core.intents.intent import Evidence

_NONE: Mapping[str, str] = {}


class RequestSent(NamedTuple):
    """A request has its permit of the quota and is being sent. ``key`` is set for a paid request."""

    endpoint: Endpoint
    at: float
    key: str | None = None


class Answered(NamedTuple):
    """A request was answered with this HTTP status, ``seconds`` after it was sent.

    ``key`` is set for a paid request. ``looks`` are those whose status was asked for: one, or all looks of an
    avatar that the session polls together. Other requests have none.
    """

    endpoint: Endpoint
    status: int
    seconds: float
    key: str | None = None
    looks: tuple[LookRef, ...] = ()


class Retried(NamedTuple):
    """A request failed and is sent again in ``delay`` seconds: it surely cost nothing.

    ``reason`` says why, in words.
    """

    endpoint: Endpoint
    reason: str
    delay: float
    key: str | None = None


class RequestFailed(NamedTuple):
    """A read got no usable answer, or no connection was made for a paid request: it cost nothing.

    ``reason`` says why, in words. The session has had no usable answer for ``seconds``. ``status`` is the
    HTTP status of the answer that was not usable, such as 502; None where none came. `Retried` follows where
    the request is sent again. Status requests for looks that are waited for are repeated without it.
    """

    endpoint: Endpoint
    reason: str
    seconds: float
    status: int | None = None
    key: str | None = None


class Paused(NamedTuple):
    """Nothing is sent for ``seconds``: the quota is used up, or an API key that was refused is checked.

    Also when a batch's paid requests are lost or get no answer: that batch sends nothing new then, for
    ``seconds`` at most.
    """

    seconds: float
    reason: str


class LookAccepted(NamedTuple):
    """The API accepted a paid request: it has cost ``credits``.

    ``double``: the request was taken for lost and sent again, so the key has or gets another look besides
    this one. Both were paid.
    """

    key: str
    ref: LookRef
    credits: Decimal
    evidence: Evidence
    metadata: Mapping[str, str] = _NONE
    double: bool = False


class LookSettled(NamedTuple):
    """A look is READY or FAILED, ``seconds`` after it was accepted (None if that is not known)."""

    look: Look
    key: str | None
    seconds: float | None
    metadata: Mapping[str, str] = _NONE


class OutcomeLost(NamedTuple):
    """A paid request was sent, and whether it was accepted is not known. It may have cost ``credits``."""

    key: str
    reason: str
    credits: Decimal
    metadata: Mapping[str, str] = _NONE


class DeliveryReceived(NamedTuple):
    """A webhook delivery with a valid token came.

    ``used`` is False for one that repeats or contradicts what is known of the look.
    """

    look_id: str
    status: str
    key: str | None
    used: bool


class PictureSmaller(NamedTuple):
    """A picture that was fetched has fewer pixels than ``resolution`` was paid for. It was kept.

    No larger one was found. ``key`` is None where it is not known any more under which one it was submitted.
    """

    ref: LookRef
    width: int
    height: int
    resolution: Resolution
    key: str | None = None
    metadata: Mapping[str, str] = _NONE


Event = (
    RequestSent
    | Answered
    | Retried
    | RequestFailed
    | Paused
    | LookAccepted
    | LookSettled
    | OutcomeLost
    | DeliveryReceived
    | PictureSmaller
)
Hook = Callable[[Event], object]
"""A callable that is called with each event. One that returns a coroutine (``async def``) is an async hook.

A plain hook is called on the session's event loop, between two steps of the session: it must not block. The
coroutines of an async hook are run one after the other, in the order of the events. 10,000 events can wait
for it; while they do, newer ones are dropped for this hook, which is logged, and no hook is told of the ends
of looks in the store: they are told within a minute of there being room, or by a later session. Closing the
session waits 10 s for those that wait, then cancels them; an async hook that calls a method of a session that
is being closed gets `SessionClosed`. When a hook raises, that is logged, and the session goes on.
"""


class DisplayOnly:
    """A hook that only shows or counts something: no news is lost where it is not called with it.

    ``hooks=[DisplayOnly(print)]``. A session all of whose hooks are such is told of the ends of looks that it
    has sent itself. It takes over no news that other sessions were to tell, and owes none. Raises
    `ConfigurationError` for what can't be called.
    """

    def __init__(self, hook: Hook) -> None:
        self._hook: Hook = option.function("hook", hook, "a function of an event")

    def __call__(self, event: Event) -> object:
        return self._hook(event)
