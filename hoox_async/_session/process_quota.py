"""One quota for all sessions of this process that use the same API key: the only global state here.

The quota belongs to the workspace. If each session counted separately, several sessions would send a multiple
of it, whether they are open one after the other or at the same time in several threads.
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
from .database_window import DatabaseWindow

if TYPE_CHECKING:
    from .rate_limiter import RateLimiter

_MAX_STAGGER = 0.004  # seconds
_SAME_CLOCK = 1.0  # seconds that a loop's clock may differ from the system's


class ProcessQuota:
    """The sliding window of one workspace, and the rate limiters that take permits from it.

    Hold the ``lock`` while using the ``window``: each rate limiter may run on another loop, in another
    thread. The window's times are those of the loops, so rate limiters that share a quota need loops with
    the same clock.

    ``window``: given where the permits come from a database, which several processes share.
    """

    def __init__(self, limit: int, window: DatabaseWindow | None = None) -> None:
        self.window: SlidingWindow | DatabaseWindow = window or SlidingWindow(limit)
        self.lock: threading.RLock = threading.RLock()
        self._rate_limiters: weakref.WeakSet[RateLimiter] = weakref.WeakSet()

    def join(self, rate_limiter: RateLimiter) -> None:
        """Let this rate limiter take permits. The smallest limit of all joined rate limiters applies."""
        with self.lock:
            self._rate_limiters.add(rate_limiter)
            self._set_limit()

    def leave(self, rate_limiter: RateLimiter) -> None:
        """Remove this rate limiter. The permits that it has taken still count."""
        with self.lock:
            self._rate_limiters.discard(rate_limiter)
            self._set_limit()

    def _set_limit(self) -> None:
        if self._rate_limiters:
            self.window.set_limit(min(rate_limiter.limit for rate_limiter in self._rate_limiters))

    @property
    def is_shared(self) -> bool:
        """Whether several rate limiters take permits."""
        return len(self._rate_limiters) > 1

    def is_unused(self) -> bool:
        """Whether no rate limiter takes permits, and nothing that was sent counts any more."""
        with self.lock:
            return not self._rate_limiters and self.window.is_idle(time.monotonic())

    def notify_others(self, rate_limiter: RateLimiter) -> None:
        """Wake the other rate limiters that have waiters. Can be called on any thread."""
        with self.lock:
            others = [other for other in self._rate_limiters if other is not rate_limiter]
        for other in others:
            with suppress(RuntimeError):  # its loop is closed
                other.clock.loop.call_soon_threadsafe(other.wake_if_waited_for)

    def stagger(self) -> float:
        """A random delay in seconds before the next permit, so that no session always gets it first."""
        return random.uniform(0.0, _MAX_STAGGER) if self.is_shared else 0.0  # noqa: S311 - no secret


_Workspace = tuple[int, str, bytes]  # process, base URL, hash of the API key
_quotas: dict[_Workspace, ProcessQuota] = {}
_quotas_lock = threading.Lock()


def process_quota(base_url: str, api_key: str, limit: int) -> ProcessQuota | None:
    """The quota of this workspace in this process; None on a loop whose clock is not the system's.

    It is kept until a minute after the last request. A forked child has its own.
    """
    loop = asyncio.get_running_loop()
    if hasattr(loop, "epoch") or abs(loop.time() - time.monotonic()) > _SAME_CLOCK:
        return None
    secret = api_key.encode("utf-8", "surrogatepass")
    key = (os.getpid(), base_url, hashlib.sha256(secret).digest())
    with _quotas_lock:
        for unused in [other for other, quota in _quotas.items() if other != key and quota.is_unused()]:
            del _quotas[unused]
        return _quotas.setdefault(key, ProcessQuota(limit))
