"""A cap of credits that submissions share, in one process or in a store, and what intents charge to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import NamedTuple

import attrs

from ..._api.requests import FREE
from ..._checks import argument, option
from ...errors import BudgetExceeded, ConfigurationError
from .intent import Intent, IntentState

Credits = Decimal | int | float | str


class StoredBudget(NamedTuple):
    """A named budget as a store has it: its cap in credits, and the credits that are charged to it.

    What may have been paid is charged as well.
    """

    name: str
    max_credits: Decimal
    charged: Decimal

    def require_cap(self, max_credits: Decimal) -> None:
        """Raise `ConfigurationError` where this is not the stored cap."""
        if self.max_credits != max_credits:
            cap = plain_credits(max_credits)
            raise ConfigurationError(
                f"the budget {self.name!r} has a cap of {plain_credits(self.max_credits)} credits in the "
                f"store, not {cap}: use that, or change it with "
                f"`hoox-async store budget {_typed(self.name)} --cap {cap} --store STORE`"
            )

    def exceeded_by(self, credits: Decimal, *, reserved: Decimal = FREE) -> BudgetExceeded:
        """The error of a sending that does not fit. ``reserved``: for what is about to be sent."""
        beside = f", {plain_credits(reserved)} reserved" if reserved else ""
        return BudgetExceeded(
            f"{plain_credits(credits)} credits more would exceed the cap of "
            f"{plain_credits(self.max_credits)} of the budget {self.name!r} "
            f"({plain_credits(self.charged)} charged, what may have been paid included{beside})"
        )


class Budget:
    """A cap of credits. What may have been paid counts as spent.

    Pass the same budget to several ``session.submit(…, budget=…)`` calls and batches
    (``BatchRunner(…, budget=…)``), and together they never exceed the cap. ``spent`` is where the
    count starts, for example what a customer has used before. Raises `ConfigurationError` for a cap or a
    start that is not a number from 0 on, and for a name that is none.

    Without a ``name`` it counts in this object. With one it is kept in the session's store, where it survives
    the process and holds for all processes that share the store. Its first use there creates it: only then
    ``spent`` counts. A later use with another cap raises `ConfigurationError`; ``hoox-async store budget NAME
    --cap N --store STORE`` changes the cap. One object with a name serves one session at a time; its
    ``spent`` and its cap are what the store had when they were last read.

    Your program can `reserve` credits in one without a name itself, for what is to be paid whole or not at
    all, and `release` them when it knows what became of them. ``left`` and ``reserved`` say how it stands.
    """

    def __init__(self, max_credits: Credits, *, name: str | None = None, spent: Credits = 0) -> None:
        self.max_credits: Decimal = option.credits("max_credits", max_credits)
        self.name: str | None = None if name is None else option.name("name", name, of="budget")
        self.spent: Decimal = option.credits("spent", spent)
        self.initial_spent: Decimal = self.spent
        self.reserved: Decimal = FREE
        self.releases: int = 0
        """How many reservations have ended."""
        self.readings: int = 0
        """How often it was read from the store, or was tried to."""
        self.was_read: bool = False
        """Whether the last of these succeeded, and the store had it."""
        self._charged: Decimal = FREE  # of what is reserved: what the store counts already
        self._undecided: Decimal = FREE  # of what is spent: what other processes may still give back
        self._user: object | None = None
        self._listeners: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        name = "" if self.name is None else f", name={self.name!r}"
        return f"Budget({self.max_credits}{name}, spent={self.spent})"

    def require_name(self) -> None:
        """Raise `ConfigurationError` where it has no name: then it can't hold for several processes."""
        if self.name is None:
            raise ConfigurationError(
                "budget: without a name it would count for this process alone, and other processes use the "
                f'same store: use Budget({plain_credits(self.max_credits)}, name="…"), which the store '
                "keeps for all of them"
            )

    def is_used_by(self, session: object) -> bool:
        """Whether this is the token of the session that used it last."""
        return self._user is session

    def bind(self, session: object, stored: StoredBudget) -> None:
        """The session with this token uses the budget from now on; its store has this."""
        self.require_idle()
        self._user = session
        self.update(stored)

    def require_idle(self) -> None:
        """Raise `ConfigurationError` where the session that used it last has reservations in it."""
        if self.reserved:
            raise ConfigurationError(
                f"the budget {self.name!r} is in use in another session: make an object for each session"
            )

    def update(self, stored: StoredBudget, undecided: Decimal = FREE) -> None:
        """Take over what the store has, which includes what this process has charged.

        ``undecided``: what of that is charged for outstanding POSTs, which may turn out to have cost nothing.
        """
        self.was_read = True
        self.max_credits = stored.max_credits
        self.spent = max(FREE, stored.charged - self._charged)
        self._undecided = min(self.spent, max(FREE, undecided - self._charged))
        self._notify()

    def update_missing(self) -> None:
        """The store does not have it any more: it allows no charge, and nobody gives back any."""
        self.was_read, self._undecided = False, FREE
        self._notify()

    @property
    def left(self) -> Decimal:
        """Credits that can still be reserved."""
        return max(FREE, self.max_credits - self.spent - self.reserved)

    def allows(self, credits: Decimal) -> bool:
        """Whether this much can be reserved beside what is spent and reserved. Zero credits always can."""
        credits = argument.credits("credits", credits)
        return not credits or self.spent + self.reserved + credits <= self.max_credits

    def exhausted(self, credits: Decimal) -> bool:
        """Whether this much can never be reserved, even if all present reservations end unspent.

        Those of other processes included.
        """
        return bool(credits) and self.spent - self._undecided + credits > self.max_credits

    @property
    def waits_for_others(self) -> bool:
        """Whether other processes may give credits back: only another reading tells whether they did."""
        return bool(self._undecided)

    def must_wait(self, credits: Decimal) -> bool:
        """Whether the present reservations decide if this much can be reserved later."""
        return not self.allows(credits) and not self.exhausted(credits)

    def reserve(self, credits: Decimal) -> None:
        """Reserve this much. Raises `BudgetExceeded` where that would exceed the cap."""
        credits = argument.credits("credits", credits)
        if not self.allows(credits):
            raise self.exceeded_by(credits)
        self.reserved += credits

    def exceeded_by(self, credits: Decimal) -> BudgetExceeded:
        """The error where this much more would exceed the cap."""
        decides = self.spent + credits <= self.max_credits
        if self.name is not None:
            stored = StoredBudget(self.name, self.max_credits, self.spent + self._charged)
            return stored.exceeded_by(credits, reserved=self.reserved - self._charged if decides else FREE)
        reserved = f", {plain_credits(self.reserved)} reserved" if decides else ""
        return BudgetExceeded(
            f"{plain_credits(credits)} credits more would exceed the cap of "
            f"{plain_credits(self.max_credits)} "
            f"({plain_credits(self.spent)} spent or at risk{reserved})"
        )

    def charge(self, credits: Decimal) -> None:
        """The store counts this much more of what is reserved."""
        self._charged += credits

    def release(self, credits: Decimal, *, spent: bool) -> None:
        """End a reservation. ``spent`` says that the credits were spent, or may have been."""
        credits = argument.credits("credits", credits)
        argument.flag("spent", spent)
        self.reserved -= credits
        self.releases += 1
        if spent:
            self.spent += credits
        self._notify()

    def _notify(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    @contextmanager
    def notifying(self, listener: Callable[[], None]) -> Iterator[None]:
        """Inside the block, call ``listener`` whenever a reservation ends. It must not raise."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def count(self, credits: Decimal) -> None:
        """Add credits that were spent without a reservation."""
        self.spent += argument.credits("credits", credits)


def plain_credits(credits: Decimal) -> str:
    """The number without needless zeros and without an exponent."""
    return format(credits.normalize(), "f")


def _typed(name: str) -> str:
    """The name as it is typed in a shell."""
    is_plain = re.fullmatch(r"[\w@%+=:,./-]+", name, re.ASCII) is not None
    return name if is_plain else "'" + name.replace("'", "'\"'\"'") + "'"


# A store keeps for each budget the sum of what all intents charge to it. With each write of an intent it adds
# `charge_changes`, in the same transaction. So the sums are right after any crash, without a reservation that
# somebody has to give back.


def charges(intent: Intent) -> dict[str, Decimal]:
    """The credits that the intent charges to each budget, in all its rounds. None of them are zero.

    The present round counts where it is paid or in doubt. So SENDING charges; what certainly cost nothing
    gives back; UNKNOWN, FAILED and DROPPED stay charged.
    """
    charged = dict(intent.past_charges)
    if intent.budget is not None and (intent.state.paid or intent.state.in_doubt):
        credits = intent.credits_of(intent.attempts[-1].id) if intent.attempts else intent.credits
        charged[intent.budget] = charged.get(intent.budget, FREE) + credits
    return {name: credits for name, credits in charged.items() if credits}


def undecided_charge(intent: Intent, budget: str) -> Decimal:
    """What the intent charges to this budget, and gives back if its outstanding POST has cost nothing."""
    is_outstanding = intent.state is IntentState.SENDING and intent.budget == budget
    return intent.credits_of(intent.attempts[-1].id) if is_outstanding else FREE


def past_charges_beside(intent: Intent, all_charges: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """The `Intent.past_charges` with which the intent charges this much in all."""
    own = charges(attrs.evolve(intent, past_charges={}))
    return {name: credits - own.get(name, FREE) for name, credits in all_charges.items()}


def charge_changes(before: Intent | None, after: Intent) -> dict[str, Decimal]:
    """By how much each budget's sum changes from ``before`` (None: there was no such intent) to ``after``.

    Only a `Send` makes a change above zero.
    """
    old, new = {} if before is None else charges(before), charges(after)
    changes = {name: new.get(name, FREE) - old.get(name, FREE) for name in sorted({*old, *new})}
    return {name: change for name, change in changes.items() if change}
