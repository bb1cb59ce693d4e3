"""What happens inside a session, told to its hooks.

A hook is a callable that takes one event. Events are frozen and made for ``match``. None of them
holds the API key, a webhook token or a picture. Times are the loop's (seconds).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from ._api.endpoints import Endpoint
from ._api.models import Look, LookRef

if TYPE_CHECKING:
    from ._core.intents.intent import Evidence

_NONE: Mapping[str, str] = {}


class RequestSent(NamedTuple):
    """A request's permit of the quota was taken and it goes out. ``key`` is a paid request's."""

    endpoint: Endpoint
    at: float
    key: str | None = None


class Answered(NamedTuple):
    """A request was answered with this HTTP status, ``seconds`` after it went out."""

    endpoint: Endpoint
    status: int
    seconds: float
    key: str | None = None


class Retried(NamedTuple):
    """A request failed in a way that allows sending it again, in ``delay`` seconds."""

    endpoint: Endpoint
    reason: str
    delay: float
    key: str | None = None


class Paused(NamedTuple):
    """Nothing is sent for ``seconds``: the quota is spent, or a key that was refused is checked.

    Or a batch's paid requests are lost or get no answer: it sends nothing new, for ``seconds`` at most.
    """

    seconds: float
    reason: str


class LookAccepted(NamedTuple):
    """The API took a paid request: now it has cost ``credits``."""

    key: str
    ref: LookRef
    credits: Decimal
    evidence: Evidence
    metadata: Mapping[str, str] = _NONE


class LookSettled(NamedTuple):
    """A look is done, ready or failed, ``seconds`` after it was accepted (None if that is not known)."""

    look: Look
    key: str | None
    seconds: float | None
    metadata: Mapping[str, str] = _NONE


class OutcomeLost(NamedTuple):
    """A paid request was sent and its fate is not known."""

    key: str
    reason: str
    credits: Decimal
    metadata: Mapping[str, str] = _NONE


class DeliveryReceived(NamedTuple):
    """A webhook came with a good token. ``used`` is False for doubles and contradictions."""

    look_id: str
    status: str
    key: str | None
    used: bool


Event = (
    RequestSent | Answered | Retried | Paused | LookAccepted | LookSettled | OutcomeLost | DeliveryReceived
)
Hook = Callable[[Event], object]
"""What is called with each event. One that returns a coroutine, as an ``async def`` does, is an async hook.

A plain hook is called in the middle of things, on the session's loop: it must not block. An async hook's
coroutines are run one after the other, in the order of the events. 10,000 events may wait for it; newer ones
are not told to it then, which is logged. Closing the session waits 10 s for them, then cancels them; what an
async hook asks of a session that is being closed raises `SessionClosed`. A hook that raises is logged and
harms nothing.
"""
