"""What monitoring asks of an open session: `SessionHealth`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs

from .._io.protocols import StoreGauges
from ..errors import StoreError

if TYPE_CHECKING:
    from .._io.clock import Clock
    from .._io.protocols import Store
    from .jobs import JobRegistry
    from .poller import Poller
    from .rate_limiter import RateLimiter
    from .submit.submission_hold import SubmissionHold

_STORE_DEADLINE = 3.0  # seconds: whoever probes a process does not wait longer


@attrs.frozen
class SessionHealth:
    """The state of a session at one moment, for health checks, gauges and alerts. It contains no secrets.

    Seconds are durations, not moments. What the store counts is the whole workspace's, also where several
    processes share it, and is None while the store can't be reached.

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


async def read_health(
    clock: Clock,
    store: Store,
    limiter: RateLimiter,
    registry: JobRegistry,
    poller: Poller,
    outages: SubmissionHold,
) -> SessionHealth:
    """The session's state now. One or two short reads of the store, and no request of the API."""
    found = await _read_store(store)
    now = clock.now()
    oldest = None if found is None else found.oldest_unsettled
    accepted_at = None if oldest is None else oldest.accepted_at
    return SessionHealth(
        store_reachable=found is not None,
        unknowns=None if found is None else found.unknowns,
        unsettled=None if found is None else found.unsettled,
        oldest_unsettled=(
            None if accepted_at is None else max(0.0, (clock.utc() - accepted_at).total_seconds())
        ),
        last_poll=None if poller.answered_at is None else now - poller.answered_at,
        polls_for_all=registry.polls_for_all,
        waiting=limiter.waiting,
        held=outages.waiting,
        unanswered=outages.unanswered(),
        permit_wait=limiter.expected_wait(1 + outages.waiting),
        paused=max(0.0, limiter.window.paused_until - now),
        key_refused=limiter.key_refused,
    )


async def _read_store(store: Store) -> StoreGauges | None:
    try:
        async with asyncio.timeout(_STORE_DEADLINE):
            return await store.gauges()
    except (StoreError, TimeoutError):
        return None
