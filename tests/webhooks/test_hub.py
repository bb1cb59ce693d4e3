"""The hub: what it answers and whom it asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from internals_kit import Delivery
from webhook_kit import FOREIGN, READY, Session, chunked, hub, token_of

from hoox_async import LookStatus
from hoox_async.errors import StoreError

pytestmark = pytest.mark.both_loops


async def test_a_delivery_reaches_the_session_that_knows_its_attempt() -> None:
    """The receiver gets the attempt and the delivery, and the API gets 200."""
    a_hub, session = hub(), Session("a1")
    a_hub.subscribe(session)
    assert await a_hub.handle(token_of(a_hub, "a1"), READY) == 200
    assert session.calls == [("a1", Delivery("look_1", LookStatus.READY, None, "https://m.example/1"))]


def test_the_url_of_an_attempt_is_below_the_public_url() -> None:
    """The URL of an attempt is the public URL and a token, which begins with the attempt's id."""
    assert hub().url_for("a1").startswith("https://example.com/hooks/hoox/a1.")


async def test_a_delivery_goes_to_the_first_subscriber_that_knows_its_attempt() -> None:
    """Subscribers are asked in turn, and none after the first that knows it."""
    a_hub, first, second, third = hub(), Session(), Session("a1"), Session("a1")
    for session in (first, second, third):
        a_hub.subscribe(session)
    assert await a_hub.handle(token_of(a_hub, "a1"), READY) == 200
    assert [len(session.calls) for session in (first, second, third)] == [1, 1, 0]


async def test_a_delivery_for_an_unknown_attempt_is_answered_503() -> None:
    """A delivery for an unknown attempt is 503, so that the API's retry may reach the right process."""
    a_hub = hub()
    assert await a_hub.handle(token_of(a_hub, "a1"), READY) == 503
    a_hub.subscribe(Session("a2"))
    assert await a_hub.handle(token_of(a_hub, "a1"), READY) == 503


async def test_a_session_that_unsubscribed_gets_no_delivery() -> None:
    """Unsubscribing works once and ends one subscription only, also if a receiver subscribed twice."""
    a_hub, session = hub(), Session("a1")
    unsubscribe, unsubscribe_again = a_hub.subscribe(session), a_hub.subscribe(session)
    unsubscribe()
    unsubscribe()
    assert await a_hub.handle(token_of(a_hub, "a1"), READY) == 200
    unsubscribe_again()
    assert await a_hub.handle(token_of(a_hub, "a1"), READY) == 503


@pytest.mark.parametrize("error", [StoreError("disk full"), RuntimeError("a bug"), TimeoutError("its own")])
async def test_a_delivery_is_answered_503_if_its_receiver_raises(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """A delivery whose receiver raises is 503, and the error is logged without the token."""
    a_hub = hub()

    async def fails(attempt_id: str, delivery: Delivery) -> bool:
        raise error

    a_hub.subscribe(fails)
    token = token_of(a_hub, "a1")
    assert await a_hub.handle(token, READY) == 503
    assert str(error) in caplog.text
    assert token not in caplog.text
    a_hub.subscribe(Session("a1"))
    assert await a_hub.handle(token, READY) == 200


async def test_an_invalid_token_is_404_before_anything_else() -> None:
    """A delivery with an invalid token is 404: no subscriber is asked, and its body is not read."""
    a_hub, session, reads = hub(), Session("a1"), []
    a_hub.subscribe(session)
    good = token_of(a_hub, "a1")

    async def untouched() -> AsyncIterator[bytes]:
        reads.append("the body was read")
        yield READY

    for token in (
        "",
        "a1",
        good[:-1],
        good + "A",
        good.replace("a1", "a2"),
        "a1." + "A" * 43,
        "\ud800",
        "../",
    ):
        assert await a_hub.handle(token, READY) == 404
        assert await a_hub.handle_stream(token, untouched()) == 404
    assert session.calls == []
    assert reads == []


async def test_a_delivery_about_another_kind_of_task_is_acknowledged_and_dropped() -> None:
    """A delivery about another kind of task is acknowledged, as a retry would not help, and dropped."""
    a_hub, session = hub(), Session("a1")
    a_hub.subscribe(session)
    assert await a_hub.handle(token_of(a_hub, "a1"), FOREIGN) == 200
    assert session.calls == []


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1]", b'{"job_id": 7, "status": "completed"}', b"[" * 200_000]
)
async def test_a_malformed_delivery_is_400(body: bytes) -> None:
    """A malformed delivery, whole or in pieces, is 400 and reaches no subscriber."""
    a_hub, session = hub(), Session("a1")
    a_hub.subscribe(session)
    token = token_of(a_hub, "a1")
    assert await a_hub.handle(token, body) == 400
    assert await a_hub.handle_stream(token, chunked(body[:100], body[100:])) == 400
    assert session.calls == []


