"""All that an open session is made of, put together in one place."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from ._core.ledger import Drop, Evidence, IllegalStep, Intent, IntentState, Stands
from ._core.models import Look, LookRef
from ._core.requests import HasRef
from ._core.watchlist import Watchlist
from ._core.wire import read_status, status_request
from ._jobs import JobBook, LookJob
from ._paid import Submitter
from ._parts import Parts
from ._reads import Reads
from ._receiver import Receiver
from ._unknowns import Unknowns
from ._watcher import Watcher
from .errors import InvalidRequest, SessionClosed

if TYPE_CHECKING:
    from ._session import HooxSession

Verdict = HasRef | Literal["resend", "drop"]
_AN_UNKNOWN = "the key of an unknown (session.unknowns() lists them)"


def opened_of(session: HooxSession) -> Opened:
    """What a session is made of, for the floor above. Raises as all of the session's methods do."""
    return session._ready()


class Opened:
    """All that an open session is made of."""

    def __init__(self, parts: Parts, *, exclusive: bool) -> None:
        self.parts = parts
        self.watchlist = Watchlist(limit=parts.gate.snapshot().limit)
        self.reads = Reads(parts)
        self.book = JobBook(parts, self.watchlist, self.ask)
        self.unknowns = Unknowns(parts, self.reads, self.book, exclusive=exclusive)
        self.receiver = Receiver(parts, self.reads, self.book, self.watchlist, self.unknowns)
        self.submitter = Submitter(parts, self.reads, self.unknowns, self.receiver)
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
        look = await self.reads.read(status_request(ref), lambda answer: read_status(answer, ref))
        if ref in self.watchlist:
            news = self.watchlist.heard(look, self.parts.clock.now())
            if news is not None:
                await self._finished(self.book.tell((news,)))
            self.parts.gate.kick()
        elif (job := self.book.known(ref)) is not None:
            await self.book.hear(job, look)
        return look

    async def _finished(self, telling: Coroutine[Any, Any, None]) -> None:
        """Tell others to the end, also where the caller is cancelled: the watchlist will not ask again."""
        with suppress(SessionClosed):  # then they were told that
            await self.parts.tasks.complete(telling, "hoox-tell")

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
        return self.book.job_of(accepted)


def ref_of(named: Any) -> LookRef:
    """The ref of whatever names a look. Raises `InvalidRequest`."""
    if isinstance(named, LookRef):
        return named
    if isinstance(named, str):
        return LookRef.parse(named)
    ref = getattr(named, "ref", None)
    if isinstance(ref, LookRef):
        return ref
    raise InvalidRequest("ref", named, "a LookRef or anything with a .ref")
