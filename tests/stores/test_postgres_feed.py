"""The feed of changes over a real database into which the dump of another one was restored."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from internals_kit import Coordination
from postgres_kit import Server
from shared_store_kit import PostgresWorld
from store_kit import planned, send

from hoox_async._io.ledger.transaction import Rows


@pytest.fixture
async def world(postgres: Server, postgres_url: str, postgres_schema: str) -> AsyncIterator[PostgresWorld]:
    """A database that processes share."""
    async with AsyncExitStack() as stack:
        yield PostgresWorld(stack, postgres, postgres_url, postgres_schema)


async def test_what_was_restored_from_another_server_is_not_read_again_and_again(
    world: PostgresWorld,
) -> None:
    """Rows of a dump have numbers that this server has not reached yet: they are no changes."""
    a, b = await world.process(), await world.process()
    await a.store.plan(planned("a"))
    heard: list[str] = []
    b.store.on_changed_elsewhere(lambda intent: heard.append(intent.key))
    await b.read_changes()
    heard.clear()
    world.execute(f"UPDATE \"{world.schema}\".intents SET changed_in = '900000000000'::xid8")
    await b.read_changes()
    await b.read_changes()
    assert heard == []
    await a.store.advance("a", send("att_a"))
    await b.read_changes()
    assert heard == ["a"]


async def test_many_changes_are_read_in_pages_and_none_is_lost(
    world: PostgresWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop has a turn after every fifty changes. What is changed between two pages is heard of."""
    a, b = await world.process(), await world.process()
    keys = [f"k{number:03}" for number in range(125)]
    await asyncio.gather(*(a.store.plan(planned(key)) for key in keys))
    heard, turns = list[tuple[int, str]](), 0
    b.store.on_changed_elsewhere(lambda intent: heard.append((turns, f"{intent.key} {intent.state}")))

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    page, pages = b.member._feed._page, 0

    async def change_between(*asked: Any) -> Rows:
        nonlocal pages
        pages += 1
        if pages == 2:
            for key in (keys[0], keys[-1]):
                await a.store.advance(key, send(f"att_{key}"))
        return await page(*asked)

    monkeypatch.setattr(b.member._feed, "_page", change_between)
    counting = asyncio.create_task(count_turns())
    await b.read_changes()
    assert pages == 3
    await b.read_changes()
    counting.cancel()
    assert max(Counter(turn for turn, _ in heard).values()) <= 50
    told = Counter(what for _, what in heard)
    assert set(told.values()) == {1}
    assert {f"{key} planned" for key in keys[:-1]} <= set(told)
    assert {f"{key} sending" for key in (keys[0], keys[-1])} <= set(told)


async def test_the_limit_that_a_closed_session_stated_binds_nobody_any_more(world: PostgresWorld) -> None:
    """Where its process lives on, others need not go by the low limit of a session that is closed."""
    a, b = await world.process(), await world.process()
    for process, limit in ((a, 10), (b, 100)):
        permits = process.store.shared_permits
        assert permits is not None
        reserved = await permits.reserve(limit, 60.0, 20.0)
        assert reserved.limit == 10
    part = Coordination(lambda: False, lambda _: None, lambda _: None)
    a.store.coordinate(part)
    await a.store.aclose()
    permits = b.store.shared_permits
    assert permits is not None
    assert (await permits.reserve(100, 60.0, 20.0)).limit == 100
