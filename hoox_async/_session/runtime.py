"""Creates, connects, starts and closes the parts of an open session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta

from .._api.models import Look, LookRef
from .._api.refs import HasRef, ref_of
from .._api.responses import look_from_details
from .._core.intents.budget import Budget
from .._core.intents.intent import Evidence, Intent, IntentState, Unknown
from .._core.intents.keys import is_key
from .._core.intents.transitions import Drop, IfUnchanged, IllegalTransition, LookTaken
from .._core.polling import PollScheduler
from .._core.settings import Poll, Timeouts
from .._io.clock import Clock
from .._io.hooks import Hooks
from .._io.logs import failures_logged
from .._io.protocols import Coordination, Store, Transport, Workspace
from .._io.tasks import TaskSet
from ..errors import InvalidRequest, SessionClosed
from ..events import Paused
from ..webhooks.hub import WebhookHub
from .api_health import ApiHealth
from .change_waiters import ChangeWaiters
from .database_window import DatabaseWindow, longest_hold
from .health import SessionHealth, read_health
from .jobs import JobRegistry, LookJob
from .key_check import KeyCheck
from .pictures import Pictures
from .poller import Poller
from .rate_limiter import RateLimiter
from .reads import Reads
from .services import SessionServices
from .shared_quota import SharedQuota, shared_quota
from .submit import Submitter
from .submit.edit_source import await_source
from .unknowns import Reconciler, list_unknowns
from .webhook_processor import WebhookProcessor

_QUOTA_WINDOW = 70.0  # seconds: a request counts in the quota for 60 s, and clocks differ
_AN_UNKNOWN = "the key of an unknown (session.unknowns() lists them)"
_LAST_ATTEMPT = "the last attempt of this unknown; it was sent again meanwhile"


def open_services(
    *,
    store: Store,
    transport: Transport,
    limit: int,
    hooks: Hooks,
    timeouts: Timeouts,
    hub: WebhookHub | None,
    shared_quota_of: Workspace | None,
) -> SessionServices:
    """The services of a session that opens on the running loop. ``limit`` is in requests a minute.

    ``shared_quota_of``: the workspace whose quota all sessions of this process share; None for a quota of
    the session's own.
    """
    clock = Clock(asyncio.get_running_loop(), lambda: store.epoch)
    tasks = TaskSet()
    workspace, quota = shared_quota_of, None
    permits = store.shared_permits
    window = None
    if permits is not None:
        window = DatabaseWindow(permits, clock, tasks, limit=limit, hold=longest_hold(timeouts.connect))
        quota = SharedQuota(limit, window)
    elif workspace is not None:
        quota = shared_quota(workspace.base_url, workspace.api_key, limit)
    rate_limiter = RateLimiter(
        clock,
        limit,
        on_pause=lambda seconds, reason: hooks.emit(Paused(seconds, reason)),
        refusal_timeout=timeouts.refused,
        quota=quota,
    )
    if window is not None:
        window.on_change = rate_limiter.wake
    return SessionServices(
        clock,
        store,
        rate_limiter,
        transport,
        hooks,
        ApiHealth(clock, hooks),
        timeouts,
        hub,
        ChangeWaiters(),
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
        services.rate_limiter.on_key_refused = KeyCheck(services, self.reads).begin
        self.registry: JobRegistry = JobRegistry(
            services, self.reads, self.scheduler, polls_all=self._polls_all
        )
        self.pictures: Pictures = Pictures(services, self.reads, self.registry)
        self.reconciler: Reconciler = Reconciler(services, self.registry)
        self.webhook_processor: WebhookProcessor = WebhookProcessor(
            services, self.reads, self.registry, self.scheduler, self.reconciler
        )
        self.submitter: Submitter = Submitter(services, self.registry, self.webhook_processor, self.reads)
        self.poller: Poller = Poller(services, self.reads, self.registry, self.scheduler)
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
                self._polls_all,
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

    async def ask(self, ref: LookRef) -> Look:
        """See `HooxSession.status`."""
        return await self.registry.ask(ref)

    async def await_source(self, ref: LookRef, key: str | None, max_wait: float | None) -> float | None:
        """Wait until a look that is to be edited is READY: see `submit.edit_source`."""
        return await await_source(self.services, self.registry, ref, key, max_wait)

    async def health(self) -> SessionHealth:
        """See `HooxSession.health`."""
        return await read_health(self.services, self.registry, self.poller, self.submitter.outages)

    async def list_unknowns(self) -> list[Unknown]:
        """See `HooxSession.unknowns`."""
        return await list_unknowns(self.services, self.reads)

    async def resolve(self, key: str, named: HasRef | str, attempt: str | None) -> LookJob:
        """See `HooxSession.resolve`."""
        ref = ref_of(named)
        intent = await self._undecided(key, attempt, or_named_by_user=True)
        if intent.ref == ref:
            return self.registry.job_of(intent)
        with _still_undecided(key):
            return await self.services.tasks.complete(self._claim(intent, ref), "hoox-resolve")

    async def resend(
        self, key: str, attempt: str | None, budget: Budget | None, max_wait: float | None
    ) -> LookJob:
        """See `HooxSession.resend`."""
        intent = await self._undecided(key, attempt)
        with _still_undecided(key):
            return self.registry.job_of(await self.submitter.resend(intent, budget, max_wait))

    async def drop(self, key: str, attempt: str | None) -> None:
        """See `HooxSession.drop`."""
        intent = await self._undecided(key, attempt)
        with _still_undecided(key):
            if intent.state is IntentState.UNKNOWN:
                await self.services.advance(intent.key, IfUnchanged(intent), Drop())

    async def _undecided(self, key: str, attempt: str | None, *, or_named_by_user: bool = False) -> Intent:
        """The intent that the user decides about.

        Raises `InvalidRequest` where it is no unknown (any more), or ``attempt`` is given and is not its last
        one. ``or_named_by_user``: also accept an intent whose look the user named before.
        """
        intent = (await self.services.store.get((key,))).get(key) if is_key(key) else None
        if intent is None:
            raise InvalidRequest("key", key, _AN_UNKNOWN)
        by_user = intent.state.paid and intent.evidence is Evidence.USER
        undecided = intent.state in (IntentState.UNKNOWN, IntentState.DROPPED)
        if not undecided and not (by_user and or_named_by_user):
            raise InvalidRequest("key", key, _AN_UNKNOWN)
        if attempt is not None and attempt != intent.last_attempt:
            raise InvalidRequest("attempt", attempt, _LAST_ATTEMPT)
        return intent

    async def _require_possible(self, intent: Intent, ref: LookRef) -> None:
        """Raise `InvalidRequest` where this look cannot be the intent's own."""
        if intent.source is not None and ref.avatar_id != intent.source.avatar_id:
            raise InvalidRequest("look", str(ref), f"a look of {intent.source.avatar_id}, which was edited")
        if ref == intent.source:
            raise InvalidRequest("look", str(ref), "the look that was made, not the one that was edited")
        other = await self.services.store.by_ref(ref)
        if other is not None and other.key != intent.key:
            raise _taken(ref, other.key)

    async def _claim(self, intent: Intent, ref: LookRef) -> LookJob:
        """Check the look, then record that it is the intent's. Must not be cancelled midway."""
        await self._require_possible(intent, ref)
        look = look_from_details(await self.reads.look(ref))
        other = await self.services.store.by_ref(ref)
        if other is not None and other.key == intent.key and other.ref == ref:
            # a delivery proved it at the same time
            return self.registry.job_of(other)
        try:
            if intent.ref is None:
                accepted = await self.reconciler.confirm(intent, ref, Evidence.USER, look)
            else:
                accepted = await self.reconciler.correct(intent, ref, look)
        except LookTaken as taken:
            raise _taken(ref, taken.owner) from None
        return self.registry.job_of(
            (await self.services.store.get((accepted.key,))).get(accepted.key, accepted)
        )


@contextmanager
def _still_undecided(key: str) -> Iterator[None]:
    """Raise `InvalidRequest` where the intent has changed since the user decided about it."""
    try:
        yield
    except IllegalTransition:
        expected = f"{_AN_UNKNOWN}; it was settled or sent again meanwhile"
        raise InvalidRequest("key", key, expected) from None


def _taken(ref: LookRef, owner: str) -> InvalidRequest:
    return InvalidRequest("look", str(ref), f"a look that does not belong to the key {owner!r} already")
