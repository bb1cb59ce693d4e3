"""The budgets of a session's callers, and the credits that an attempt reserves in them."""

from __future__ import annotations

import asyncio
import math
from contextlib import ExitStack
from decimal import Decimal

from ..._api.requests import FREE
from ..._core.intents.budget import Budget, Credits, undecided_charge
from ..._core.intents.intent import IntentState
from ..._io.ledger.ledger import Ledger
from ...errors import BudgetExceeded, StoreError


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


_READ_AGAIN = 1.0  # seconds; as often a budget is read while other processes may give back credits


class AttemptBudget:
    """Where an attempt reserves its credits: under a cap of its own, in a budget of several users, or both.

    ``max_credits`` and ``budget`` may each be None. Credits that cannot fit raise `BudgetExceeded` at once.
    Where it ``waits``, those that fit only if credits that are reserved now, by any process, are not spent
    wait until that is known. Of a budget with a name, the store has the last word.
    """

    def __init__(
        self,
        budgets: SessionBudgets,
        budget: Budget | None,
        max_credits: Credits | None = None,
        *,
        waits: bool,
    ) -> None:
        self._budgets = budgets
        self._budget = budget
        self._own = None if max_credits is None else Budget(max_credits)
        self._caps = [cap for cap in (self._own, budget) if cap is not None]
        self._waits = waits
        self._read_at = -math.inf

    def name_to_charge(self, earlier: str | None) -> str | None:
        """The name of the budget that the store charges; ``earlier``: that of a POST which is sent again."""
        return earlier if self._budget is None else self._budget.name

    @property
    def counts_earlier_runs(self) -> bool:
        """Whether the credits of earlier runs count against a cap."""
        return self._own is not None

    def count(self, credits: Decimal) -> None:
        """Count credits that were spent or put at risk in earlier runs against its own cap."""
        if self._own is not None:
            self._own.count(credits)

    def exceeded_by(self, credits: Decimal) -> BudgetExceeded | None:
        """Why this much cannot fit, even if no present reservation is spent; None where it may fit."""
        return next((cap.exceeded_by(credits) for cap in self._caps if cap.exhausted(credits)), None)

    def exceeded_for_good_by(self, credits: Decimal) -> BudgetExceeded | None:
        """As `exceeded_by`; None also where others may have given back what the store has charged."""
        return None if self._store_decides else self.exceeded_by(credits)

    def may_fit_later(self, credits: Decimal) -> bool:
        """Whether what the store has just not charged may fit once others have given back credits.

        False where the budget could not be read since: what was read before would allow it again at once.
        """
        was_read = self._budget is not None and self._budget.was_read
        return self._store_decides and was_read and self.exceeded_by(credits) is None

    @property
    def _store_decides(self) -> bool:
        return self._budget is not None and self._budget.name is not None

    async def reserve(self, credits: Decimal) -> None:
        """Reserve this much in every cap. Raises `BudgetExceeded` where it cannot fit."""
        while True:
            fits = all(cap.allows(credits) for cap in self._caps)
            if self.exceeded_by(credits) is not None or not (fits or self._waits):
                await self.refresh()
            if (error := self.exceeded_by(credits)) is not None:
                raise error
            if not self._waits or not any(cap.must_wait(credits) for cap in self._caps):
                for cap in self._caps:
                    cap.reserve(credits)
                return
            await self._changed()

    async def _changed(self) -> None:
        """Wait until a reservation in one of the caps ends, of this caller or of another user of the cap."""
        changed = asyncio.Event()
        with ExitStack() as listening:
            for cap in self._caps:
                listening.enter_context(cap.notifying(changed.set))
            others = self._budget is not None and self._budget.waits_for_others
            try:
                async with asyncio.timeout_at(self._read_at + _READ_AGAIN if others else None):
                    await changed.wait()
                return
            except TimeoutError:
                pass
        await self.refresh()

    def charge(self, credits: Decimal) -> None:
        """The store has charged this much of what is reserved."""
        for cap in self._caps:
            cap.charge(credits)

    def release(self, credits: Decimal, *, spent: bool, charged: bool = False) -> None:
        """End a reservation: the credits were (or may have been) spent, or certainly not.

        ``charged``: `charge` was called for it.
        """
        for cap in self._caps:
            if charged:
                cap.charge(-credits)
            cap.release(credits, spent=spent)

    async def refresh(self) -> None:
        """Read again what the store has charged: others may have charged it too."""
        await self._budgets.refresh(self._budget)
        self._read_at = asyncio.get_running_loop().time()
