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
from .._core.intents.transitions import Drop, IllegalStep, LookTaken, Stands
from .._core.polling import Watchlist
from .._core.settings import Poll, Timeouts
from .._io.clock import Clock
from .._io.hooks import Hooks
from .._io.protocols import Deliveries, Store, Transport, Workspace
from .._io.tasks import TaskSet
from ..errors import InvalidRequest, SessionClosed
from ..events import Paused
from .jobs import JobBook, LookJob
from .key_check import KeyCheck
from .poller import Watcher
from .rate_limiter import Gate
from .reads import Reads
from .services import Parts
from .shared_quota import shared_quota
from .stored_looks import follow_stored
from .submit import Submitter
from .submit.edit_source import await_source
from .unknowns import Unknowns, list_unknowns
from .webhook_processor import Receiver

_COUNTS_FOR = 70.0  # seconds: how long a request counts at most, and some more
_AN_UNKNOWN = "the key of an unknown (session.unknowns() lists them)"


def open_parts(
    store: Store,
    transport: Transport,
    limit: int,
    hooks: Hooks,
    timeouts: Timeouts,
    webhooks: Deliveries | None,
    workspace: Workspace | None = None,
) -> Parts:
    """What an open session's parts share, on the running loop. ``limit`` is in requests a minute.

    ``workspace``: whose quota it is, where other sessions of this process may use it too.
    """
    clock = Clock(asyncio.get_running_loop())
    gate = Gate(
        clock,
        limit,
        on_pause=lambda seconds, reason: hooks.tell(Paused(seconds, reason)),
        refused=timeouts.refused,
        quota=None if workspace is None else shared_quota(workspace.base_url, workspace.api_key, limit),
    )
    return Parts(clock, store, gate, transport, hooks, timeouts, webhooks, tasks=TaskSet(), posts=TaskSet())


