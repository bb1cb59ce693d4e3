"""The budgets of a session's callers: those with a name are kept in its store."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ..._core.intents.budget import Budget
from ..._io.protocols import Store
from ...errors import StoreError


class SessionBudgets:
    """Keeps `Budget` objects with a name up to date with what the store has.

    The store decides with each sending whether the cap allows it. A budget in a process only decides which
    items wait and which need not try.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._token = object()
        self._opening = asyncio.Lock()

    def check(self, budget: Budget | None) -> None:
        """Raise `ConfigurationError` where the budget cannot hold for all that use the store."""
        if budget is not None and self._store.is_shared:
            budget.require_name()

    async def open(self, budget: Budget | None) -> None:
        """Create the budget in the store where it does not exist, and read what was charged.

        Raises `ConfigurationError` also where the stored cap is another one, and `StoreError`.
        """
        self.check(budget)
        if budget is None or budget.name is None or budget.is_used_by(self._token):
            return
        async with self._opening:
            if not budget.is_used_by(self._token):
                budget.require_idle()
                cap, spent = budget.max_credits, budget.initial_spent
                stored = await self._store.open_budget(budget.name, cap, spent)
                stored.require_cap(cap)
                budget.bind(self._token, stored)

    async def refresh(self, budget: Budget | None) -> None:
        """Read again what was charged, by this process and others. Does nothing where the store fails."""
        if budget is None or budget.name is None:
            return
        with suppress(StoreError):
            while True:
                releases = budget.releases
                stored = await self._store.budget(budget.name)
                if releases == budget.releases:  # else it is not known whether that is in what was read
                    break
            if stored is not None:
                budget.update(stored)
