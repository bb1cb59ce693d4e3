"""An outage says since when requests get no usable answer, and why."""

from __future__ import annotations

import pytest

from hoox_async._core.trouble import NO_ANSWER, Outage, outage_after
from hoox_async.errors import ApiError, HooxError, NotSent, ServerError, TransportError, UnexpectedResponse


def test_a_refusal_is_an_answer() -> None:
    """A refusal by the API is a usable answer; no connection, no answer, 5xx and nonsense are none."""
    assert set(NO_ANSWER) == {NotSent, TransportError, ServerError, UnexpectedResponse}
    assert not issubclass(ApiError, NO_ANSWER)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NotSent("the connection was refused"), "no answer for 20 s (the connection was refused)"),
        (TransportError("the connection was cut"), "no answer for 20 s (the connection was cut)"),
        (ServerError(502, "Bad Gateway"), "no usable answer for 20 s (HTTP 502: Bad Gateway)"),
        (UnexpectedResponse("not JSON", status=200), "no usable answer for 20 s (not JSON)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_the_text_says_how_long_and_why(error: HooxError, text: str) -> None:
    """The text has the seconds and the error's words, and tells no answer from one that is not usable."""
    assert outage_after(error, since=10.0).text(30.4) == text


def test_a_clock_that_was_set_back_gives_no_negative_time() -> None:
    """The seconds of an outage are never below 0."""
    assert Outage(10.0, "x").text(9.0) == "no answer for 0 s (x)"
