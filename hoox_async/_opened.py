"""All that an open session is made of, put together in one place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from ._clock import Clock
from ._core.intents import Evidence, Intent, IntentState, Unknown
from ._core.ledger import Drop, IllegalStep, Stands
from ._core.models import Look, LookRef
from ._core.refs import Verdict, ref_of
from ._core.settings import Poll, Timeouts
from ._core.watchlist import Watchlist
from ._gate import Gate
from ._hooks import Hooks
from ._jobs.book import JobBook
from ._jobs.job import LookJob
from ._jobs.source import await_source
from ._jobs.stored import follow_stored
from ._paid import Submitter
from ._parts import Parts
from ._protocols import Deliveries, Store, Transport
from ._reads import Reads
from ._receiver import Receiver
from ._tasks import TaskSet
from ._unknowns import Unknowns, list_unknowns
from ._watcher import Watcher
from .errors import InvalidRequest, SessionClosed
from .events import Paused

_AN_UNKNOWN = "the key of an unknown (session.unknowns() lists them)"


def open_parts(
    store: Store,
    transport: Transport,
    limit: int,
    hooks: Hooks,
    timeouts: Timeouts,
    webhooks: Deliveries | None,
) -> Parts:
    """What an open session's parts share, on the running loop. ``limit`` is in requests a minute."""
    clock = Clock(asyncio.get_running_loop())
    gate = Gate(clock, limit, on_pause=lambda seconds, reason: hooks.tell(Paused(seconds, reason)))
    return Parts(clock, store, gate, transport, hooks, timeouts, webhooks, tasks=TaskSet(), posts=TaskSet())


class Opened:
    """All that an open session is made of."""

    def __init__(self, parts: Parts, *, exclusive: bool, poll: Poll) -> None:
        self.parts = parts
        self._polls_all = poll == "all"
        self.watchlist = Watchlist(limit=parts.gate.snapshot().limit)
        self.reads = Reads(parts)
        self.book = JobBook(parts, self.watchlist, self.ask, polls_all=self._polls_all)
        self.unknowns = Unknowns(parts, self.reads, self.book, exclusive=exclusive)
        self.receiver = Receiver(parts, self.reads, self.book, self.watchlist, self.unknowns)
        self.submitter = Submitter(parts, self.reads, self.book, self.unknowns, self.receiver)
        self.watcher = Watcher(parts, self.reads, self.book, self.watchlist)
        self._detach: Callable[[], None] | None = None

    async def begin(self) -> None:
        """Take up what an earlier process left, then start the watcher."""
        clock, store = self.parts.clock, self.parts.store
        since = clock.to_utc(clock.now() - 60.05)
        self.parts.gate.restore([clock.to_loop(sent) for sent in await store.recent_sends(since)])
        unknowns = await self.unknowns.recall()
        if self.parts.deliveries is not None:
            self._detach = self.parts.deliveries.attach(self.receiver.receive)
            self.parts.tasks.spawn(self.receiver.recall(unknowns), "hoox-recall")
        self.parts.tasks.spawn(self.watcher.run(), "hoox-watcher")
        if self._polls_all:
            self.parts.tasks.spawn(follow_stored(self.parts, self.book, self.watchlist), "hoox-follow-stored")

    async def end(self) -> None:
        """Close: nothing new goes out, what is in the air is finished, everything else ends."""
        if self._detach is not None:
            self._detach()
        closed = SessionClosed("the session was closed")
        self.parts.gate.close()
        self.unknowns.close()
        self.book.close(closed)
        try:
            await self.parts.posts.drain()
        finally:
            await self.parts.tasks.cancel()
            await self.parts.posts.cancel()

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

    async def resolve(self, key: str, verdict: Verdict) -> LookJob | None:
        """See `HooxSession.resolve`."""
        if isinstance(verdict, str) and verdict not in ("resend", "drop"):
            raise InvalidRequest("verdict", verdict, '"resend", "drop", or the LookRef of its look')
        intent = (await self.parts.store.get((key,))).get(key)
        if intent is None or intent.state not in (IntentState.UNKNOWN, IntentState.DROPPED):
            raise InvalidRequest("key", key, _AN_UNKNOWN)
        try:
            return await self._resolved(intent, verdict)
        except IllegalStep:
            expected = f"{_AN_UNKNOWN}; it was settled or sent again in this moment"
            raise InvalidRequest("key", key, expected) from None

    async def _resolved(self, intent: Intent, verdict: Verdict) -> LookJob | None:
        """What the word does in the store and here belongs together, also where the caller is cancelled."""
        if verdict == "resend":
            return self.book.job_of(await self.submitter.resend(intent))
        work = self._drop(intent) if verdict == "drop" else self._claim(intent, ref_of(verdict))
        return await self.parts.tasks.complete(work, "hoox-resolve")

    async def _drop(self, intent: Intent) -> None:
        if intent.state is IntentState.UNKNOWN:
            await self.parts.store.advance(intent.key, Stands(intent), Drop())
        self.unknowns.give_up(intent)

    async def _claim(self, intent: Intent, ref: LookRef) -> LookJob:
        other = await self.parts.store.by_ref(ref)
        if other is not None and other.key == intent.key:  # it was proved in this moment
            return self.book.job_of(other)
        if other is not None:
            raise InvalidRequest("verdict", str(ref), f"a look that is not {other.key!r}'s already")
        accepted = await self.parts.accept(intent.key, ref, Evidence.USER, since=intent)
        self.unknowns.over(intent.key)
        self.book.follow(accepted)
        return self.book.job_of(accepted)
