"""What running a batch would cost, and about how long it would take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping
from decimal import Decimal
from functools import partial
from typing import NamedTuple

import anyio.to_thread
import attrs

from .._api.models import LookRef
from .._api.requests import FREE, LookEdit
from .._core.forecast import PlannedLook, makespan
from .._core.formatting import format_credits, format_duration, format_kinds
from .._core.intents.deliveries import will_be_delivered
from .._core.intents.intent import Intent, IntentState
from .._core.polling.durations import DurationModels, kind_of
from .._session import HooxSession, runtime_of, unopened_of
from .._session.intents import store_errors
from .input_reader import BatchInput
from .items import Item, KeyAssigner
from .options import BatchOptions
from .window import MAX_UNSENT

_PAGE = 20  # items, then the loop has a turn; an answer about an avatar may be read in the same one


@attrs.frozen
class Estimate:
    """What a batch would send now, beyond what the session's store knows as sent."""

    credits: Decimal
    """What it would cost, in credits. Caps are ignored."""
    by_kind: Mapping[str, int]
    """How many looks of each kind of request would be sent."""
    duration: float
    """About how many seconds it would take until the last look is done.

    By a simulation of the quota, with the durations that the session has seen of looks so far."""

    def __str__(self) -> str:
        if not self.count:
            return "nothing to send"
        cost, time = format_credits(self.credits), format_duration(self.duration)
        return f"{format_kinds(self.by_kind)}: {cost}, about {time}"

    @property
    def count(self) -> int:
        """How many looks would be sent."""
        return sum(self.by_kind.values())


class Expectations(NamedTuple):
    """What the session knows of its quota and of its looks."""

    requests_per_minute: int
    quantile: Callable[[Hashable, float], float]
    """Seconds that a look of a kind takes, at a number of standard deviations from the median."""
    has_webhooks: bool


async def estimate(session: HooxSession, options: BatchOptions, given: BatchInput) -> Estimate:
    """See `BatchRunner.estimate`."""
    unopened = unopened_of(session)
    if unopened is None:
        runtime = runtime_of(session)
        limit, has_webhooks = runtime.rate_limiter.window.limit, runtime.hub is not None
        expected = Expectations(limit, runtime.scheduler.durations.quantile, has_webhooks)
        look_up = runtime.intents.get
    else:
        store, limit, has_webhooks = unopened
        with store_errors():
            stored = {intent.key: intent async for intent in store.read_unopened()}
        expected = Expectations(limit, DurationModels().quantile, has_webhooks)

        async def look_up(keys: Collection[str]) -> dict[str, Intent]:
            return {key: stored[key] for key in keys if key in stored}

    credits, by_kind, planned = FREE, Counter[str](), list[PlannedLook]()
    keys, index = KeyAssigner(), 0
    while page := await given.read(_PAGE):
        assigned = keys.items(index, page)
        index += len(page)
        fresh = [item for item in assigned if isinstance(item, Item) and not item.repeated]
        known = await look_up([item.key for item in fresh])
        for item in fresh:
            if _would_send(item, known.get(item.key), options):
                credits += item.request.credits
                by_kind[item.request.KIND] += 1
                planned.append(_planned(item, has_webhooks=expected.has_webhooks))
    return Estimate(credits, dict(by_kind), await _duration(expected, planned, options.max_in_flight))


def _would_send(item: Item, stored: Intent | None, options: BatchOptions) -> bool:
    if stored is None:
        return True
    if options.conflicts(stored, item.digest):
        return False
    if stored.state is IntentState.UNKNOWN:
        return options.resends(stored)
    return options.pays_again(stored, item.digest) or stored.state is IntentState.PLANNED


async def _duration(expected: Expectations, planned: list[PlannedLook], max_in_flight: int) -> float:
    simulate = partial(
        makespan,
        planned,
        expected.quantile,
        interval=60 / expected.requests_per_minute,
        max_in_flight=max_in_flight,
        read_ahead=MAX_UNSENT,
    )
    # in a thread: where looks are many, these are seconds of computing
    return round(await anyio.to_thread.run_sync(simulate), 1)


def _planned(item: Item, *, has_webhooks: bool) -> PlannedLook:
    request = item.request
    source = request.source if isinstance(request, LookEdit) else None
    group = source.avatar_id if isinstance(source, LookRef) else None
    expects_webhook = will_be_delivered(request, has_webhooks=has_webhooks)
    return PlannedLook(item.key, kind_of(request), item.source_key, group, expects_webhook)
