"""Whether a request that failed is sent again, and when.

A read costs nothing: it is repeated where that can help. (The poller's status requests have their own rules:
see `polling.failures`.) A paid request is repeated only when it certainly cost nothing: its connection was
never made, or the API answered 429 or 401. After a 429 the rate limiter pauses, and after a 401 it has the
key checked, so for these no delay is added here.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from ..errors import AuthenticationError, HooxError, NotSent, RateLimited, ServerError, TransportError

READ_TRIES = 4
"""Tries of a read whose connection fails or that is answered with 5xx."""
READ_REFUSALS = 10
"""Tries of a read that is answered with 429."""
READ_SECONDS = 120.0
"""Seconds after its first try began when a read is not repeated any more."""
KEY_TRIES = 3
"""Tries of a request that is answered with 401 though the key is valid for others."""
PAID_SECONDS = 3600.0
"""Seconds after its first try began when a paid request is not connected again."""
LONGEST_RETRY_AFTER = 60.0
"""Seconds of ``Retry-After`` beyond which a read fails at once."""


class Retry(NamedTuple):
    """Send it again, ``delay`` seconds from now."""

    delay: float


class NoRetry(NamedTuple):
    """Do not send it again: its error is the result."""


class Patience(Enum):
    """How often a connection for a paid request is tried, and the longest delay between tries (seconds).

    SINGLE, for a caller who waits for the answer: about 7 s in all. BATCH: about a minute.
    """

    SINGLE = (4, 4.0)
    BATCH = (8, 15.0)


def decide_read(
    attempt: int, error: HooxError, elapsed: float, jitter: float, *, final: bool = False
) -> Retry | NoRetry:
    """What to do after the ``attempt``-th try (from 1) of a read failed: about 4 tries in 10 s.

    ``elapsed`` is in seconds since the first try began, waiting at the rate limiter included; ``jitter``
    is in [0, 1). ``final``: the rate limiter has ended the tries, because the API answered nothing but 429
    for too long, or because the key was checked and is refused.
    """
    if isinstance(error, AuthenticationError):
        return NoRetry() if final or attempt >= KEY_TRIES else Retry(0.0)
    if final or elapsed > READ_SECONDS:
        return NoRetry()
    if isinstance(error, RateLimited):
        return Retry(0.0) if attempt < READ_REFUSALS else NoRetry()
    if not isinstance(error, NotSent | TransportError | ServerError) or attempt >= READ_TRIES:
        return NoRetry()
    asked = None if isinstance(error, TransportError) else error.retry_after
    if asked is not None and asked > LONGEST_RETRY_AFTER:
        return NoRetry()
    return Retry(max(asked or 0.0, _backoff(attempt, 1.5, 6.0, jitter)))


def decide_paid(
    attempt: int,
    error: HooxError,
    elapsed: float,
    patience: Patience,
    jitter: float,
    *,
    final: bool = False,
    key_refusals: int = 1,
) -> Retry | NoRetry:
    """What to do after a connection for a paid request failed, or after a 429 or a 401.

    ``attempt`` counts the connections that failed, and ``key_refusals`` the answers of 401. ``elapsed``,
    ``jitter`` and ``final`` are as in `decide_read`. What may have been charged is never sent again. A
    `NotSent` with a ``retry_after`` is not either: it is from the rate limiter, where the caller's
    ``max_wait`` has ended.
    """
    if isinstance(error, RateLimited):
        return NoRetry() if final else Retry(0.0)
    if isinstance(error, AuthenticationError):
        # a 401 that the key check does not confirm must not be retried forever
        return NoRetry() if final or key_refusals >= KEY_TRIES else Retry(0.0)
    tries, longest = patience.value
    if not isinstance(error, NotSent) or error.retry_after is not None:
        return NoRetry()
    if attempt >= tries or elapsed > PAID_SECONDS:
        return NoRetry()
    return Retry(_backoff(attempt, 1.0, longest, jitter))


def shows_valid_key(status: int) -> bool:
    """Whether the API gives an answer of this HTTP status only to a valid API key."""
    return status not in (401, 429) and status < 500


def _backoff(attempt: int, first: float, longest: float, jitter: float) -> float:
    """Exponential backoff up to the longest delay, with jitter of a quarter so that not all retry at once."""
    return min(first * 2.0 ** (attempt - 1), longest) * (0.75 + 0.5 * jitter)
