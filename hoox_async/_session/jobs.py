"""The awaitable job of one look, and the registry of the jobs that are referenced."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Generator, Hashable, Iterable, Mapping
from contextlib import suppress
from copy import copy
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from .._api.models import Look, LookRef, LookStatus
from .._api.requests import KnownRequest
from .._core.intents.deliveries import will_be_delivered
from .._core.intents.intent import Intent, IntentState
from .._core.intents.outcomes import seconds_of
from .._core.intents.transitions import IllegalTransition, Settle
from .._core.polling import LookUpdate, PollScheduler, is_complete
from .._core.polling.durations import kind_of
from .._core.settings import DEFAULT_TIMEOUT, Timeout, check_timeout
from .._core.trouble import Outage
from .._io.clock import Clock
from .._io.hooks import Hooks
from .._io.ledger.ledger import Ledger
from .._io.protocols import PollDuty
from .._io.tasks import TaskSet
from .._tracebacks import short_tracebacks
from ..errors import (
    GenerationFailed,
    HooxError,
    InvalidRequest,
    SessionClosed,
    StoreError,
    WaitTimeout,
)
from ..events import LookSettled
from .api_answers import ApiAnswers
from .intents import Intents
from .rate_limiter import LEAST_STORE_SECONDS, RateLimiter
from .reads import Reads

_log = logging.getLogger("hoox_async")
_NO_METADATA: Mapping[str, str] = {}
# Seconds for which waiters wait for the store: then they get an end that is not written yet, and who has come
# since waits for what is reported.
_ANSWERS_WITHIN = 5.0
_FIRST_RETRY, _LONGEST_RETRY = 1.0, 30.0  # seconds until an end is written again that the store did not write
_UNKNOWN_KIND = ("unknown", "")  # of looks that this session did not submit
# An awaited look that another process polls is polled here too once it has taken so many times as long as is
# usual, but not in the first seconds of waiting.
_OVERDUE, _LEFT_TO_OTHERS = 3.0, 30.0

Waiter = asyncio.Future[HooxError | None]
"""Its result is None when the look changed, or the error that ends the waiting."""


class Payment(NamedTuple):
    """What the store knows of the intent that paid for a job's look.

    ``own_key``: the key can be used again, so the intent is kept in the store after the job is gone.
    ``expects_webhook``: a delivery will probably report the look's end.
    """

    key: str
    request: KnownRequest
    accepted_at: datetime | None
    own_key: bool
    expects_webhook: bool

    @property
    def kind(self) -> Hashable:
        """The kind of the look: looks of one kind are expected to take equally long."""
        return kind_of(self.request)


@short_tracebacks
class LookJob:
    """A look that was accepted: awaitable many times and by many tasks.

    ``await job`` gives the `Look` once it is READY. It raises `GenerationFailed` if it could not be
    made, `WaitTimeout` after ``Timeouts.wait`` seconds (nothing is lost: wait again) and `SessionClosed`
    if the session is closed meanwhile. A waiter that is cancelled never cancels the job.
    """

    __slots__ = (
        "__weakref__",
        "_complete",
        "_last",
        "_payment",
        "_registry",
        "_waiters",
        "ref",
    )

    ref: LookRef
    """Names the look."""

    def __init__(self, registry: JobRegistry, ref: LookRef) -> None:
        self._registry = registry
        self._payment: Payment | None = None
        self._complete = False
        self._waiters: Waiter | list[Waiter] | None = None  # nearly always one: a list costs 100 bytes
        self._last: Look | None = None
        self.ref = ref

    @property
    def last(self) -> Look:
        """The look as it was last reported, PENDING before the first report. No request is made."""
        return Look(self.ref, LookStatus.PENDING) if self._last is None else self._last

    def __repr__(self) -> str:
        return f"<LookJob {self.ref} {self.last.status}>"

    def __del__(self) -> None:
        if self._payment is not None and not self._payment.own_key:
            self._registry.note_unreferenced(self._payment.key)

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
        return self._payment.key if self._payment else None

    @property
    def credits(self) -> Decimal | None:
        """What it cost, in credits; None where the session did not submit it."""
        return self._payment.request.credits if self._payment else None

    @property
    def metadata(self) -> Mapping[str, str]:
        """The metadata that it was submitted with."""
        return self._payment.request.metadata if self._payment else _NO_METADATA

    @property
    def done(self) -> bool:
        """Whether ``await job`` would end at once."""
        return self._complete

    def result(self) -> Look:
        """The look of a job whose look is READY, without waiting.

        Raises a new `GenerationFailed` for each caller if the look failed, and `WaitTimeout` if it is not
        known to be READY or FAILED yet.
        """
        if not self._is_settled:
            raise self._timeout(0.0)
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
        keeps answering that there is no such look.
        """
        await self._wait_until(lambda: self._complete, timeout)
        return self.result()

    async def status(self) -> Look:
        """Ask for the look's state now, with one request. Raises as ``session.status`` does."""
        try:
            return await self._registry.ask(self.ref)
        except SessionClosed as error:
            raise self._ended_by(error) from None

    async def updates(self) -> AsyncIterator[Look]:
        """The look as it is known, then again whenever it changed, until it is READY or FAILED.

        The last one is given once, with its picture or the reason of its failure. A failed look is given, not
        raised. Raises `SessionClosed`, `StoreError`, and `NotFound` as `wait` does.
        """
        await self._registry.restore(self)
        seen = None
        while True:
            if self.last != seen and (self._complete or not self._is_settled):
                seen = self.last
                yield seen
            elif self._complete:
                return
            else:
                await self._next_change()

    # --- for the registry

    @property
    def _is_settled(self) -> bool:
        """Whether the look is known to be READY or FAILED; its picture or reason may still be missing."""
        return self._last is not None and self._last.status.settled

    @property
    def _is_unsettled(self) -> bool:
        """Whether the look is known not to be READY or FAILED yet. Not so before the first report."""
        return self._last is not None and not self._last.status.settled

    @property
    def _has_waiters(self) -> bool:
        return self._waiters is not None

    @property
    def _may_have_been_delivered(self) -> bool:
        """Whether the store may know more than the job: a delivery may have come before the job existed."""
        return self._payment is None or self._payment.expects_webhook

    def _restore(self, payment: Payment, look: Look | None) -> None:
        """Load what the store knows: the payment for the look, and the look itself if it is settled.

        That wakes all waiters: a report that follows changes nothing any more, and would not.
        """
        if self._payment is None:
            self._payment = payment
        if look is None or self._complete:
            return
        known, self._last = self._last, self.last.merged_with(look)
        self._complete = is_complete(self._last)
        if self._last is not known:
            self._wake()

    def _forget_payment(self) -> None:
        self._payment = None

    def _update(self, look: Look, *, complete: bool) -> bool:
        """Merge what was reported, and wake all waiters. Returns whether it was new.

        ``complete``: no further update follows.
        """
        if self._complete:
            return False
        known = self._last
        merged = look if known is None else known.merged_with(look)
        if merged.status is not look.status:
            return False  # it contradicts the first settled status
        self._last, self._complete = merged, complete or is_complete(merged)
        self._wake()
        return merged is not known

    async def _wait_until(self, reached: Callable[[], bool], timeout: Timeout) -> None:
        """The loop in which every waiter waits. Raises as `wait` does, except `GenerationFailed`."""
        seconds = check_timeout(timeout, self._registry.default_timeout)
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(None if seconds is None else max(seconds, LEAST_STORE_SECONDS)):
                await self._registry.restore(self)
            if seconds == 0 and not reached():
                raise self._timeout(seconds)
            async with asyncio.timeout_at(None if seconds is None else began + seconds):
                while not reached():
                    await self._next_change()
        except TimeoutError:
            raise self._timeout(seconds or 0.0) from None

    def _timeout(self, seconds: float) -> WaitTimeout:
        """The error of a wait that has lasted so many seconds, with what is wrong at present."""
        now, outage = self._registry.outage(self.avatar_id)
        if outage is None:
            return WaitTimeout(self, seconds)
        return WaitTimeout(self, seconds, cause=outage.reason, outage=outage.text(now))

    async def _next_change(self) -> None:
        """Wait for the next report about the look. Raises the error that ends the waiting."""
        self._registry.require_open(self)
        waiter: Waiter = asyncio.get_running_loop().create_future()
        try:
            self._add_waiter(waiter)
            error = await waiter
        finally:
            self._remove_waiter(waiter)
        if error is not None:
            raise self._ended_by(error)

    def _ended_by(self, error: HooxError) -> HooxError:
        """A copy of the error that ends a wait, for one waiter, marked as charged if the look is paid for."""
        own, is_paid = copy(error), self._payment is not None
        if isinstance(error, SessionClosed):
            own = _closed_under(self.ref, is_paid=is_paid)
        if is_paid:
            own.charged = "yes"
        return own

    def _add_waiter(self, waiter: Waiter) -> None:
        waiters = self._waiters
        if waiters is None:
            self._waiters = waiter
            self._registry.start_polling(self.ref, self._payment)
        elif isinstance(waiters, list):
            waiters.append(waiter)
        else:
            self._waiters = [waiters, waiter]

    def _remove_waiter(self, waiter: Waiter) -> None:
        waiters = self._waiters
        if isinstance(waiters, list) and waiter in waiters:
            waiters.remove(waiter)
        if waiters is waiter or waiters == []:
            self._waiters = None
            self._stop_polling_if_unawaited()

    def _wake(self, error: HooxError | None = None) -> None:
        """Wake all waiters: to check again, or to raise this error."""
        waiters, self._waiters = self._waiters, None
        if waiters is None:
            return
        for waiter in waiters if isinstance(waiters, list) else (waiters,):
            if not waiter.done():
                waiter.set_result(error)
        # by then the waiters that go on have added themselves again
        asyncio.get_running_loop().call_soon(self._stop_polling_if_unawaited)

    def _stop_polling_if_unawaited(self) -> None:
        if self._waiters is None:
            self._registry.stop_polling(self.ref, paid=self._payment is not None)


