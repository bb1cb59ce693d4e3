"""Makes, connects, starts and closes the components of an open session."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from datetime import timedelta

from .._core.intents.intent import Intent
from .._core.polling import PollScheduler
from .._core.settings import Poll, Timeouts
from .._io.clock import Clock
from .._io.hooks import Hooks
from .._io.ledger.ledger import Ledger
from .._io.logs import failures_logged
from .._io.protocols import Coordination, Transport, Workspace
from .._io.tasks import TaskSet, tried_until
from ..errors import SessionClosed, StoreError
from ..webhooks.hub import WebhookHub
from .api_answers import ApiAnswers
from .database_window import DatabaseWindow, longest_hold
from .deliveries import Deliveries
from .health import HealthReader
from .intents import Intents
from .jobs import JobRegistry
from .key_check import KeyCheck
from .pictures import Pictures
from .poller import Poller
from .process_quota import ProcessQuota, process_quota
from .rate_limiter import RateLimiter
from .reads import Reads
from .submit import Submitter
from .unknowns import Unknowns

_TELL_EVERY = 60.0  # seconds
# Seconds in which a session closes once its paid POSTs were answered: the last ones are left for its store.
# Of those before, the store has some to write what it has failed to write, and to say what is owed; hooks
# have the others.
_CLOSE_WITHIN, _STORE_CLOSES_WITHIN = 12.0, 2.0
_WRITE_WITHIN, _TELL_WITHIN = 3.0, 2.0
_QUOTA_WINDOW = 70.0  # seconds: a request counts in the quota for 60 s, and clocks differ


class SessionRuntime:
    """The components of one open session: makes, connects, starts and closes them on the running loop.

    ``limit`` is in requests a minute. ``process_quota_of``: the workspace whose quota all sessions of this
    process share; None for a quota of the session's own. When the session closes, ``tasks`` are cancelled,
    after the paid POSTs have finished.
    """

    def __init__(
        self,
        *,
        store: Ledger,
        transport: Transport,
        limit: int,
        hooks: Hooks,
        timeouts: Timeouts,
        hub: WebhookHub | None,
        process_quota_of: Workspace | None,
        poll: Poll,
    ) -> None:
        self.store = store
        self.transport = transport
        self.hooks = hooks
        self.timeouts = timeouts
        self.hub = hub
        self._polls_all = poll == "all"
        self.clock: Clock = Clock(asyncio.get_running_loop(), lambda: store.epoch)
        self.tasks: TaskSet = TaskSet()
        self.intents: Intents = Intents(store, self.clock, hooks)
        self.rate_limiter: RateLimiter = self._make_rate_limiter(limit, process_quota_of)
        self.api_answers: ApiAnswers = ApiAnswers(
            clock=self.clock, store=store, rate_limiter=self.rate_limiter, hooks=hooks
        )
        self.scheduler: PollScheduler = PollScheduler(limit=self.rate_limiter.window.limit)
        self._make_components()
        self._closing_since = -math.inf
        self._detach: Callable[[], None] | None = None
        self._stop_listening: Callable[[], None] | None = None

    def _make_rate_limiter(self, limit: int, process_quota_of: Workspace | None) -> RateLimiter:
        """The rate limiter, on the quota of the database, of the process or of the session."""
        quota, window, workspace = None, None, process_quota_of
        permits = self.store.shared_permits
        if permits is not None:
            hold = longest_hold(self.timeouts.connect)
            window = DatabaseWindow(permits, self.clock, self.tasks, limit=limit, hold=hold)
            quota = ProcessQuota(limit, window)
        elif workspace is not None:
            quota = process_quota(workspace.base_url, workspace.api_key, limit)
        rate_limiter = RateLimiter(
            self.clock, limit, hooks=self.hooks, throttle_timeout=self.timeouts.refused, quota=quota
        )
        if window is not None:
            window.on_change = rate_limiter.wake
        return rate_limiter

    def _make_components(self) -> None:
        """Make the components, each with what it uses."""
        self.reads: Reads = Reads(
            clock=self.clock,
            store=self.store,
            rate_limiter=self.rate_limiter,
            transport=self.transport,
            hooks=self.hooks,
            api_answers=self.api_answers,
            tasks=self.tasks,
        )
        key_check = KeyCheck(self.rate_limiter, self.reads, self.hooks, self.tasks)
        self.rate_limiter.on_key_refused = key_check.begin
        self.registry: JobRegistry = JobRegistry(
            clock=self.clock,
            store=self.store,
            intents=self.intents,
            rate_limiter=self.rate_limiter,
            hooks=self.hooks,
            api_answers=self.api_answers,
            tasks=self.tasks,
            reads=self.reads,
            scheduler=self.scheduler,
            default_timeout=self.timeouts.wait,
            has_webhooks=self.hub is not None,
            polls_all=self._polls_all,
        )
        self.pictures: Pictures = Pictures(
            self.clock, self.transport, self.store, self.reads, self.registry, self.hooks, self.tasks
        )
        self.unknowns: Unknowns = Unknowns(
            clock=self.clock,
            store=self.store,
            intents=self.intents,
            tasks=self.tasks,
            reads=self.reads,
            registry=self.registry,
            scheduler=self.scheduler,
        )
        self.deliveries: Deliveries = Deliveries(
            clock=self.clock,
            store=self.store,
            intents=self.intents,
            hooks=self.hooks,
            tasks=self.tasks,
            reads=self.reads,
            registry=self.registry,
            scheduler=self.scheduler,
            unknowns=self.unknowns,
        )
        self.submitter: Submitter = Submitter(
            clock=self.clock,
            store=self.store,
            intents=self.intents,
            rate_limiter=self.rate_limiter,
            transport=self.transport,
            hooks=self.hooks,
            api_answers=self.api_answers,
            timeouts=self.timeouts,
            hub=self.hub,
            tasks=self.tasks,
            registry=self.registry,
            deliveries=self.deliveries,
            unknowns=self.unknowns,
            reads=self.reads,
        )
        self.poller: Poller = Poller(
            clock=self.clock,
            store=self.store,
            rate_limiter=self.rate_limiter,
            api_answers=self.api_answers,
            tasks=self.tasks,
            reads=self.reads,
            registry=self.registry,
            scheduler=self.scheduler,
        )
        self.health: HealthReader = HealthReader(self)

    async def start(self) -> None:
        """Restore what an earlier process left in the store, then start the background tasks."""
        clock, store = self.clock, self.store
        self._stop_listening = store.on_changed_elsewhere(self._changed_elsewhere)
        since = clock.utc() - timedelta(seconds=_QUOTA_WINDOW)
        self.rate_limiter.restore([clock.to_loop(sent) for sent in await store.recent_sends(since)])
        store.tell_by(self.registry.tell, self.hooks.has_room)
        if self.hooks.kind == "hooks":
            self.tasks.background(self._tell_every_minute(), "hoox-tell-owed")
        if self.hub is not None:
            self._detach = self.hub.subscribe(self.deliveries.accept)
            self.tasks.supervise(self.deliveries.restore, "hoox-restore-deliveries")
        self.tasks.supervise(self.poller.run, "hoox-poller")
        store.coordinate(
            Coordination(
                self.poller.may_lead,
                self.poller.set_duty,
                self.deliveries.kept_elsewhere,
            )
        )
        if self._polls_all:
            self.tasks.supervise(self.poller.poll_stored_looks, "hoox-poll-stored-looks")

    def _changed_elsewhere(self, intent: Intent) -> None:
        """Another process has changed this intent."""
        with failures_logged("waking those who wait for another process"):
            self.submitter.changed_elsewhere(intent)
            self.registry.changed_elsewhere(intent)
            self.deliveries.changed_elsewhere(intent)

    async def close(self) -> None:
        """Send nothing new, let the outstanding POSTs and the hooks finish, and close everything.

        Once the POSTs were answered, it takes 12 s at most: a store that does not answer is left as it is.
        Cancelled, it cancels the step that it waits for, and goes on with the next one.
        """
        self._closing_since = self.clock.now()
        if self._detach is not None:
            self._detach()
        if self._stop_listening is not None:
            self._stop_listening()
        closed = SessionClosed("the session was closed")
        self.rate_limiter.close()
        self.submitter.close()
        self.registry.close(closed)
        # the stack runs them from the last to the first, and goes on where one is cancelled
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self._close_store)
            closing.push_async_callback(self.transport.aclose)
            closing.callback(self.deliveries.close)
            closing.push_async_callback(self._close_hooks)
            closing.push_async_callback(self._ask_store_once_more)
            closing.push_async_callback(self.submitter.posts.cancel)
            closing.push_async_callback(self.tasks.cancel)
            closing.push_async_callback(self.submitter.posts.drain)

    async def _tell_every_minute(self) -> None:
        """Tell what earlier sessions owe, and this one where a write had no answer or a queue was full."""
        while True:
            with suppress(StoreError):
                await self.store.tell_owed()
            if self.store.is_shared:  # there a task of the process goes on with it, for all its sessions
                return
            await asyncio.sleep(_TELL_EVERY)

    def _closes_by(self) -> float:
        """The loop's time by which everything is closed, once nothing is sent any more."""
        return max(self._closing_since, self.submitter.hold.ended_at) + _CLOSE_WITHIN

    async def _ask_store_once_more(self) -> None:
        """Write what it has failed to write, then tell what is owed: else another session does so later."""
        until = self._closes_by() - _STORE_CLOSES_WITHIN
        for seconds, work in ((_WRITE_WITHIN, self._write_unwritten), (_TELL_WITHIN, self.store.tell_owed)):
            await tried_until(min(until, self.clock.now() + seconds), work())

    async def _write_unwritten(self) -> None:
        window = self.rate_limiter.window
        reports = [window.send_reports()] if isinstance(window, DatabaseWindow) else []
        await asyncio.gather(self.submitter.deferred.try_all(), self.registry.write_ends(), *reports)

    async def _close_hooks(self) -> None:
        await self.hooks.aclose(self._closes_by() - _STORE_CLOSES_WITHIN - self.clock.now())

    async def _close_store(self) -> None:
        await self.store.aclose(self._closes_by())

    def close_now(self) -> None:
        """While it closes: cancel the outstanding POSTs and the hooks instead of waiting for them."""
        self.submitter.posts.stop()
        self.hooks.stop()
