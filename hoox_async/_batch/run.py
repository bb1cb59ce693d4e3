"""One run of a batch over one input: admits, sends for few avatars at a time, and awaits each.

An item's way: pulled → admitted (what does the store know of it?) → parked until its source is READY →
the feed → in flight (budget, rate limiter, POST, waiting) → its outcome → the reader. `PrefetchWindow`
says how many
may be at these points.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from .._api.models import LookRef
from .._core.intents.intent import Intent
from .._core.intents.outcomes import Outcome, OutcomeState
from .._session.runtime import SessionRuntime
from ..errors import BudgetExceeded, HooxError, SessionClosed, StoreError
from .admission import (
    AwaitSource,
    End,
    Enqueue,
    Next,
    Park,
    WaitFor,
    admit,
    after_source,
    cancelled_unclear,
    conflict,
    for_nothing,
    unsent,
)
from .batch_budget import BatchBudget
from .breaker import BatchBreaker
from .in_flight import InFlightLimiter, Ticket
from .input_reader import InputReader, Known
from .items import Input, Item
from .locality_queue import LocalityQueue
from .options import Options
from .prefetch import PrefetchWindow, ResultQueue
from .sender import Sender
from .stop import Stop, Stopped

_MOST_OVER_THE_CAP = 10_000  # in a row; then an input without an end is read no further
_LOOKS = frozenset({OutcomeState.READY, OutcomeState.FAILED, OutcomeState.PENDING, OutcomeState.UNKNOWN})
_IN_A_ROW = 100  # looks of one avatar sent in a row; more of them would hardly save status requests
_NOT_STORED = frozenset({OutcomeState.REJECTED, OutcomeState.SKIPPED, OutcomeState.UNSENT})


class Run:
    """Owns the tasks of one run. It never refers to the stream that reads it."""

    def __init__(self, runtime: SessionRuntime, options: Options, given: Input) -> None:
        self._runtime = runtime
        self._options = options
        self._purse = BatchBudget(options.max_credits)
        self._stop = Stop()
        self._breaker = BatchBreaker(runtime.services, options.max_failures, self.stop)
        self._sender = Sender(runtime, options, self._purse, self._stop, self._breaker)
        limit = runtime.services.rate_limiter.snapshot().limit
        self._queue: LocalityQueue[Item] = LocalityQueue(spacing=60 / limit)
        self._live: dict[str, Item] = {}
        self._ended: dict[str, OutcomeState] = {}  # the user's keys that ended and are in no store
        self._prefetch = PrefetchWindow(options.max_in_flight)
        self._reader = InputReader(given, self._prefetch, runtime.services.store)
        self._results = ResultQueue()
        self._behind: dict[str, list[Item]] = {}  # by the key of a source that an earlier run has sent
        self._waiting: deque[Item] = deque()  # accepted or unknown since an earlier run
        self._work = asyncio.Event()
        self._in_flight = InFlightLimiter(options.max_in_flight, self._work.set, self._count_failures)
        self._items: asyncio.TaskGroup | None = None
        self._task: asyncio.Task[None] | None = None
        self._leaving = False
        self._ending = False
        self._broken: HooxError | None = None
        self._over_the_cap = 0  # items in a row that the cap had no credits for

    # --- for the stream

    def start(self) -> None:
        """Begin, in a task that the session owns."""
        if self._task is None and not self._leaving:
            self._task = self._runtime.services.tasks.spawn(self._pump(), "hoox-batch")
            results = self._results
            self._task.add_done_callback(lambda _: results.wake())

    async def next(self) -> tuple[int, Outcome] | None:
        """The next outcome with its place in the input; None at the end."""
        while (found := self._results.take()) is None:
            if self._task is None or self._task.done():
                self._raise_end()
                return None
            await self._results.changed()
        self._prefetch.deliver()
        self._work.set()
        return found

    def _raise_end(self) -> None:
        task = self._task
        if task is None or self._leaving:
            return
        if task.cancelled():
            raise SessionClosed(
                "the session was closed under the batch; what was accepted stays in its store"
            )
        error = task.exception()
        if error is not None:
            raise error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error

    def cancel(self) -> None:
        """End the run; its tasks are gone within a few turns of the loop."""
        self._leaving = True
        if self._task is not None and not self._task.done():
            self._task.cancel()

    async def aclose(self) -> None:
        """End the run and wait for that."""
        self.cancel()
        if self._task is not None and not self._task.done():
            await asyncio.wait((self._task,))

    def stop(self, reason: HooxError) -> None:
        """Send nothing more. What was accepted is still awaited; the rest ends UNSENT."""
        if self._stop.say(reason):
            self._turn_back(reason)
            self._wake()

    def _turn_back(self, reason: HooxError) -> None:
        """What waits here to be sent ends UNSENT; from now on none is let in (see `_take`)."""
        for item in self._queue.drain():
            self._finish(item, unsent(item, reason))
        for item in tuple(self._live.values()):
            for dependent in item.take_dependents():
                self._finish(dependent, unsent(dependent, reason))

    # --- the tasks

    async def _pump(self) -> None:
        no_more = self._runtime.unknowns.avatars.on_unlock(self._work.set)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._items = tasks
                reader = self._spawn(self._pull(), "hoox-batch-pull", self._pulling_was_cancelled)
                try:
                    await self._dispatch()
                finally:
                    self._ending = True
                reader.cancel()
        finally:
            self._runtime.scheduler.backlog = 0
            no_more()
            self._breaker.close()
            await self._reader.aclose()

    def _spawn(
        self, work: Coroutine[Any, Any, None], name: str, cancelled: Callable[[], None]
    ) -> asyncio.Task[None]:
        """A task of the run's. ``cancelled`` is called where it is cancelled by others: the run goes on.

        A task group takes no notice of that.
        """
        assert self._items is not None
        task = self._items.create_task(work, name=name)
        task.add_done_callback(lambda ended: cancelled() if self._is_cut_off(ended) else None)
        return task

    def _is_cut_off(self, task: asyncio.Task[None]) -> bool:
        """Whether it was cancelled, and not since the run ends."""
        run_ends = self._leaving or self._ending or (self._task is not None and self._task.cancelling() > 0)
        return task.cancelled() and not run_ends

    async def _pull(self) -> None:
        await self._reader.count_earlier(self, self._purse)
        await self._reader.run(self, self._may_pull)
        self._wake()

    def _pulling_was_cancelled(self) -> None:
        self._broken = HooxError("the task that reads the input was cancelled; run again to go on")
        self._work.set()

    def _may_pull(self) -> bool:
        # an input without an end must not go on for ever; of a list, each item gets its outcome
        is_pointless = self._stop.reason is not None or self._over_the_cap >= _MOST_OVER_THE_CAP
        return not is_pointless or not self._reader.endless

    def _all_pulled(self) -> bool:
        return not self._reader.admitting and (self._reader.over or not self._may_pull())

    async def _dispatch(self) -> None:
        while True:
            if self._broken is not None:
                raise self._broken
            while (ready := self._next()) is not None:
                self._fly(ready)
            if self._all_pulled() and not self._live:
                return
            self._work.clear()
            await self._work.wait()

    def _next(self) -> Item | None:
        """What takes off now, if anything may."""
        if self._in_flight.full or not self._prefetch.may_send():
            return None
        if self._waiting:
            return self._waiting.popleft()
        if not self._reader.filled or self._in_flight.gate_is_full:
            return None
        return self._queue.pop(self._is_free)

    def _is_free(self, avatar_id: str) -> bool:
        """Whether an edit of the avatar can go to the rate limiter: with avatar locks, one at a time."""
        avatars = self._runtime.unknowns.avatars
        if not avatars.is_exclusive:
            return True
        return avatars.ready_for_edit(avatar_id) and not self._in_flight.at_gate(avatar_id)

    def _wake(self) -> None:
        self._work.set()
        self._prefetch.wake()

    # --- admission

    def admit(self, index: int, pulled: Item | Outcome, known: Known | StoreError) -> None:
        """Take what was pulled: an item, or the outcome of something that is no request.

        With an error instead of what is known, nothing is sent for it, and what it cost in earlier runs is
        not known here: so says the error.
        """
        if isinstance(pulled, Outcome):
            self._tell(index, pulled)
        elif (first := self._live.get(pulled.key)) is not None:
            self._follow(first, pulled)
        else:
            self._admit(pulled, known)

    def enough(self) -> bool:
        """Whether what waits is enough to send many looks of one avatar in a row."""
        return max(len(self._waiting), self._queue.longest) >= _IN_A_ROW

    def filled(self) -> None:
        """As much was read as is needed to begin: now items can be chosen by their avatars."""
        self._work.set()

    def _admit(self, item: Item, known: Known | StoreError) -> None:
        self._live[item.key] = item
        if isinstance(known, StoreError):
            self._finish(item, unsent(item, known))
            return
        step = admit(item, known, self._live, self._ended, self._options)
        self._take(item, step)

    def _follow(self, first: Item, item: Item) -> None:
        """The same key twice in one input: one look, told twice, paid once."""
        if first.digest == item.digest:
            first.add_follower(item)
        else:
            self._tell(item.index, conflict(item))

    def _take(self, item: Item, step: Next) -> None:
        if isinstance(step, WaitFor) or not item.request.credits:
            self._over_the_cap = 0  # known or free: reading on is of use
        match step:
            case End(outcome):
                self._finish(item, outcome)
            case WaitFor():
                self._waiting.append(item)
            case _ if self._stop.reason is not None:
                self._finish(item, unsent(item, self._stop.reason))
            case Enqueue() if item.intent is None and (refusal := self._purse.refusal(item.request.credits)):
                self._finish(item, unsent(item, refusal))
            case Park(behind):
                behind.add_dependent(item)
            case AwaitSource(source):
                self._await_source(item, source)
            case Enqueue(source_ref):
                item.source = source_ref
                self._queue.put(self._queue_of(source_ref), item)
        self._work.set()

    def _queue_of(self, source: LookRef | None) -> str | None:
        """By avatar, so that one status request tells of many, also of looks whose webhook was lost."""
        return None if source is None else source.avatar_id

    def _await_source(self, item: Item, source: Intent) -> None:
        """One task for all items of a source: thousands of them may wait for it."""
        behind = self._behind.setdefault(source.key, [])
        behind.append(item)
        if len(behind) == 1:
            self._spawn(self._after_source(source), "hoox-batch-source", lambda: self._source_cut_off(source))

    async def _after_source(self, source: Intent) -> None:
        try:
            outcome = await self._sender.source(source)
        except Stopped as stopped:
            for item in self._behind.pop(source.key):
                self._finish(item, unsent(item, stopped.reason))
        else:
            for item in self._behind.pop(source.key):
                self._take(item, after_source(item, source.key, outcome.state, outcome.ref))

    def _source_cut_off(self, source: Intent) -> None:
        for item in self._behind.pop(source.key):
            self._finish(item, unsent(item, _cut_off(item)))

    # --- in flight

    def _fly(self, item: Item) -> None:
        self._prefetch.take_off()
        self._runtime.scheduler.backlog = self._queue.together
        ticket = self._in_flight.take_off(item)
        told_before = item.repeated and not item.needs_sending
        self._spawn(
            self._carry(item, ticket, told_before),
            f"hoox-item-{item.key}",
            lambda: self._pick_up(item, ticket, told_before),
        )

    async def _carry(self, item: Item, ticket: Ticket, told_before: bool) -> None:
        try:
            outcome = await self._sender.carry(item, ticket)
        except Stopped as stopped:
            self.stop(stopped.reason)
            outcome = unsent(item, stopped.reason)
        self._land(item, ticket, outcome, told_before)

    def _pick_up(self, item: Item, ticket: Ticket, told_before: bool) -> None:
        """Its task was cancelled: it gets an outcome all the same, by what the store knows."""
        error = _cut_off(item)

        async def settle() -> None:
            self._land(item, ticket, await self._sender.after_cancel(item, error), told_before)

        def give_up() -> None:
            self._land(item, ticket, cancelled_unclear(item, error), told_before)

        self._spawn(settle(), f"hoox-item-{item.key}", give_up)

    def _land(self, item: Item, ticket: Ticket, outcome: Outcome, told_before: bool) -> None:
        """It has its outcome: its place is free, and whoever waited for it goes on."""
        ticket.over()
        self._prefetch.land()
        self._finish(item, for_nothing(outcome) if told_before else outcome)
        if outcome.state in (OutcomeState.FAILED, OutcomeState.REJECTED):
            ticket.failed()
        elif outcome.state is not OutcomeState.UNKNOWN:
            ticket.found()

    def _count_failures(self, count: int) -> None:
        if count == self._options.max_failures:
            self.stop(HooxError(f"{count} looks failed, were rejected or were lost (max_failures)"))

    # --- outcomes

    def _finish(self, item: Item, outcome: Outcome) -> None:
        """Deliver, and let go those who waited for this item: also a long chain of them."""
        ending = deque([(item, outcome)])
        while ending:
            item, outcome = ending.popleft()
            self._end(item, outcome)
            for dependent in item.take_dependents():
                step = after_source(dependent, item.key, outcome.state, outcome.ref)
                if isinstance(step, End):
                    ending.append((dependent, step.outcome))
                else:
                    self._take(dependent, step)
        self._work.set()

    def _end(self, item: Item, outcome: Outcome) -> None:
        self._live.pop(item.key, None)
        self._ended.pop(item.key, None)
        if outcome.state in _NOT_STORED and item.key != item.digest:
            self._ended[item.key] = outcome.state
        self._count_over_the_cap(outcome)
        self._tell(item.index, outcome)
        for follower in item.followers or ():
            self._tell(follower.index, for_nothing(outcome))

    def _tell(self, index: int, outcome: Outcome) -> None:
        self._prefetch.tell()
        self._results.put(index, outcome)

    def _count_over_the_cap(self, outcome: Outcome) -> None:
        """A look begins the row anew; what was not sent for other reasons does not."""
        if isinstance(outcome.error, BudgetExceeded):
            self._over_the_cap += 1
        elif outcome.state in _LOOKS:
            self._over_the_cap = 0


def _cut_off(item: Item) -> HooxError:
    return HooxError(f"the task of {item.key} was cancelled")
