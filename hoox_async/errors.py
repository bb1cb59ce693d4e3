"""Every error of the library, classed by money.

``error.charged`` says what the failed call cost: ``"no"``, ``"maybe"`` or ``"yes"``.

    HooxError
    ├── ConfigurationError          no      the session, the hub or the command was set up wrongly
    ├── InvalidRequest              no      a value that the API would refuse; raised before anything is sent
    ├── KeyConflict                 no      a key that stands for other content already
    ├── BudgetExceeded              no      sending it would pass the cap
    ├── SessionClosed               no      the session is not open (any more)
    ├── NotSent                     no      the connection was never made, or max_wait ran out at the
    rate limiter
    ├── ApiError                    no      the API refused: status, code, message, details
    │   ├── BadRequest              400
    │   ├── AuthenticationError     401
    │   ├── InsufficientCredits     402
    │   ├── PermissionDenied        403
    │   ├── NotFound                404
    │   ├── Conflict                409
    │   └── RateLimited             429
    ├── OutcomeUnknown              maybe   a paid request was sent and its fate is not known
    ├── GenerationFailed            yes     the look was paid for and could not be made
    ├── WaitTimeout                 yes     the look was paid for and is not done yet; wait again
    ├── ServerError                 no      a read was answered 5xx, also after retries
    ├── UnexpectedResponse          no      a read was answered with something that makes no sense
    ├── TransportError              no      a read found no answer
    ├── StoreError                  no      the store cannot be trusted with money now
    │   ├── StoreIncomplete         no      the file is a part of a store: its -wal is missing
    │   ├── StoreLocked             no      another process has the file open
    │   └── StoreMismatch           no      the file belongs to another workspace
    └── WebhookRejected             no      a delivery that proves nothing
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._api.models import Look, LookRef
    from ._session.jobs import LookJob

Charged = Literal["no", "maybe", "yes"]


class HooxError(Exception):
    """The root of all errors that this library raises."""

    charged: Charged = "no"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled by its parts: the classes below are made from other arguments than args."""
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[HooxError], args: tuple[Any, ...], state: dict[str, Any]) -> HooxError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(HooxError):
    """A session, hub or command was set up with something that cannot work."""


class InvalidRequest(HooxError, ValueError):
    """A request holds a value that the API would refuse; nothing was sent.

    ``field`` and ``value`` name the culprit, ``expected`` what would be right.
    """

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        self.value = value
        self.expected = expected
        super().__init__(f"{field}: {_shown(value)} is not usable; expected {expected}")


class KeyConflict(HooxError):
    """The key stands for a request with other content already; nothing was sent."""

    def __init__(self, key: str, detail: str = "the store knows it for another content") -> None:
        self.key = key
        super().__init__(f"key {key!r}: {detail}")


class BudgetExceeded(HooxError):
    """Sending the request would pass the cap of credits; nothing was sent."""


class SessionClosed(HooxError):
    """The session is not open, or was closed while this waited. Accepted looks stay in its store."""


class NotSent(HooxError):
    """The request certainly never left. ``retry_after`` says when (seconds) to try again, where known."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class ApiError(HooxError):
    """The API refused the request. No refusal that has a class here is charged (API reference)."""

    def __init__(
        self,
        status: int,
        code: str | None,
        message: str,
        details: Sequence[Any] = (),
        *,
        retry_after: float | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.details: tuple[Any, ...] = tuple(details)
        self.retry_after = retry_after
        shown = f" [{code}]" if code else ""
        super().__init__(f"HTTP {status}{shown}: {message}")


class BadRequest(ApiError):
    """400: the API found a value wrong."""


class AuthenticationError(ApiError):
    """401: the API key is wrong or missing."""


class InsufficientCredits(ApiError):
    """402: the workspace has too few credits."""


class PermissionDenied(ApiError):
    """403: the plan does not include the API, or the thing belongs to another workspace."""


class NotFound(ApiError):
    """404: no such avatar, look or workspace."""


class Conflict(ApiError):
    """409: it exists already."""


class RateLimited(ApiError):
    """429: the workspace's quota is spent. ``retry_after`` is in seconds, where the server said."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: AuthenticationError,
    402: InsufficientCredits,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    429: RateLimited,
}


def api_error(
    status: int,
    code: str | None,
    message: str,
    details: Sequence[Any] = (),
    *,
    retry_after: float | None = None,
) -> ApiError:
    """The error class of this HTTP status, made. A status without a class of its own gives `ApiError`."""
    return _BY_STATUS.get(status, ApiError)(status, code, message, details, retry_after=retry_after)


class OutcomeUnknown(HooxError):
    """A paid request was sent and what became of it is not known: it may have been charged.

    It is never sent again on a guess. ``session.unknowns()`` lists it under ``key``, and
    ``session.resolve``, ``session.resend`` or ``session.drop`` settles it.
    """

    charged: Charged = "maybe"

    def __init__(self, message: str, *, key: str | None = None) -> None:
        self.key = key
        super().__init__(message)


class GenerationFailed(HooxError):
    """The look was accepted and paid for, and could not be made. ``look.error`` has the reason."""

    charged: Charged = "yes"

    def __init__(self, look: Look) -> None:
        self.look = look
        reason = look.error or "the API gave no reason"
        super().__init__(f"{look.ref}: generation failed: {reason}")


class WaitTimeout(HooxError, TimeoutError):
    """The look is not done yet. Nothing is lost: ``await error.job.wait()`` goes on."""

    charged: Charged = "yes"

    def __init__(self, job: LookJob, seconds: float) -> None:
        self.job = job
        self.seconds = seconds
        super().__init__(f"{job.ref}: not done after {seconds:g} s; the job can be waited for again")


class ServerError(HooxError):
    """A read was answered 5xx, also after retries."""

    def __init__(self, status: int, message: str, *, retry_after: float | None = None) -> None:
        self.status = status
        self.message = message
        self.retry_after = retry_after
        super().__init__(f"HTTP {status}: {message}")


class UnexpectedResponse(HooxError):
    """A read was answered with something that makes no sense; ``status`` is the HTTP status."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class TransportError(HooxError):
    """A read found no answer: connection lost, refused or too slow."""


class StoreError(HooxError):
    """The store failed. Nothing is submitted while what it would cost cannot be written down."""

    ref: LookRef | None = None


class StoreIncomplete(StoreError):
    """The file is only a part of a store: what was committed last is in its ``-wal``, which is missing.

    As after it was copied alone while a session had it open. `recover_store` opens what is left.
    """


class StoreLocked(StoreError):
    """Another process has the store open."""


class StoreMismatch(StoreError):
    """The store belongs to another workspace: another base URL or API key."""


class WebhookRejected(HooxError):
    """A delivery that proves nothing. ``status`` is the HTTP status to answer with."""

    def __init__(self, message: str, *, status: int = 404) -> None:
        self.status = status
        super().__init__(message)


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # a number of too many digits, something nested too deeply, a class with a bug
        return f"this {type(value).__name__}"
    return text if len(text) <= 120 else text[:117] + "..."
