"""The credit caps of a batch."""

from __future__ import annotations

import asyncio
import math
from contextlib import ExitStack
from decimal import Decimal

from .._core.intents.budget import Budget, Credits
from .._session.submit import SessionBudgets
from ..errors import BudgetExceeded

_READ_AGAIN = 1.0  # seconds; as often a budget is read while other processes may give back credits


class BatchBudget:
    """The batch's own cap, ``max_credits``, and one that it shares with others, ``shared``; each may be None.

    An item that cannot fit is refused at once. One that fits only if credits that are reserved now, by any
    process, are not spent waits until that is known. Of a budget with a name, the store has the last word:
    see `AttemptBudget`.
    """

    def __init__(
        self, max_credits: Credits | None, shared: Budget | None = None, stored: SessionBudgets | None = None
    ) -> None:
        self._own = None if max_credits is None else Budget(max_credits)
        self._shared = shared
        self._stored = stored
        self._budgets = [budget for budget in (self._own, shared) if budget is not None]
        self._read_at = -math.inf

    def name_to_charge(self, earlier: str | None) -> str | None:
        """The name of the budget that the store charges: the batch's, or else that of the earlier POST."""
        return earlier if self._shared is None else self._shared.name

    @property
    def counts_earlier_runs(self) -> bool:
        """Whether the credits of earlier runs count against a cap."""
        return self._own is not None

    def count(self, credits: Decimal) -> None:
        """Count credits that were spent or put at risk in earlier runs against the batch's own cap."""
        if self._own is not None:
            self._own.count(credits)

    def refusal(self, credits: Decimal) -> BudgetExceeded | None:
        """Why this much cannot fit, even if no present reservation is spent; None where it may fit."""
        for budget in self._budgets:
            if budget.exhausted(credits):
                try:
                    budget.reserve(credits)
                except BudgetExceeded as error:
                    return error
        return None

    @property
    def _store_decides(self) -> bool:
        return self._shared is not None and self._shared.name is not None

    def may_fit_later(self, credits: Decimal) -> bool:
        """Whether what the store has just refused to charge may fit once others have given back credits.

        False where the budget could not be read since: what was read before would allow it again at once.
        """
        was_read = self._shared is not None and self._shared.was_read
        return self._store_decides and was_read and self.refusal(credits) is None

    def refusal_for_good(self, credits: Decimal) -> BudgetExceeded | None:
        """As `refusal`; None also where others may have given back what the store has charged."""
        return None if self._store_decides else self.refusal(credits)

    async def reserve(self, credits: Decimal) -> None:
        """Reserve this much in every cap. Raises `BudgetExceeded` where it cannot fit."""
        while True:
            if self.refusal(credits) is not None:
                await self.refused()
            if (error := self.refusal(credits)) is not None:
                raise error
            if not any(budget.must_wait(credits) for budget in self._budgets):
                for budget in self._budgets:
                    budget.reserve(credits)
                return
            await self._changed()

    async def _changed(self) -> None:
        """Wait until a reservation in one of the caps ends, of this batch or of another user of the cap."""
        changed = asyncio.Event()
        with ExitStack() as listening:
            for budget in self._budgets:
                listening.enter_context(budget.notifying(changed.set))
            others = self._shared is not None and self._shared.waits_for_others
            try:
                async with asyncio.timeout_at(self._read_at + _READ_AGAIN if others else None):
                    await changed.wait()
                return
            except TimeoutError:
                pass
        await self.refused()

    def charge(self, credits: Decimal) -> None:
        """The store has charged this much of what is reserved."""
        for budget in self._budgets:
            budget.charge(credits)

    def release(self, credits: Decimal, *, spent: bool, charged: bool = False) -> None:
        """End a reservation: the credits were (or may have been) spent, or certainly not."""
        for budget in self._budgets:
            budget.release(credits, spent=spent, charged=charged)

    async def refused(self) -> None:
        """Read again what the store has charged."""
        if self._stored is not None:
            await self._stored.refresh(self._shared)
        self._read_at = asyncio.get_running_loop().time()
