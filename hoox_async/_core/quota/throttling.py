"""What follows from answers 429: a pause, then one request alone as a probe, then all requests again."""

from __future__ import annotations

import math

import attrs

from .other_clients import MINUTE

_MAX_PAUSE = 3600.0
_MAX_CONTRADICTIONS = 5  # consecutive answered requests with "nothing left", after which that is not believed


@attrs.define
class Throttling:
    """The pause after a 429, and whether a probe has shown that it is over. All times are of one clock.

    ``paused_until``: until then nothing is sent. ``throttled_since``: when the server began to answer nothing
    but 429; None if it does not. ``is_probing``: since the pause, no request was answered with anything but
    a 429, so one is sent at a time. ``last_before_pause``: permits up to this one were taken before the
    latest pause began. ``count``: consecutive throttling, each right after the pause of the one before.
    """

    paused_until: float = -math.inf
    throttled_since: float | None = None
    is_probing: bool = False
    last_before_pause: int = 0
    count: int = 0
    contradictions: int = 0

    def predates_pause(self, permit: int) -> bool:
        """Whether it was taken before a pause that is not over, or whose probe has no answer yet."""
        return self.is_probing and permit <= self.last_before_pause

    def is_late(self, now: float, permit: int | None) -> bool:
        """Whether this 429 answers a request from before a pause that is over: it says nothing new."""
        return permit is not None and self.predates_pause(permit) and now >= self.paused_until

    def throttled(self, now: float) -> None:
        """A request was answered 429."""
        if self.throttled_since is None:
            self.throttled_since = now
        self.contradictions = 0

    def begin_pause(self, now: float, last_permit: int) -> bool:
        """From now on only a probe may go. Returns whether this pause is new, not part of the present one."""
        self.is_probing, self.last_before_pause = True, last_permit
        if now < self.paused_until:
            return False
        is_right_after_pause = now - self.paused_until < MINUTE
        self.count = self.count + 1 if is_right_after_pause else 1
        return True

    def extend_pause(self, now: float, seconds: float | None, reset_in: float | None) -> float:
        """Pause for ``seconds``, or as long as seems right where that is None, NaN or 0. Returns the seconds.

        A time that the server names is kept, but capped at a minute: it may be wrong, and a probe shows that.
        If the probe is throttled too, the cap is two minutes, and so on. ``reset_in`` are the seconds until
        the reset that the server named last. Without any such time the pause is one second, and twice as long
        each time that its probe is throttled, up to a minute.
        """
        if seconds is None or not seconds > 0:
            if seconds is None or math.isnan(seconds):
                seconds = reset_in
            seconds = max(seconds or 0.0, min(MINUTE, 2.0 ** (self.count - 1)))
        longest = min(MINUTE * 2.0 ** min(self.count - 1, 10), _MAX_PAUSE)
        self.paused_until = max(self.paused_until, now + min(seconds, longest))
        return self.paused_until - now

    def accepted(self, permit: int) -> bool:
        """A request was answered with anything but a 429. Returns whether that ends the probing."""
        self.throttled_since = None
        if not self.is_probing or permit <= self.last_before_pause:
            return False  # a request from before the pause proves nothing about now
        self.is_probing, self.count = False, 0
        return True

    def is_believable(self, used: int, remaining: int | None) -> bool:
        """Whether to believe an answer by which other clients have used so much.

        Not if requests keep being answered while every answer says that nothing is left.
        """
        if remaining:
            self.contradictions = 0
        elif used:
            self.contradictions += 1
        return self.contradictions < _MAX_CONTRADICTIONS
