"""What was learned about the quota of a workspace from the server's answers.

One process keeps it in memory. Where several processes share a database, it stands beside the permits there:
all processes go by the same limit, the same pause and the same estimate of other clients, and none takes
another process of ours for a stranger. All times are seconds of one clock: the loop's, or the database's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import attrs

from ..._api.models import ServerQuota
from .other_clients import MINUTE, ExternalUsage, InferredUsage

MARGIN = 0.05
"""A request counts for this many seconds more than a minute, besides what its slow answer adds."""
_MAX_MARGIN = 1.5


class QuotaTerms(NamedTuple):
    """What the function that grants permits needs to know of what was learned.

    ``server_limit``: requests a minute that the server has named; None if none. ``used`` and ``peak``: how
    many of them to leave to other clients, now and for the pace, until ``used_until``. ``margin``: for how
    many seconds more than a minute a request counts. Nothing is sent before ``hold_until`` and
    ``paused_until``. While ``is_probing`` one request is sent at a time.
    """

    server_limit: int | None
    used: int
    peak: int
    used_until: float
    margin: float
    hold_until: float
    paused_until: float
    is_probing: bool


class Observed(NamedTuple):
    """An answer with quota headers came, to a request that was sent so many seconds ago."""

    quota: ServerQuota
    sent_ago: float


class Throttled(NamedTuple):
    """The request of this permit was answered 429.

    ``seconds``: the pause that the server names, or None. ``limit``: requests a minute, if it has named none.
    """

    permit: int
    seconds: float | None
    limit: int


class Accepted(NamedTuple):
    """The request of this permit was answered with anything but a 429."""

    permit: int


QuotaAnswer = Observed | Throttled | Accepted


class QuotaCounts(NamedTuple):
    """What we count at the moment ``now``, for one answer.

    ``least`` and ``most``: how many requests of ours a server had certainly counted when that request
    arrived, and how many it can have counted until it answered. ``last_permit``: the latest of all processes.
    """

    now: float
    least: int
    most: int
    last_permit: int


_MAX_PAUSE = 3600.0
_MAX_CONTRADICTIONS = 5  # consecutive answered requests with "nothing left", after which that is not believed


@attrs.define
class Throttling:
    """The pause after a 429, and whether a probe has shown that it is over. All times are of one clock.

    ``paused_until``: until then nothing is sent. ``throttled_since``: when the server began to answer nothing
    but 429; None if it does not. ``is_probing``: since the pause, no request was answered with anything but
    a 429, so one is sent at a time. ``last_before_pause``: permits up to this one were taken before the
    latest pause began. ``count``: consecutive throttling, each right after the pause of the one before.
    """

    paused_until: float = -math.inf
    throttled_since: float | None = None
    is_probing: bool = False
    last_before_pause: int = 0
    count: int = 0
    contradictions: int = 0

    def predates_pause(self, permit: int) -> bool:
        """Whether it was taken before a pause that is not over, or whose probe has no answer yet."""
        return self.is_probing and permit <= self.last_before_pause

    def is_late(self, now: float, permit: int | None) -> bool:
        """Whether this 429 answers a request from before a pause that is over: it says nothing new."""
        return permit is not None and self.predates_pause(permit) and now >= self.paused_until

    def throttled(self, now: float) -> None:
        """A request was answered 429."""
        if self.throttled_since is None:
            self.throttled_since = now
        self.contradictions = 0

    def begin_pause(self, now: float, last_permit: int) -> bool:
        """From now on only a probe may go. Returns whether this pause is new, not part of the present one."""
        self.is_probing, self.last_before_pause = True, last_permit
        if now < self.paused_until:
            return False
        is_right_after_pause = now - self.paused_until < MINUTE
        self.count = self.count + 1 if is_right_after_pause else 1
        return True

    def extend_pause(self, now: float, seconds: float | None, reset_in: float | None) -> float:
        """Pause for ``seconds``, or as long as seems right where that is None, NaN or 0. Returns the seconds.

        A time that the server names is kept, but capped at a minute: it may be wrong, and a probe shows that.
        If the probe is throttled too, the cap is two minutes, and so on. ``reset_in`` are the seconds until
        the reset that the server named last. Without any such time the pause is one second, and twice as long
        each time that its probe is throttled, up to a minute.
        """
        if seconds is None or not seconds > 0:
            if seconds is None or math.isnan(seconds):
                seconds = reset_in
            seconds = max(seconds or 0.0, min(MINUTE, 2.0 ** (self.count - 1)))
        longest = min(MINUTE * 2.0 ** min(self.count - 1, 10), _MAX_PAUSE)
        self.paused_until = max(self.paused_until, now + min(seconds, longest))
        return self.paused_until - now

    def accepted(self, permit: int) -> bool:
        """A request was answered with anything but a 429. Returns whether that ends the probing."""
        self.throttled_since = None
        if not self.is_probing or permit <= self.last_before_pause:
            return False  # a request from before the pause proves nothing about now
        self.is_probing, self.count = False, 0
        return True

    def is_believable(self, used: int, remaining: int | None) -> bool:
        """Whether to believe an answer by which other clients have used so much.

        Not if requests keep being answered while every answer says that nothing is left.
        """
        if remaining:
            self.contradictions = 0
        elif used:
            self.contradictions += 1
        return self.contradictions < _MAX_CONTRADICTIONS


@attrs.define
class QuotaLearning:
    """The limit, other clients' use, pause and margin, as the server's answers have shown them."""

    external: ExternalUsage = attrs.field(factory=ExternalUsage)
    inferred: InferredUsage = attrs.field(factory=InferredUsage)
    throttling: Throttling = attrs.field(factory=Throttling)
    margin: float = MARGIN

    def dump(self) -> str:
        """Its state as text, for `load`."""
        state = {
            "external": self.external.dump(),
            "inferred": attrs.asdict(self.inferred),
            "throttling": attrs.asdict(self.throttling),
            "margin": self.margin,
        }
        return json.dumps(state)

    @classmethod
    def load(cls, text: str | None) -> QuotaLearning:
        """The state of a text that `dump` made; None: nothing was learned yet.

        One that can't be read, as a newer version may write it, counts as nothing: permits must go on.
        """
        if text is None:
            return cls()
        try:
            state = json.loads(text)
            inferred = _loaded(InferredUsage, state["inferred"])
            throttling = _loaded(Throttling, state["throttling"])
            return cls(ExternalUsage.load(state["external"]), inferred, throttling, float(state["margin"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            return cls()

    def terms(self, now: float) -> QuotaTerms:
        """What the function that grants permits needs to know of it."""
        external, throttling = self.external, self.throttling
        return QuotaTerms(
            external.limit,
            *self.reserves(now),
            self.none_after,
            self.margin,
            external.hold_until,
            throttling.paused_until,
            throttling.is_probing,
        )

    def reserves(self, now: float) -> tuple[int, int]:
        """How many requests of a minute to leave to other clients: now, and for the pace."""
        external, inferred = self.external, self.inferred.used(now)
        return (
            max(external.reserve(external.used(now)), inferred),
            max(external.reserve(external.peak(now)), inferred),
        )

    def used_by_others(self, now: float) -> int:
        """How many requests of the last minute other clients seem to have used."""
        return max(self.external.used(now), self.inferred.used(now))

    @property
    def none_after(self) -> float:
        """From this time on nothing is left to other clients, unless something else is learned."""
        return max(self.external.none_after, self.inferred.none_after)

    def apply(self, answer: QuotaAnswer, counts: QuotaCounts) -> None:
        """Learn from one answer."""
        match answer:
            case Observed(quota, sent_ago):
                self.observe(quota, counts.now - sent_ago, counts)
            case Throttled(permit, seconds, limit):
                self.pause(counts, seconds, permit, limit)
            case Accepted(permit):
                self.accepted(counts.now, permit)

    def observe(self, quota: ServerQuota, sent_at: float, counts: QuotaCounts) -> None:
        """Process the quota headers of the answer to a request that was sent at ``sent_at``."""
        counted = self.external.observe(counts.now, quota)
        if counted is not None:
            used = 0 if counted <= counts.most else max(0, counted - counts.least)
            if self.throttling.is_believable(used, quota.remaining):
                self.external.record(counts.now, sent_at, used, exhausted=not quota.remaining)
                self.inferred.forget()
        if quota.remaining:
            self.throttling.count = 0

    def accepted(self, now: float, permit: int) -> bool:
        """The request of this permit was answered with anything but a 429. Whether that ends a pause."""
        self.inferred.accepted(now)
        return self.throttling.accepted(permit)

    def pause(self, counts: QuotaCounts, seconds: float | None, permit: int | None, limit: int) -> float:
        """The request of this permit was answered 429. Returns for how many seconds nothing is sent from now.

        ``seconds`` is what the server names, None where it names no time, and ``limit`` the requests a minute
        if it has named none.
        """
        now, throttling = counts.now, self.throttling
        throttling.throttled(now)
        if throttling.is_late(now, permit):
            return 0.0
        if throttling.begin_pause(now, counts.last_permit) and throttling.count == 1:
            self._learn_from_429(now, self.external.limit or limit, counts.most)
        return throttling.extend_pause(now, seconds, self.external.reset_within(now))

    def _learn_from_429(self, now: float, limit: int, ours: int) -> None:
        """Learn from a 429 for a request that was no probe. The server had counted at most ``ours``."""
        if self.external.used(now):
            self.external.widen_reserve()
        elif self.external.is_known(now) or (ours >= limit and not self.inferred.used(now)):
            # all requests were ours: their network delays differ by more than the margin allows
            self.margin = min(2 * self.margin + 0.1, _MAX_MARGIN)
        else:
            self.inferred.throttled(now, limit, ours)


_State = TypeVar("_State", InferredUsage, Throttling)


def _loaded(kind: type[_State], stored: Mapping[str, Any]) -> _State:
    """What was stored, without what a later version has added."""
    return kind(**{name: stored[name] for name in attrs.fields_dict(kind) if name in stored})
