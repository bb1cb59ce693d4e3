"""What is sent again after a failure: reads where it helps, paid requests if they surely cost nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_async._api.responses import api_error
from hoox_async._core.retry import NoRetry, Patience, Retry, decide_paid, decide_read
from hoox_async.errors import (
    AuthenticationError,
    BadRequest,
    HooxError,
    NotFound,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    ServerError,
    StoreError,
    TransportError,
    UnexpectedResponse,
)

REFUSED = RateLimited(429, "rate_limit_exceeded", "quota spent", retry_after=7.0)
PASSING = (NotSent("no connection"), TransportError("lost"), ServerError(503, "busy"))
FINAL = (
    BadRequest(400, None, "no"),
    NotFound(404, None, "no"),
    api_error(418, None, "no"),
    UnexpectedResponse("html"),
    StoreError("disk full"),
    OutcomeUnknown("dropped"),
    HooxError("?"),
)


def delays_of_read(error: HooxError, jitter: float = 0.5) -> list[float]:
    delays: list[float] = []
    while isinstance(decision := decide_read(len(delays) + 1, error, sum(delays), jitter), Retry):
        delays.append(decision.delay)
    return delays


def delays_of_paid(error: HooxError, patience: Patience, jitter: float = 0.5) -> list[float]:
    delays: list[float] = []
    while isinstance(decision := decide_paid(len(delays) + 1, error, sum(delays), patience, jitter), Retry):
        delays.append(decision.delay)
    return delays


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_a_read_is_tried_four_times_in_about_ten_seconds(error: HooxError) -> None:
    """A lost connection and a 5xx are tried again, later each time."""
    delays = delays_of_read(error)
    assert len(delays) == 3
    assert delays == sorted(delays)
    assert 8.0 <= sum(delays) <= 13.0


@pytest.mark.parametrize("error", FINAL, ids=lambda error: type(error).__name__)
def test_a_read_that_failed_for_good_is_not_repeated(error: HooxError) -> None:
    """Any other error of a read is not retried."""
    assert decide_read(1, error, 0.0, 0.5) == NoRetry()


def test_a_read_waits_as_long_as_the_server_asks() -> None:
    """Retry-After of a 5xx is the least delay; with one of more than a minute the read fails at once."""
    assert decide_read(1, ServerError(503, "busy", retry_after=20.0), 0.0, 0.5) == Retry(20.0)
    assert decide_read(1, ServerError(503, "busy", retry_after=0.0), 0.0, 0.5) == Retry(1.5)
    assert decide_read(1, ServerError(503, "busy", retry_after=600.0), 0.0, 0.5) == NoRetry()


def test_a_read_answered_with_429_is_tried_ten_times() -> None:
    """After a 429 the rate limiter pauses, so no delay is added; after ten of them the read fails."""
    assert delays_of_read(REFUSED) == [0.0] * 9


def test_a_read_is_not_repeated_after_two_minutes() -> None:
    """Two minutes after a read began its error is raised, however few its tries were."""
    assert decide_read(2, TransportError("too slow"), 121.0, 0.5) == NoRetry()


def test_a_single_submission_is_tried_four_times_in_seven_seconds() -> None:
    """A connection that cannot be made is tried four times where a caller waits for the answer."""
    assert delays_of_paid(NotSent("refused"), Patience.SINGLE) == [1.0, 2.0, 4.0]


def test_a_batch_item_is_connected_again_for_about_a_minute() -> None:
    """A batch's item survives a network that is down for a minute."""
    delays = delays_of_paid(NotSent("refused"), Patience.BATCH)
    assert 50.0 <= sum(delays) <= 75.0
    assert max(delays) <= 15.0


def test_a_batch_item_that_waited_long_at_the_rate_limiter_is_tried_again_all_the_same() -> None:
    """Time at the rate limiter is no failure: only tries count for a paid request."""
    assert isinstance(decide_paid(1, NotSent("refused"), 900.0, Patience.BATCH, 0.5), Retry)


@given(attempt=st.integers(1, 10_000), elapsed=st.floats(0, 1e6), jitter=st.floats(0, 1, exclude_max=True))
def test_a_paid_request_is_always_sent_again_after_a_429(attempt: int, elapsed: float, jitter: float) -> None:
    """A 429 alone never ends a paid request, whatever the number of tries or the time that has passed."""
    assert decide_paid(attempt, REFUSED, elapsed, Patience.SINGLE, jitter) == Retry(0.0)


@pytest.mark.parametrize("patience", Patience)
@pytest.mark.parametrize("error", [*FINAL, *PASSING[1:]], ids=lambda error: type(error).__name__)
def test_what_may_have_been_charged_is_never_sent_again(error: HooxError, patience: Patience) -> None:
    """A paid request that may have been received, or was refused, is not sent again."""
    assert decide_paid(1, error, 0.0, patience, 0.5) == NoRetry()


def test_a_submission_whose_max_wait_ended_is_not_retried() -> None:
    """A NotSent with retry_after is the rate limiter's: the caller's max_wait has ended, so it is raised."""
    assert (
        decide_paid(1, NotSent("the rate limiter is full", retry_after=3.0), 0.0, Patience.SINGLE, 0.5)
        == NoRetry()
    )


@given(jitter=st.floats(0, 1, exclude_max=True), attempt=st.integers(1, 3))
def test_jitter_moves_a_delay_by_a_quarter_at_most(jitter: float, attempt: int) -> None:
    """Delays spread around their nominal value, and never reach zero."""
    nominal = 1.5 * 2 ** (attempt - 1)
    decision = decide_read(attempt, TransportError("lost"), 0.0, jitter)
    assert isinstance(decision, Retry)
    assert 0.75 * nominal <= decision.delay <= 1.25 * nominal


KEY_REFUSED = AuthenticationError(401, "invalid_api_key", "no")


@pytest.mark.parametrize("error", [REFUSED, KEY_REFUSED], ids=lambda error: type(error).__name__)
def test_what_the_rate_limiter_has_ended_is_not_sent_again(error: HooxError) -> None:
    """A 429 or 401 is retried without delay until the rate limiter says that it is final."""
    assert decide_read(1, error, 0.0, 0.5) == Retry(0.0)
    assert decide_read(1, error, 0.0, 0.5, final=True) == NoRetry()
    assert decide_paid(0, error, 0.0, Patience.SINGLE, 0.5) == Retry(0.0)
    assert decide_paid(0, error, 0.0, Patience.SINGLE, 0.5, final=True) == NoRetry()


def test_a_401_that_the_key_check_does_not_confirm_is_tried_three_times() -> None:
    """A request that alone is answered with 401 fails at the third, or it would be retried for ever."""
    assert decide_read(3, KEY_REFUSED, 0.0, 0.5) == NoRetry()
    assert decide_paid(0, KEY_REFUSED, 0.0, Patience.BATCH, 0.5, key_refusals=2) == Retry(0.0)
    assert decide_paid(0, KEY_REFUSED, 0.0, Patience.BATCH, 0.5, key_refusals=3) == NoRetry()