class JobRegistry:
    """The jobs that the user's code references, and the looks that are polled.

    ``polls_all``: every look that was paid for is polled until it is settled; else only awaited ones. Where
    several processes share the store, one of them polls for all: see `set_duty`.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        store: Ledger,
        intents: Intents,
        rate_limiter: RateLimiter,
        hooks: Hooks,
        api_answers: ApiAnswers,
        tasks: TaskSet,
        reads: Reads,
        scheduler: PollScheduler,
        default_timeout: float,
        has_webhooks: bool,
        polls_all: bool,
    ) -> None:
        self._clock = clock
        self._store = store
        self._intents = intents
        self._rate_limiter = rate_limiter
        self._hooks = hooks
        self._api_answers = api_answers
        self._tasks = tasks
        self._reads = reads
        self._scheduler = scheduler
        self._polls_all = polls_all
        self.has_webhooks: bool = has_webhooks
        """Whether the session has a hub that receives deliveries."""
        self.default_timeout: float = default_timeout
        """How long a job is awaited when no timeout is given, in seconds."""
        self._duty: PollDuty | None = None  # not known yet
        self._opened_at = clock.utc()
        self._jobs: WeakValueDictionary[LookRef, LookJob] = WeakValueDictionary()
        # Ends that no row says, since the store has failed. Each has a task that goes on writing it.
        self._unwritten: dict[LookRef, Settle] = {}
        self._unreferenced: list[str] = []  # keys
        self._closed: HooxError | None = None

    def outage(self, avatar_id: str) -> tuple[float, Outage | None]:
        """The time now, and why requests about this avatar get no usable answer; None if they get one."""
        return self._clock.now(), self._api_answers.outage(avatar_id)

    # --- jobs

    def find(self, ref: LookRef) -> LookJob | None:
        """The job of this look, if it is referenced."""
        return self._jobs.get(ref)

    def job(self, ref: LookRef) -> LookJob:
        """The job of a look, made by this session or not."""
        job = self._jobs.get(ref)
        if job is None:
            job = self._jobs[ref] = LookJob(self, ref)
        return job

    def job_of(self, intent: Intent) -> LookJob:
        """The job of an accepted intent, with what the intent says of its look."""
        if intent.ref is None:
            raise InvalidRequest("key", intent.key, "an intent that has a look")
        job = self.job(intent.ref)
        job._restore(self._payment_of(intent), intent.look)
        return job

    def forget_payment(self, ref: LookRef) -> None:
        """The intent's look turned out to be another one: this job's look is not known to be paid."""
        job = self._jobs.get(ref)
        if job is not None:
            job._forget_payment()

    def is_unsettled(self, ref: LookRef) -> bool:
        """Whether the job of this look is referenced and known not to be settled yet."""
        job = self._jobs.get(ref)
        return job is not None and job._is_unsettled

    def is_unwritten(self, ref: LookRef) -> bool:
        """Whether this look has ended and no row says so yet, since the store has failed."""
        return ref in self._unwritten

    async def settled(self, job: LookJob, timeout: Timeout) -> Look:
        """The look once it is READY or FAILED; its reason may still be missing then.

        Raises as `LookJob.wait` does, except `GenerationFailed`.
        """
        await job._wait_until(lambda: job._is_settled, timeout)
        return job.last

    async def restore(self, job: LookJob) -> None:
        """Load what the store may know better into the job, unless it does not answer within 5 s.

        Raises `StoreError`, and the error that waiting ends with where the registry was closed.
        """
        if job.done:
            return
        self.require_open(job)
        if job._may_have_been_delivered or self._store.is_shared:
            try:
                async with asyncio.timeout(_ANSWERS_WITHIN):
                    intent = await self._store.by_ref(job.ref)
            except TimeoutError:  # what is reported wakes the waiters all the same
                return
            except StoreError:
                if job._complete:  # it was reported meanwhile
                    return
                self.require_open(job)
                raise
            if intent is not None:
                job._restore(self._payment_of(intent), intent.look)

    def require_open(self, job: LookJob) -> None:
        """Raise the error that waiting for this job ends with where the registry was closed."""
        if self._closed is not None:
            raise job._ended_by(self._closed)

    def _payment_of(self, intent: Intent) -> Payment:
        # the delivery of an earlier process's look may have come while no process ran
        is_of_this_session = intent.accepted_at is None or intent.accepted_at >= self._opened_at
        is_delivered = will_be_delivered(intent.request, has_webhooks=self.has_webhooks)
        return Payment(
            intent.key,
            intent.request,
            intent.accepted_at,
            intent.own_key,
            expects_webhook=is_of_this_session and is_delivered,
        )

    # --- polling

    def set_duty(self, duty: PollDuty) -> None:
        """What this process polls from now on, where several share the store."""
        self._duty = duty
        if duty is PollDuty.OTHERS:
            for ref in self._scheduler.refs:
                job = self._jobs.get(ref)
                if job is None or self._is_left_to_others(ref, paid=job._payment is not None):
                    self._scheduler.drop(ref)
        for ref, job in list(self._jobs.items()):
            if job._has_waiters:
                self.start_polling(ref, job._payment)

    @property
    def polls_all(self) -> bool:
        """Whether every look that was paid for is polled, by this process or by another one."""
        return self._polls_all

    @property
    def polls_for_all(self) -> bool:
        """Whether this process polls every look of the workspace that was paid for."""
        return self._polls_all and self._duty is PollDuty.ALL

    def poll_accepted(self, intent: Intent) -> None:
        """If this process polls for all, poll an accepted look, awaited or not. Never raises."""
        ref = intent.ref
        if not self.polls_for_all or self._closed is not None or ref is None:
            return
        try:
            if ref not in self._scheduler:
                self.start_polling(ref, self._payment_of(intent))
        except Exception:  # it stays accepted in the store, where it is found again
            _log.exception("the look %s could not be scheduled; it is scheduled again later", ref)

    def _is_left_to_others(self, ref: LookRef, *, paid: bool) -> bool:
        """Whether another process polls the look.

        One that is settled, and lacks its picture or reason, is polled by no other process.
        """
        job = self._jobs.get(ref)
        is_settled = job is not None and job._is_settled
        return paid and self._duty in (None, PollDuty.OTHERS) and not is_settled

    def start_polling(self, ref: LookRef, payment: Payment | None) -> None:
        """Poll the look, with what is known of the intent that paid for it.

        Where another process polls it, only once it is overdue: that one may get no answer about it.
        """
        clock = self._clock
        accepted_at = now = clock.now()
        kind: Hashable = _UNKNOWN_KIND
        expects_webhook = False
        if payment is not None:
            kind, expects_webhook = payment.kind, payment.expects_webhook
            if payment.accepted_at is not None:
                accepted_at = clock.to_loop(payment.accepted_at)
        not_before = -math.inf
        if self._is_left_to_others(ref, paid=payment is not None):
            expects_webhook = False  # whoever polls it learns whether deliveries come
            not_before = max(now + _LEFT_TO_OTHERS, accepted_at + _OVERDUE * self._scheduler.expected(kind))
        self._scheduler.add(
            ref, kind, accepted_at, now, expects_webhook=expects_webhook, not_before=not_before
        )
        self._rate_limiter.wake()

    def stop_polling(self, ref: LookRef, *, paid: bool) -> None:
        """The look is not awaited any more: stop polling it, unless all paid looks are polled."""
        if not self._polls_all or not paid or self._is_left_to_others(ref, paid=paid):
            self._scheduler.drop(ref)

    async def ask(self, ref: LookRef) -> Look:
        """Read the look's state now, by one request of a caller, and publish the result.

        Raises what `Reads.status` raises.
        """
        look, job = await self._reads.status(ref), self.find(ref)
        if ref in self._scheduler or (job is not None and not job.done):
            with suppress(SessionClosed):  # the waiters have got that error already
                # even if the caller is cancelled: the scheduler will not ask again
                await self._tasks.complete(self.report(look), "hoox-publish")
        return look

    # --- reports about looks

    def changed_elsewhere(self, intent: Intent) -> None:
        """Another process has changed this intent: poll its look, or update its job. Never raises."""
        ref, look = intent.ref, intent.look
        if ref is None:
            return
        if intent.state is IntentState.ACCEPTED:
            self.poll_accepted(intent)
            return
        if look is None:
            return
        self._scheduler.settled_elsewhere(ref, seconds_of(intent))
        self._unwritten.pop(ref, None)
        job = self._jobs.get(ref)
        if job is not None:
            if job._payment is None:
                job._restore(self._payment_of(intent), None)
            job._update(look, complete=is_complete(look))

    def tell(self, intent: Intent) -> None:
        """Call the hooks with the end of this intent's look, and have it written once they have run.

        Never raises.
        """
        if intent.look is not None:
            event = LookSettled(
                intent.look, intent.key, _seconds_since_accepted(intent), intent.request.metadata
            )
            is_wanted = partial(self._store.is_still_owed, intent, self._clock.boot())
            self._hooks.emit(event, partial(self._store.told, intent), is_wanted)

    async def report(self, look: Look, *, delivered: bool = False) -> bool:
        """Publish what a caller's request, or a delivery, says of a look. Returns whether that was new.

        No job is made for it: hooks are told of what is held here, and this process may only pass it on.
        """
        if look.ref not in self._scheduler:
            return await self.publish((LookUpdate(look, is_complete(look)),))
        update = self._scheduler.update(look, self._clock.now(), delivered=delivered)
        self._rate_limiter.wake()
        if update is not None:
            await self.publish((update,))
        return update is not None

    async def publish(self, updates: Iterable[LookUpdate]) -> bool:
        """Record settled looks in the store, then update the jobs and emit the events.

        Returns whether any of the settled looks was new.
        """
        updates = list(updates)
        settled = [self._settle(look, complete) for look, complete in updates if look.status.settled]
        were_new = await asyncio.gather(*settled)
        for look, complete in updates:
            job = self._jobs.get(look.ref)
            if job is not None and not look.status.settled:
                job._update(look, complete=complete)
        return any(were_new)

    async def _settle(self, look: Look, complete: bool) -> bool:
        """Write the end of a look, and wake its waiters. Returns whether it was new here.

        Its row says whose hooks are told: writing it has them called, see `tell`. While the store fails,
        waiters get the look as the API reported it, and hooks wait until it is written.
        """
        job = self._jobs.get(look.ref)
        if job is not None and job.done and look.ref not in self._unwritten:
            return False
        settle = Settle(look, self._clock.utc(), self._api_answers.answers_since)
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN):
                job, look = await self._write_end(settle)
        except Exception as error:  # a store may raise anything; the waiters must be woken
            self._write_later(settle, error)
        return job is not None and job._update(look, complete=complete)

    async def _write_end(self, settle: Settle) -> tuple[LookJob | None, Look]:
        """Write the end to the row of the intent that paid for the look. Raises what the store raises.

        A look that has no row is told by the session that holds its job. Returns the job, if there is one,
        and the look as its row has it.
        """
        look, ref = settle.look, settle.look.ref
        job = self._jobs.get(ref)
        if job is None or job.key is None:  # a job may have been made from the ref alone
            intent = await self._store.by_ref(ref)
            if intent is not None and intent.ref == ref:  # another ref: it is being paid again
                job = self.job_of(intent)
        if job is not None and job.key is not None:
            look = await self._write_to_row(job.key, settle)
        elif job is not None and (not job._is_settled or ref in self._unwritten):
            self._hooks.emit(LookSettled(look, None, None, job.metadata))
        self._unwritten.pop(ref, None)
        return job, look

    async def _write_to_row(self, key: str, settle: Settle) -> Look:
        """Write the end, and return the look as the row has it: its first settled status is final."""
        try:
            settled: Intent | None = await self._intents.advance(key, settle)
        except IllegalTransition:  # it was settled with the other status before
            settled = await self._intents.stored(key)
        known = settled.look if settled is not None else None
        return known if known is not None and known.ref == settle.look.ref else settle.look

    def _write_later(self, settle: Settle, error: Exception) -> None:
        """Write the end of a look once the store works again: hooks and other processes wait for it."""
        look = settle.look
        said = f"it did not answer within {_ANSWERS_WITHIN:g} s" if isinstance(error, TimeoutError) else error
        unexpected = None if isinstance(error, StoreError | TimeoutError) else error
        _log.warning(
            "the store could not record that %s is %s: %s", look.ref, look.status, said, exc_info=unexpected
        )
        if look.ref not in self._unwritten:
            self._unwritten[look.ref] = settle
            with suppress(SessionClosed):  # it stays accepted in the store, where it is found again
                self._tasks.background(self._keep_writing(settle), "hoox-settle")

    async def _keep_writing(self, settle: Settle) -> None:
        pause = _FIRST_RETRY
        while settle.look.ref in self._unwritten:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_RETRY)
            await self._try_to_write(settle)

    async def _try_to_write(self, settle: Settle) -> None:
        try:
            await self._write_end(settle)
        except Exception as error:
            _log.debug("the end of %s is not written yet: %s", settle.look.ref, error)

    async def write_ends(self) -> None:
        """Write now the ends that the store has not written: the session closes. Never raises."""
        await asyncio.gather(*map(self._try_to_write, tuple(self._unwritten.values())))

    # --- the end of waiting

    def end_waiting(self, ref: LookRef, error: HooxError) -> None:
        """End all waiting for a look with an error. In the store it stays accepted."""
        job = self._jobs.get(ref)
        if job is not None:
            job._wake(error)

    def key_refused(self, error: HooxError) -> None:
        """End all waiting with this error, except for looks that another process polls."""
        for job in list(self._jobs.values()):
            if not self._is_left_to_others(job.ref, paid=job._payment is not None):
                job._wake(error)

    def close(self, error: HooxError) -> None:
        """End all waiting, now and later, with this error."""
        self._closed = error
        for job in list(self._jobs.values()):
            job._wake(error)
        self._unreferenced.clear()

    # --- forgetting

    def note_unreferenced(self, key: str) -> None:
        """The job of this intent is not referenced any more: the store may forget it once it is settled."""
        if self._closed is None:
            self._unreferenced.append(key)

    async def forget_unreferenced(self) -> None:
        """Have the store forget the intents whose jobs are not referenced, if they are settled.

        One that is not settled yet comes again once it is. Raises `StoreError`.
        """
        while self._unreferenced:
            await self._store.forget(self._unreferenced.pop())


def _seconds_since_accepted(intent: Intent) -> float | None:
    if intent.accepted_at is None or intent.settled_at is None:
        return None
    return max(0.0, (intent.settled_at - intent.accepted_at).total_seconds())


def _closed_under(ref: LookRef, *, is_paid: bool) -> SessionClosed:
    paid = "the look is paid for and not lost" if is_paid else "the look is not lost"
    error = SessionClosed(
        f"{ref}: the session was closed before it was known to be done; {paid}. "
        f'Go on in a new session: await session.wait(LookRef.parse("{ref}"))'
    )
    error.ref = ref
    return error
