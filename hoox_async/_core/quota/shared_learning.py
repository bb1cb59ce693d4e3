"""What the processes of a workspace have learned together about its quota, from the server's answers.

It stands beside the permits in the database: all processes go by the same limit, the same pause and the same
estimate of other clients, and none takes another process of ours for a stranger. All times are seconds of the
database's clock.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import attrs

from ..._api.models import ServerQuota
from .external_usage import ExternalUsage
from .refusals import Refusals
from .sliding_window import MARGIN, MAX_MARGIN


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


class Refused(NamedTuple):
    """The request of this permit was answered 429. ``seconds``: the pause that the server names, or None."""

    permit: int
    seconds: float | None


class Accepted(NamedTuple):
    """The request of this permit was answered with anything but a 429."""

    permit: int


QuotaAnswer = Observed | Refused | Accepted


class QuotaCounts(NamedTuple):
    """What the database counts at the moment ``now``, for one answer.

    ``least`` and ``most``: how many requests of ours a server had certainly counted when that request
    arrived, and how many it can have counted until it answered. ``last_permit``: the latest of all processes.
    """

    now: float
    least: int
    most: int
    last_permit: int


@attrs.define
class SharedLearning:
    """The limit, other clients' use, pause and margin, as the answers to all processes have shown them."""

    external: ExternalUsage = attrs.field(factory=ExternalUsage)
    refusals: Refusals = attrs.field(factory=Refusals)
    margin: float = MARGIN

    def dump(self) -> str:
        """Its state as text, for `load`."""
        state = {
            "external": self.external.dump(),
            "refusals": attrs.asdict(self.refusals),
            "margin": self.margin,
        }
        return json.dumps(state)

    @classmethod
    def load(cls, text: str | None) -> SharedLearning:
        """The state of a text that `dump` made; None: nothing was learned yet.

        One that can't be read, as a newer release may write it, counts as nothing: permits must go on.
        """
        if text is None:
            return cls()
        try:
            state = json.loads(text)
            stored, fields = state["refusals"], attrs.fields_dict(Refusals)
            refusals = Refusals(**{name: stored[name] for name in fields if name in stored})
            return cls(ExternalUsage.load(state["external"]), refusals, float(state["margin"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            return cls()

    def terms(self, now: float) -> QuotaTerms:
        """What the function that grants permits needs to know of it."""
        external, refusals = self.external, self.refusals
        return QuotaTerms(
            external.limit,
            external.reserve(external.used(now)),
            external.reserve(external.peak(now)),
            external.none_after,
            self.margin,
            external.hold_until,
            refusals.paused_until,
            refusals.is_probing,
        )

    def apply(self, answer: QuotaAnswer, counts: QuotaCounts) -> None:
        """Learn from one answer."""
        match answer:
            case Observed(quota, sent_ago):
                self._observe(quota, counts.now - sent_ago, counts)
            case Refused(permit, seconds):
                self.pause(counts.now, seconds, permit, counts.last_permit)
            case Accepted(permit):
                self.refusals.accepted(permit)

    def _observe(self, quota: ServerQuota, sent_at: float, counts: QuotaCounts) -> None:
        counted = self.external.observe(counts.now, quota)
        if counted is not None:
            used = 0 if counted <= counts.most else max(0, counted - counts.least)
            if self.refusals.is_believable(used, quota.remaining):
                self.external.record(counts.now, sent_at, used, exhausted=not quota.remaining)
        if quota.remaining:
            self.refusals.count = 0

    def pause(self, now: float, seconds: float | None, permit: int, last_permit: int) -> float:
        """The request of this permit was answered 429. Returns for how many seconds nothing is sent from now.

        ``seconds`` is what the server names, None where it names no time, and ``last_permit`` the latest
        permit that any process has taken.
        """
        refusals = self.refusals
        refusals.refused(now)
        if refusals.is_late(now, permit):
            return 0.0
        if refusals.begin_pause(now, last_permit):
            self._learn_from_refusal(now)
        return refusals.extend_pause(now, seconds, self.external.reset_within(now))

    def _learn_from_refusal(self, now: float) -> None:
        if self.external.used(now):
            self.external.widen_reserve()
        else:  # all requests were ours: their network delays differ by more than the margin allows
            self.margin = min(2 * self.margin + 0.1, MAX_MARGIN)
