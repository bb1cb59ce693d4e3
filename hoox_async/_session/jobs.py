"""The awaitable job of one look."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Hashable, Iterable, Mapping
from copy import copy
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from .._api.models import Look, LookRef, LookStatus
from .._api.requests import Request
from .._core.intents.intent import Intent, IntentState
from .._core.intents.transitions import IllegalTransition, Settle
from .._core.polling import LookUpdate, PollScheduler, is_complete
from .._core.polling.durations import kind_of
from .._core.settings import DEFAULT_TIMEOUT, Timeout, check_timeout
from ..errors import (
    AuthenticationError,
    GenerationFailed,
    HooxError,
    InvalidRequest,
    PermissionDenied,
    SessionClosed,
    StoreError,
    WaitTimeout,
)
from ..events import LookSettled
from .services import SessionServices

Waiter = asyncio.Future[HooxError | None]
_NOTHING: Mapping[str, str] = {}


class Paid(NamedTuple):
    """What the store knows of a job's look: the intent that paid for it."""

    key: str
    request: Request
    accepted_at: datetime | None
    kept: bool
    pushed: bool

    @classmethod
    def by(cls, intent: Intent, *, pushed: bool) -> Paid:
        """Of an accepted intent. ``pushed``: a webhook will tell of its look."""
        request = intent.request
        pushed = pushed and request.webhook_url is None
        return cls(intent.key, request, intent.accepted_at, intent.own_key, pushed)

    @property
    def kind(self) -> Hashable:
        """What its duration is learned by."""
        return kind_of(self.request)


class LookJob:
    """A look that was accepted: awaitable many times and by many tasks.

    ``await job`` gives the `Look` once it is READY. It raises `GenerationFailed` if it could not be
    made, `WaitTimeout` after ``Timeouts.wait`` seconds (nothing is lost: wait again) and `SessionClosed`
    if the session is closed meanwhile. A waiter that is cancelled never cancels the job.
    """

    __slots__ = ("__weakref__", "_complete", "_last", "_paid", "_registry", "_waiters", "ref")

    ref: LookRef
    """Names the look."""

    def __init__(self, registry: JobRegistry, ref: LookRef, paid: Paid | None) -> None:
        self._registry = registry
        self._paid = paid
        self._complete = False
        self._waiters: Waiter | list[Waiter] | None = None  # nearly always one: a list costs 100 bytes
        self._last: Look | None = None
        self.ref = ref

    @property
    def last(self) -> Look:
        """The look as last heard of; no request is made for it."""
        return Look(self.ref, LookStatus.PENDING) if self._last is None else self._last

    @property
    def _is_settled(self) -> bool:
        """Whether the look is READY or FAILED, as far as was heard."""
        return self._last is not None and self._last.status.settled

    def __repr__(self) -> str:
        return f"<LookJob {self.ref} {self.last.status}>"

    def __del__(self) -> None:
        if self._paid is not None and not self._paid.kept:
            self._registry.let_go(self._paid.key)

    @property
    def avatar_id(self) -> str:
        """The avatar that the look belongs to."""
        return self.ref.avatar_id

    @property
    def look_id(self) -> str:
        """The look's own id."""
        return self.ref.look_id

    @property
    def key(self) -> str | None:
        """The key that it was submitted under; None where the session did not submit it."""
        return self._paid.key if self._paid else None

    @property
    def credits(self) -> Decimal | None:
        """What it cost, in credits; None where the session did not submit it."""
        return self._paid.request.credits if self._paid else None

    @property
    def metadata(self) -> Mapping[str, str]:
        """The metadata that it was submitted with."""
        return self._paid.request.metadata if self._paid else _NOTHING

    @property
    def done(self) -> bool:
        """Whether ``await job`` would end at once."""
        return self._complete

    def result(self) -> Look:
        """The look of a job that is done. Raises `GenerationFailed`, anew for each caller."""
        if self.last.status is LookStatus.FAILED:
            raise GenerationFailed(self.last)
        return self.last

    def __await__(self) -> Generator[Any, None, Look]:
        return self.wait().__await__()

    async def wait(self, timeout: Timeout = DEFAULT_TIMEOUT) -> Look:
        """Wait until the look is READY, ``timeout`` seconds at most.

        Left out, that is the session's ``Timeouts.wait``. ``None`` is no limit; with 0 or less only a look
        that is known to be done is given. Raises `InvalidRequest` for a timeout that is no number,
        `GenerationFailed`, `WaitTimeout`, `SessionClosed`, `StoreError`, and `NotFound` if the API
        goes on saying that there is no such look.
        """
        return await self._registry.wait(self, timeout)

    async def status(self) -> Look:
        """Ask for the look's state now, with one request. Raises as ``session.status`` does."""
        return await self._registry.ask(self.ref)

    async def updates(self) -> AsyncIterator[Look]:
        """The look as it stands, then again whenever it changed, until it is READY or FAILED.

        A failed look is given, not raised. Raises `SessionClosed`, `StoreError`, and `NotFound` as `wait`
        does.
        """
        async for look in self._registry.updates(self):
            yield look


