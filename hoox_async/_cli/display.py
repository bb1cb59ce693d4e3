"""What a command shows on stderr while it works: the common part of waiting and of a run's progress."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from .trouble import shown_instead_of_logged


class Display(ABC):
    """Draws in a task of its own while the ``async with`` block runs.

    It shows the trouble itself: the library's log lines about it are not written meanwhile.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._muted = shown_instead_of_logged()

    async def __aenter__(self) -> Self:
        self._muted.__enter__()
        self._start()
        self._task = asyncio.create_task(self._draw(), name="hoox-display")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._stop()
        self._muted.__exit__(kind, error, trace)

    @abstractmethod
    def _start(self) -> None:
        """Take the terminal, if it can be redrawn."""

    @abstractmethod
    async def _draw(self) -> None:
        """Draw until it is cancelled."""

    @abstractmethod
    def _stop(self) -> None:
        """Give the terminal back."""
