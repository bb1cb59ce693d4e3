"""One run of a batch over one input: admits, sends for few avatars at a time, and awaits each.

An item's way: pulled → admitted (what does the store know of it?) → parked until its source is READY →
the feed → in flight (budget, gate, POST, waiting) → its outcome. Pulled and not yet in flight are at most
``LOOKAHEAD`` items, undelivered outcomes included, so that no input sits in memory.
"""

from __future__ import annotations

import asyncio
from collections import deque

from .._core.feed import Feed
from .._core.intents import Intent
from .._core.models import LookRef
from .._core.outcomes import Outcome, OutcomeState
from .._opened import Opened
from ..errors import HooxError, SessionClosed, StoreError
from .admission import (
    AwaitSource,
    End,
    Enqueue,
    Next,
    Park,
    WaitFor,
    admit,
    after_source,
    conflict,
    for_nothing,
    unsent,
)
from .flights import Flights, Place
from .items import Input, Item
from .lookahead import Lookahead, Outbox
from .options import Options
from .pulling import Known, Pulling
from .purse import BatchPurse
from .sender import Sender
from .stop import Stop, Stopped

LOOKAHEAD = 1_000
_NOT_STORED = frozenset({OutcomeState.REJECTED, OutcomeState.SKIPPED, OutcomeState.UNSENT})


