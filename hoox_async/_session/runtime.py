"""All that an open session is made of, put together in one place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import timedelta
from typing import Any

from .._api.models import Look, LookRef
from .._api.refs import HasRef, ref_of
from .._api.responses import look_from_details
from .._core.intents.budget import Budget
from .._core.intents.intent import Evidence, Intent, IntentState, Unknown
from .._core.intents.transitions import Drop, IfUnchanged, IllegalTransition, LookTaken
from .._core.polling import PollScheduler
from .._core.settings import Poll, Timeouts
from .._io.clock import Clock
from .._io.hooks import Hooks
from .._io.protocols import Deliveries, Store, Transport, Workspace
from .._io.tasks import TaskSet
from ..errors import InvalidRequest, SessionClosed
from ..events import Paused
from .jobs import JobRegistry, LookJob
from .key_check import KeyCheck
from .poller import Poller
from .rate_limiter import RateLimiter
from .reads import Reads
from .services import SessionServices
from .shared_quota import shared_quota
from .stored_looks import follow_stored
from .submit import Submitter
from .submit.edit_source import await_source
from .unknowns import Reconciler, list_unknowns
from .webhook_processor import Receiver

_COUNTS_FOR = 70.0  # seconds: how long a request counts at most, and some more
_AN_UNKNOWN = "the key of an unknown (session.unknowns() lists them)"


def open_services(
    store: Store,
    transport: Transport,
    limit: int,
    hooks: Hooks,
    timeouts: Timeouts,
    webhooks: Deliveries | None,
    workspace: Workspace | None = None,
) -> SessionServices:
    """What an open session's parts share, on the running loop. ``limit`` is in requests a minute.

    ``workspace``: whose quota it is, where other sessions of this process may use it too.
    """
    clock = Clock(asyncio.get_running_loop())
    rate_limiter = RateLimiter(
        clock,
        limit,
        on_pause=lambda seconds, reason: hooks.emit(Paused(seconds, reason)),
        refused=timeouts.refused,
        quota=None if workspace is None else shared_quota(workspace.base_url, workspace.api_key, limit),
    )
    return SessionServices(
        clock, store, rate_limiter, transport, hooks, timeouts, webhooks, tasks=TaskSet(), posts=TaskSet()
    )


class SessionRuntime:
    """All that an open session is made of."""

    def __init__(self, services: SessionServices, *, exclusive: bool, poll: Poll) -> None:
        self.services = services
        self._polls_all = poll == "all"
        self.scheduler = PollScheduler(limit=services.rate_limiter.snapshot().limit)
        self.reads = Reads(services)
        services.rate_limiter.on_doubt = KeyCheck(services, self.reads).begin
        self.registry = JobRegistry(services, self.scheduler, self.ask, polls_all=self._polls_all)
        self.unknowns = Reconciler(services, self.reads, self.registry, exclusive=exclusive)
        self.receiver = Receiver(services, self.reads, self.registry, self.scheduler, self.unknowns)
        self.submitter = Submitter(services, self.registry, self.unknowns, self.receiver)
        self.poller = Poller(services, self.reads, self.registry, self.scheduler)
        self._detach: Callable[[], None] | None = None

    async def begin(self) -> None:
        """Take up what an earlier process left, then start the poller."""
        clock, store = self.services.clock, self.services.store
        since = clock.utc() - timedelta(seconds=_COUNTS_FOR)
        self.services.rate_limiter.restore([clock.to_loop(sent) for sent in await store.recent_sends(since)])
        await self.unknowns.restore()
        if self.services.deliveries is not None:
            self._detach = self.services.deliveries.attach(self.receiver.receive)
            self.services.tasks.supervise(self.receiver.recall, "hoox-recall")
        self.services.tasks.supervise(self.poller.run, "hoox-poller")
        if self._polls_all:
            self.services.tasks.supervise(
                lambda: follow_stored(self.services, self.registry, self.scheduler), "hoox-follow-stored"
            )

    async def end(self) -> None:
        """Close: nothing new goes out, what is outstanding is finished, everything else ends.

        Cancelled, it ends what it waits for, and goes on.
        """
        if self._detach is not None:
            self._detach()
        closed = SessionClosed("the session was closed")
        self.services.rate_limiter.close()
        self.unknowns.close()
        self.submitter.close()
        self.registry.close(closed)
        async with AsyncExitStack() as ending:  # it goes on where one of these is cancelled
            ending.push_async_callback(self.services.hooks.aclose)
            ending.push_async_callback(self.services.posts.cancel)
            ending.push_async_callback(self.services.tasks.cancel)
            ending.push_async_callback(self.services.posts.drain)

    def hurry(self) -> None:
        """While it ends: wait for no POST and no hook any more."""
        self.services.posts.stop()
        self.services.hooks.stop()

    async def ask(self, ref: LookRef) -> Look:
        """One status request for a caller; the scheduler hears the answer too."""
        look = await self.reads.status(ref)
        if ref in self.scheduler:
            news = self.scheduler.heard(look, self.services.clock.now())
            if news is not None:
                await self._finished(self.registry.tell((news,)))
            self.services.rate_limiter.wake()
        elif (job := self.registry.known(ref)) is not None:
            await self.registry.hear(job, look)
        return look

    async def await_source(self, ref: LookRef, key: str | None, max_wait: float | None) -> float | None:
        """Wait until a look that is to be edited is READY: see `_jobs.source`."""
        return await await_source(self.services, self.registry, ref, key, max_wait)

    async def _finished(self, telling: Coroutine[Any, Any, None]) -> None:
        """Tell others to the end, also where the caller is cancelled: the scheduler will not ask again."""
        with suppress(SessionClosed):  # then they were told that
            await self.services.tasks.complete(telling, "hoox-tell")

    async def list_unknowns(self) -> list[Unknown]:
        """See `HooxSession.unknowns`."""
        return await list_unknowns(self.services.store, self.reads)

    async def resolve(self, key: str, named: HasRef | str) -> LookJob:
        """See `HooxSession.resolve`."""
        ref = ref_of(named)
        intent = await self._in_doubt(key, or_named_by_user=True)
        if intent.ref == ref:
            return self.registry.job_of(intent)
        with _still_in_doubt(key):
            return await self.services.tasks.complete(self._claim(intent, ref), "hoox-resolve")

    async def resend(self, key: str, budget: Budget | None, max_wait: float | None) -> LookJob:
        """See `HooxSession.resend`."""
        intent = await self._in_doubt(key)
        with _still_in_doubt(key):
            return self.registry.job_of(await self.submitter.resend(intent, budget, max_wait))

    async def drop(self, key: str) -> None:
        """See `HooxSession.drop`."""
        intent = await self._in_doubt(key)
        with _still_in_doubt(key):
            await self.services.tasks.complete(self._drop(intent), "hoox-drop")

    async def _in_doubt(self, key: str, *, or_named_by_user: bool = False) -> Intent:
        """The intent that the user speaks of. Raises `InvalidRequest` where there is no doubt about it."""
        intent = (await self.services.store.get((key,))).get(key)
        if intent is None:
            raise InvalidRequest("key", key, _AN_UNKNOWN)
        by_user = intent.state.paid and intent.evidence is Evidence.USER
        if intent.state in (IntentState.UNKNOWN, IntentState.DROPPED) or (by_user and or_named_by_user):
            return intent
        raise InvalidRequest("key", key, _AN_UNKNOWN)

    async def _require_possible(self, intent: Intent, ref: LookRef) -> None:
        """Raise `InvalidRequest` where this look cannot be the intent's own."""
        if intent.source is not None and ref.avatar_id != intent.source.avatar_id:
            raise InvalidRequest("look", str(ref), f"a look of {intent.source.avatar_id}, which was edited")
        if ref == intent.source:
            raise InvalidRequest("look", str(ref), "the look that was made, not the one that was edited")
        other = await self.services.store.by_ref(ref)
        if other is not None and other.key != intent.key:
            raise _taken(ref, other.key)

    async def _drop(self, intent: Intent) -> None:
        """What the word does in the store and here belongs together, also where the caller is cancelled."""
        if intent.state is IntentState.UNKNOWN:
            await self.services.store.advance(intent.key, IfUnchanged(intent), Drop())
        self.unknowns.abandon(intent)

    async def _claim(self, intent: Intent, ref: LookRef) -> LookJob:
        """As `_drop`: whole, also where the caller is cancelled."""
        await self._require_possible(intent, ref)
        look = look_from_details(await self.reads.look(ref))
        other = await self.services.store.by_ref(ref)
        if other is not None and other.key == intent.key:  # it was proved in this moment
            return self.registry.job_of(other)
        try:
            if intent.ref is None:
                accepted = await self.unknowns.confirm(intent, ref, Evidence.USER, look)
            else:
                accepted = await self.unknowns.correct(intent, ref, look)
        except LookTaken as taken:
            raise _taken(ref, taken.owner) from None
        return self.registry.job_of(
            (await self.services.store.get((accepted.key,))).get(accepted.key, accepted)
        )


@contextmanager
def _still_in_doubt(key: str) -> Iterator[None]:
    """What the user says is said of what stood when it was said."""
    try:
        yield
    except IllegalTransition:
        expected = f"{_AN_UNKNOWN}; it was settled or sent again in this moment"
        raise InvalidRequest("key", key, expected) from None


def _taken(ref: LookRef, owner: str) -> InvalidRequest:
    return InvalidRequest("look", str(ref), f"a look that is not {owner!r}'s already")
