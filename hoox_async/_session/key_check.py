"""Checks an API key after a 401: a single 401 may be an error of the API, and must not end all work."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from .._io.hooks import Hooks
from .._io.tasks import TaskSet
from ..errors import ApiError, AuthenticationError, HooxError, RateLimited, SessionClosed, UnexpectedResponse
from ..events import Paused
from .rate_limiter import RateLimiter
from .reads import Reads

_log = logging.getLogger("hoox_async")
_DELAYS = (5.0, 10.0, 20.0, 25.0)  # seconds before each request: a minute in all
_DELAYS_OF_NEW_KEY = (1.0, 2.0)  # for a key that has not worked in this session: most likely it is wrong


class KeyCheck:
    """Finds out by free requests whether a key is refused permanently, while all other requests wait."""

    def __init__(self, rate_limiter: RateLimiter, reads: Reads, hooks: Hooks, tasks: TaskSet) -> None:
        self._rate_limiter = rate_limiter
        self._reads = reads
        self._hooks = hooks
        self._tasks = tasks

    def begin(self) -> None:
        """Start the check. A request was answered 401, and the rate limiter has stopped everything else."""
        with suppress(SessionClosed):
            self._tasks.background(self._run(), "hoox-key-check")

    async def _run(self) -> None:
        rate_limiter = self._rate_limiter
        refused: AuthenticationError | None = None
        try:
            refused = await self._check(_DELAYS if rate_limiter.key_worked else _DELAYS_OF_NEW_KEY)
        except Exception:
            _log.exception("the API key could not be checked")
        finally:
            if refused is None:
                rate_limiter.mark_key_valid()
            else:
                rate_limiter.mark_key_invalid(refused)

    async def _check(self, delays: tuple[float, ...]) -> AuthenticationError | None:
        """The last error if every check was refused; None if the key works or that could not be found out."""
        seconds = sum(delays)
        _log.warning(
            "the API refused the key (401); checking it for %g s, in which nothing else is sent", seconds
        )
        self._hooks.emit(Paused(seconds, "the API answered 401: the key is being checked"))
        refused: AuthenticationError | None = None
        for delay in delays:
            await asyncio.sleep(delay)
            try:
                if await self._works():
                    return None
            except AuthenticationError as error:
                refused = error
            except HooxError as error:
                refused = None
                _log.debug("this check of the API key was inconclusive: %s", error)
        return refused

    async def _works(self) -> bool:
        """Send one request. True if its answer shows that the key is valid; raises any other outcome."""
        try:
            # the API checks the key before it looks for the look
            await self._reads.probe(await self._rate_limiter.acquire_for_key_check())
        except (AuthenticationError, RateLimited):
            raise
        except UnexpectedResponse as error:
            if error.status is None or not 200 <= error.status < 300:
                raise
        except ApiError:
            pass
        return True
