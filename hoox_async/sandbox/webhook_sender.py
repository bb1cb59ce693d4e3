"""Webhooks of the fake workspace: what is delivered, when, how often, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any, Literal

import attrs

from .response_bodies import FAILURE, Vocabulary, status_word
from .workspace import Space
from .workspace_records import FakeLook

Deliver = Callable[[str, dict[str, Any]], Awaitable[int]]
"""Posts a JSON body to a URL and returns the HTTP status."""


@attrs.frozen
class DeliveryOptions:
    """How webhooks are sent. ``lose``, ``double``, ``contradict`` and ``early`` are shares from 0 to 1.

    - ``form``: "new" (``task``, ``avatar_id``, ``look_id``) or "old" (``job_id``, no ``avatar_id``).
    - ``lose``: never sent. ``double``: sent twice. ``contradict``: followed by one of the opposite status.
    - ``early``: the look settles at once and is delivered before its POST is answered.
    - ``delay``: seconds that each waits; ``reorder``: up to so many seconds more, by chance.
    - ``timeout``: seconds in which a 2xx must come; else it is sent again after each of ``retries``
      (seconds), then dropped.
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


@attrs.frozen
class DeliveryRecord:
    """One delivery that was tried at ``at`` (the loop's seconds). ``status`` is None without an answer."""

    url: str = attrs.field(repr=False)
    body: Mapping[str, Any]
    at: float
    status: int | None


@attrs.frozen
class _PendingDelivery:
    url: str
    body: dict[str, Any]
    tried: int = 0


def payload(look: FakeLook, form: str, url: str, vocabulary: Vocabulary, *, failed: bool) -> dict[str, Any]:
    """The JSON that tells of a settled look, in the newer or the older of the API's forms."""
    body: dict[str, Any]
    if form == "old":
        body = {"job_id": look.id}
    else:
        task = "avatar_create" if look.avatar.looks[0] is look else "avatar_edit"
        body = {"task": task, "avatar_id": look.avatar.id, "look_id": look.id}
    if failed:
        return {**body, "status": status_word("error", vocabulary), "error": dict(FAILURE)}
    return {**body, "status": status_word("ready", vocabulary), "result": {"thumbnail_url": url}}


class WebhookSender:
    """Sends the deliveries of one workspace: one task waits for what is due, each sending is its child.

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
        """Begin, on the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="sandbox deliveries")

    async def aclose(self) -> None:
        """End at once; what was not delivered is not delivered any more."""
        tasks = [*self._sending, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self) -> None:
        """Look again at what is due: something settled or was settled."""
        self._wake.set()

    async def accepted(self, look: FakeLook) -> None:
        """Deliver a new look before its request is answered, where that is wanted."""
        if look.webhook_url is None:
            return
        if self._rng.random() < self.options.early:
            generation = self._space.generation
            generation.settle_silently(look, _now())
            await self._send(_PendingDelivery(look.webhook_url, self._payload(look)))
        self.wake()

    async def forge(self, url: str, body: dict[str, Any]) -> int | None:
        """Post any JSON to any URL, once. Returns the HTTP status, None without an answer."""
        return await self._post(url, body)

    async def _run(self) -> None:
        while True:
            now = _now()
            for look in self._space.generation.told(now):
                self._pack(look, now)
            while self._pending and self._pending[0][0] <= now:
                self._spawn(heapq.heappop(self._pending)[2])
            self._wake.clear()
            try:
                async with asyncio.timeout_at(self._next()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _next(self) -> float | None:
        settles = self._space.generation.next_told()
        times = [due for due in (settles, self._pending[0][0] if self._pending else None) if due is not None]
        return min(times, default=None)

    def _pack(self, look: FakeLook, now: float) -> None:
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
            lie = _PendingDelivery(look.webhook_url, self._payload(look, lie=True))
            self._add(lie, self._due(now) + 0.05)

    def _due(self, now: float) -> float:
        return now + self.options.delay + self._rng.random() * self.options.reorder

    def _payload(self, look: FakeLook, *, lie: bool = False) -> dict[str, Any]:
        failed = look.failed is not lie
        url, vocabulary = self._space.picture_url(look), self._space.vocabulary
        return payload(look, self.options.form, url, vocabulary, failed=failed)

    def _add(self, pending: _PendingDelivery, due: float) -> None:
        self._count += 1
        heapq.heappush(self._pending, (due, self._count, pending))

    def _spawn(self, pending: _PendingDelivery) -> None:
        task = asyncio.get_running_loop().create_task(self._send(pending))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, pending: _PendingDelivery) -> None:
        status = await self._post(pending.url, pending.body)
        if (status is None or not 200 <= status < 300) and pending.tried < len(self.options.retries):
            pause = self.options.retries[pending.tried]
            self._add(attrs.evolve(pending, tried=pending.tried + 1), _now() + pause)
            self.wake()

    async def _post(self, url: str, body: dict[str, Any]) -> int | None:
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
