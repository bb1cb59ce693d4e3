"""What other members have changed, read about once a second."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from ..._core.intents.intent import Intent
from ..logs import failures_logged
from .intent_rows import Row
from .statements import of_workspaces
from .transaction import Engine, Rows

_AT_ONCE = 50  # rows: about 10 ms of work
_CHANGED_LATELY = 20_000  # transactions

# The row of a transaction that was open at the last snapshot may have any number: what counts is whether
# that snapshot could see it. The comparison with its xmin is there for the index. One that began after this
# snapshot can't be seen, unless a dump of another server was restored here. What is changed while pages are
# read is not visible in their common end, and is read next time.
CHANGES = (
    "SELECT until::text, i.workspace, i.seq, i.key, i.version, i.record, i.crc, i.teller, i.notified, "
    "i.changed_in::text "
    "FROM (SELECT coalesce(CAST(:until AS pg_snapshot), pg_current_snapshot())) AS one (until) "
    "LEFT JOIN LATERAL (SELECT * FROM hoox.intents i "
    "WHERE i.workspace IN ({workspaces}) AND i.changed_by <> :me "
    "AND i.changed_in >= pg_snapshot_xmin(CAST(:since AS pg_snapshot)) "
    "AND i.changed_in < pg_snapshot_xmax(until) AND pg_visible_in_snapshot(i.changed_in, until) "
    "AND NOT pg_visible_in_snapshot(i.changed_in, CAST(:since AS pg_snapshot)) "
    "AND (i.changed_in, i.seq) > (CAST(:transaction AS xid8), CAST(:seq AS bigint)) "
    "ORDER BY i.changed_in, i.seq LIMIT :size) AS i ON true"
)
EARLIER_SNAPSHOT = "SELECT greatest(pg_snapshot_xmax(pg_current_snapshot())::text::bigint - :transactions, 3)"

OnChange = Callable[[Intent, Row | None], None]


class ChangeFeed:
    """Calls the listener of each workspace with the intents that others change in it.

    ``listeners`` are those of the workspaces that are open, by their numbers.
    """

    def __init__(self, engine: Engine, me: str, listeners: Mapping[int, OnChange]) -> None:
        self._engine = engine
        self._me = me
        self._listeners = listeners
        self._snapshot: str | None = None

    async def read(self) -> None:
        """Read what others have changed since the last time, in pages: the loop has a turn after each."""
        asked, since = tuple(self._listeners), self._snapshot
        until, transaction, seq, more = None, "0", 0, True
        while more:
            rows = await self._page(asked, since, until, transaction, seq)
            until = str(rows[0][0])
            found = [row for row in rows if row[1] is not None]
            for row in found:
                self._publish(Row(*row[1:-1]))
            more = len(found) == _AT_ONCE
            if more:
                transaction, seq = found[-1][-1], found[-1][2]
        if self._listeners.keys() <= set(asked) and self._snapshot is since:
            # else one was opened meanwhile, and was read before this snapshot: its changes come next time; or
            # a failover was noticed, from which they are read anew
            self._snapshot = until

    async def read_lately_changed(self) -> None:
        """Read next time also what was changed lately: another server numbers transactions anew."""
        question = (EARLIER_SNAPSHOT, {"transactions": _CHANGED_LATELY})
        [[(earliest,)]] = await self._engine.run(lambda tx: tx.ask(question), writes=False)
        self._snapshot = f"{earliest}:{earliest}:"

    async def _page(
        self, asked: Collection[int], since: str | None, until: str | None, transaction: str, seq: int
    ) -> Rows:
        question = (
            of_workspaces(CHANGES, asked or (0,)),
            {
                "me": self._me,
                "since": since,
                "until": until,
                "transaction": transaction,
                "seq": seq,
                "size": _AT_ONCE,
            },
        )
        [rows] = await self._engine.run(lambda tx: tx.ask(question), writes=False)
        return rows

    def _publish(self, row: Row) -> None:
        listener = self._listeners.get(row.workspace)
        if listener is not None:
            with failures_logged(f"reading a change of {row.key!r}"):
                listener(row.read(newer=True), row)
