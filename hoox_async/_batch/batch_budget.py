"""The credits of a batch: reservations that wait for each other, up to the cap."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from .._core.intents.budget import Budget, Credits
from ..errors import BudgetExceeded


class BatchBudget:
    """An item that may still fit under the cap waits for the reservations before it to be decided."""

    def __init__(self, max_credits: Credits | None) -> None:
        self._budget = None if max_credits is None else Budget(max_credits)
        self._released = asyncio.Event()

    @property
    def capped(self) -> bool:
        """Whether there is a cap at all."""
        return self._budget is not None

    def count(self, credits: Decimal) -> None:
        """Credits that were spent or put at risk in earlier runs."""
        if self._budget is not None:
            self._budget.count(credits)

    def refusal(self, credits: Decimal) -> BudgetExceeded | None:
        """Why these will not fit, whatever happens; None where they may."""
        budget = self._budget
        if budget is None or not budget.exhausted(credits):
            return None
        try:
            budget.reserve(credits)
        except BudgetExceeded as error:
            return error
        return None

    async def reserve(self, credits: Decimal) -> None:
        """Set them aside. Raises `BudgetExceeded` where they will not fit, whatever happens."""
        budget = self._budget
        if budget is None:
            return
        while budget.must_wait(credits):
            self._released.clear()
            await self._released.wait()
        budget.reserve(credits)

    def release(self, credits: Decimal, *, spent: bool) -> None:
        """They were (or may have been) spent, or surely not."""
        if self._budget is not None:
            self._budget.release(credits, spent=spent)
            self._released.set()
