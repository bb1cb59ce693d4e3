"""Whether a request that failed is sent again, and when.

Reads cost nothing: they are repeated where that may help. A paid request is repeated only when it surely
cost nothing: its connection was never made, or the API answered 429 or 401. A 429 and a 401 are no failures
of the request: the rate limiter pauses, or lets the key be checked, and no delay is added here.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from ..errors import AuthenticationError, HooxError, NotSent, RateLimited, ServerError, TransportError

READ_TRIES = 4
READ_REFUSALS = 10
READ_SECONDS = 120.0
KEY_TRIES = 3
PAID_SECONDS = 3600.0
LONGEST_RETRY_AFTER = 60.0


class Retry(NamedTuple):
    """Send it again, ``delay`` seconds from now."""

    delay: float


class GiveUp(NamedTuple):
    """Don't send it again: its error is the result."""


class Patience(Enum):
    """How long to try to make a connection for a paid request: (tries, longest delay in seconds).

    SINGLE, with a caller who waits for the answer: about 7 s. BATCH: about a minute.
    """

    SINGLE = (4, 4.0)
    BATCH = (8, 15.0)


def decide_read(
    attempt: int, error: HooxError, elapsed: float, jitter: float, *, over: bool = False
) -> Retry | GiveUp:
    """What to do after the ``attempt``-th try (from 1) of a read failed: about 4 tries in 10 s.

    ``elapsed`` is in seconds since the first try began, waiting at the rate limiter included; ``jitter``
    in [0, 1).
    ``over``: the rate limiter has given up: 429 was all there was for too long, or the key is refused
    for good.
    """
    if isinstance(error, AuthenticationError):
        return GiveUp() if over or attempt >= KEY_TRIES else Retry(0.0)
    if over or elapsed > READ_SECONDS:
        return GiveUp()
    if isinstance(error, RateLimited):
        return Retry(0.0) if attempt < READ_REFUSALS else GiveUp()
    if not isinstance(error, NotSent | TransportError | ServerError) or attempt >= READ_TRIES:
        return GiveUp()
    asked = None if isinstance(error, TransportError) else error.retry_after
    if asked is not None and asked > LONGEST_RETRY_AFTER:
        return GiveUp()
    return Retry(max(asked or 0.0, _backoff(attempt, 1.5, 6.0, jitter)))


def decide_paid(
    attempt: int,
    error: HooxError,
    elapsed: float,
    patience: Patience,
    jitter: float,
    *,
    over: bool = False,
    denied: int = 1,
) -> Retry | GiveUp:
    """What to do after the ``attempt``-th connection (from 1) for a paid request failed, or a 429 or 401.

    Those are no tries of a connection: they must not be counted in ``attempt``. ``denied`` counts the 401.
    ``over``: the rate limiter has given up: 429 was all there was for too long, or the key is refused
    for good.

    ``elapsed`` is in seconds since the first try began, waiting at the rate limiter included; ``jitter``
    in [0, 1).
    Everything that may have been charged is given up here. So is a `NotSent` that names a ``retry_after``:
    that is the rate limiter's, whose ``max_wait`` has run out.
    """
    if isinstance(error, RateLimited):
        return GiveUp() if over else Retry(0.0)
    if isinstance(error, AuthenticationError):  # one that only paid requests meet would go on for ever
        return GiveUp() if over or denied >= KEY_TRIES else Retry(0.0)
    tries, longest = patience.value
    if not isinstance(error, NotSent) or error.retry_after is not None:
        return GiveUp()
    if attempt >= tries or elapsed > PAID_SECONDS:
        return GiveUp()
    return Retry(_backoff(attempt, 1.0, longest, jitter))


def shows_valid_key(status: int) -> bool:
    """Whether an answer of this HTTP status is one that only a valid API key gets."""
    return status not in (401, 429) and status < 500


def _backoff(attempt: int, first: float, longest: float, jitter: float) -> float:
    """Doubled with each try up to the longest, and a quarter more or less so that not all come at once."""
    return min(first * 2.0 ** (attempt - 1), longest) * (0.75 + 0.5 * jitter)
