"""The batch runner: many looks at once, bounded, each awaited."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread
import attrs

from .._api.models import LookRef
from .._api.requests import FREE, LookEdit
from .._core.forecast import PlannedLook, makespan
from .._core.intents.budget import Credits
from .._core.intents.intent import Intent, IntentState
from .._core.intents.outcomes import Outcome
from .._core.polling.durations import kind_of
from .._report import BatchReport
from .._session import HooxSession, runtime_of
from ..errors import ConfigurationError, HooxError
from .items import Input, Item, Keys, Requests
from .options import Changed, OnUnknown, Options, retry_states
from .stream import OutcomeStream

if TYPE_CHECKING:
    from .._session.runtime import SessionRuntime
    from .run import Run

_PAGE = 500


@attrs.frozen
class Estimate:
    """What a batch would send now: credits, how many of each kind, and about how many seconds it takes."""

    credits: Decimal
    by_kind: Mapping[str, int]
    duration: float

    @property
    def count(self) -> int:
        """How many looks would be sent."""
        return sum(self.by_kind.values())


class BatchRunner:
    """Fans out looks and awaits each one, ``max_in_flight`` at a time.

    ``max_credits`` caps what the items cost together, counting what they spent or put at risk in earlier
    runs of the same store. What a generator or an async input will give is not known beforehand: for one,
    all counts that was spent under any key of the store. It may also have no end: after 10,000 items in a
    row for which the cap had no credits left it is read no further, and what it would still have given has no
    outcome. A list is read to its end. ``max_failures`` stops after so many looks that failed, were rejected,
    or whose POST was lost in this run. ``look_timeout`` is how many seconds this run waits for a look before
    it is PENDING. ``on_unknown``: ``"hold"`` what may have been paid, or ``"resend"`` it and count it as at
    risk. ``retry``: states of earlier runs to pay anew (``"failed"``, ``"rejected"``, ``"pending"``,
    ``"ready"``). ``changed``: when a key's content differs from what the store knows, ``"error"``,
    ``"keep"`` the old look or ``"redo"`` it, paid anew. What never cost anything is replaced in any case, a
    refused request too. Before a pending look is paid anew, its status is asked for, free of charge: one that
    is READY by now is the result, and one that FAILED is paid anew if ``retry`` says that as well.

    While the API does not answer, little is put at risk. The first items go a few at a time until one is
    answered. Nothing is sent while the oldest outstanding POST was sent over 10 s ago and none was answered
    since. After 5 losses in a row the batch pauses, and sends one item as a probe after 30, 60 and 120 s;
    when the third probe is lost, the rest ends UNSENT.

    Running again is a resume: what is settled is not paid twice. Raises `ConfigurationError` for an option
    that makes no sense.
    """

    def __init__(
        self,
        session: HooxSession,
        *,
        max_in_flight: int = 400,
        max_credits: Credits | None = None,
        max_failures: int | None = None,
        look_timeout: float = 900.0,
        on_unknown: OnUnknown = "hold",
        retry: Iterable[str] = (),
        changed: Changed = "error",
    ) -> None:
        if not isinstance(session, HooxSession):
            raise ConfigurationError(f"session: {type(session).__name__} is not a HooxSession")
        self._session = session
        self._options = Options(
            max_in_flight,
            max_credits,
            max_failures,
            look_timeout,
            on_unknown,
            retry_states(retry),
            changed,
        )
        self._options.check()
        self._runs: weakref.WeakSet[Run] = weakref.WeakSet()

    def stream(self, requests: Requests) -> OutcomeStream:
        """The outcomes, each as its item settles. Nothing is sent before the first one is asked for.

        ``requests`` is any iterable or async iterable of requests or `BatchItem`\\ s, pulled lazily: up to
        20,000 of them are read ahead, so that looks of one avatar are sent in a row. While 1,000 looks are in
        flight or have outcomes that were not taken, nothing more is sent.
        Raises `InvalidRequest` for what is no iterable, and `SessionClosed`.
        """
        return OutcomeStream(self._run(requests))

    async def run(self, requests: Requests) -> BatchReport:
        """All outcomes, in the order of the input. Run it again to go on where it stopped.

        Raises `SessionClosed`; what befalls a single item is in its outcome.
        """
        run = self._run(requests)
        found: list[tuple[int, Outcome]] = []
        run.start()
        try:
            while (told := await run.next()) is not None:
                found.append(told)
        finally:
            await run.aclose()
        found.sort(key=lambda told: told[0])
        return BatchReport([outcome for _, outcome in found])

    def stop(self) -> None:
        """Send nothing more. What was accepted is still awaited; what was not sent ends UNSENT."""
        for run in tuple(self._runs):
            run.stop(HooxError("the batch was stopped"))

    def _run(self, requests: Requests) -> Run:
        from .run import Run  # here, as `_runtime` in the session: many import the names alone

        run = Run(runtime_of(self._session), self._options, Input(requests))
        self._runs.add(run)
        return run

    async def estimate(self, requests: Requests) -> Estimate:
        """What running these would send now: nothing is sent, and the input is pulled to its end.

        Raises `StoreError`.
        """
        runtime = runtime_of(self._session)
        counted = _Counted()
        keys, given = Keys(), Input(requests)
        index = 0
        while pulled := await given.pull(_PAGE):
            items = keys.items(index, pulled)
            index += len(pulled)
            fresh = [item for item in items if isinstance(item, Item) and not item.repeated]
            known = await runtime.services.store.get([item.key for item in fresh])
            for item in fresh:
                if self._would_send(item, known.get(item.key)):
                    counted.add(item)
        return await counted.estimate(runtime, self._options.max_in_flight)

    def _would_send(self, item: Item, stands: Intent | None) -> bool:
        if stands is None:
            return True
        if self._options.conflicts(stands, item.digest):
            return False
        if stands.state is IntentState.UNKNOWN:
            return self._options.on_unknown == "resend"
        if self._options.pays_anew(stands, item.digest):
            return True
        return stands.state is IntentState.PLANNED


class _Counted:
    """What an estimate counts: the looks that would be made."""

    def __init__(self) -> None:
        self.credits = FREE
        self.by_kind: Counter[str] = Counter()
        self.looks: list[tuple[PlannedLook, bool]] = []

    def add(self, item: Item) -> None:
        """One more that would be sent."""
        request = item.request
        self.credits += request.credits
        self.by_kind[request.KIND] += 1
        source = request.source if isinstance(request, LookEdit) else None
        group = source.avatar_id if isinstance(source, LookRef) else None
        look = PlannedLook(item.key, kind_of(request), item.source_key, group)
        self.looks.append((look, request.webhook_url is None))

    async def estimate(self, runtime: SessionRuntime, max_in_flight: int) -> Estimate:
        """Their sums, and the time by a simulation of the quota with what is known of the durations."""
        from .prefetch import UNSENT

        hub = runtime.services.deliveries is not None
        looks = [look._replace(expects_webhook=hub and own) for look, own in self.looks]
        simulate = partial(
            makespan,
            looks,
            runtime.scheduler.durations.quantile,
            interval=60 / runtime.services.rate_limiter.snapshot().limit,
            max_in_flight=max_in_flight,
            read_ahead=UNSENT,
        )
        seconds = await anyio.to_thread.run_sync(simulate)  # seconds of computing, where looks are many
        return Estimate(self.credits, dict(self.by_kind), round(seconds, 1))
