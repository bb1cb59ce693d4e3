"""The caps of credits that a batch keeps to."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from decimal import Decimal

from .._core.intents.budget import Budget, Credits
from ..errors import BudgetExceeded


class BatchBudget:
    """The batch's own cap, ``max_credits``, and one that it shares with others, ``shared``; each may be None.

    An item that will not fit is refused at once. One that fits if credits that are reserved now are not spent
    waits until that is known.
    """

    def __init__(self, max_credits: Credits | None, shared: Budget | None = None) -> None:
        self._own = None if max_credits is None else Budget(max_credits)
        self._budgets = [budget for budget in (self._own, shared) if budget is not None]

    @property
    def counts_earlier_runs(self) -> bool:
        """Whether there is a cap that what earlier runs spent counts against."""
        return self._own is not None

    def count(self, credits: Decimal) -> None:
        """Count credits that were spent or put at risk in earlier runs against the batch's own cap."""
        if self._own is not None:
            self._own.count(credits)

    def refusal(self, credits: Decimal) -> BudgetExceeded | None:
        """Why this much will not fit, whatever becomes of what is reserved now; None where it may."""
        for budget in self._budgets:
            if budget.exhausted(credits):
                try:
                    budget.reserve(credits)
                except BudgetExceeded as error:
                    return error
        return None

    async def reserve(self, credits: Decimal) -> None:
        """Set this much aside in every cap. Raises `BudgetExceeded` where it will not fit."""
        while (error := self.refusal(credits)) is None:
            if not any(budget.must_wait(credits) for budget in self._budgets):
                for budget in self._budgets:
                    budget.reserve(credits)
                return
            await self._released()
        raise error

    async def _released(self) -> None:
        """Wait until a reservation of one of the caps ends, be it this batch's own or another's."""
        released = asyncio.Event()
        with ExitStack() as listening:
            for budget in self._budgets:
                listening.enter_context(budget.notifying(released.set))
            await released.wait()

    def release(self, credits: Decimal, *, spent: bool) -> None:
        """End a reservation: the credits were (or may have been) spent, or surely not."""
        for budget in self._budgets:
            budget.release(credits, spent=spent)