class Opened:
    """All that an open session is made of."""

    def __init__(self, parts: Parts, *, exclusive: bool, poll: Poll) -> None:
        self.parts = parts
        self._polls_all = poll == "all"
        self.watchlist = Watchlist(limit=parts.gate.snapshot().limit)
        self.reads = Reads(parts)
        parts.gate.on_doubt = KeyCheck(parts, self.reads).begin
        self.book = JobBook(parts, self.watchlist, self.ask, polls_all=self._polls_all)
        self.unknowns = Unknowns(parts, self.reads, self.book, exclusive=exclusive)
        self.receiver = Receiver(parts, self.reads, self.book, self.watchlist, self.unknowns)
        self.submitter = Submitter(parts, self.book, self.unknowns, self.receiver)
        self.watcher = Watcher(parts, self.reads, self.book, self.watchlist)
        self._detach: Callable[[], None] | None = None

    async def begin(self) -> None:
        """Take up what an earlier process left, then start the watcher."""
        clock, store = self.parts.clock, self.parts.store
        since = clock.utc() - timedelta(seconds=_COUNTS_FOR)
        self.parts.gate.restore([clock.to_loop(sent) for sent in await store.recent_sends(since)])
        await self.unknowns.recall()
        if self.parts.deliveries is not None:
            self._detach = self.parts.deliveries.attach(self.receiver.receive)
            self.parts.tasks.supervise(self.receiver.recall, "hoox-recall")
        self.parts.tasks.supervise(self.watcher.run, "hoox-watcher")
        if self._polls_all:
            self.parts.tasks.supervise(
                lambda: follow_stored(self.parts, self.book, self.watchlist), "hoox-follow-stored"
            )

    async def end(self) -> None:
        """Close: nothing new goes out, what is in the air is finished, everything else ends.

        Cancelled, it ends what it waits for, and goes on.
        """
        if self._detach is not None:
            self._detach()
        closed = SessionClosed("the session was closed")
        self.parts.gate.close()
        self.unknowns.close()
        self.book.close(closed)
        async with AsyncExitStack() as ending:  # it goes on where one of these is cancelled
            ending.push_async_callback(self.parts.hooks.aclose)
            ending.push_async_callback(self.parts.posts.cancel)
            ending.push_async_callback(self.parts.tasks.cancel)
            ending.push_async_callback(self.parts.posts.drain)

    def hurry(self) -> None:
        """While it ends: wait for no POST and no hook any more."""
        self.parts.posts.stop()
        self.parts.hooks.stop()

    async def ask(self, ref: LookRef) -> Look:
        """One status request for a caller; the watchlist hears the answer too."""
        look = await self.reads.status(ref)
        if ref in self.watchlist:
            news = self.watchlist.heard(look, self.parts.clock.now())
            if news is not None:
                await self._finished(self.book.tell((news,)))
            self.parts.gate.kick()
        elif (job := self.book.known(ref)) is not None:
            await self.book.hear(job, look)
        return look

    async def await_source(self, ref: LookRef, key: str | None, max_wait: float | None) -> float | None:
        """Wait until a look that is to be edited is READY: see `_jobs.source`."""
        return await await_source(self.parts, self.book, ref, key, max_wait)

    async def _finished(self, telling: Coroutine[Any, Any, None]) -> None:
        """Tell others to the end, also where the caller is cancelled: the watchlist will not ask again."""
        with suppress(SessionClosed):  # then they were told that
            await self.parts.tasks.complete(telling, "hoox-tell")

    async def list_unknowns(self) -> list[Unknown]:
        """See `HooxSession.unknowns`."""
        return await list_unknowns(self.parts.store, self.reads)

    async def resolve(self, key: str, named: HasRef | str) -> LookJob:
        """See `HooxSession.resolve`."""
        ref = ref_of(named)
        intent = await self._in_doubt(key, or_named_by_user=True)
        if intent.ref == ref:
            return self.book.job_of(intent)
        with _still_in_doubt(key):
            return await self.parts.tasks.complete(self._claim(intent, ref), "hoox-resolve")

    async def resend(self, key: str, budget: Budget | None, max_wait: float | None) -> LookJob:
        """See `HooxSession.resend`."""
        intent = await self._in_doubt(key)
        with _still_in_doubt(key):
            return self.book.job_of(await self.submitter.resend(intent, budget, max_wait))

    async def drop(self, key: str) -> None:
        """See `HooxSession.drop`."""
        intent = await self._in_doubt(key)
        with _still_in_doubt(key):
            await self.parts.tasks.complete(self._drop(intent), "hoox-drop")

    async def _in_doubt(self, key: str, *, or_named_by_user: bool = False) -> Intent:
        """The intent that the user speaks of. Raises `InvalidRequest` where there is no doubt about it."""
        intent = (await self.parts.store.get((key,))).get(key)
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
        other = await self.parts.store.by_ref(ref)
        if other is not None and other.key != intent.key:
            raise _taken(ref, other.key)

    async def _drop(self, intent: Intent) -> None:
        """What the word does in the store and here belongs together, also where the caller is cancelled."""
        if intent.state is IntentState.UNKNOWN:
            await self.parts.store.advance(intent.key, Stands(intent), Drop())
        self.unknowns.give_up(intent)

    async def _claim(self, intent: Intent, ref: LookRef) -> LookJob:
        """As `_drop`: whole, also where the caller is cancelled."""
        await self._require_possible(intent, ref)
        look = look_from_details(await self.reads.look(ref))
        other = await self.parts.store.by_ref(ref)
        if other is not None and other.key == intent.key:  # it was proved in this moment
            return self.book.job_of(other)
        try:
            if intent.ref is None:
                accepted = await self.unknowns.prove(intent, ref, Evidence.USER, look)
            else:
                accepted = await self.unknowns.correct(intent, ref, look)
        except LookTaken as taken:
            raise _taken(ref, taken.owner) from None
        return self.book.job_of((await self.parts.store.get((accepted.key,))).get(accepted.key, accepted))


@contextmanager
def _still_in_doubt(key: str) -> Iterator[None]:
    """What the user says is said of what stood when it was said."""
    try:
        yield
    except IllegalStep:
        expected = f"{_AN_UNKNOWN}; it was settled or sent again in this moment"
        raise InvalidRequest("key", key, expected) from None


def _taken(ref: LookRef, owner: str) -> InvalidRequest:
    return InvalidRequest("look", str(ref), f"a look that is not {owner!r}'s already")
