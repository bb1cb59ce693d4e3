"""What an idle process costs the database, however many workspaces it has open.

`benchmarks/processes.py` measures the same on a real server by the clock.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any, Literal
from unittest.mock import patch

import attrs
import pytest
from internals_kit import Coordination, execute_message
from postgres_kit import Server
from shared_memory_kit import MemoryDatabase, SharedMemory, no_fault
from store_kit import WORKSPACE

from hoox_async import HooxSession
from hoox_async._io.ledger import postgres
from hoox_async.postgres import PostgresDatabase
from hoox_async.sandbox import InProcessTransport, Space

MINUTE = 60.0


async def statements_of_an_idle_minute(workspaces: int) -> Counter[str]:
    """The statements that one process makes in a minute in which its sessions do nothing, by their names."""
    counted: Counter[str] = Counter()

    async def count(moment: Literal["before", "after"], name: str) -> None:
        counted[name] += moment == "before"

    space = Space(requests_per_minute=None)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(MemoryDatabase(SharedMemory()))
        for number in range(workspaces):
            store = database.workspace(f"workspace {number}")
            session = HooxSession(space.api_key, transport=InProcessTransport(space), store=store)
            await stack.enter_async_context(session)
        await asyncio.sleep(20.0)  # what follows an opening is over
        database.fault = count
        await asyncio.sleep(MINUTE)
        database.fault = no_fault
    return counted


@pytest.mark.virtual_time
async def test_fifty_idle_workspaces_cost_as_much_as_one() -> None:
    """An idle minute takes as many statements with 50 sessions as with one: at most 5 a second."""
    of_one, of_fifty = [await statements_of_an_idle_minute(workspaces) for workspaces in (1, 50)]
    assert of_fifty == of_one
    assert 0 < of_fifty.total() <= 5 * MINUTE


async def messages_of_each_turn(url: str, schema: str, workspaces: int) -> dict[str, int]:
    """How many messages each turn of a process's background work sends to a server. Its tasks are ended.

    They are the turns after the first, which reads what was there when the workspaces were opened.
    """
    sent = 0

    async def counted(*message: Any) -> Any:
        nonlocal sent
        sent += 1
        return await execute_message(*message)

    found = {}
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(PostgresDatabase(url, schema=schema))
        member = database.require_member()
        await member.stop()
        member._is_beginning = True  # no first turn by itself when a workspace is opened
        for number in range(workspaces):
            store = database.workspace(f"workspace {number}")
            await store.open(attrs.evolve(WORKSPACE, hooks="hooks"))
            stack.push_async_callback(store.aclose)
            store.tell_by(lambda _: None, lambda: True)
            store.coordinate(Coordination(lambda: True, lambda _: None, lambda _: None))
        turns = (member.renew, member._sweep, member._feed.read, member._restore, member._leaders.coordinate)
        with patch.object(postgres, "execute_message", counted):
            for turn in (*turns, *turns):
                sent = 0
                await turn()
                found[turn.__name__] = sent
    return found


async def test_a_turn_is_as_many_messages_for_ten_workspaces_as_for_one(
    postgres_url: str, postgres_schema: str
) -> None:
    """On a server too, each turn of a process's work sends as many messages for one workspace and for ten.

    It is the process that polls for all of them, which has most to do. No turn sends more than two.
    """
    of_one = await messages_of_each_turn(postgres_url, postgres_schema, 1)
    of_ten = await messages_of_each_turn(postgres_url, postgres_schema, 10)
    assert of_ten == of_one
    assert max(of_one.values()) == 2


async def test_a_process_has_at_most_six_connections(postgres: Server, postgres_schema: str) -> None:
    """However many workspaces it opens at once, a process has at most ``max_connections`` connections."""
    url = f"{postgres.url}&application_name={postgres_schema}"
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(PostgresDatabase(url, schema=postgres_schema))
        stores = [database.workspace(f"workspace {number}") for number in range(20)]
        for store in stores:
            stack.push_async_callback(store.aclose)
        await asyncio.gather(*(store.open(WORKSPACE) for store in stores))
        with postgres.connect() as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", (postgres_schema,)
            ).fetchone()
    assert 2 <= row[0] <= 6
