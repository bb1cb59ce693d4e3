"""What `BatchReport.open` returns: a coroutine that says so when it is taken for the report itself."""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Iterator
from typing import Any, Generic, NoReturn, TypeVar

_T = TypeVar("_T")
_CALL = "BatchReport.open(...)"  # without its argument: the URL of a store can hold a password
_ADVICE = f"{_CALL} was not awaited; write: report = await {_CALL}"


class Opening(Coroutine[Any, Any, _T], Generic[_T]):
    """A coroutine, to be awaited once. Any other use raises an error that shows how to await it.

    A plain coroutine is true, prints as an address, and answers that it has no such attribute.
    """

    __slots__ = ("_work",)

    def __init__(self, work: Coroutine[Any, Any, _T]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, Any, _T]:
        return self._work.__await__()

    def send(self, value: Any) -> Any:
        """Go on, as a coroutine does."""
        return self._work.send(value)

    def throw(self, *raised: Any) -> Any:
        """Raise inside, as a coroutine does."""
        return self._work.throw(*raised)

    def close(self) -> None:
        """End it, as a coroutine does."""
        self._work.close()

    def __repr__(self) -> str:
        return f"<{_CALL}, not awaited yet>"

    def __getattr__(self, name: str) -> NoReturn:
        # asyncio asks whether it has attributes such as `cr_code`
        raise AttributeError(f"{name}: {_ADVICE}", name=name, obj=self)

    def __len__(self) -> int:
        raise TypeError(_ADVICE)

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(_ADVICE)

    def __bool__(self) -> bool:
        raise TypeError(_ADVICE)
