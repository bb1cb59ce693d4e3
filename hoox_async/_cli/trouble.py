"""What is wrong with the API while a command works, from the session's events."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hoox_async import Answered, Event, OutcomeLost, Paused, RequestFailed, RequestSent

from .text import format_duration

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


class Trouble:
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