class Run:
    """Owns the tasks of one run. It never refers to the stream that reads it."""

    def __init__(self, opened: Opened, options: Options, given: Input) -> None:
        self._opened = opened
        self._options = options
        self._purse = BatchPurse(options.max_credits)
        self._stop = Stop()
        self._sender = Sender(opened, options, self._purse, self._stop)
        limit = opened.parts.gate.snapshot().limit
        self._feed: Feed[Item] = Feed(spacing=60 / limit)
        self._live: dict[str, Item] = {}
        self._ended: dict[str, OutcomeState] = {}  # the user's keys that ended and are in no store
        self._ahead = Lookahead(LOOKAHEAD)
        self._pulling = Pulling(given, self._ahead, opened.parts.store)
        self._parked: dict[str, list[Item]] = {}  # edits by the key of the source that they wait for
        self._outbox = Outbox()
        self._waiting: deque[Item] = deque()  # accepted or unknown since an earlier run
        self._work = asyncio.Event()
        self._flights = Flights(options.max_in_flight, self._work.set, self._count_failures)
        self._items: asyncio.TaskGroup | None = None
        self._task: asyncio.Task[None] | None = None
        self._leaving = False

    # --- for the stream

    def start(self) -> None:
        """Begin, in a task that the session owns."""
        if self._task is None and not self._leaving:
            self._task = self._opened.parts.tasks.spawn(self._pump(), "hoox-batch")
            outbox = self._outbox
            self._task.add_done_callback(lambda _: outbox.wake())

    async def next(self) -> tuple[int, Outcome] | None:
        """The next outcome with its place in the input; None at the end."""
        while (found := self._outbox.take()) is None:
            if self._task is None or self._task.done():
                self._raise_end()
                return None
            await self._outbox.changed()
        self._ahead.let_go()
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
        for item in self._feed.drain():
            self._finish(item, unsent(item, reason))
        for item in tuple(self._live.values()):
            parked, item.dependents = item.dependents, []
            for dependent in parked:
                self._finish(dependent, unsent(dependent, reason))

    # --- the tasks

    async def _pump(self) -> None:
        no_more = self._opened.unknowns.on_move(self._work.set)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._items = tasks
                pulling = tasks.create_task(self._pull(), name="hoox-batch-pull")
                await self._dispatch()
                pulling.cancel()
        finally:
            no_more()
            await self._pulling.aclose()

    async def _pull(self) -> None:
        await self._pulling.count_earlier(self, self._purse)
        await self._pulling.run(self, self._may_pull)
        self._wake()

    def _may_pull(self) -> bool:
        # an input without an end must not go on for ever; of a list, each item gets its outcome
        return self._stop.reason is None or not self._pulling.endless

    def _all_pulled(self) -> bool:
        return not self._pulling.admitting and (self._pulling.over or not self._may_pull())

    async def _dispatch(self) -> None:
        while True:
            while (ready := self._next()) is not None:
                self._fly(ready)
            if self._all_pulled() and not self._live:
                return
            self._work.clear()
            await self._work.wait()

    def _next(self) -> Item | None:
        """What takes off now, if anything may."""
        if self._flights.full:
            return None
        if self._waiting:
            return self._waiting.popleft()
        if not self._pulling.filled or self._flights.gate_is_full:
            return None
        return self._feed.pop(self._is_free)

    def _is_free(self, avatar_id: str) -> bool:
        """Whether an edit of the avatar can go to the gate: with lanes, one at a time."""
        unknowns = self._opened.unknowns
        if unknowns.lanes is None:
            return True
        return unknowns.wanted(avatar_id) and not self._flights.at_gate(avatar_id)

    def _wake(self) -> None:
        self._work.set()
        self._ahead.wake()

    # --- admission

    def admit(self, index: int, pulled: Item | Outcome, known: Known | StoreError) -> None:
        """Take what was pulled: an item, or the outcome of something that is no request.

        With an error instead of what is known, nothing is sent for it, and what it cost in earlier runs is
        not known here: so says the error.
        """
        if isinstance(pulled, Outcome):
            self._outbox.put(index, pulled)
        elif (first := self._live.get(pulled.key)) is not None:
            self._follow(first, pulled)
        else:
            self._admit(pulled, known)

    def filled(self) -> None:
        """As much was pulled as may be: now items can be chosen by their avatars."""
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
            first.followers.append(item)
        else:
            self._outbox.put(item.index, conflict(item))

    def _take(self, item: Item, step: Next) -> None:
        match step:
            case End(outcome):
                self._finish(item, outcome)
            case WaitFor():
                self._waiting.append(item)
            case _ if self._stop.reason is not None:
                self._finish(item, unsent(item, self._stop.reason))
            case Park(behind):
                behind.dependents.append(item)
            case AwaitSource(source):
                self._park_behind(source, item)
            case Enqueue(source_ref):
                item.source = source_ref
                self._feed.put(self._queue_of(source_ref), item)
        self._work.set()

    def _queue_of(self, source: LookRef | None) -> str | None:
        """By avatar, so that one status request tells of many, also of looks whose webhook was lost."""
        return None if source is None else source.avatar_id

    def _park_behind(self, source: Intent, item: Item) -> None:
        """One task awaits a source for all of its edits."""
        assert self._items is not None
        parked = self._parked.get(source.key)
        if parked is not None:
            parked.append(item)
            return
        self._parked[source.key] = [item]
        self._items.create_task(self._await_source(source), name="hoox-batch-source")

    async def _await_source(self, source: Intent) -> None:
        try:
            outcome = await self._sender.source(source)
        except Stopped as stopped:
            for item in self._parked.pop(source.key):
                self._finish(item, unsent(item, stopped.reason))
        else:
            for item in self._parked.pop(source.key):
                self._take(item, after_source(item, source.key, outcome.state, outcome.ref))

    # --- in flight

    def _fly(self, item: Item) -> None:
        assert self._items is not None
        self._ahead.let_go()
        place = self._flights.take_off(item)
        self._items.create_task(self._carry(item, place), name=f"hoox-item-{item.key}")

    async def _carry(self, item: Item, place: Place) -> None:
        told_before = item.repeated and not item.waits_at_gate
        try:
            outcome = await self._sender.carry(item, place)
        except Stopped as stopped:
            self.stop(stopped.reason)
            outcome = unsent(item, stopped.reason)
        finally:
            place.over()
        self._ahead.hold()
        self._finish(item, for_nothing(outcome) if told_before else outcome)
        if outcome.state in (OutcomeState.FAILED, OutcomeState.REJECTED):
            place.failed()

    def _count_failures(self, count: int) -> None:
        if count == self._options.max_failures:
            self.stop(HooxError(f"{count} looks failed or were rejected (max_failures)"))

    # --- outcomes

    def _finish(self, item: Item, outcome: Outcome) -> None:
        """Deliver, and let go those who waited for this item: also a long chain of them."""
        ending = deque([(item, outcome)])
        while ending:
            item, outcome = ending.popleft()
            self._end(item, outcome)
            dependents, item.dependents = item.dependents, []
            for dependent in dependents:
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
        self._outbox.put(item.index, outcome)
        for follower in item.followers:
            self._outbox.put(follower.index, for_nothing(outcome))
