"""The batch runner: many looks at once, bounded, each awaited."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

import attrs

from .._core.budget import Credits
from .._core.durations import kind_of
from .._core.intents import Intent, IntentState
from .._core.outcomes import Outcome
from .._core.requests import FREE, Request
from .._report import BatchReport
from .._session import HooxSession, opened_of
from ..errors import ConfigurationError, HooxError
from .items import Input, Item, Keys, Requests
from .options import Changed, OnUnknown, Options, retry_states
from .stream import OutcomeStream

if TYPE_CHECKING:
    from .._opened import Opened
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
    all counts that was spent under any key of the store. ``max_failures`` stops after so many failures and
    rejections. ``look_timeout`` is how many seconds this run waits for a look before it is PENDING.
    ``on_unknown``: ``"hold"`` what may have been paid, or ``"resend"`` it and count it as at risk.
    ``retry``: states of earlier runs to pay anew (``"failed"``, ``"rejected"``, ``"pending"``,
    ``"ready"``). ``changed``: when a key's content differs from what the store knows, ``"error"``,
    ``"keep"`` the old look or ``"redo"`` it, paid anew. What never cost anything is replaced in any case.

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
        from .run import Run  # here, as `_opened` in the session: many import the names alone

        run = Run(opened_of(self._session), self._options, Input(requests))
        self._runs.add(run)
        return run

    async def estimate(self, requests: Requests) -> Estimate:
        """What running these would send now: nothing is sent, and the input is pulled to its end.

        Raises `StoreError`.
        """
        opened = opened_of(self._session)
        counted = _Counted()
        keys, given = Keys(), Input(requests)
        index = 0
        while pulled := await given.pull(_PAGE):
            items = keys.items(index, pulled)
            index += len(pulled)
            fresh = [item for item in items if isinstance(item, Item) and not item.repeated]
            known = await opened.parts.store.get([item.key for item in fresh])
            for item in fresh:
                counted.add(item.request, self._would_send(item, known.get(item.key)))
        return counted.estimate(opened)

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
    """The sums of an estimate."""

    def __init__(self) -> None:
        self.credits = FREE
        self.by_kind: Counter[str] = Counter()
        self.kinds: set[Hashable] = set()

    def add(self, request: Request, would_send: bool) -> None:
        if would_send:
            self.credits += request.credits
            self.by_kind[request.KIND] += 1
            self.kinds.add(kind_of(request))

    def estimate(self, opened: Opened) -> Estimate:
        """Submissions at the pace of the quota, a tenth more for asking, and one look's time at the end."""
        count = sum(self.by_kind.values())
        minute = 60 / opened.parts.gate.snapshot().limit
        tail = max(map(opened.watchlist.expected, self.kinds), default=0.0)
        return Estimate(self.credits, dict(self.by_kind), round(1.1 * count * minute + tail, 1))
