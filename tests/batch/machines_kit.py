"""Several "machines" on one shared store in memory, one workspace of the API and one virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import Any, Literal

from session_kit import store_of
from shared_memory_kit import MemoryDatabase, SharedMemory

from hoox_async import HooxSession
from hoox_async._core.intents.budget import charges
from hoox_async._core.intents.intent import Intent
from hoox_async.errors import StoreError
from hoox_async.sandbox import InProcessTransport, Space

LEASE = 10.0


class Machine:
    """One process: its database object and its session."""

    def __init__(self, space: Space, memory: SharedMemory, **options: Any) -> None:
        self.database = MemoryDatabase(memory, lease=LEASE)
        transport = InProcessTransport(space, **options.pop("transport", {}))
        options.setdefault("poll", "awaited")
        self.session = HooxSession(
            space.api_key, transport=transport, store=self.database.workspace("shop"), **options
        )

    async def kill(self, *working: asyncio.Task[Any]) -> None:
        """End it as SIGKILL does: nothing more is sent, and nothing reaches the store any more."""

        async def dead(_: Literal["before", "after"], __: str) -> None:
            raise StoreError("the process was killed")

        self.database.fault = dead
        await self.database.kill()
        for task in working:
            task.cancel()
        await asyncio.wait(working)


class Machines:
    """The machines of a test, the memory that they share, and the workspace of the API."""

    def __init__(self, stack: AsyncExitStack, space: Space) -> None:
        self._stack = stack
        self.space = space
        self.memory = SharedMemory()

    async def start(self, **options: Any) -> Machine:
        """One more machine, whose session is open."""
        machine = Machine(self.space, self.memory, **options)
        await self._stack.enter_async_context(machine.database)
        await self._stack.enter_async_context(machine.session)
        return machine

    def charged(self, name: str) -> Decimal:
        """What the store has charged to the budget."""
        (budget,) = [budget for budget in self.memory.budgets if budget.name == name]
        return budget.charged

    async def stored(self) -> list[Intent]:
        """All intents of the store."""
        reader = Machine(self.space, self.memory)
        async with reader.database, reader.session:
            return [intent async for intent in store_of(reader.session).stream()]

    async def check_books(self, **spent: Decimal) -> None:
        """Assert that each budget has charged what all intents charge to it, and not more than its cap.

        ``spent``: with what the budgets have begun.
        """
        intents = await self.stored()
        for budget in self.memory.budgets:
            sums = sum(charges(intent).get(budget.name, 0) for intent in intents)
            assert budget.charged == spent.get(budget.name, 0) + sums
            assert budget.charged <= budget.max_credits

    @property
    def unused_permits(self) -> float:
        """Which share of the quota's permits went unused."""
        (quota,) = self.memory.quotas.values()
        return quota.unused / max(1, quota.granted)


@asynccontextmanager
async def machines(space: Space) -> AsyncIterator[Machines]:
    async with AsyncExitStack() as stack:
        yield Machines(stack, space)
