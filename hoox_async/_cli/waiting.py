"""Shows that a command waits for looks, and what is wrong meanwhile."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from .display import Display
from .terminal import Terminal
from .text import sanitize
from .trouble import Trouble

if TYPE_CHECKING:
    from rich.status import Status

_LOOK_EVERY = 0.2  # seconds
_PATIENCE = 2.0  # seconds: a shorter trouble is worth no line
_LINE_EVERY = 30.0  # seconds between two lines about the same trouble


class Waiting(Display):
    """An ``async with`` block in which a command waits: a spinner on a terminal, elsewhere lines.

    Elsewhere nothing is written as long as nothing is wrong, then one line when trouble begins, changes or
    ends, and every 30 s while it lasts.
    """

    def __init__(self, terminal: Terminal, what: str, trouble: Trouble) -> None:
        super().__init__()
        self._terminal = terminal
        self._what = what
        self._trouble = trouble
        self._status: Status | None = terminal.err.status(what) if terminal.live else None

    def _start(self) -> None:
        if self._status is not None:
            self._status.start()

    def _stop(self) -> None:
        if self._status is not None:
            self._status.stop()

    async def _draw(self) -> None:
        lines = TroubleLines(self._trouble)
        while True:
            if self._status is not None:
                self._update(self._status)
            elif line := lines.next(time.monotonic()):
                self._terminal.say(f"{self._what}: {line}")
            await asyncio.sleep(_LOOK_EVERY)

    def _update(self, status: Status) -> None:
        from rich.text import Text

        text = self._trouble.text()
        status.update(Text(sanitize(f"{self._what}: {text}" if text else self._what)))


class TroubleLines:
    """Which lines about the trouble are written where nothing can be redrawn."""

    def __init__(self, trouble: Trouble) -> None:
        self._trouble = trouble
        self._began_at: float | None = None
        self._shown: str | None = None  # the reason that was written last
        self._shown_at = 0.0

    def next(self, now: float) -> str:
        """The line to write now; empty for none."""
        text = self._trouble.text()
        if not text:
            if not self._trouble.is_over:
                return ""
            was_shown, self._shown, self._began_at = self._shown is not None, None, None
            return "the API answers again" if was_shown else ""
        self._began_at = now if self._began_at is None else self._began_at
        is_new = self._shown != self._trouble.reason
        if now - self._began_at < _PATIENCE or not (is_new or now - self._shown_at >= _LINE_EVERY):
            return ""
        self._shown, self._shown_at = self._trouble.reason, now
        return text
