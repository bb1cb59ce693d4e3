"""Refused deliveries are logged, so that nobody waits for looks that were told of in vain."""

from __future__ import annotations

import asyncio

import pytest
from internals_kit import Delivery
from webhook_kit import READY, Session, hub, token_of

from hoox_async.errors import StoreError

pytestmark = pytest.mark.virtual_time


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if "rejected" in r.getMessage()]


async def test_a_refusal_says_why_and_not_the_token(caplog: pytest.LogCaptureFixture) -> None:
    """404 for a token that was signed by another secret, 503 for an attempt that nobody knows."""
    a_hub = hub()
    a_hub.subscribe(Session("a1"))
    good, bad = token_of(a_hub, "a2"), token_of(a_hub, "a1").replace("a1", "a3")
    assert await a_hub.handle(bad, READY) == 404
    await asyncio.sleep(2)
    assert await a_hub.handle(good, READY) == 503
    await asyncio.sleep(2)
    first, second = said(caplog)
    assert "1 with 404, no valid token" in first
    assert "1 with 503, no open session here knows the attempt" in second
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert good not in caplog.text
    assert bad not in caplog.text


async def test_a_flood_of_refusals_is_one_line_a_second_that_counts_them_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first is logged at once, the others together, and the last ones too once the flood is over."""
    a_hub, unknown = hub(), token_of(hub(), "a1")
    for _ in range(30):  # three seconds
        await a_hub.handle("bad", READY)
        await a_hub.handle(unknown, READY)
        await asyncio.sleep(0.1)
    await asyncio.sleep(5)
    lines = said(caplog)
    assert 4 <= len(lines) <= 5
    numbers = [int(part.split(" with ")[0]) for line in lines for part in line.split(": ", 1)[1].split("; ")]
    assert sum(numbers) == 60


async def test_while_the_store_is_away_deliveries_cost_one_line_a_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What its receiver cannot store, and what is not stored in time, is counted without a traceback."""
    a_hub = hub()
    hangs = asyncio.Event()

    async def receive(attempt_id: str, _: Delivery) -> bool:
        if attempt_id == "slow":
            await hangs.wait()
        raise StoreError("the database cannot be reached")

    a_hub.subscribe(receive)
    fast, slow = token_of(a_hub, "a1"), token_of(a_hub, "slow")
    async with asyncio.TaskGroup() as deliveries:
        for _ in range(100):  # ten seconds
            deliveries.create_task(a_hub.handle(slow, READY))
            assert await a_hub.handle(fast, READY) == 503
            await asyncio.sleep(0.1)
    await asyncio.sleep(5)
    lines = caplog.messages
    assert lines == said(caplog)
    assert len(lines) <= 17
    assert lines[0].endswith("1 with 503, it could not be stored: the database cannot be reached")
    assert any("with 503, not received within 5 s" in line for line in lines)
    assert not any(record.exc_info for record in caplog.records)


async def test_refusals_of_a_full_or_closed_hub_are_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    """Refusals of a full and of a closed hub are logged, and closing logs those that were counted only."""
    a_hub, go = hub(max_in_flight=1), asyncio.Event()

    async def waits(attempt_id: str, delivery: Delivery) -> bool:
        return await go.wait()

    a_hub.subscribe(waits)
    token = token_of(a_hub, "a1")
    running = asyncio.ensure_future(a_hub.handle(token, READY))
    await asyncio.sleep(0)
    assert await a_hub.handle(token, READY) == 503
    assert await a_hub.handle(token, READY) == 503
    go.set()
    await running
    await a_hub.aclose()
    assert [line.partition(": ")[2] for line in said(caplog)] == [
        "1 with 503, more than max_in_flight at a time"
    ] * 2
    assert await a_hub.handle(token, READY) == 503
    assert "the hub is closed" in said(caplog)[-1]


async def test_an_acknowledged_delivery_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A delivery that is acknowledged is not logged."""
    a_hub = hub()
    a_hub.subscribe(Session("a1"))
    assert await a_hub.handle(token_of(a_hub, "a1"), READY) == 200
    await a_hub.aclose()
    assert caplog.records == []


def test_a_hub_that_outlives_its_loop_goes_on_logging(caplog: pytest.LogCaptureFixture) -> None:
    """The timer of a loop that has ended never comes; the next loop has its own."""
    a_hub = hub()
    for _ in range(2):
        asyncio.run(a_hub.handle("bad", READY))
    assert len(said(caplog)) == 2
