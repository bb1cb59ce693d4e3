"""The interface of the open session that a batch uses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Hashable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from .._api.models import Look, LookRef
from .._core.intents.budget import Budget
from .._core.intents.intent import Intent
from .._core.intents.send_decision import Decide
from .._core.polling import PollScheduler
from .._core.polling.durations import DurationModels, kind_of
from .._core.retry import Patience
from .._io.clock import Clock
from .._io.protocols import Store
from ..errors import HooxError, StoreError
from ..events import Event
from .jobs import JobRegistry, LookJob
from .rate_limiter import Permit
from .services import SessionServices
from .submit import AttemptBudget, SendOptions, Submitter
from .submit.attempt import as_store_error

__all__ = ["BatchAccess", "Expectations", "Permit"]

# seconds to wait for the delivery of a lost POST beyond the expected duration of its look
_DELIVERY_SECONDS = 120.0


class Expectations(NamedTuple):
    """What the session knows of its quota and of its looks, for the forecast of a batch."""

    requests_per_minute: int
    quantile: Callable[[Hashable, float], float]
    """Seconds that a look of a kind takes, at a number of standard deviations from the median."""
    has_webhooks: bool


class BatchAccess:
    """The narrow interface between a batch and its session.

    It reads the store, sends, and waits.
    """

    def __init__(
        self,
        services: SessionServices,
        registry: JobRegistry,
        scheduler: PollScheduler,
        submitter: Submitter,
    ) -> None:
        self.clock: Clock = services.clock
        self.answer_timeout: float = services.timeouts.answer
        """How many seconds a POST waits for its answer."""
        self._services = services
        self._registry = registry
        self._scheduler = scheduler
        self._submitter = submitter

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that ends with the session. Raises `SessionClosed`."""
        return self._services.tasks.spawn(work, name)

    def emit(self, event: Event) -> None:
        """Give an event to the session's hooks."""
        self._services.hooks.emit(event)

    @property
    def is_shared(self) -> bool:
        """Whether other processes use the session's store too."""
        return self._services.store.is_shared

    # --- reading the store; all of these raise `StoreError`

    async def intents(self, keys: Collection[str]) -> dict[str, Intent]:
        """The intents that the store has under these keys."""
        with _as_store_errors():
            return await self._services.store.get(keys)

    async def intent_of(self, ref: LookRef) -> Intent | None:
        """The intent that this look was made for, if the store knows one."""
        with _as_store_errors():
            return await self._services.store.by_ref(ref)

    def all_intents(self) -> AsyncIterator[Intent]:
        """Every intent of the store."""
        return self._services.store.stream()

    # --- sending

    async def acquire_permit(self, may_send: Callable[[], bool], since: float) -> Permit:
        """A permit of the quota, once ``may_send()`` holds.

        ``since`` is the loop's time at which the item began. Raises `RateLimited`, `AuthenticationError` and
        `SessionClosed`.
        """
        return await self._services.rate_limiter.acquire_for_batch(may_send, since=since)

    def reconsider(self) -> None:
        """Evaluate ``may_send`` again for all that wait in `acquire_permit`. Never raises."""
        self._services.rate_limiter.wake()

    async def send(
        self,
        wanted: Intent,
        decide: Decide,
        *,
        acquire_permit: Callable[[], Awaitable[Permit]],
        budget: AttemptBudget,
        since: float,
    ) -> Intent:
        """Send ``wanted`` until it is accepted, refused or lost; ``decide`` is asked before each try.

        Returns the accepted intent, or the one that ``decide`` returned instead of something to send.
        Raises the error of any other outcome.
        """
        options = SendOptions(acquire_permit, Patience.BATCH, budget, since)
        return await self._submitter.send(wanted, decide, options)

    async def open_budget(self, budget: Budget | None) -> None:
        """Prepare a budget for use: see `SessionBudgets.open`."""
        with _as_store_errors():
            await self._submitter.budgets.open(budget)

    async def refresh_budget(self, budget: Budget | None) -> None:
        """Read again what the store has charged to the budget."""
        await self._submitter.budgets.refresh(budget)

    async def join_outstanding(self, key: str) -> Intent | None:
        """Wait for the answer to this key's outstanding POST, and return its intent.

        None if no POST is outstanding, or if it certainly cost nothing. Raises the error of any other
        outcome.
        """
        return await self._submitter.join(key)

    # --- waiting

    def job(self, intent: Intent) -> LookJob:
        """The job of an accepted intent. Its look is polled while the job is referenced and awaited."""
        return self._registry.job_of(intent)

    async def settled(self, job: LookJob, seconds: float) -> Look:
        """The look once it is READY or FAILED, though the reason of its failure may not be known yet.

        Raises `WaitTimeout` and what else `LookJob.wait` raises.
        """
        return await self._registry.settled(job, seconds)

    async def wait_for_proof(self, unknown: Intent, seconds: float) -> None:
        """Wait until a delivery on the attempt's own URL has proved which look a lost POST made.

        ``seconds`` at most, and no longer than a delivery may still come, or than the intent is unchanged.
        """
        changes, store = self._services.changes, self._services.store
        until = self.clock.now() + min(seconds, self._delivery_expected_for(unknown))

        async def read(key: str) -> Intent | None:
            return (await store.get((key,))).get(key)

        with suppress(StoreError), _as_store_errors():
            while (left := until - self.clock.now()) > 0 and not changes.is_closed:
                await changes.wait_changed(unknown, left, read)
                now = await read(unknown.key)
                if now is None or not now.unchanged_since(unknown):
                    return

    def _delivery_expected_for(self, unknown: Intent) -> float:
        """For how many seconds from now a delivery may still come; 0 or less: none will."""
        has_own_url = self._services.hub is not None and unknown.request.webhook_url is None
        if not has_own_url or unknown.sent_at is None:
            return 0.0
        expected = self._scheduler.expected(kind_of(unknown.request))
        until = self.clock.to_loop(unknown.sent_at) + 3 * expected + _DELIVERY_SECONDS
        return until - self.clock.now()

    # --- planning

    def report_backlog(self, count: int) -> None:
        """Tell the poll scheduler how many items wait behind another of their avatar."""
        self._scheduler.backlog = count

    def expectations(self) -> Expectations:
        """The quota and the durations of looks as they are known now."""
        return Expectations(
            self._services.rate_limiter.window.limit,
            self._scheduler.durations.quantile,
            self._services.hub is not None,
        )


class UnopenedAccess:
    """What an estimate asks `BatchAccess`, for a session that was never opened. It reads the store once."""

    def __init__(self, store: Store, limit: int, *, has_webhooks: bool) -> None:
        self._store = store
        self._limit = limit
        self._has_webhooks = has_webhooks
        self._known: dict[str, Intent] | None = None

    async def intents(self, keys: Collection[str]) -> dict[str, Intent]:
        """The intents that the store has under these keys. Raises `StoreError`."""
        with _as_store_errors():
            if self._known is None:
                self._known = {intent.key: intent async for intent in self._store.read_unopened()}
        return {key: self._known[key] for key in keys if key in self._known}

    def expectations(self) -> Expectations:
        """The quota that the session was given, and how long looks take as far as nothing is learned."""
        return Expectations(self._limit, DurationModels().quantile, self._has_webhooks)


@contextmanager
def _as_store_errors() -> Iterator[None]:
    """Raise `StoreError`, whatever a store raises."""
    try:
        yield
    except HooxError:
        raise
    except Exception as error:
        raise as_store_error(error) from error
