"""A cap of credits that several submissions share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

from ..._api.requests import FREE
from ...errors import BudgetExceeded, ConfigurationError

Credits = Decimal | int | float | str


class Budget:
    """A cap of credits. What may have been paid counts as spent.

    Pass the same budget to several ``session.submit(…, budget=…)`` calls and batches
    (``BatchRunner(…, budget=…)``), and together they never exceed the cap. ``spent`` is where the
    count starts, for example what a customer has used before. Raises `ConfigurationError` for a cap or a
    start that is not a number from 0 on.
    """

    def __init__(self, max_credits: Credits, *, spent: Credits = 0) -> None:
        self.max_credits: Decimal = _credits("max_credits", max_credits)
        self.spent: Decimal = _credits("spent", spent)
        self.reserved: Decimal = FREE
        self._listeners: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"Budget({self.max_credits}, spent={self.spent})"

    @property
    def left(self) -> Decimal:
        """Credits that can still be reserved."""
        return max(FREE, self.max_credits - self.spent - self.reserved)

    def allows(self, credits: Decimal) -> bool:
        """Whether this much can be reserved beside what is spent and reserved. Zero credits always can."""
        return not credits or self.spent + self.reserved + credits <= self.max_credits

    def exhausted(self, credits: Decimal) -> bool:
        """Whether this much can never be reserved, even if all present reservations end unspent."""
        return bool(credits) and self.spent + credits > self.max_credits

    def must_wait(self, credits: Decimal) -> bool:
        """Whether the present reservations decide if this much can be reserved later."""
        return not self.allows(credits) and not self.exhausted(credits)

    def reserve(self, credits: Decimal) -> None:
        """Reserve this much. Raises `BudgetExceeded` where that would exceed the cap."""
        if not self.allows(credits):
            reserved = f", {_plain(self.reserved)} reserved" if self.reserved else ""
            raise BudgetExceeded(
                f"{_plain(credits)} credits more would exceed the cap of {_plain(self.max_credits)} "
                f"({_plain(self.spent)} spent or at risk{reserved})"
            )
        self.reserved += credits

    def release(self, credits: Decimal, *, spent: bool) -> None:
        """End a reservation. ``spent`` says that the credits were spent, or may have been."""
        self.reserved -= credits
        if spent:
            self.spent += credits
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
        self.spent += credits


def _plain(credits: Decimal) -> str:
    """The number without needless zeros and without an exponent."""
    return format(credits.normalize(), "f")


def _credits(field: str, value: Credits) -> Decimal:
    try:
        credits = Decimal(str(value)) if not isinstance(value, Decimal) else value
    except ArithmeticError:
        credits = Decimal("NaN")
    if not credits.is_finite() or credits < 0:
        raise ConfigurationError(f"{field}: {value!r} is not a number of credits from 0 on")
    return credits
