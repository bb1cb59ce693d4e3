"""Real processes that share a batch over a real PostgreSQL, one of them killed with SIGKILL in the middle."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from postgres_kit import Server

from hoox_async import PromptAvatar, store_budget
from hoox_async.sandbox import Sandbox

pytestmark = pytest.mark.slow

ITEMS = 30
PRICE = PromptAvatar("a").credits
WORKER = """
import asyncio, json, sys
from decimal import Decimal
from hoox_async import BatchItem, BatchRunner, Budget, HooxSession, PromptAvatar
from hoox_async.postgres import PostgresDatabase

async def main(url, base_url, key, items, cap):
    requests = [BatchItem(f"k{n}", PromptAvatar(f"k{n}")) for n in range(int(items))]
    async with PostgresDatabase(url, lease=3.0) as database:
        store = database.workspace("shop")
        async with HooxSession(key, base_url=base_url, store=store, requests_per_minute=1200) as session:
            report = await BatchRunner(session, budget=Budget(cap, name="spring")).run(requests)
    print(json.dumps({outcome.key: [str(outcome.state), str(outcome.ref)] for outcome in report}))

asyncio.run(main(*sys.argv[1:]))
"""


class Campaign:
    """The sandbox, the database, and the processes that run the same batch."""

    def __init__(self, stack: AsyncExitStack, sandbox: Sandbox, url: str) -> None:
        self._stack = stack
        self.sandbox = sandbox
        self.url = url

    async def start(self, cap: int = 1_000) -> asyncio.subprocess.Process:
        words = [sys.executable, "-c", WORKER, self.url, self.sandbox.base_url, self.sandbox.api_key]
        process = await asyncio.create_subprocess_exec(
            *words, str(ITEMS), str(cap), stdout=asyncio.subprocess.PIPE
        )
        self._stack.push_async_callback(_end, process)
        return process

    async def charges(self, count: int) -> None:
        """Wait until so many looks were charged."""
        await _until(lambda: len(self.sandbox.ledger) >= count)

    @property
    def charged(self) -> Counter[str]:
        """How often each key was charged: its prompt is its key."""
        return Counter(str(charge.request["prompt"]) for charge in self.sandbox.ledger)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.communicate()


async def _until(true: Callable[[], object]) -> None:
    """Wait for it, a good while at most."""
    for _ in range(2_400):
        if true():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come")


async def _outcomes(process: asyncio.subprocess.Process) -> dict[str, list[str]]:
    out, _ = await process.communicate()
    assert process.returncode == 0
    found: dict[str, list[str]] = json.loads(out)
    return found


@asynccontextmanager
async def campaign(url: str) -> AsyncIterator[Campaign]:
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(
            Sandbox(speed=20.0, latency=0.2, requests_per_minute=1200, duration=lambda *_: 20.0)
        )
        yield Campaign(stack, sandbox, url)


async def test_two_processes_share_a_campaign_and_one_is_killed(
    postgres: Server, postgres_database: str
) -> None:
    """Nothing is charged twice, the survivor has all outcomes, and only what was outstanding is unknown."""
    async with campaign(postgres_database) as world:
        killed, survivor = await world.start(), await world.start()
        await world.charges(10)
        killed.kill()
        await killed.wait()
        outstanding = await _sent_by_process(postgres_database, killed.pid)
        found = await _outcomes(survivor)
        assert found.keys() == {f"k{n}" for n in range(ITEMS)}
        unknown = {key for key, (state, _) in found.items() if state == "unknown"}
        assert unknown <= outstanding
        assert {state for key, (state, _) in found.items() if key not in unknown} == {"ready"}
        assert set(world.charged.values()) == {1}
        assert found.keys() - unknown <= world.charged.keys()
        budget = await store_budget(postgres_database, "spring", workspace="shop")
        assert budget.charged == ITEMS * PRICE


async def test_a_process_that_comes_later_has_all_outcomes(postgres_database: str) -> None:
    """Both processes have all 30 looks, each of which was charged once."""
    async with campaign(postgres_database) as world:
        first = await world.start()
        await world.charges(5)
        later = await world.start()
        found, same = await _outcomes(first), await _outcomes(later)
        assert found == same
        assert {state for state, _ in found.values()} == {"ready"}
        assert world.charged == dict.fromkeys(found, 1)


async def test_two_processes_stay_within_a_budget_for_both(postgres_database: str) -> None:
    """With a cap for 12 of 30 items exactly 12 are charged, and both processes have these."""
    cap = int(12 * PRICE)
    async with campaign(postgres_database) as world:
        processes = [await world.start(cap), await world.start(cap)]
        for process in processes:
            states = Counter(state for state, _ in (await _outcomes(process)).values())
            assert states == {"ready": 12, "unsent": ITEMS - 12}
        assert len(world.sandbox.ledger) == 12
        budget = await store_budget(postgres_database, "spring", workspace="shop")
        assert budget.max_credits == budget.charged == cap


async def _sent_by_process(url: str, pid: int) -> set[str]:
    """The keys that this process was sending when it ended."""
    import psycopg

    sql = (
        "SELECT i.key FROM hoox.intents i JOIN hoox.members m ON m.id = i.member "
        "WHERE m.pid = %s AND i.state IN ('sending', 'unknown')"
    )
    async with await psycopg.AsyncConnection.connect(url) as connection:
        cursor: Any = await connection.execute(sql, (pid,))
        return {key for (key,) in await cursor.fetchall()}
