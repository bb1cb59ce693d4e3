"""One run of a batch over one input."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from .._api.requests import Resolution
from .._core.forecast import seconds_left
from .._core.intents.intent import Intent
from .._core.intents.outcomes import Outcome, OutcomeState
from .._core.intents.send_decision import key_conflict
from .._session.intents import store_errors
from .._session.runtime import SessionRuntime
from .._session.submit import AttemptBudget
from ..errors import BudgetExceeded, HooxError, SessionClosed, StoreError
from .admission import Admission, AwaitIntent, AwaitItem, Enqueue, Finish, Resume, admit, after_source
from .batch_hold import BatchHold
from .input_reader import BatchInput, InputReader
from .item_outcomes import conflicting, unreadable, unsent, without_credits
from .item_sender import ItemSender
from .items import Item
from .locality_queue import LocalityQueue, pick_first
from .options import BatchOptions
from .progress import Progress, ProgressReporter
from .stop_signal import Stopped, StopSignal
from .window import BatchWindow

_MAX_OVER_THE_CAP = 10_000  # items in a row; then an endless input is read no further
_MAX_READING = 1.0  # seconds; then sending begins with what was read so far, and reading goes on
_ENOUGH_IN_A_ROW = 100  # looks of one avatar sent in a row; more of them would hardly save status requests
_LOOKS = frozenset({OutcomeState.READY, OutcomeState.FAILED, OutcomeState.PENDING, OutcomeState.UNKNOWN})
_NOT_STORED = frozenset({OutcomeState.REJECTED, OutcomeState.SKIPPED, OutcomeState.UNSENT})


class InputRun:
    """Owns the tasks of one run. It holds no reference to the stream that reads it.

    The steps of an item:

    1. The reader task reads it, looks its key up in the store, and admits it (`admission.admit`).
    2. It finishes at once, or waits for its source, or waits in the queue until it may start.
    3. The dispatcher starts it: it gets a place in flight and a separate task.
    4. Its task sends it (budget, permit, POST) and awaits its look (`ItemSender.run`).
    5. Its outcome is put in the window, where it is taken, and the items that waited for its look go on at 2.
    """

    def __init__(self, session: SessionRuntime, options: BatchOptions, given: BatchInput) -> None:
        self._tasks = session.tasks
        self._scheduler = session.scheduler
        self._budgets = session.submitter.budgets
        self._options = options
        changed = asyncio.Event()
        self._stop = StopSignal(changed)
        self._window = BatchWindow(options.max_in_flight, options.max_failures, self._stop, changed)
        self._budget = AttemptBudget(self._budgets, options.budget, options.max_credits, waits=True)
        self._hold = BatchHold(
            clock=session.clock,
            rate_limiter=session.rate_limiter,
            hooks=session.hooks,
            answer_timeout=session.timeouts.answer,
            max_failures=options.max_failures,
            stop=self._stop,
            window=self._window,
        )
        self._sender = ItemSender(session, options, self._budget, self._stop, self._hold, self._window)
        self._reader = InputReader(given, session.store, session.intents)
        self._rate_limiter = session.rate_limiter
        self._progress = ProgressReporter(options.progress, self._read_progress, self._window)

        self._live: dict[str, Item] = {}  # admitted and without an outcome, by key
        self._ended: dict[str, OutcomeState] = {}  # by a key of the user's; not in the store
        self._resumed: deque[Item] = deque()  # accepted or unknown since an earlier run
        self._queue: LocalityQueue[Item] = LocalityQueue(
            pick=_pick_any if session.store.is_shared else pick_first
        )
        self._await_source: dict[str, list[Item]] = {}  # by the key of a source that an earlier run sent

        self._input_ended = False
        self._is_admitting = False  # items were read that are not admitted yet
        self._may_send = self._reader.slow  # read enough to choose items by their avatars, or long enough
        self._over_the_cap = 0  # items in a row that did not fit the cap

        self._task: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None
        self._is_stopped = False  # the items that waited to be sent were ended
        self._is_leaving = False  # the reader of the outcomes has left
        self._is_ending = False  # there is nothing left to dispatch
        self._broken: HooxError | None = None

    # --- for the stream

    def start(self) -> None:
        """Begin, in a task that the session owns."""
        if self._task is None and not self._is_leaving:
            self._task = self._tasks.spawn(self._main(), "hoox-batch")
            window = self._window
            self._task.add_done_callback(lambda _: window.close())

    async def next(self) -> tuple[int, Outcome] | None:
        """The next outcome with its index in the input; None at the end."""
        found = await self._window.take()
        if found is None:
            self._raise_error()
        return found

    def _raise_error(self) -> None:
        """Raise the error that ended the run, unless it ended normally or its reader has left."""
        task = self._task
        if task is None or self._is_leaving:
            return
        if task.cancelled():
            message = "the session was closed under the batch; what was accepted stays in its store"
            raise SessionClosed(message)
        error = task.exception()
        if error is not None:
            raise error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error

    def cancel(self) -> None:
        """End the run; its tasks are gone within a few turns of the loop."""
        self._is_leaving = True
        if self._task is None:
            self._window.close()
        elif not self._task.done():
            self._task.cancel()

    async def aclose(self) -> None:
        """End the run and wait until its tasks are gone."""
        self.cancel()
        if self._task is not None and not self._task.done():
            await asyncio.wait((self._task,))

    def stop(self, reason: HooxError, resolution: Resolution | None = None) -> None:
        """Send nothing more, or nothing more at this resolution; what is not sent ends UNSENT."""
        self._stop.set(reason, resolution)
        self._end_waiting_items()

    def _end_waiting_items(self) -> None:
        """Once the run is stopped, end all items that wait to be sent as UNSENT; `_proceed` adds no more."""
        reason = self._stop.reason
        if reason is None or self._is_stopped:
            return
        self._is_stopped = True
        for item in self._queue.drain():
            self._finish(item, unsent(item, reason))
        for item in tuple(self._live.values()):
            for dependent in item.take_dependents():
                self._finish(dependent, unsent(dependent, reason))
        self._window.changed.set()

    def _read_progress(self) -> Progress:
        window = self._window
        return Progress(
            window.done,
            window.in_flight,
            window.unknown,
            self._reader.total,
            window.credits,
            self._seconds_left(),
        )

    def _seconds_left(self) -> float | None:
        total, window = self._reader.total, self._window
        if total is None or self._hold.is_paused:
            return None
        unsent = total - window.done - window.in_flight - len(self._resumed)
        seconds = seconds_left(
            unsent,
            total - window.done - unsent,
            look=partial(self._scheduler.durations.quantile, None),
            permits=self._rate_limiter.expected_wait,
            max_in_flight=self._options.max_in_flight,
        )
        return float(round(seconds))  # what is only a fraction of a second later is no news

    # --- the tasks

    async def _main(self) -> None:
        try:
            await self._open_budget()
            async with asyncio.TaskGroup() as group:
                self._group = group
                reader = self._spawn(self._read_input(), "hoox-batch-reader", self._reader_was_cancelled)
                progress = group.create_task(self._progress.run(), name="hoox-batch-progress")
                try:
                    await self._dispatch()
                finally:
                    self._is_ending = True
                    progress.cancel()
                reader.cancel()
        finally:
            self._scheduler.backlog = 0
            self._hold.close()
            await self._reader.aclose()
            self._progress.end()

    async def _open_budget(self) -> None:
        """Raises `ConfigurationError` where the store has the budget with another cap."""
        try:
            with store_errors():
                await self._budgets.open(self._options.budget)
        except StoreError as error:
            self.stop(error)

    def _spawn(
        self, work: Coroutine[Any, Any, None], name: str, on_cancelled: Callable[[], None]
    ) -> asyncio.Task[None]:
        """Start a task of the run. If others cancel it, ``on_cancelled`` is called and the run goes on.

        A task group ignores the cancellation of one of its tasks.
        """
        assert self._group is not None
        task = self._group.create_task(work, name=name)
        task.add_done_callback(lambda done: on_cancelled() if self._was_cancelled_by_others(done) else None)
        return task

    def _was_cancelled_by_others(self, task: asyncio.Task[None]) -> bool:
        """Whether it was cancelled for another reason than the end of the run."""
        cancelling = self._task is not None and self._task.cancelling() > 0
        return task.cancelled() and not (self._is_leaving or self._is_ending or cancelling)

    def _reader_was_cancelled(self) -> None:
        self._broken = HooxError("the task that reads the input was cancelled; run again to go on")
        self._window.changed.set()

    async def _dispatch(self) -> None:
        """Start items whenever they may start, until each has its outcome."""
        while True:
            if self._broken is not None:
                raise self._broken
            self._end_waiting_items()
            while (item := self._next_item()) is not None:
                self._start_item(item)
            if self._is_input_done() and not self._live:
                return
            await self._window.wait()

    def _next_item(self) -> Item | None:
        """The item that may start now, if any."""
        if not self._window.may_start():
            return None
        if self._resumed:
            return self._resumed.popleft()
        if not self._may_send or not self._window.may_send():
            return None
        return self._queue.pop()

    # --- reading

    async def _read_input(self) -> None:
        await self._count_earlier_runs()
        timer = asyncio.get_running_loop().call_later(_MAX_READING, self._begin_sending)
        try:
            await self._admit_pages()
        finally:
            timer.cancel()
        self._input_ended = True
        self._begin_sending()
        self._window.changed.set()

    async def _count_earlier_runs(self) -> None:
        """Count what earlier runs spent before anything is sent, where there is a cap."""
        if not self._budget.counts_earlier_runs:
            return
        try:
            async for intent in self._reader.earlier_intents():
                self._budget.count(intent.spent + intent.at_risk)
        except StoreError as error:
            self.stop(error)

    async def _admit_pages(self) -> None:
        index = 0
        while self._may_read():
            room = self._window.room(enough=self._is_enough_waiting())
            if room <= 0:
                self._begin_sending()
                await self._window.wait()
                continue
            page = await self._reader.read(room)
            if not page:
                break
            self._window.read(len(page))
            self._is_admitting = True
            await self._admit_page(index, page)
            self._is_admitting = False
            index += len(page)
            await asyncio.sleep(0)

    def _may_read(self) -> bool:
        # an endless input must not be read forever; each item of a list gets its outcome
        is_pointless = self._stop.reason is not None or self._over_the_cap >= _MAX_OVER_THE_CAP
        return not is_pointless or self._reader.total is not None

    def _is_input_done(self) -> bool:
        return not self._is_admitting and (self._input_ended or not self._may_read())

    def _is_enough_waiting(self) -> bool:
        """Whether enough items wait to send many looks of one avatar in a row."""
        return max(len(self._resumed), self._queue.longest_row) >= _ENOUGH_IN_A_ROW

    def _begin_sending(self) -> None:
        """Enough was read: now items can be chosen by their avatars."""
        if not self._may_send:
            self._may_send = True
            self._window.changed.set()

    # --- admission

    async def _admit_page(self, index: int, page: list[Item | Outcome]) -> None:
        """Admit items, and deliver the outcomes of objects that are no requests.

        If the store cannot be read, nothing is sent for the items. What they cost in earlier runs is then not
        known, and their error says so.
        """
        known: dict[str, Intent] | StoreError
        try:
            known = await self._reader.look_up(page)
        except StoreError as error:
            self.stop(error)
            known = StoreError(f"its results and costs in earlier runs could not be read: {error}")
        for n, item in enumerate(page):
            if isinstance(item, Outcome):
                self._window.put(index + n, item)
            elif (first := self._live.get(item.key)) is not None:
                self._join(first, item)
            else:
                self._admit(item, known)

    def _join(self, first: Item, item: Item) -> None:
        """Treat a key that occurs twice in one input as one look: paid once, delivered twice."""
        if first.digest == item.digest:
            first.add_duplicate(item)
        else:
            error = key_conflict(item.key, first.request, item.request)
            self._window.put(item.index, conflicting(item, error))

    def _admit(self, item: Item, known: dict[str, Intent] | StoreError) -> None:
        self._live[item.key] = item
        if isinstance(known, StoreError):
            self._finish(item, unsent(item, known))
            return
        admission = admit(item, known, self._live, self._ended, self._options)
        if item.stored is not None:
            self._window.count_paid(item, item.stored)
        self._proceed(item, admission)

    def _proceed(self, item: Item, admission: Admission) -> None:
        """Put an item where it waits for what it needs next, or finish it."""
        if isinstance(admission, Resume) or not item.request.credits:
            self._over_the_cap = 0  # known or free: reading on is useful
        match admission:
            case Finish(outcome):
                self._finish(item, outcome)
            case Resume():
                self._resumed.append(item)
            case _ if (reason := self._stop.reason_for(item.request)) is not None:
                self._finish(item, unsent(item, reason))
            case Enqueue() if item.stored is None and (
                error := self._budget.exceeded_for_good_by(item.request.credits)
            ):
                self._finish(item, unsent(item, error))
            case AwaitItem(source):
                source.add_dependent(item)
            case AwaitIntent(intent):
                self._wait_for_source(item, intent)
            case Enqueue(source_ref):
                item.source = source_ref
                self._queue.put(None if source_ref is None else source_ref.avatar_id, item)
        self._window.changed.set()

    def _wait_for_source(self, item: Item, source: Intent) -> None:
        """Start one task for all items of a source: thousands of them may wait for it."""
        waiting = self._await_source.setdefault(source.key, [])
        waiting.append(item)
        if len(waiting) == 1:
            self._spawn(
                self._run_source(source), "hoox-batch-source", lambda: self._source_was_cancelled(source)
            )

    async def _run_source(self, source: Intent) -> None:
        try:
            outcome = await self._sender.await_source(source)
        except Stopped as stopped:
            for item in self._await_source.pop(source.key):
                self._finish(item, unsent(item, stopped.reason))
        else:
            for item in self._await_source.pop(source.key):
                self._proceed(item, after_source(item, source.key, outcome.state, outcome.ref))

    def _source_was_cancelled(self, source: Intent) -> None:
        for item in self._await_source.pop(source.key):
            self._finish(item, unsent(item, _task_cancelled(item)))

    # --- in flight

    def _start_item(self, item: Item) -> None:
        self._window.start(item)
        self._scheduler.backlog = self._queue.grouped  # items that wait behind another of their avatar
        counted_elsewhere = item.repeated and not item.needs_sending
        self._spawn(
            self._run_item(item, counted_elsewhere),
            f"hoox-item-{item.key}",
            lambda: self._item_was_cancelled(item, counted_elsewhere),
        )

    async def _run_item(self, item: Item, counted_elsewhere: bool) -> None:
        try:
            outcome = await self._sender.run(item)
        except Stopped as stopped:
            self.stop(stopped.reason, stopped.resolution)
            outcome = unsent(item, stopped.reason)
        self._end_item(item, outcome, counted_elsewhere)

    def _item_was_cancelled(self, item: Item, counted_elsewhere: bool) -> None:
        """Give an item whose task was cancelled from outside an outcome, from its stored intent."""
        error = _task_cancelled(item)

        async def recover() -> None:
            outcome = await self._sender.outcome_after_cancel(item, error)
            self._end_item(item, outcome, counted_elsewhere)

        def was_cancelled_again() -> None:
            self._end_item(item, unreadable(item, error), counted_elsewhere)

        self._spawn(recover(), f"hoox-item-{item.key}", was_cancelled_again)

    def _end_item(self, item: Item, outcome: Outcome, counted_elsewhere: bool) -> None:
        """Free the place of an item that has its outcome, and deliver that."""
        self._window.finish(item)
        self._finish(item, without_credits(outcome) if counted_elsewhere else outcome)
        if outcome.state in (OutcomeState.FAILED, OutcomeState.REJECTED):
            self._window.count_failure(item)
        elif outcome.state is not OutcomeState.UNKNOWN:
            self._window.clear_failure(item)

    # --- outcomes

    def _finish(self, item: Item, outcome: Outcome) -> None:
        """Deliver the outcome of an item, and let the items that waited for its look go on.

        These may finish too. It is a loop, not a recursion, since the chain may be long.
        """
        self._end_waiting_items()
        finished = deque([(item, outcome)])
        while finished:
            item, outcome = finished.popleft()
            self._record(item, outcome)
            for dependent in item.take_dependents():
                admission = after_source(dependent, item.key, outcome.state, outcome.ref)
                if isinstance(admission, Finish):
                    finished.append((dependent, admission.outcome))
                else:
                    self._proceed(dependent, admission)

    def _record(self, item: Item, outcome: Outcome) -> None:
        self._live.pop(item.key, None)
        self._ended.pop(item.key, None)
        if outcome.state in _NOT_STORED and item.key != item.digest:
            self._ended[item.key] = outcome.state
        self._count_over_the_cap(outcome)
        self._window.put(item.index, outcome, item)
        for duplicate in item.duplicates or ():
            self._window.put(duplicate.index, without_credits(outcome))

    def _count_over_the_cap(self, outcome: Outcome) -> None:
        """Count consecutive items that did not fit the cap; a look resets the count."""
        if isinstance(outcome.error, BudgetExceeded):
            self._over_the_cap += 1
        elif outcome.state in _LOOKS:
            self._over_the_cap = 0


def _pick_any(count: int) -> int:
    return random.randrange(count)  # noqa: S311 - no secret


def _task_cancelled(item: Item) -> HooxError:
    return HooxError(f"the task of {item.key} was cancelled")
