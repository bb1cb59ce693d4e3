"""Where the credits of an attempt are set aside before it waits for its permit."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from ..._core.intents.budget import Budget


class Purse(Protocol):
    """Where the credits of an attempt are set aside before it waits for its permit."""

    async def reserve(self, credits: Decimal) -> None:
        """Set them aside. Raises `BudgetExceeded`."""

    def release(self, credits: Decimal, *, spent: bool) -> None:
        """They were (or may have been) spent, or surely not."""


class SinglePurse:
    """Of a single submission: its budget decides at once, and without one all is allowed."""

    def __init__(self, budget: Budget | None) -> None:
        self._budget = budget

    async def reserve(self, credits: Decimal) -> None:
        """See `Purse`."""
        if self._budget is not None:
            self._budget.reserve(credits)

    def release(self, credits: Decimal, *, spent: bool) -> None:
        """See `Purse`."""
        if self._budget is not None:
            self._budget.release(credits, spent=spent)