async def test_a_body_that_is_too_long_is_413_and_not_read_to_its_end() -> None:
    """A body of more than 256 KiB, whole or in pieces, is 413, and an endless one is not read on."""
    a_hub, asked = hub(), 0
    token = token_of(a_hub, "a1")
    padded = READY + b" " * (256 * 1024 - len(READY))
    a_hub.subscribe(Session("a1"))

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield b" " * 100_000

    assert await a_hub.handle(token, padded) == 200
    assert await a_hub.handle_stream(token, chunked(padded[:9], padded[9:])) == 200
    assert await a_hub.handle(token, padded + b" ") == 413
    assert await a_hub.handle_stream(token, chunked(padded, b" ")) == 413
    body = endless()
    assert await a_hub.handle_stream(token, body) == 413
    assert asked == 3


async def test_an_incomplete_body_is_400() -> None:
    """A client that disconnects in the middle causes no error."""
    a_hub = hub()

    async def broken() -> AsyncIterator[bytes]:
        yield READY[:10]
        raise ConnectionResetError

    assert await a_hub.handle_stream(token_of(a_hub, "a1"), broken()) == 400


@pytest.mark.virtual_time
async def test_a_delivery_has_a_time_limit() -> None:
    """A delivery whose body is too slow is 408, and one whose receiver hangs is 503."""
    a_hub, loop = hub(answer_within=5.0), asyncio.get_running_loop()
    cancelled = asyncio.Event()

    async def trickle() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(1)
            yield b" "

    async def hangs(attempt_id: str, delivery: Delivery) -> bool:
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()
        return True

    a_hub.subscribe(hangs)
    token, started = token_of(a_hub, "a1"), loop.time()
    assert await a_hub.handle_stream(token, trickle()) == 408
    assert await a_hub.handle(token, READY) == 503
    assert cancelled.is_set()
    assert loop.time() - started == pytest.approx(10.0)


async def test_no_more_than_max_in_flight_deliveries_are_received_at_once() -> None:
    """Deliveries beyond ``max_in_flight`` are answered 503 until one of the others is done."""
    a_hub, go = hub(max_in_flight=2), asyncio.Event()

    async def waits(attempt_id: str, delivery: Delivery) -> bool:
        await go.wait()
        return True

    a_hub.subscribe(waits)
    token = token_of(a_hub, "a1")
    running = [asyncio.ensure_future(a_hub.handle(token, READY)) for _ in range(2)]
    await asyncio.sleep(0)
    assert await a_hub.handle(token, READY) == 503
    go.set()
    assert await asyncio.gather(*running) == [200, 200]
    assert await a_hub.handle(token, READY) == 200


async def test_closing_waits_for_deliveries_that_are_being_received() -> None:
    """New ones are 503 at once; the running one ends before `aclose` returns; the hub can be reopened."""
    a_hub, go, order = hub(), asyncio.Event(), []

    async def waits(attempt_id: str, delivery: Delivery) -> bool:
        await go.wait()
        order.append("taken")
        return True

    a_hub.subscribe(waits)
    token = token_of(a_hub, "a1")
    async with a_hub:
        running = asyncio.ensure_future(a_hub.handle(token, READY))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(a_hub.aclose())
        also_closing = asyncio.ensure_future(a_hub.aclose())
        closing.add_done_callback(lambda _: order.append("closed"))
        await asyncio.sleep(0)
        assert await a_hub.handle(token, READY) == 503
        assert await a_hub.handle("bad", READY) == 404
        go.set()
        await asyncio.gather(closing, also_closing)
    assert order == ["taken", "closed"]
    assert await running == 200
    async with a_hub:
        assert await a_hub.handle(token, READY) == 200
    assert await a_hub.handle(token, READY) == 503


async def test_a_cancelled_delivery_does_not_count_as_in_flight() -> None:
    """A server cancels the handler of a client that disconnects; the next delivery is received."""
    a_hub, never = hub(max_in_flight=1), asyncio.Event()

    async def waits(attempt_id: str, delivery: Delivery) -> bool:
        return await never.wait()

    unsubscribe = a_hub.subscribe(waits)
    token = token_of(a_hub, "a1")
    running = asyncio.ensure_future(a_hub.handle(token, READY))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    unsubscribe()
    a_hub.subscribe(Session("a1"))
    assert await a_hub.handle(token, READY) == 200
    await a_hub.aclose()
