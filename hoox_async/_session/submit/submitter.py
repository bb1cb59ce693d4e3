"""Submissions: one at a time per key, each sent at most once unless it certainly cost nothing."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from ..._api.endpoints import submit_endpoint
from ..._api.models import LookRef
from ..._api.requests import LookEdit, Request
from ..._core.intents.budget import Budget
from ..._core.intents.intent import Intent, IntentState
from ..._core.intents.keys import digest
from ..._core.intents.outcomes import error_of
from ..._core.intents.send_decision import Decide, Outstanding, SendDecision, decide_resend, decide_single
from ..._core.intents.transitions import Resend
from ..._core.retry import NoRetry, Patience, decide_paid
from ..._core.settings import Timeouts
from ..._io.clock import Clock
from ..._io.hooks import Hooks, is_called_with_end_of
from ..._io.ledger.ledger import Ledger
from ..._io.protocols import Transport
from ..._io.tasks import TaskSet
from ...errors import (
    ApiError,
    AuthenticationError,
    HooxError,
    InvalidRequest,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    SessionClosed,
    StoreError,
)
from ...events import Retried
from ...webhooks.hub import WebhookHub
from ..api_answers import ApiAnswers
from ..deliveries import Deliveries
from ..intents import Intents, within
from ..jobs import JobRegistry
from ..rate_limiter import CallerPermits, RateLimiter
from ..reads import Reads
from ..unknowns import Unknowns
from .attempt import SendOptions, SubmitAttempt
from .budgets import AttemptBudget, SessionBudgets
from .deferred_writes import DeferredWrites
from .key_locks import KeyBusy, KeyLocks
from .submission_hold import SubmissionHold

_log = logging.getLogger("hoox_async")
_REREAD = 30.0  # seconds after an answer is due: then the intent is read, if no change of it was reported
_TELLING, _ASK_WHETHER_TOLD = 60.0, 0.5  # seconds
_EARLY = 0.01  # seconds by which a timer may fire early
_T = TypeVar("_T")
_WITHOUT_OUTCOME = frozenset({IntentState.PLANNED, IntentState.SENDING})


class Submitter:
    """Sends intents, each at most once unless it certainly cost nothing.

    A key is locked by one caller at a time. Before each attempt the caller reads the key's intent from the
    store, and decides by that whether anything is to be sent. The attempt runs in a task of the session's: a
    caller that is cancelled ends it while it still waits to send, and leaves it alone afterwards, so that
    its answer is recorded whatever happens to the caller.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        store: Ledger,
        intents: Intents,
        rate_limiter: RateLimiter,
        transport: Transport,
        hooks: Hooks,
        api_answers: ApiAnswers,
        timeouts: Timeouts,
        hub: WebhookHub | None,
        tasks: TaskSet,
        registry: JobRegistry,
        deliveries: Deliveries,
        unknowns: Unknowns,
        reads: Reads,
    ) -> None:
        self._clock = clock
        self._store = store
        self._intents = intents
        self._rate_limiter = rate_limiter
        self._hooks = hooks
        self._api_answers = api_answers
        self._tasks = tasks
        self.posts: TaskSet = TaskSet()
        """The attempts: those that may have sent something are let finish when the session closes."""
        self._unknowns = unknowns
        self.deferred: DeferredWrites = DeferredWrites(tasks)
        self.budgets: SessionBudgets = SessionBudgets(store)
        self.hold: SubmissionHold = SubmissionHold(clock, rate_limiter, reads, hooks, tasks)
        self._new_attempt = partial(
            SubmitAttempt,
            clock=clock,
            intents=intents,
            transport=transport,
            hooks=hooks,
            api_answers=api_answers,
            timeouts=timeouts,
            hub=hub,
            registry=registry,
            deliveries=deliveries,
            deferred=self.deferred,
            hold=self.hold,
        )
        self._key_locks = KeyLocks()
        self._running: dict[str, _RunningAttempt] = {}
        self._put_back: set[str] = set()  # sent by this process, and perhaps planned again

    def plan(self, request: Request, key: str, kept: bool, source: LookRef | None) -> Intent:
        """A new intent, not yet written anywhere."""
        return Intent(key, kept, request, digest(request), self._clock.utc(), source=source)

    def close(self) -> None:
        """End the attempts that still wait to send. Those whose POST is outstanding go on."""
        self._intents.close()
        self.hold.close()
        for running in tuple(self._running.values()):
            if running.attempt.is_waiting:
                running.task.cancel()

    # --- whole submissions: each locks its key and then reads the store

    async def submit(
        self, request: Request, key: str | None, budget: Budget | None, max_wait: float | None
    ) -> Intent:
        """A single submission: the intent once it is accepted, or as the store had it already."""
        options = self._options_of_caller(budget, max_wait)
        await self._within(options, self.budgets.open(budget))
        wanted = self.plan(
            request, key or f"once-{secrets.token_hex(12)}", key is not None, _source_of(request)
        )
        at_begin = None if key is None else await self._within(options, self._intents.stored(key))
        try:
            return await self.send(wanted, partial(decide_single, wanted, at_begin), options)
        except (ApiError, NotSent):
            if key is None:  # it cost nothing, and no caller can ask for it again
                with suppress(StoreError):
                    await self._store.forget(wanted.key)
            raise

    async def resend(
        self, key: str, attempt: str | None, budget: Budget | None, max_wait: float | None
    ) -> Intent:
        """Send an unknown again on the user's instruction, unless its look is found before."""
        async with self._unknowns.deciding(key, attempt) as unknown:
            options = self._options_of_caller(budget, max_wait)
            await self._within(options, self.budgets.open(budget))
            return await self.send(unknown, partial(decide_resend, unknown, attempt), options)

    async def _within(self, options: SendOptions, work: Awaitable[_T]) -> _T:
        """What the store answers, within the time that is left to the caller. Raises `StoreError`."""
        return await within(options.seconds_left(self._clock.now()), work)

    def _options_of_caller(self, budget: Budget | None, max_wait: float | None) -> SendOptions:
        permits = CallerPermits(self._rate_limiter, max_wait)
        deadline = None if max_wait is None else permits.since + max_wait
        acquire = partial(self.hold.acquire, permits)
        reserving = AttemptBudget(self.budgets, budget, waits=False)
        return SendOptions(acquire, Patience.SINGLE, reserving, permits.since, deadline)

    async def send(self, wanted: Intent, decide: Decide, options: SendOptions) -> Intent:
        """Send the intent ``wanted`` under its key until it is accepted, refused or lost.

        Before each attempt ``decide`` gets the key's stored intent and returns what to send; an intent that
        it returns instead is the result. Raises the error of any other outcome.
        """
        seconds = options.seconds_left(self._clock.now())
        try:
            async with self._key_locks.holding(wanted.key, seconds):
                return await self._send(wanted, decide, options)
        except KeyBusy as busy:
            joined = await self.join(wanted.key)  # an outstanding POST must not be reported as not sent
            decided = None if joined is None else decide(joined)
            if isinstance(decided, Intent):
                return decided
            message = f"{wanted.key}: {busy}; this one sent nothing"
            raise NotSent(message, retry_after=busy.retry_after) from None
        except BaseException:
            self._release_unless_wanted(wanted.key)
            raise

    async def _send(self, wanted: Intent, decide: Decide, options: SendOptions) -> Intent:
        """One attempt after the other until one has an outcome; the caller holds the key."""
        began, connections, refusals = self._clock.now(), 0, 0
        while True:
            try:
                sent = await self._send_once(wanted, decide, options)
                if sent is not None:
                    return sent
            except (NotSent, RateLimited, AuthenticationError) as error:
                if isinstance(error, NotSent):
                    connections += 1
                    self._note_no_connection(wanted, error)
                refusals += isinstance(error, AuthenticationError)
                over = self._rate_limiter.is_final(error, options.since)
                elapsed = self._clock.now() - began
                jitter = random.random()  # noqa: S311 - no secret
                decision = decide_paid(
                    connections, error, elapsed, options.patience, jitter, final=over, key_refusals=refusals
                )
                if isinstance(decision, NoRetry):
                    raise
                self._emit_retry(wanted, error, decision.delay)
                await asyncio.sleep(decision.delay)

    async def _send_once(self, wanted: Intent, decide: Decide, options: SendOptions) -> Intent | None:
        """Wait for this key's outstanding POST, or start an attempt where ``decide`` says so.

        None where it must be decided again.
        """
        running = self._running.get(wanted.key)
        if running is not None and running.attempt.intent.digest != wanted.digest:
            decide(running.attempt.intent)  # raises for a conflict with other content
            await asyncio.wait((running.task,))
            return None
        if running is not None:
            return await running.join()
        await self.deferred.write(wanted.key)
        decided = decide(await self._within(options, self._intents.stored(wanted.key)))
        if isinstance(decided, Intent):
            return decided
        if isinstance(decided, Outstanding):
            await self._wait_for_other_process(decided.intent)
            return None
        lost = decided.stored if isinstance(decided.instruction, Resend) else None
        if lost is not None and not await self._wait_for_late_answer(lost, options):
            return None
        if decided.stored is not None and decided.stored.look is not None:
            await self._wait_until_told(decided.stored, options)
        return await self._start(decided, options).result()

    async def join(self, key: str) -> Intent | None:
        """Wait for the POST of this key that is outstanding now, here or in another process.

        The key is not held meanwhile. None if there is none, or if it certainly cost nothing. Raises the
        error of any other outcome, and that of one which can't be written.
        """
        running = self._running.get(key)
        if running is None or running.attempt.is_waiting:
            if await self.deferred.write(key):  # our own POST must not be taken for another process's
                return _outcome(key, await self._intents.stored(key))
            return await self._join_other_process(key)
        try:
            return await running.join()
        except (NotSent, RateLimited, AuthenticationError):
            return None

    # --- other processes, on a store that is shared

    async def _join_other_process(self, key: str) -> Intent | None:
        stored = await self._intents.stored(key) if self._store.is_shared else None
        if stored is None or stored.state is not IntentState.SENDING:
            return None
        sending = stored.attempts[-1].id
        after: Intent | None = stored
        while after is not None and after.state is IntentState.SENDING and after.was_last_sent_by(sending):
            await self._wait_for_other_process(after)
            after = await self._intents.stored(key)
        if after is not None and not after.was_last_sent_by(sending):
            return None
        return _outcome(key, after)

    async def _wait_for_other_process(self, sending: Intent) -> None:
        """Wait until the POST of another process may have ended. No time of the caller's bounds that.

        Raises `OutcomeUnknown` where no other process can be sending it, or the session is closed meanwhile.
        """
        if not self._store.is_shared or self._intents.is_closed:
            raise error_of(sending) or OutcomeUnknown(f"{sending.key}: it is being sent", key=sending.key)
        seconds = sending.seconds_until_answer(self._clock.utc())
        await self._intents.wait_changed(sending, seconds + _REREAD)

    async def _wait_for_late_answer(self, unknown: Intent, options: SendOptions) -> bool:
        """Wait as long as a process that was presumed dead may still get the answer to the lost POST.

        Returns False where the intent changes meanwhile. Raises `KeyBusy` where the caller does not wait so
        long.
        """
        clock = self._clock
        seconds = unknown.seconds_until_answer(clock.utc())
        if not seconds:
            return True
        left = options.seconds_left(clock.now())
        longest = seconds if left is None else min(seconds, left)
        until = clock.now() + longest
        await self._intents.wait_changed(unknown, longest)
        if self._intents.is_closed:
            raise SessionClosed("the session was closed")
        now = await self._intents.stored(unknown.key)
        if now is None or not now.unchanged_since(unknown) or clock.now() < until - _EARLY:
            return False
        if longest < seconds:
            raise KeyBusy("the process that sent it may still get the answer", seconds - longest)
        return True

    async def _wait_until_told(self, ended: Intent, options: SendOptions) -> None:
        """Wait while hooks are being told of an end that is to be paid again: its row can owe one end only.

        Not where a hook pays again that is called with that end, and not for ever: a hook may wait for this.
        """
        if ended.ref is not None and is_called_with_end_of(ended.ref):
            return
        left = options.seconds_left(self._clock.now())
        until = self._clock.now() + (_TELLING if left is None else min(_TELLING, left))
        while self._clock.now() < until and await self._store.is_telling(ended):
            await self._intents.wait_changed(ended, _ASK_WHETHER_TOLD)
            if self._intents.is_closed:
                raise SessionClosed("the session was closed")

    def changed_elsewhere(self, intent: Intent) -> None:
        """Another process has changed this intent: wake those who wait for that."""
        self._intents.notify(intent.key)
        running = self._running.get(intent.key)
        if running is not None and running.attempt.is_outdated_by(intent):
            running.attempt.outdate()  # so that no permit is taken for what another process sends
            running.task.cancel()

    # --- keys whose planned intent this process was to send again

    def _release_unless_wanted(self, key: str) -> None:
        """Let other processes give the key other content, unless a submission here is to send it."""
        running = self._running.get(key)
        if running is not None:
            running.task.add_done_callback(lambda _: self._release_unless_wanted(key))
        elif key in self._put_back and not self._key_locks.is_held(key):
            self._put_back.discard(key)
            with suppress(SessionClosed):  # then closing the store does it
                self._tasks.spawn(self._release(key), "hoox-release-key")

    async def _release(self, key: str) -> None:
        try:
            await self._store.release(key)
        except Exception as error:  # of the store; the end of the session or of the lease does it
            _log.debug("could not release the key %s: %s", key, error)

    def _start(self, decision: SendDecision, options: SendOptions) -> _RunningAttempt:
        key, attempt = decision.intent.key, self._new_attempt(decision=decision, options=options)
        task = self.posts.spawn(attempt.run(), f"hoox-post-{key}")
        task.add_done_callback(lambda _: self._ended(running))
        task.add_done_callback(_log_unexpected)
        running = self._running[key] = _RunningAttempt(key, attempt, task)
        return running

    def _ended(self, running: _RunningAttempt) -> None:
        self._running.pop(running.key, None)
        if self._store.is_shared and running.attempt.was_written:
            task = running.task
            is_accepted = not task.cancelled() and not task.exception() and task.result() is not None
            (self._put_back.discard if is_accepted else self._put_back.add)(running.key)

    def _note_no_connection(self, intent: Intent, error: NotSent) -> None:
        if error.retry_after is None:  # else nothing was tried: ``max_wait`` ended first
            now, endpoint = self._clock.now(), submit_endpoint(intent.content)
            self._api_answers.failed(endpoint, error, now, intent.key)

    def _emit_retry(self, intent: Intent, error: HooxError, delay: float) -> None:
        endpoint = submit_endpoint(intent.content)
        self._hooks.emit(Retried(endpoint, str(error), delay, intent.key))


