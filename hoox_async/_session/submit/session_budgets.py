"""The budgets of a session's callers: those with a name are kept in its store."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from ..._api.requests import FREE
from ..._core.intents.budget import Budget, undecided_charge
from ..._core.intents.intent import IntentState
from ..._io.ledger.ledger import Ledger
from ...errors import StoreError


class SessionBudgets:
    """Keeps `Budget` objects with a name up to date with what the store has.

    The store decides with each sending whether the cap allows it. A budget in a process only decides which
    items wait and which need not try.
    """

    def __init__(self, store: Ledger) -> None:
        self._store = store
        self._token = object()
        self._opening = asyncio.Lock()
        self._reading = asyncio.Lock()

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
        """Read again what was charged, by this process and others. Does nothing where the store fails.

        Of several callers at the same time one reads for all.
        """
        if budget is None or budget.name is None:
            return
        readings = budget.readings
        async with self._reading:
            if budget.readings != readings:
                return
            try:
                await self._read(budget, budget.name)
            except StoreError:
                budget.was_read = False
            budget.readings += 1

    async def _read(self, budget: Budget, name: str) -> None:
        while True:
            releases = budget.releases
            stored = await self._store.budget(name)
            undecided = await self._undecided(name)
            # else it is not known what is in what was read
            if releases == budget.releases and (not undecided or stored == await self._store.budget(name)):
                break
        if stored is None:  # a backup was restored that lacks it, or a failover has lost it
            budget.update_missing()
        else:
            budget.update(stored, undecided)

    async def _undecided(self, name: str) -> Decimal:
        """What is charged for outstanding POSTs of all processes."""
        if not self._store.is_shared:
            return FREE
        outstanding = await self._store.in_states({IntentState.SENDING})
        return sum((undecided_charge(intent, name) for intent in outstanding), FREE)
