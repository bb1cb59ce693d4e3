"""What a command shows while it waits: a spinner or lines, and what is wrong with the API meanwhile."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hoox_async import Answered, Event, OutcomeLost, Paused, RequestFailed, RequestSent
from hoox_async._core.formatting import format_duration

from .terminal import Terminal, sanitize

if TYPE_CHECKING:
    from rich.status import Status


_SLOW = 10.0  # seconds without any answer to what was asked
_PAUSING = (401, 429)  # answers after which nothing is sent for a while


@contextmanager
def shown_instead_of_logged() -> Iterator[None]:
    """While the block shows the trouble, the library's log lines about it are not written as well."""
    log = logging.getLogger("hoox_async.requests")
    was_disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = was_disabled


class ApiWatch:
    """Knows why the API gives no answer at present. It is a hook of the session."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failure: RequestFailed | None = None
        self._since = 0.0
        self._asked_at: float | None = None
        self._unanswered_since: float | None = None
        self._pause: Paused | None = None
        self._paused_until = 0.0

    def __call__(self, event: Event) -> None:
        """Take in an event of the session."""
        now = self._clock()
        match event:
            case RequestSent(endpoint=endpoint):
                self._unanswered_since = self._unanswered_since or now
                if not endpoint.paid:
                    self._asked_at = self._asked_at or now
            case OutcomeLost():
                self._unanswered_since = None
            case Answered(status=status):
                self._asked_at = self._unanswered_since = None
                if status < 500:
                    self._failure = None
                if status < 500 and status not in _PAUSING:
                    self._pause = None
            case RequestFailed(seconds=seconds):
                self._asked_at = self._unanswered_since = None
                self._failure, self._since = event, now - seconds
            case Paused(seconds=seconds):
                self._pause, self._paused_until = event, now + seconds

    @property
    def seconds(self) -> float:
        """For how long the API has given no answer; 0 if it answers."""
        since = self._since if self._failure is not None else self._asked_at
        lasting = 0.0 if since is None else self._clock() - since
        return lasting if self._failure is not None or lasting >= _SLOW else 0.0

    @property
    def is_unanswered(self) -> bool:
        """Whether nothing that was sent has been answered for long, paid requests included."""
        since = self._unanswered_since
        return since is not None and self._clock() - since >= _SLOW

    @property
    def reason(self) -> str:
        """Why it gives no answer, in words; empty if it answers, or is only slow."""
        return "" if self._failure is None else self._failure.reason

    def outage(self) -> str:
        """``"no answer for 20 s (cannot reach …), trying again"``; empty while the API answers."""
        lasting = format_duration(int(self.seconds))
        if self._failure is None:
            return f"no answer for {lasting}, still waiting" if self.seconds else ""
        answer = "no answer" if self._failure.status is None else "no usable answer"
        return f"{answer} for {lasting} ({self._failure.reason}), trying again"

    @property
    def is_over(self) -> bool:
        """Whether the API answers. A pause that has ended by time alone says nothing about that."""
        return self._pause is None and not self.outage()

    def text(self) -> str:
        """The outage, or why nothing is sent; empty if nothing is wrong."""
        left = self._paused_until - self._clock()
        if self._pause is None or left <= 0.0:
            return self.outage()
        return self.outage() or f"nothing is sent for {format_duration(round(left))}: {self._pause.reason}"


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


_LOOK_EVERY = 0.2  # seconds
_PATIENCE = 2.0  # seconds: a shorter trouble is worth no line
_LINE_EVERY = 30.0  # seconds between two lines about the same trouble


class Waiting(Display):
    """An ``async with`` block in which a command waits: a spinner on a terminal, elsewhere lines.

    Elsewhere nothing is written as long as nothing is wrong, then one line when trouble begins, changes or
    ends, and every 30 s while it lasts.
    """

    def __init__(self, terminal: Terminal, what: str, trouble: ApiWatch) -> None:
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

    def __init__(self, trouble: ApiWatch) -> None:
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
