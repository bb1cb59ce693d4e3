"""One quota for all sessions of this process that use the same API key: the one thing that is global here.

The quota is the workspace's. Sessions that each believed to have it alone would send a multiple of it: one
after the other, or side by side in several threads.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from .._core.quota.sliding_window import SlidingWindow

if TYPE_CHECKING:
    from .rate_limiter import RateLimiter

_STAGGER = 0.004  # seconds: so that not always the same of several sessions takes the next permit
_SAME_CLOCK = 1.0


class Quota:
    """The window of one workspace, and the gates that take permits from it, each on a loop of its own.

    Whoever uses the window holds the lock. The window's times are those of the loops, so gates that share
    a quota must have loops with one clock.
    """

    def __init__(self, limit: int) -> None:
        self.window: SlidingWindow = SlidingWindow(limit)
        self.lock: threading.RLock = threading.RLock()
        self._gates: weakref.WeakSet[RateLimiter] = weakref.WeakSet()

    def join(self, rate_limiter: RateLimiter) -> None:
        """This rate limiter takes permits from now on. The smallest limit of all that do holds."""
        with self.lock:
            self._gates.add(rate_limiter)
            self._set_limit()

    def leave(self, rate_limiter: RateLimiter) -> None:
        """This rate limiter takes no permits any more; those in its hands still count."""
        with self.lock:
            self._gates.discard(rate_limiter)
            self._set_limit()

    def _set_limit(self) -> None:
        if self._gates:
            self.window.set_limit(min(rate_limiter.limit for rate_limiter in self._gates))

    @property
    def is_shared(self) -> bool:
        """Whether several gates take permits."""
        return len(self._gates) > 1

    def is_over(self) -> bool:
        """Whether no rate limiter takes permits, and nothing that was sent counts any more."""
        with self.lock:
            return not self._gates and self.window.idle(time.monotonic())

    def tell_others(self, rate_limiter: RateLimiter) -> None:
        """Let the other gates look again who can go. Can be called on any thread."""
        with self.lock:
            others = [other for other in self._gates if other is not rate_limiter]
        for other in others:
            with suppress(RuntimeError):  # its loop is closed
                other.clock.loop.call_soon_threadsafe(other.quota_changed)

    def stagger(self) -> float:
        """By how many seconds to be late for the next permit, where others want it too."""
        return random.uniform(0.0, _STAGGER) if self.is_shared else 0.0  # noqa: S311 - no secret


_Key = tuple[int, str, bytes]
_quotas: dict[_Key, Quota] = {}
_lock = threading.Lock()


def shared_quota(base_url: str, api_key: str, limit: int) -> Quota | None:
    """The quota of this workspace in this process; None on a loop whose clock is not the system's.

    It is held until a minute after the last request. A forked child has its own.
    """
    loop = asyncio.get_running_loop()
    if hasattr(loop, "epoch") or abs(loop.time() - time.monotonic()) > _SAME_CLOCK:
        return None
    secret = api_key.encode("utf-8", "surrogatepass")
    key = (os.getpid(), base_url, hashlib.sha256(secret).digest())
    with _lock:
        for other in [other for other, quota in _quotas.items() if other != key and quota.is_over()]:
            del _quotas[other]
        return _quotas.setdefault(key, Quota(limit))
