"""What the API's answers say: the quota, the key, and whether it answers at all."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from .._api.endpoints import Endpoint, WireResponse
from .._core.retry import shows_valid_key
from .._core.trouble import NO_ANSWER, Outage, Sign, after_paid_request, api_trouble, outage_after
from .._io.clock import Clock
from .._io.hooks import Hooks
from .._io.ledger.ledger import Ledger
from .._io.logs import failures_logged
from ..errors import ApiError, AuthenticationError, HooxError
from ..events import RequestFailed
from .rate_limiter import Permit, RateLimiter

_log = logging.getLogger("hoox_async.requests")  # so that a program that shows them itself can mute them
_LOG_EVERY = 30.0  # seconds
_SLOW = 10.0  # seconds: a read that is open for longer is reported as one without an answer
_MOST_AVATARS = 1_000
_LONG = 30.0  # seconds: after such an outage it is not known when the looks were done that are found then


class ApiAnswers:
    """Processes what each answer says, and knows the outages: of the API as a whole, and of single avatars.

    Hooks are notified of an outage, and the log says so. An answer that refuses a read is a usable one, but
    the refused avatar is noted, so that a wait for one of its looks can say why it had no result.
    """

    def __init__(self, *, clock: Clock, store: Ledger, rate_limiter: RateLimiter, hooks: Hooks) -> None:
        self._clock = clock
        self._store = store
        self._rate_limiter = rate_limiter
        self._hooks = hooks
        self._answered_at = self._paid_answered_at = -math.inf
        self._outage: Outage | None = None
        self._of_avatar: dict[str, Outage] = {}
        self._open: dict[object, float] = {}  # reads without an answer yet: when each was sent
        self._log_at = -math.inf
        self._is_logged = False
        self.answers_since: datetime = clock.utc()
        """Since when requests are answered: the session's opening, or the end of a long outage."""
        self.sign: Sign | None = None
        """What the last read, or the last POST that was not sent, has shown of trouble; None: nothing."""
        self.paid_sign: Sign | None = None
        """What the last paid request that was sent has shown of trouble; None: nothing."""
        self.served_at: float = -math.inf
        """The loop's time at which the API last served a read of this key, be it by refusing it."""

    def process(self, permit: Permit, response: WireResponse) -> None:
        """Process what an answer says about the quota and the key. Call it while the permit is held."""
        with failures_logged("reading the quota from an answer"):
            self._rate_limiter.answered(permit, response)
        if shows_valid_key(response.status):
            with failures_logged("binding the store to the API key"):
                self._store.confirm_key()

    @contextmanager
    def reading(self, endpoint: Endpoint, avatar_id: str | None) -> Iterator[None]:
        """The block sends one read, about this avatar if about one, and parses its answer."""
        sent_at, read = self._clock.now(), object()
        self._open[read] = sent_at
        try:
            yield
        except NO_ANSWER as error:
            self._note_avatar(avatar_id, error, sent_at)
            self.failed(endpoint, error, sent_at)
            raise
        except ApiError as error:
            self._note_avatar(avatar_id, error, sent_at)
            self.answered()
            if not isinstance(error, AuthenticationError):
                self.served_at = self._clock.now()
            raise
        else:
            self._of_avatar.pop(avatar_id or "", None)
            self.answered()
            self.served_at = self._clock.now()
        finally:
            del self._open[read]

    def _note_avatar(self, avatar_id: str | None, error: HooxError, sent_at: float) -> None:
        if avatar_id is None:
            return
        known = self._of_avatar.pop(avatar_id, None)
        self._of_avatar[avatar_id] = outage_after(error, sent_at if known is None else known.since)
        if len(self._of_avatar) > _MOST_AVATARS:
            del self._of_avatar[next(iter(self._of_avatar))]

    def answered(self) -> None:
        """A usable answer came."""
        self._answered_at = self._clock.now()
        self.sign = None
        outage, self._outage = self._outage, None
        if outage is not None and self._answered_at - outage.since >= _LONG:
            self.answers_since = self._clock.utc()
        if outage is not None and self._is_logged:
            self._is_logged = False
            _log.warning("the API answers again, after %.0f s", self._answered_at - outage.since)

    def failed(self, endpoint: Endpoint, error: HooxError, sent_at: float, key: str | None = None) -> None:
        """A read got no usable answer, or no connection was made for the paid request of this key."""
        begun = max(sent_at, self._answered_at) if self._outage is None else self._outage.since
        outage = self._outage = outage_after(error, begun)
        now, trouble = self._clock.now(), api_trouble(error)
        if trouble is not None and sent_at >= self._answered_at:  # else a later request was answered
            self.sign = Sign(trouble, now)
        if now >= self._log_at:
            self._log_at, self._is_logged = now + _LOG_EVERY, True
            lasting = outage.text(now) if now - begun >= 1.0 else outage.reason
            _log.warning("a request (%s) failed: %s", endpoint.value, lasting)
        self._hooks.emit(RequestFailed(endpoint, outage.reason, now - begun, outage.status, key))

    def paid_ended(self, sent_at: float, error: Exception | None) -> None:
        """A paid request that was sent then has ended. ``error``: None where it was accepted."""
        now = self._clock.now()
        if error is None or api_trouble(error) is None:
            self._paid_answered_at = now
        elif sent_at < self._paid_answered_at:
            return  # a later one was answered
        self.paid_sign = after_paid_request(self.paid_sign, error, now)

    @property
    def is_silent(self) -> bool:
        """Whether a read is open for long, and nothing was answered since it was sent."""
        return self._slow() is not None

    def outage(self, avatar_id: str) -> Outage | None:
        """Why requests about this avatar get no usable answer at present; None if they get one."""
        return self._of_avatar.get(avatar_id) or self._outage or self._slow()

    def _slow(self) -> Outage | None:
        since = min(self._open.values(), default=math.inf)
        if since <= self._answered_at or self._clock.now() - since < _SLOW:
            return None
        return Outage(since, "the request is still open")