_log = logging.getLogger("hoox_async")
_FOREIGN = ("foreign", "")


class JobRegistry:
    """Knows every job that somebody holds, and which looks are polled.

    ``polls_all``: all looks that were paid for are, until they are settled; else those that somebody awaits.
    """

    def __init__(
        self,
        services: SessionServices,
        scheduler: PollScheduler,
        ask: Callable[[LookRef], Awaitable[Look]],
        *,
        polls_all: bool = False,
    ) -> None:
        self._services = services
        self._since = services.clock.utc()
        self.ask = ask
        self._scheduler = scheduler
        self._jobs: WeakValueDictionary[LookRef, LookJob] = WeakValueDictionary()
        self._polls_all = polls_all
        self._given_up: set[LookRef] = set()  # the API goes on refusing them: not polled in this life
        self._unwritten: set[LookRef] = set()  # the hooks were told of their end, the store did not take it
        self._let_go: list[str] = []
        self._closed: HooxError | None = None

    def job(self, ref: LookRef) -> LookJob:
        """The job of a look that the session may know nothing of."""
        return self._jobs.get(ref) or self._new(ref, None)

    def job_of(self, intent: Intent) -> LookJob:
        """The job of an accepted intent, as it stands."""
        if intent.ref is None:
            raise InvalidRequest("key", intent.key, "an intent that has a look")
        job = self._jobs.get(intent.ref) or self._new(intent.ref, None)
        self._inform(job, intent)
        return job

    def disown(self, ref: LookRef) -> None:
        """The look is no longer the one of the intent that it was taken for."""
        job = self._jobs.get(ref)
        if job is not None:
            job._paid = None

    def known(self, ref: LookRef) -> LookJob | None:
        """The job of this look, if somebody holds it."""
        return self._jobs.get(ref)

    def _new(self, ref: LookRef, paid: Paid | None) -> LookJob:
        job = LookJob(self, ref, paid)
        self._jobs[ref] = job
        return job

    def follow(self, intent: Intent) -> None:
        """Poll the look of an accepted intent until it is settled, whether or not anybody awaits it.

        Never raises: its caller has just written down what was paid.
        """
        ref = intent.ref
        if not self._polls_all or self._closed is not None or ref is None or ref in self._given_up:
            return
        try:
            if ref not in self._scheduler:
                self._poll(ref, self._paid_by(intent))
        except Exception:  # it stays accepted in the store, where it is found again
            _log.exception("%s is not polled for now", ref)

    def is_unsettled(self, ref: LookRef) -> bool:
        """Whether somebody holds the job of this look, and it was heard not to be done."""
        job = self._jobs.get(ref)
        return job is not None and job._last is not None and not job._is_settled

    def _inform(self, job: LookJob, intent: Intent) -> None:
        if job._paid is None:
            job._paid = self._paid_by(intent)
        if intent.look is not None and not job._complete:
            job._last = intent.look
            job._complete = is_complete(intent.look)

    def _paid_by(self, intent: Intent) -> Paid:
        # of an earlier process's look the delivery may have come when nobody listened
        ours = intent.accepted_at is None or intent.accepted_at >= self._since
        return Paid.by(intent, pushed=ours and self._services.deliveries is not None)

    async def wait(self, job: LookJob, timeout: Timeout) -> Look:
        """See `LookJob.wait`."""
        await self._until(job, lambda: job.done, timeout)
        return job.result()

    async def settled(self, job: LookJob, timeout: Timeout) -> Look:
        """The look once it is READY or FAILED, though its reason may still have to be asked for."""
        await self._until(job, lambda: job._is_settled, timeout)
        return job.last

    async def _until(self, job: LookJob, reached: Callable[[], bool], timeout: Timeout) -> None:
        """The one way in which a job is waited for."""
        seconds = check_timeout(timeout, self._services.timeouts.wait)
        await self._learn(job)
        if seconds == 0 and not reached():
            raise WaitTimeout(job, seconds)
        try:
            async with asyncio.timeout(seconds):
                while not reached():
                    await self._changed(job)
        except TimeoutError:
            raise WaitTimeout(job, seconds or 0.0) from None

    async def updates(self, job: LookJob) -> AsyncIterator[Look]:
        """See `LookJob.updates`."""
        await self._learn(job)
        seen = None
        while True:
            if job.last != seen:
                seen = job.last
                yield seen
            elif job.done:
                return
            else:
                await self._changed(job)

    async def _learn(self, job: LookJob) -> None:
        if job.done:
            return
        if self._closed is not None:
            raise _paid_for(self._closed)
        if job._paid is None or job._paid.pushed:  # a delivery may have come before anybody held the job
            intent = await self._services.store.by_ref(job.ref)
            if intent is not None:
                self._inform(job, intent)

    async def _changed(self, job: LookJob) -> None:
        """Return when something was heard of the job. Raises what ends the waiting for it."""
        future: Waiter = self._services.clock.loop.create_future()
        self._join(job, future)
        try:
            error = await future
        finally:
            self._leave(job, future)
        if error is not None:
            raise _paid_for(error)

    def _join(self, job: LookJob, future: Waiter) -> None:
        waiting = job._waiters
        if waiting is None:
            job._waiters = future
            self._watch(job)
        elif isinstance(waiting, list):
            waiting.append(future)
        else:
            job._waiters = [waiting, future]

    def _leave(self, job: LookJob, future: Waiter) -> None:
        waiting = job._waiters
        if isinstance(waiting, list) and future in waiting:
            waiting.remove(future)
        if waiting is future or waiting == []:
            self._unwatch(job)

    def _watch(self, job: LookJob) -> None:
        self._poll(job.ref, job._paid)

    def _poll(self, ref: LookRef, paid: Paid | None) -> None:
        now = self._services.clock.now()
        accepted = self._services.clock.to_loop(paid.accepted_at) if paid and paid.accepted_at else now
        kind, pushed = (paid.kind, paid.pushed) if paid else (_FOREIGN, False)
        self._scheduler.add(ref, kind, accepted, now, pushed=pushed)
        self._services.rate_limiter.wake()

    def _unwatch(self, job: LookJob) -> None:
        job._waiters = None
        if not self._polls_all or job._paid is None or job.ref in self._given_up:
            self._scheduler.drop(job.ref)

    async def hear(self, job: LookJob, look: Look) -> None:
        """A look that nobody waits for now was heard of."""
        if job._last is None and look.status is LookStatus.PENDING:
            job._last = look  # no news, but now it is known
        if look.status is not job.last.status or (look.status.settled and not job.done):
            await self.tell((LookUpdate(look, is_complete(look)),))

    async def tell(self, news: Iterable[LookUpdate]) -> None:
        """Write down what was heard of looks, then wake who waits for them."""
        told = list(news)
        settled = [self._settle(look, complete) for look, complete in told if look.status.settled]
        await asyncio.gather(*settled)
        for look, complete in told:
            if not look.status.settled:
                self._change_to(look, complete)

    async def _settle(self, look: Look, complete: bool) -> None:
        told_before = look.ref in self._unwritten
        job = self._jobs.get(look.ref) or await self._recall(look.ref)
        if job is None or (job._complete and not told_before):
            return
        if job._paid is not None:
            await self._write_settled(job._paid.key, look)
        first = not job._is_settled and not told_before
        self._change_to(look, complete)
        if first:
            self._services.hooks.emit(self._settled_event(job, look))

    async def _recall(self, ref: LookRef) -> LookJob | None:
        """The job of a look that was polled and that nobody holds, by what the store knows of it."""
        try:
            intent = await self._services.store.by_ref(ref)
        except Exception as error:  # it stays accepted there, and is found again
            _log.warning("the store does not tell whose look %s is: %s", ref, error)
            return None
        return None if intent is None else self.job_of(intent)

    async def _write_settled(self, key: str, look: Look) -> None:
        """Record in the store that the look is done. Where that fails, the look is polled again later."""
        try:
            await self._services.store.advance(key, Settle(look, self._services.clock.utc()))
        except IllegalTransition:
            pass  # it was settled before, the other way: what was first stands
        except StoreError as error:
            # it stays accepted in the store, where it is found again: nothing is lost
            _log.warning("the store did not take that %s is %s: %s", look.ref, look.status, error)
            self._unwritten.add(look.ref)
            return
        except Exception:  # whatever a store does, who waits for the look must hear of it
            _log.exception("the store failed at writing down that %s is %s", look.ref, look.status)
            self._unwritten.add(look.ref)
            return
        self._unwritten.discard(look.ref)

    def _settled_event(self, job: LookJob, look: Look) -> LookSettled:
        paid = job._paid
        seconds = None
        if paid is not None and paid.accepted_at is not None:
            seconds = (self._services.clock.utc() - paid.accepted_at).total_seconds()
        return LookSettled(look, job.key, seconds, job.metadata)

    def _change_to(self, look: Look, complete: bool) -> None:
        job = self._jobs.get(look.ref)
        if job is None or job._complete:
            return
        if job._is_settled and look.status is not job.last.status:
            return  # what was told first stands
        job._last = look
        job._complete = complete
        self._wake(job)

    def end(self, ref: LookRef, error: HooxError) -> None:
        """End the waiting for a look with an error, and its polling; the look itself stays accepted.

        One that the API refuses is given up. That a key or an avatar is refused may pass: then its look is
        taken up again from the store.
        """
        if self._polls_all and not isinstance(error, AuthenticationError | PermissionDenied | SessionClosed):
            self._given_up.add(ref)
        job = self._jobs.get(ref)
        if job is not None and job._waiters is not None:
            self._scheduler.drop(ref)
            self._wake(job, error)

    def end_all(self, error: HooxError) -> None:
        """End all waiting with an error; the looks stay accepted."""
        for ref in [ref for ref, job in self._jobs.items() if job._waiters is not None]:
            self.end(ref, error)

    def _wake(self, job: LookJob, error: HooxError | None = None) -> None:
        waiters, job._waiters = job._waiters, None
        if waiters is None:
            return
        for future in waiters if isinstance(waiters, list) else (waiters,):
            if not future.done():
                future.set_result(error)
        # those who wait on have asked again by then
        self._services.clock.loop.call_soon(self._drop_unawaited, job)

    def _drop_unawaited(self, job: LookJob) -> None:
        if job._waiters is None:
            self._unwatch(job)

    def let_go(self, key: str) -> None:
        """Nobody holds the job of this intent any more; it can be forgotten once it is settled."""
        if self._closed is None:
            self._let_go.append(key)

    async def forget_let_go(self) -> None:
        """Let the store forget the settled intents whose jobs nobody holds."""
        if not self._let_go:
            return
        keys, self._let_go = self._let_go, []
        for key, intent in (await self._services.store.get(keys)).items():
            if intent.state in (IntentState.READY, IntentState.FAILED):
                await self._services.store.forget(key)

    def close(self, error: HooxError) -> None:
        """End all waiting."""
        self._closed = error
        for ref in tuple(self._jobs):
            self.end(ref, error)
        self._let_go.clear()


def _paid_for(error: HooxError) -> HooxError:
    own = copy(error)
    own.charged = "yes"
    return own
