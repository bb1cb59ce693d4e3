"""The permits of a workspace's quota in PostgreSQL. The functions that decide are in ``sql/quota_1.sql``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..._core.quota.quota_learning import QuotaCounts, QuotaTerms
from ..._core.quota.sliding_window import BURST
from ..protocols import Learned, Reservation, SentPermit

Ask = Callable[..., Awaitable[Sequence[Sequence[Any]]]]
"""Runs a statement with values, and returns its rows. Raises `StoreError`."""


class PostgresPermits:
    """Implements `SharedPermits` for a session of one workspace, whose quota others may share.

    ``minute`` is the length of the quota's window in seconds. Only tests and benchmarks scale it. ``boot`` is
    this machine's clock that nobody sets: by it the database notices that its own was set.
    """

    def __init__(
        self,
        ask: Ask,
        quota: int,
        workspace: int,
        member: str,
        *,
        boot: Callable[[], float],
        minute: float = 60.0,
    ) -> None:
        self._ask = ask
        self._quota = quota
        self._workspace = workspace
        self._member = member
        self._minute = minute
        self._boot = boot
        self._ahead: float | None = None  # how far the quota's time is ahead of this machine's clock, at most

    async def reserve(self, limit: int, horizon: float, hold: float) -> Reservation:
        """Reserve a permit that may be used at most ``horizon`` seconds from now."""
        asked_at = self._boot()
        rows = await self._ask(
            "SELECT * FROM hoox.reserve_1(%s::bigint, %s::bigint, %s::text, %s::int, %s::float8, %s::int, "
            "%s::float8, %s::float8, %s::float8)",
            self._quota, self._workspace, self._member, limit, self._minute, BURST, horizon, hold,
            self._latest(asked_at),
        )  # fmt: skip
        reservation = Reservation(*rows[0])
        self._ahead = reservation.moment - asked_at
        return reservation

    async def report(self, sent: Sequence[SentPermit], cancelled: Sequence[int]) -> None:
        """Say which requests have arrived when, and which permits were not used."""
        await self._ask(
            "SELECT hoox.report_permits_1(%s::bigint, %s::bigint[], %s::float8[], %s::float8[], "
            "%s::bigint[])",
            self._quota,
            [one.permit for one in sent], [one.sent_ago for one in sent], [one.arrived_ago for one in sent],
            list(cancelled),
        )  # fmt: skip

    async def learned(self, sent_ago: float) -> Learned:
        """What was learned, for the answer to a request that was sent so many seconds ago."""
        rows = await self._ask(
            "SELECT learned, version, moment, counted_least, counted_most, last_permit "
            "FROM hoox.learned_1(%s::bigint, %s::float8, %s::float8, %s::float8)",
            self._quota, sent_ago, self._minute, self._latest(self._boot()),
        )  # fmt: skip
        learned, version, *counts = rows[0]
        return Learned(learned, version, QuotaCounts(*counts))

    async def learn(self, version: int, learned: str, terms: QuotaTerms, even_in: float) -> bool:
        """Write what was learned, unless another process has written something meanwhile."""
        rows = await self._ask(
            "SELECT hoox.learn_1(%s::bigint, %s::bigint, %s::text, %s::int, %s::int, %s::int, %s::float8, "
            "%s::float8, %s::float8, %s::float8, %s::boolean, %s::float8)",
            self._quota, version, learned, *terms, even_in,
        )  # fmt: skip
        return bool(rows[0][0])

    def _latest(self, at: float) -> float | None:
        """The quota's time at most at this time of the machine's clock; None if it is not known."""
        return None if self._ahead is None else at + self._ahead
