"""What a write of an intent does to the budgets of a store, for the stores that decide that in Python."""

from __future__ import annotations

from collections.abc import Callable

from ..._api.requests import FREE
from ..._core.intents.budget import StoredBudget
from ..._core.intents.budget_charges import charge_changes
from ..._core.intents.intent import Intent


def charged_budgets(
    stored: Callable[[str], StoredBudget | None], before: Intent | None, after: Intent
) -> dict[str, StoredBudget]:
    """The budgets that the change from ``before`` to ``after`` changes, by name, as they are after it.

    Raises `BudgetExceeded` where it charges more than a cap allows.
    """
    changed: dict[str, StoredBudget] = {}
    for name, change in charge_changes(before, after).items():
        budget = stored(name) or StoredBudget(name, FREE, FREE)  # none: nothing fits
        charged = budget.charged + change
        if change > 0 and charged > budget.max_credits:
            raise budget.exceeded_by(change)
        changed[name] = budget._replace(charged=charged)
    return changed
