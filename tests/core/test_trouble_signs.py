"""Which trouble follows from what was seen, of two signs the cause alone; and what an outage says."""

from __future__ import annotations

import math

import pytest

from hoox_async import Trouble
from hoox_async._core.trouble import (
    AWAY_AFTER,
    NO_ANSWER,
    STALE,
    Outage,
    Sign,
    Signs,
    find_trouble,
    outage_after,
)
from hoox_async.errors import ApiError, HooxError, NotSent, ServerError, TransportError, UnexpectedResponse

NOW = 1000.0
WELL = Signs(
    now=NOW, seen=(), silent=False, key_refused=False, throttled_since=None, paused_until=-math.inf,
    used_by_others=0, limit=100, undelivered=0, unsettled=1, unpolled_since=None, served_at=NOW,
    store_seconds=0.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("last_write", "seconds", "word"),
    [
        (None, math.inf, Trouble.STORE_AWAY),
        (None, AWAY_AFTER, Trouble.STORE_AWAY),
        (None, 3.0, Trouble.STORE_SLOW),
        (Trouble.STORE_SLOW, math.inf, Trouble.STORE_AWAY),
        (Trouble.STORE_AWAY, 0.1, Trouble.STORE_AWAY),
        (Trouble.STORE_FULL, math.inf, Trouble.STORE_FULL),
    ],
)
def test_a_store_that_was_not_read(last_write: Trouble | None, seconds: float, word: Trouble) -> None:
    """One that fails, or does not answer for 10 s, is away, before that slow. One that is full says so."""
    sign = None if last_write is None else Sign(last_write, NOW)
    assert find_trouble(WELL._replace(unsettled=None, store_seconds=seconds, seen=(sign,))) == {word}


def test_of_two_signs_of_the_api_the_later_one_counts() -> None:
    """A connection that was cut as the API went down says less than those that it refuses now."""
    cut, refused = Sign(Trouble.API_SILENT, NOW - 5.0), Sign(Trouble.API_UNREACHABLE, NOW - 1.0)
    assert find_trouble(WELL._replace(seen=(refused, cut))) == {Trouble.API_UNREACHABLE}
    assert find_trouble(WELL._replace(seen=(refused, cut), now=NOW + STALE)) == set()


def test_what_follows_from_a_cause_is_no_word() -> None:
    """Without an answer of the API nobody polls, and without a store no delivery is taken: only the cause."""
    unpolled = WELL._replace(unpolled_since=NOW - 60.0)
    failing = (Sign(Trouble.API_FAILING, NOW),)
    assert find_trouble(unpolled) == {Trouble.NOBODY_POLLS}
    assert find_trouble(unpolled._replace(seen=failing)) == {Trouble.API_FAILING}
    assert find_trouble(unpolled._replace(key_refused=True)) == {Trouble.KEY_REFUSED}
    assert find_trouble(unpolled._replace(served_at=NOW - 61.0)) == set()
    assert find_trouble(WELL._replace(undelivered=3)) == {Trouble.NO_DELIVERIES}
    assert find_trouble(WELL._replace(undelivered=3, store_seconds=math.inf)) == {Trouble.STORE_AWAY}


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
