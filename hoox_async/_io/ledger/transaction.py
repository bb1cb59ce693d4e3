"""What a function of the ledger has of its transaction, and what an engine promises of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from ...errors import StoreError

_T = TypeVar("_T")

Values = Mapping[str, Any]
Question = tuple[str, Values]
"""A statement with ``:name`` for a parameter and ``hoox.`` for the schema, and the parameters' values."""

Rows = list[tuple[Any, ...]]


class Transaction(Protocol):
    """What a function has of its transaction. ``may_guess``: asking costs a round trip."""

    may_guess: bool

    def ask(self, *questions: Question) -> list[Rows]:
        """The rows of each of these questions, which travel together."""
        ...

    def write(self, statement: str, values: Values) -> None:
        """Execute this once the function has returned: everything that it writes, or nothing."""


Work = Callable[[Transaction], _T]
"""A function of a transaction. It may run twice, so it does nothing else, and asks the same each time."""


class Engine(Protocol):
    """A database. Everything that fails in it raises `StoreError`."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def run(self, work: Work[_T], *, writes: bool = True) -> asyncio.Future[_T]:
        """Run the function in a transaction, which is durable when its result is there. It begins at once.

        It goes on if the caller is cancelled, and its result need not be awaited.
        """
        ...


class LeaseOver(StoreError):
    """It would have sent, and this member's lease is over. Nothing was written."""


def ignore_error(future: asyncio.Future[Any]) -> None:
    """A callback for a future that need not be awaited: the loop must not report its exception."""
    if not future.cancelled():
        future.exception()
