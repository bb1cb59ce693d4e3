"""What monitoring asks of an open session: `SessionHealth`."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import attrs

from .._core.trouble import AWAY_AFTER, HINDERS_DELIVERIES, Signs, Trouble, find_trouble, needs_request
from .._io.protocols import StoreGauges
from ..errors import SessionClosed, StoreError
from .database_window import DatabaseWindow

if TYPE_CHECKING:
    from .._core.intents.intent import Intent
    from .runtime import SessionRuntime

_STORE_DEADLINE = 3.0  # seconds: whoever probes a process does not wait longer


@attrs.frozen
class SessionHealth:
    """The state of a session at one moment, for health checks, gauges and alerts. It contains no secrets.

    Seconds are durations, not moments. What the store counts is the whole workspace's, also where several
    processes share it, and is None while the store can't be reached.

    - ``trouble``: what is wrong now, as words of `Trouble`, each with its cause and what to do. It is there
      within 30 s of the first sign, and is a cause, not what follows from it. Empty: nothing is known to be
      wrong. It tells what this process has seen: one that sends nothing sees little of the API.
    - ``store_reachable``: the store has answered within 3 s. While it does not, nothing is sent.
    - ``unknowns``: requests whose outcome is not known: see `HooxSession.unknowns`.
    - ``unsettled``: looks that were accepted and are not known to be READY or FAILED.
    - ``oldest_unsettled``: seconds since the look of those that was planned first was accepted; None if there
      is none. Compare it with the time that looks take (about 40 s): a large one means that nobody polls, or
      that the API is stuck.
    - ``last_poll``: seconds since a status request of this process was last answered; None: none was yet.
      It says something only of a process that ``polls_for_all``.
    - ``polls_for_all``: this process polls every look of the workspace. One process at a time does.
    - ``waiting``: submissions and items of batches of this process that wait for a permit of the quota.
    - ``held``: submissions that wait until the API answers a free request, since paid ones get no answer.
    - ``unanswered``: seconds for which the oldest outstanding paid request has had no answer; None if there
      is none. More than 20 s is a bad sign.
    - ``permit_wait``: seconds until one more submission would have its permit: see `expected_wait`.
    - ``paused``: seconds for which nothing is sent because the API has answered 429; 0 if that is not so.
    - ``key_refused``: the API has refused the API key, the check has confirmed it, and no request has worked
      since.
    """

    trouble: frozenset[Trouble]
    store_reachable: bool
    unknowns: int | None
    unsettled: int | None
    oldest_unsettled: float | None
    last_poll: float | None
    polls_for_all: bool
    waiting: int
    held: int
    unanswered: float | None
    permit_wait: float
    paused: float
    key_refused: bool


@attrs.define(eq=False, repr=False)
class HealthReader:
    """Reads the state of an open session."""

    _runtime: SessionRuntime
    _reading: asyncio.Task[tuple[StoreGauges, float]] | None = attrs.field(default=None, init=False)
    _unread_since: float | None = attrs.field(default=None, init=False)
    """When the first reading began that has not succeeded, since one that has."""
    _hindered_at: float = attrs.field(default=-math.inf, init=False)
    """When deliveries were last known to be hindered."""

    async def read(self) -> SessionHealth:
        """The session's state now. One or two short reads of the store; no request of the API is awaited."""
        runtime = self._runtime
        limiter, hold = runtime.rate_limiter, runtime.submitter.hold
        found, store_seconds = await self._read_store()
        now, polled_at = runtime.clock.now(), runtime.poller.answered_at
        return SessionHealth(
            trouble=self._trouble(found, now, store_seconds),
            store_reachable=found is not None,
            unknowns=None if found is None else found.unknowns,
            unsettled=None if found is None else found.unsettled,
            oldest_unsettled=None if found is None else self._age(found.oldest_unsettled),
            last_poll=None if polled_at is None else now - polled_at,
            polls_for_all=runtime.registry.polls_for_all,
            waiting=limiter.waiting,
            held=hold.waiting,
            unanswered=hold.unanswered(),
            permit_wait=limiter.expected_wait(1 + hold.waiting),
            paused=max(0.0, limiter.window.paused_until - now),
            key_refused=limiter.key_refused,
        )

    def _trouble(self, found: StoreGauges | None, now: float, store_seconds: float) -> frozenset[Trouble]:
        signs = self._signs(found, now, store_seconds)
        if needs_request(signs):
            self._runtime.poller.probe()
        trouble = find_trouble(signs)
        if trouble & HINDERS_DELIVERIES:
            self._hindered_at = now
        return trouble

    def _signs(self, found: StoreGauges | None, now: float, store_seconds: float) -> Signs:
        runtime = self._runtime
        limiter, answers, window = runtime.rate_limiter, runtime.api_answers, runtime.rate_limiter.window
        of_window = window.sign if isinstance(window, DatabaseWindow) else None
        return Signs(
            now=now,
            seen=(answers.sign, answers.paid_sign, runtime.intents.sign, of_window, runtime.pictures.sign),
            silent=answers.is_silent or runtime.submitter.hold.is_silent,
            key_refused=limiter.key_refused or limiter.is_checking_key,
            throttled_since=window.throttled_since,
            paused_until=window.paused_until,
            used_by_others=window.used_by_others(now),
            limit=window.limit,
            undelivered=runtime.scheduler.undelivered(now, self._hindered_at),
            unsettled=None if found is None else found.unsettled,
            unpolled_since=runtime.poller.unpolled_since,
            served_at=answers.served_at,
            store_seconds=store_seconds,
        )

    def _age(self, oldest: Intent | None) -> float | None:
        if oldest is None or oldest.accepted_at is None:
            return None
        return max(0.0, (self._runtime.clock.utc() - oldest.accepted_at).total_seconds())

    async def _read_store(self) -> tuple[StoreGauges | None, float]:
        """What the store says of itself, None where it does not in time; and how many seconds that takes.

        They are infinite where it fails. A reading that is late goes on, for the next call: so a slow store
        is told from one that is away.
        """
        if self._reading is None or self._reading.done():
            self._reading = self._runtime.tasks.spawn(self._gauges(), "hoox-health")
        reading = self._reading
        done, _ = await asyncio.wait((reading,), timeout=_STORE_DEADLINE)
        try:
            if done:
                return reading.result()
        except TimeoutError:
            pass
        except StoreError:
            return None, math.inf
        except asyncio.CancelledError:
            raise SessionClosed("the session was closed") from None
        now = self._runtime.clock.now()
        return None, now - (now if self._unread_since is None else self._unread_since)

    async def _gauges(self) -> tuple[StoreGauges, float]:
        began = self._runtime.clock.now()
        if self._unread_since is None:
            self._unread_since = began
        async with asyncio.timeout(AWAY_AFTER):
            found = await self._runtime.store.gauges()
        self._unread_since = None
        return found, self._runtime.clock.now() - began