class _RunningAttempt:
    """An attempt and the session's task that runs it."""

    def __init__(self, key: str, attempt: SubmitAttempt, task: asyncio.Task[Intent | None]) -> None:
        self.key = key
        self.attempt = attempt
        self.task = task

    async def result(self) -> Intent | None:
        """As `join`, for the caller that started it: cancelling it ends an attempt that has not sent yet."""
        return await self._awaited(_CancellingResult(self.attempt, self.task))

    async def join(self) -> Intent | None:
        """Wait for its end. Cancelling the caller does not affect the attempt."""
        return await self._awaited(asyncio.shield(self.task))

    async def _awaited(self, result: asyncio.Future[Intent | None]) -> Intent | None:
        try:
            return await result
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if not self.task.cancelled() or caller is None or caller.cancelling():
                raise
        # the session has ended; the caller was not cancelled
        if self.attempt.is_waiting:
            raise SessionClosed("the session was closed")
        message = f"{self.key}: the session ended before the answer; it may have been charged"
        raise OutcomeUnknown(message, key=self.key)


class _CancellingResult(asyncio.Future[Intent | None]):
    """The result of an attempt, for the caller that started it.

    When its caller is cancelled, it cancels an attempt that still waits, synchronously (so that no permit is
    granted meanwhile), and ends when the attempt has released what it held: cancelled, however the attempt
    ended. Once the attempt may have sent something, only the caller is cancelled.
    """

    def __init__(self, attempt: SubmitAttempt, task: asyncio.Task[Intent | None]) -> None:
        super().__init__(loop=task.get_loop())
        self._attempt = attempt
        self._task = task
        self._caller_is_cancelled = False
        task.add_done_callback(self._finish)

    def cancel(self, msg: object | None = None) -> bool:
        if self._attempt.is_waiting and not self._task.done():
            self._caller_is_cancelled = True
            return self._task.cancel(msg)
        return super().cancel(msg)

    def _finish(self, task: asyncio.Task[Intent | None]) -> None:
        if self.done():
            return
        # an attempt that another process's change ends in the same turn of the loop is not cancelled
        if task.cancelled() or self._caller_is_cancelled:
            super().cancel()
        elif (error := task.exception()) is not None:
            self.set_exception(error)
            self.exception()  # mark as retrieved: a caller that is just being cancelled does not do it
        else:
            self.set_result(task.result())


def _outcome(key: str, ended: Intent | None) -> Intent | None:
    """The intent whose POST has ended, if it is paid for. Raises the error of what is not.

    None if it certainly cost nothing and may be sent again, or is gone with a backup that was restored.
    """
    if ended is None or ended.state in _WITHOUT_OUTCOME:
        return None
    if ended.state.paid:
        return ended
    raise error_of(ended) or HooxError(f"{key}: {ended.state}")


def _log_unexpected(post: asyncio.Task[Intent | None]) -> None:
    """Log an error that is not ours, which is a defect: its caller may be gone. Our own errors are stored."""
    error = None if post.cancelled() else post.exception()
    if error is not None and not isinstance(error, HooxError):
        _log.error("the task %s failed", post.get_name(), exc_info=error)


def _source_of(request: Request) -> LookRef | None:
    if not isinstance(request, LookEdit):
        return None
    if isinstance(request.source, str):
        raise InvalidRequest(
            "source", request.source, "a look or its ref (keys of items are a batch's alone)"
        )
    return request.source
