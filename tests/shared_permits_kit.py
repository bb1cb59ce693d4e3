"""The shared quota in memory: what ``sql/quota.sql`` does, for tests in virtual time."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs

from hoox_async._core.quota.quota_learning import QuotaCounts, QuotaLearning, QuotaTerms
from hoox_async._core.quota.sliding_window import BURST
from hoox_async._io.protocols import Learned, Reservation, SentPermit
from hoox_async.errors import StoreError

Ask = Callable[[str, Callable[[], Any]], Awaitable[Any]]


@attrs.define
class _Permit:
    counts_from: float
    step: float
    sent_at: float | None = None


def _share(limit: int, base: int, others: int) -> int:
    return max(1, limit // 20, min(limit, base - others))


class MemoryPermits:
    """Implements `SharedPermits` for one member of a `MemoryQuota`. ``ask`` executes a statement by name."""

    def __init__(self, quota: MemoryQuota, member: str, ask: Ask | None = None) -> None:
        self._quota = quota
        self._member = member
        self._ask: Ask = ask or _execute

    async def reserve(self, limit: int, horizon: float, hold: float) -> Reservation:
        found: Reservation = await self._ask(
            "reserve", lambda: self._quota.reserve(self._member, limit, horizon, hold)
        )
        return found

    async def report(self, sent: Sequence[SentPermit], cancelled: Sequence[int]) -> None:
        await self._ask("report", lambda: self._quota.report(sent, cancelled))

    async def learned(self, sent_ago: float) -> Learned:
        found: Learned = await self._ask("learned", lambda: self._quota.learned(sent_ago))
        return found

    async def learn(self, version: int, learned: str, terms: QuotaTerms, even_in: float) -> bool:
        return bool(await self._ask("learn", lambda: self._quota.learn(version, learned, terms, even_in)))


async def _execute(_: str, statement: Callable[[], Any]) -> Any:
    return statement()


class MemoryQuota:
    """The quota of one workspace, as the SQL functions keep it. ``read_clock`` is the database's clock.

    While ``is_down``, every call fails. ``granted`` and ``cancelled_unused`` count what was asked for.
    """

    def __init__(
        self,
        read_clock: Callable[[], float],
        read_timeline: Callable[[], str] = str,
        *,
        minute: float = 60.0,
    ) -> None:
        self.read_clock = read_clock
        self.read_timeline = read_timeline
        self.timeline = read_timeline()
        self.minute = minute
        self.is_down = False
        self.granted = self.unused = self.calls = 0
        self.permits: dict[int, _Permit] = {}
        self.clock = self.even_at = self.taken_at = self.probe_until = self.begins_at = -math.inf
        self.ahead = 0.0
        self.last_permit = 0
        self.probe: int | None = None
        self.stated: dict[str, int] = {}  # by living members
        self.learned_text: str | None = None
        self.version = 0
        self.terms: QuotaTerms = QuotaLearning().terms(0.0)

    def reserve(self, member: str, limit: int, horizon: float, hold: float) -> Reservation:
        self._require_up()
        now, timeline = self._now(), self.read_timeline()
        if timeline != self.timeline:
            self.timeline, self.probe = timeline, None
            self.last_permit += 1_000_000
            self.permits.clear()
            self.begins_at = now + 8.0 + hold + self.minute + self.terms.margin
            self.even_at, self.taken_at, self.probe_until = self.begins_at, -math.inf, -math.inf
        self.stated[member] = limit
        return self._grant(now, horizon, hold, min(self.stated.values()))

    def _grant(self, now: float, horizon: float, hold: float, stated: int) -> Reservation:
        terms = self.terms
        base = terms.server_limit or stated
        limit = min(stated, base)
        span = self.minute + terms.margin
        share, pace = limit, span / limit
        if now < terms.used_until:
            share, pace = _share(limit, base, terms.used), span / _share(limit, base, terms.peak)
        for number in [n for n, p in self.permits.items() if p.counts_from <= now - self.minute - span]:
            del self.permits[number]
        permits = [permit for permit in self.permits.values() if permit.counts_from > now - span]
        counting = sorted(permit.counts_from for permit in permits)
        reported = [permit.counts_from for permit in permits if permit.sent_at is not None]
        step = pace
        if reported and share > len(counting):
            step = max(pace, (min(reported) + span - now) / (share - len(counting)))
        at = max(now, self.begins_at, terms.paused_until, terms.hold_until)
        if terms.is_probing and self.probe is not None:
            at = max(at, self.probe_until)
        paced = self.even_at - (BURST - 1) * pace
        if paced > at:
            at = max(at, min(paced, self.taken_at + step))
        if len(counting) >= share:
            at = max(at, counting[-share] + span)
        self.clock = now
        facts = (now, limit, pace, len(counting), self.learned_text)
        if at > now + horizon:
            return Reservation(None, at - now - horizon, *facts)
        self.last_permit += 1
        self.granted += 1
        self.permits[self.last_permit] = _Permit(at + hold, step)
        self.even_at, self.taken_at = max(self.even_at, at) + step, at
        if terms.is_probing:
            self.probe, self.probe_until = self.last_permit, at + 10.0
        return Reservation(self.last_permit, at - now, *facts)

    def report(self, sent: Sequence[SentPermit], cancelled: Sequence[int]) -> None:
        self._require_up()
        for number in cancelled:
            permit = self.permits.get(number)
            if permit is not None and permit.sent_at is None:
                del self.permits[number]
                self.unused += 1
                self.even_at -= permit.step
        now = self._now()
        for one in sent:
            permit = self.permits.get(one.permit)
            if permit is not None:
                permit.sent_at = min(permit.counts_from, now - one.sent_ago)
                permit.counts_from = min(permit.counts_from, now - one.arrived_ago)
        if self.probe in [one.permit for one in sent] or self.probe in cancelled:
            self.probe = None

    def learned(self, sent_ago: float) -> Learned:
        self._require_up()
        now = self._now()
        at, times = now - sent_ago, [permit.sent_at for permit in self.permits.values()]
        least = sum(time is not None and at - self.minute < time <= at for time in times)
        most = sum(time is None or time > at - self.minute - 0.25 for time in times)
        return Learned(self.learned_text, self.version, QuotaCounts(now, least, most, self.last_permit))

    def learn(self, version: int, learned: str, terms: QuotaTerms, even_in: float) -> bool:
        self._require_up()
        if version != self.version:
            return False
        if self.terms.is_probing and not terms.is_probing:
            self.even_at = max(self.even_at, self._now() + even_in)
        kept = terms.is_probing and self.terms.is_probing and terms.paused_until == self.terms.paused_until
        self.probe = self.probe if kept else None
        self.learned_text, self.terms, self.version = learned, terms, version + 1
        return True

    def _now(self) -> float:
        """The quota's time, which goes on where the clock goes back. A step ahead is not noticed here."""
        now = self.read_clock() + self.ahead
        self.ahead += max(0.0, self.clock - now)
        return max(now, self.clock)

    def _require_up(self) -> None:
        self.calls += 1
        if self.is_down:
            raise StoreError("the database does not answer")
