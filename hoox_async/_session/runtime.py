"""Creates, connects, starts and closes the parts of an open session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta

from .._core.intents.intent import Intent, IntentState
from .._core.polling import PollScheduler
from .._core.settings import Poll, Timeouts
from .._io.clock import Clock
from .._io.hooks import Hooks
from .._io.logs import failures_logged
from .._io.protocols import Coordination, Store, Transport, Workspace
from .._io.tasks import TaskSet
from ..errors import SessionClosed
from ..webhooks.hub import WebhookHub
from .api_answers import ApiAnswers
from .database_window import DatabaseWindow, longest_hold
from .intents import Intents
from .jobs import JobRegistry
from .key_check import KeyCheck
from .pictures import Pictures
from .poller import Poller
from .process_quota import ProcessQuota, process_quota
from .rate_limiter import RateLimiter
from .reads import Reads
from .services import SessionServices
from .submit import Submitter
from .unknowns import Unknowns
from .webhook_processor import WebhookProcessor

_QUOTA_WINDOW = 70.0  # seconds: a request counts in the quota for 60 s, and clocks differ


def open_services(
    *,
    store: Store,
    transport: Transport,
    limit: int,
    hooks: Hooks,
    timeouts: Timeouts,
    hub: WebhookHub | None,
    process_quota_of: Workspace | None,
) -> SessionServices:
    """The services of a session that opens on the running loop. ``limit`` is in requests a minute.

    ``process_quota_of``: the workspace whose quota all sessions of this process share; None for a quota of
    the session's own.
    """
    clock = Clock(asyncio.get_running_loop(), lambda: store.epoch)
    tasks = TaskSet()
    workspace, quota = process_quota_of, None
    permits = store.shared_permits
    window = None
    if permits is not None:
        window = DatabaseWindow(permits, clock, tasks, limit=limit, hold=longest_hold(timeouts.connect))
        quota = ProcessQuota(limit, window)
    elif workspace is not None:
        quota = process_quota(workspace.base_url, workspace.api_key, limit)
    rate_limiter = RateLimiter(
        clock,
        limit,
        hooks=hooks,
        throttle_timeout=timeouts.refused,
        quota=quota,
    )
    if window is not None:
        window.on_change = rate_limiter.wake
    return SessionServices(
        clock,
        store,
        Intents(store, clock, hooks),
        rate_limiter,
        transport,
        hooks,
        ApiAnswers(clock, hooks),
        timeouts,
        hub,
        tasks=tasks,
        posts=TaskSet(),
    )


class SessionRuntime:
    """The parts of one open session, connected."""

    def __init__(self, services: SessionServices, *, poll: Poll) -> None:
        self.services = services
        self._polls_all = poll == "all"
        self.scheduler: PollScheduler = PollScheduler(limit=services.rate_limiter.window.limit)
        self.reads: Reads = Reads(services)
        key_check = KeyCheck(services.rate_limiter, self.reads, services.hooks, services.tasks)
        services.rate_limiter.on_key_refused = key_check.begin
        self.registry: JobRegistry = JobRegistry(
            services, self.reads, self.scheduler, polls_all=self._polls_all
        )
        self.pictures: Pictures = Pictures(
            services.transport, services.store, self.reads, self.registry, services.hooks, services.tasks
        )
        self.unknowns: Unknowns = Unknowns(services, self.reads, self.registry)
        self.webhook_processor: WebhookProcessor = WebhookProcessor(
            services, self.reads, self.registry, self.scheduler, self.unknowns
        )
        self.submitter: Submitter = Submitter(
            services, self.registry, self.webhook_processor, self.unknowns, self.reads
        )
        self.poller: Poller = Poller(
            services, self.reads, self.registry, self.scheduler, polls_all=self._polls_all
        )
        self._detach: Callable[[], None] | None = None
        self._stop_listening: Callable[[], None] | None = None

    async def start(self) -> None:
        """Restore what an earlier process left in the store, then start the background tasks."""
        clock, store = self.services.clock, self.services.store
        self._stop_listening = store.on_changed_elsewhere(self._changed_elsewhere)
        since = clock.utc() - timedelta(seconds=_QUOTA_WINDOW)
        self.services.rate_limiter.restore([clock.to_loop(sent) for sent in await store.recent_sends(since)])
        if store.is_shared:
            self.registry.adopt(await store.in_states((IntentState.ACCEPTED,), own=True))
        if self.services.hub is not None:
            self._detach = self.services.hub.subscribe(self.webhook_processor.accept)
            self.services.tasks.supervise(self.webhook_processor.restore, "hoox-restore-deliveries")
        self.services.tasks.supervise(self.poller.run, "hoox-poller")
        store.coordinate(
            Coordination(
                self.poller.may_lead,
                self.poller.set_duty,
                self.registry.ended_unnotified,
                self.webhook_processor.kept_elsewhere,
            )
        )
        if self._polls_all:
            self.services.tasks.supervise(self.poller.poll_stored_looks, "hoox-poll-stored-looks")

    def _changed_elsewhere(self, intent: Intent) -> None:
        """Another process has changed this intent."""
        with failures_logged("waking those who wait for another process"):
            self.submitter.changed_elsewhere(intent)
            self.registry.changed_elsewhere(intent)
            self.webhook_processor.changed_elsewhere(intent)

    async def close(self) -> None:
        """Send nothing new, let the outstanding POSTs and the hooks finish, end everything else.

        Cancelled, it cancels the step that it waits for, and goes on with the next one.
        """
        if self._detach is not None:
            self._detach()
        if self._stop_listening is not None:
            self._stop_listening()
        closed = SessionClosed("the session was closed")
        self.services.rate_limiter.close()
        self.submitter.close()
        self.registry.close(closed)
        # the stack runs them from the last to the first, and goes on where one is cancelled
        async with AsyncExitStack() as closing:
            closing.callback(self.webhook_processor.close)
            closing.push_async_callback(self.services.hooks.aclose)
            closing.push_async_callback(self.services.posts.cancel)
            closing.push_async_callback(self.services.tasks.cancel)
            closing.push_async_callback(self.services.posts.drain)

    def close_now(self) -> None:
        """While it closes: cancel the outstanding POSTs and the hooks instead of waiting for them."""
        self.services.posts.stop()
        self.services.hooks.stop()
