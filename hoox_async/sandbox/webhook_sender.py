"""Sends the webhooks of the fake workspace, with lost, repeated and false deliveries on demand."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any, Literal

import attrs

from .._checks import option
from .answers import AnswerForms, Vocabulary, check_words, failure, status_word
from .avatars import FakeLook
from .space import Space

Deliver = Callable[[str, dict[str, Any]], Awaitable[int]]
"""Posts a JSON body to a URL and returns the HTTP status."""


@attrs.frozen
class DeliveryOptions:
    """How webhooks are sent. ``lose``, ``double``, ``contradict`` and ``early`` are shares of them, 0 to 1.

    - ``form``: "new" (``task``, ``avatar_id``, ``look_id``) or "old" (``job_id``, no ``avatar_id``).
    - ``lose``: never sent. ``double``: sent twice. ``contradict``: followed by a delivery with the opposite
      status.
    - ``early``: the look settles at once, and is delivered before the response to its POST.
    - ``delay``: seconds between the settling and the delivery; ``reorder``: at most this many seconds more,
      at random.
    - ``timeout``: seconds in which a 2xx must come. Without one, the delivery is sent again after each of
      ``retries`` (seconds), and then dropped.

    Raises `ConfigurationError` for a value that cannot be meant.
    """

    form: Literal["new", "old"] = "new"
    lose: float = 0.0
    double: float = 0.0
    contradict: float = 0.0
    early: float = 0.0
    delay: float = 0.0
    reorder: float = 0.0
    timeout: float = 10.0
    retries: tuple[float, ...] = (1.0, 2.0, 4.0)

    def __attrs_post_init__(self) -> None:
        check_words(self)
        for name in ("lose", "double", "contradict", "early"):
            option.number(f"DeliveryOptions.{name}", getattr(self, name), most=1.0)
        for name in ("delay", "reorder"):
            option.number(f"DeliveryOptions.{name}", getattr(self, name))
        option.seconds("DeliveryOptions.timeout", self.timeout)
        option.instance("DeliveryOptions.retries", self.retries, tuple, "a tuple of seconds")
        for position, seconds in enumerate(self.retries):
            option.number(f"DeliveryOptions.retries[{position}]", seconds)


@attrs.frozen
class DeliveryRecord:
    """One attempt to deliver, at ``at`` (the loop's seconds). ``status`` is None if there was no response."""

    url: str = attrs.field(repr=False)
    body: Mapping[str, Any]
    at: float
    status: int | None


@attrs.frozen
class _PendingDelivery:
    url: str = attrs.field(repr=False)
    body: dict[str, Any]
    tried: int = 0


def payload(
    look: FakeLook, form: str, url: str, vocabulary: Vocabulary, forms: AnswerForms, *, failed: bool
) -> dict[str, Any]:
    """The JSON of a settled look's webhook, in the newer or the older of the API's forms."""
    body: dict[str, Any]
    if form == "old":
        body = {"job_id": look.id}
    else:
        task = "avatar_create" if look.avatar.looks[0] is look else "avatar_edit"
        body = {"task": task, "avatar_id": look.avatar.id, "look_id": look.id}
    if failed:
        return {**body, "status": status_word("error", vocabulary), "error": failure(forms)}
    return {**body, "status": status_word("ready", vocabulary), "result": {"thumbnail_url": url}}


class WebhookSender:
    """Sends the webhooks of one workspace. One task waits for the next time; each delivery is a task too.

    ``options`` may be changed while it runs.
    """

    def __init__(
        self,
        space: Space,
        deliver: Deliver,
        options: DeliveryOptions,
        rng: Random,
        records: list[DeliveryRecord] | None = None,
    ) -> None:
        self.options = options
        self.records: list[DeliveryRecord] = [] if records is None else records
        self._space = space
        self._deliver = deliver
        self._rng = rng
        self._pending: list[tuple[float, int, _PendingDelivery]] = []
        self._count = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start, on the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="sandbox deliveries")

    async def aclose(self) -> None:
        """Stop at once. What is not delivered yet is dropped."""
        tasks = [*self._sending, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self) -> None:
        """Check again which deliveries are due. Call it when a look was settled, or its time changed."""
        self._wake.set()

    async def accepted(self, look: FakeLook) -> None:
        """Send a new look's webhook before the response to its POST, for the share ``early`` of looks."""
        if look.webhook_url is None:
            return
        if self._rng.random() < self.options.early:
            generation = self._space.generation
            generation.settle_without_webhook(look, _now())
            await self._send(_PendingDelivery(look.webhook_url, self._payload(look)))
        self.wake()

    async def _run(self) -> None:
        while True:
            now = _now()
            for look in self._space.generation.take_settled(now):
                self._schedule_look(look, now)
            while self._pending and self._pending[0][0] <= now:
                self._spawn(heapq.heappop(self._pending)[2])
            self._wake.clear()
            try:
                async with asyncio.timeout_at(self._next_time()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _next_time(self) -> float | None:
        settles = self._space.generation.next_settling()
        times = [due for due in (settles, self._pending[0][0] if self._pending else None) if due is not None]
        return min(times, default=None)

    def _schedule_look(self, look: FakeLook, now: float) -> None:
        assert look.webhook_url is not None
        chance = self._rng.random
        lost, double, contradicted = chance(), chance(), chance()
        if lost < self.options.lose:
            return
        pending = _PendingDelivery(look.webhook_url, self._payload(look))
        self._add(pending, self._due(now))
        if double < self.options.double:
            self._add(pending, self._due(now))
        if contradicted < self.options.contradict:
            false_one = _PendingDelivery(look.webhook_url, self._payload(look, contradict=True))
            self._add(false_one, self._due(now) + 0.05)

    def _due(self, now: float) -> float:
        return now + self.options.delay + self._rng.random() * self.options.reorder

    def _payload(self, look: FakeLook, *, contradict: bool = False) -> dict[str, Any]:
        failed = look.failed is not contradict
        url, vocabulary = self._space.picture_url(look), self._space.vocabulary
        return payload(look, self.options.form, url, vocabulary, self._space.forms, failed=failed)

    def _add(self, pending: _PendingDelivery, due: float) -> None:
        self._count += 1
        heapq.heappush(self._pending, (due, self._count, pending))

    def _spawn(self, pending: _PendingDelivery) -> None:
        task = asyncio.get_running_loop().create_task(self._send(pending))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, pending: _PendingDelivery) -> None:
        status = await self.post(pending.url, pending.body)
        if (status is None or not 200 <= status < 300) and pending.tried < len(self.options.retries):
            pause = self.options.retries[pending.tried]
            self._add(attrs.evolve(pending, tried=pending.tried + 1), _now() + pause)
            self.wake()

    async def post(self, url: str, body: dict[str, Any]) -> int | None:
        """Post any JSON to any URL, once. Returns the HTTP status, None if there was no response."""
        at = _now()
        status: int | None = None
        try:
            async with asyncio.timeout(self.options.timeout):
                status = await self._deliver(url, body)
        except Exception:
            # Whatever is wrong with a receiver, to the API it is one failed delivery.
            status = None
        self.records.append(DeliveryRecord(url, body, at, status))
        return status


def _now() -> float:
    return asyncio.get_running_loop().time()
