"""Short tracebacks: a `HooxError` ends at the user's own line."""

from __future__ import annotations

import inspect
import logging
from contextlib import aclosing
from functools import wraps
from types import FunctionType, TracebackType
from typing import Any, TypeVar, cast

from .errors import HooxError

_T = TypeVar("_T")
_log = logging.getLogger("hoox_async")


def short_tracebacks(door: _T) -> _T:
    """A decorator of public functions, and of classes for their public methods.

    A `HooxError` leaves them without the frames of the library, unless its logger is at DEBUG.
    """
    if isinstance(door, type):
        for name, method in list(vars(door).items()):
            if isinstance(method, FunctionType) and (name in _PUBLIC or not name.startswith("_")):
                setattr(door, name, _with_short_tracebacks(method))
        return door
    return cast("_T", _with_short_tracebacks(door))


_PUBLIC = ("__init__", "__aenter__", "__aexit__", "__anext__")


def _with_short_tracebacks(function: Any) -> Any:
    @wraps(function)
    async def awaited(*args: Any, **named: Any) -> Any:
        with _SHORT:
            return await function(*args, **named)

    @wraps(function)
    async def iterated(*args: Any, **named: Any) -> Any:
        with _SHORT:
            async with aclosing(function(*args, **named)) as values:
                async for value in values:
                    yield value

    @wraps(function)
    def called(*args: Any, **named: Any) -> Any:
        with _SHORT:
            return function(*args, **named)

    if inspect.iscoroutinefunction(function):
        return awaited
    return iterated if inspect.isasyncgenfunction(function) else called


class _ShortTraceback:
    """A ``with`` block: a `HooxError` leaves it without the frames between it and the user's own code.

    The other exceptions in its chain keep one frame, if all are of the library: that of their place.
    """

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if not isinstance(error, HooxError) or _log.isEnabledFor(logging.DEBUG):
            return
        chain: list[BaseException] = []  # a cause and a context can name each other
        while error is not None and error not in chain:
            chain.append(error)
            last, frame = None, error.__traceback__
            while frame is not None and _is_inner(frame):
                last, frame = frame, frame.tb_next
            error.__traceback__ = last if frame is None and not isinstance(error, HooxError) else frame
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


_SHORT = _ShortTraceback()
_INNER = {
    "aiohttp",
    "anyio",
    "asyncio",
    "attr",
    "cattrs",
    "concurrent",
    "contextlib",
    "hoox_async",
    "psycopg",
}


def _is_inner(trace: TracebackType) -> bool:
    """Whether this frame is of the library, or of one through which it calls itself."""
    module = trace.tb_frame.f_globals.get("__name__")  # what attrs generates has none
    return module is None or module.partition(".")[0] in _INNER
