"""Every error of the library, classed by what the failed call cost.

``error.charged`` is ``"no"``, ``"maybe"`` or ``"yes"``: whether credits were spent.

    HooxError                       no      the root of all of them
    ├── ConfigurationError          no      a session, a hub or the command was set up wrongly
    ├── InvalidRequest              no      a value of a call or a request is unusable; nothing was sent
    ├── KeyConflict                 no      the key belongs to a request with other content
    ├── BudgetExceeded              no      sending the request would exceed the cap of credits
    ├── SessionClosed               no      the session is not open, or was closed meanwhile
    ├── NotSent                     no      no connection was made, or max_wait ended before it was sent
    ├── ApiError                    no      the API refused the request; its status, code and message
    │   ├── BadRequest              400     a value is wrong
    │   ├── AuthenticationError     401     the API key is wrong
    │   ├── InsufficientCredits     402     the workspace has too few credits
    │   ├── PermissionDenied        403     the plan has no API, or the look is another workspace's
    │   ├── NotFound                404     there is no such avatar, look or workspace
    │   ├── Conflict                409     it exists already
    │   └── RateLimited             429     the workspace's quota is used up
    ├── OutcomeUnknown              maybe   a paid request was sent, and whether it was accepted is not known
    ├── GenerationFailed            yes     the look was paid for, and could not be made
    ├── WaitTimeout                 yes     the look was paid for, and is not done yet; wait again
    ├── ServerError                 no      a read was answered with 5xx, also when it was repeated
    ├── UnexpectedResponse          no      a read was answered with something that makes no sense
    ├── TransportError              no      a read got no answer
    ├── StoreError                  no      the store failed, so nothing may be paid for now
    │   ├── StoreIncomplete         no      the file is a part of a store: its -wal is missing
    │   ├── StoreLocked             no      another process has the file open
    │   └── StoreMismatch           no      the file belongs to another workspace
    └── WebhookRejected             no      a webhook delivery that is not genuine or cannot be read

The traceback of a raised one ends at your own line. With ``logging.getLogger("hoox_async")`` at ``DEBUG`` it
has the frames of the library too. Other exceptions, such as bugs, always have all of theirs.
"""

from __future__ import annotations

from decimal import Decimal
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
        """How to copy and pickle it: the classes below have other arguments than those in ``args``."""
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[HooxError], args: tuple[Any, ...], state: dict[str, Any]) -> HooxError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(HooxError):
    """A session, a hub or the command was set up with something that cannot work."""


class InvalidRequest(HooxError, ValueError):
    """A request or a call was given a value that can't be used; nothing was sent or written.

    ``field`` is the field's name, ``value`` what it was given, and ``expected`` says what would be right.
    The message shows the value unless that is ``secret``: nor should you.
    """

    def __init__(self, field: str, value: object, expected: str, *, secret: bool = False) -> None:
        self.field = field
        self.value = value
        self.expected = expected
        self.secret = secret
        shown = "the value, which is not shown," if secret else _shown(value)
        super().__init__(f"{field}: {shown} is not usable; expected {expected}")


class KeyConflict(HooxError):
    """The key belongs to a request with other content already; nothing was sent."""

    def __init__(self, key: str, detail: str = "it belongs to a request with other content") -> None:
        self.key = key
        super().__init__(f"key {key!r}: {detail}")


class BudgetExceeded(HooxError):
    """Sending the request would exceed the cap of credits; nothing was sent."""


class SessionClosed(HooxError):
    """The session is not open, or was closed while the call waited. Accepted looks stay in its store.

    ``ref`` is the look that was waited for, if one was: ``session.wait(error.ref)`` in a new session goes on.
    """

    ref: LookRef | None = None


class NotSent(HooxError):
    """The request was certainly not sent. Try again in ``retry_after`` seconds, where that is known."""

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
    """400: the API refused a value of the request."""


class AuthenticationError(ApiError):
    """401: the API key is wrong or missing."""


class InsufficientCredits(ApiError):
    """402: the workspace has too few credits."""


class PermissionDenied(ApiError):
    """403: the plan does not include the API, or the avatar or look belongs to another workspace."""


class NotFound(ApiError):
    """404: no such avatar, look or workspace."""


class Conflict(ApiError):
    """409: it exists already."""


class RateLimited(ApiError):
    """429: the workspace's quota is used up. ``retry_after`` is in seconds, where the server said."""


class OutcomeUnknown(HooxError):
    """A paid request was sent, and whether it was accepted is not known: it may have been charged.

    It is never sent again without your word. ``session.unknowns()`` lists it under ``key``, and
    ``session.resolve``, ``session.resend`` or ``session.drop`` settles it.
    """

    charged: Charged = "maybe"

    def __init__(self, message: str, *, key: str | None = None) -> None:
        self.key = key
        super().__init__(message)


class GenerationFailed(HooxError):
    """The look was accepted and paid for, and the API could not make it. ``look.error`` has the reason."""

    charged: Charged = "yes"

    def __init__(self, look: Look) -> None:
        self.look = look
        reason = look.error or "the API gave no reason"
        super().__init__(f"{look.ref}: generation failed: {reason}")


class WaitTimeout(HooxError, TimeoutError):
    """The look is paid for and not done yet. ``await error.job.wait()`` goes on waiting for it.

    ``cause`` says why status requests get no usable answer at present, in words; None if they get one.
    """

    charged: Charged = "yes"

    def __init__(
        self, job: LookJob, seconds: float, *, cause: str | None = None, outage: str | None = None
    ) -> None:
        self.job = job
        self.seconds = seconds
        self.cause = cause
        found = (
            f"not known to be done after {seconds:g} s: {outage}"
            if outage
            else f"not done after {seconds:g} s"
        )
        super().__init__(f"{job.ref}: {found}; the job can be waited for again")


class ServerError(HooxError):
    """A read was answered with 5xx, also when it was repeated. ``retry_after`` is in seconds, where given."""

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
    """A read got no answer: the connection was refused or lost, or the answer took too long."""


class StoreError(HooxError):
    """The store failed. Nothing is submitted while what it costs cannot be written down.

    ``charged`` is ``"yes"`` and ``ref`` the look where the API had accepted the request before that.
    """

    ref: LookRef | None = None


class StoreIncomplete(StoreError):
    """The file is only a part of a store: what was committed last is in its ``-wal``, which is missing.

    That happens when it is copied alone while a session has it open. `recover_store` makes what is left
    usable.
    """


class StoreLocked(StoreError):
    """Another process has the store open."""


class StoreMismatch(StoreError):
    """The store belongs to another workspace: another base URL or API key."""


class WebhookRejected(HooxError):
    """A delivery that is not genuine or cannot be read. ``status`` is the HTTP status to answer it with."""

    def __init__(self, message: str, *, status: int = 404) -> None:
        self.status = status
        super().__init__(message)


def _shown(value: object) -> str:
    try:
        text = str(value) if isinstance(value, Decimal) else repr(value)
    except Exception:  # the repr of a value can fail: too many digits, nested too deeply, a bug in its class
        return f"this {type(value).__name__}"
    return text if len(text) <= 120 else text[:117] + "..."
