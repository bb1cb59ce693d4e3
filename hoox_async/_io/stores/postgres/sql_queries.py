"""The statements of the shared store in SQL: one for each method of `queries.Queries`."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from ...._api.models import LookRef
from ...._core.intents.budget import StoredBudget
from ...._core.intents.copies import RECENT, KnownAvatar
from ...._core.intents.intent import IntentState
from ...._core.intents.records import text_of_source
from ...clock import Clock
from ..workspace_binding import Binding
from .connections import Connections
from .error_translation import DatabaseError, NoConnection
from .migrations import in_schema
from .permits import PostgresPermits
from .queries import (
    BudgetRow,
    Changes,
    ChangesRead,
    IntentRow,
    IntentWrite,
    KeptDeliveries,
    Renewed,
    Unnotified,
    WorkspaceRow,
    Written,
)

_LOOK_IS_TAKEN = "intents_look"  # the index's name, which is told for other reasons too
_UNIQUE_VIOLATION = "23505"  # SQLSTATE
_UNNOTIFIED_AT_ONCE = 500
_CHANGED_LATELY = 20_000  # transactions
_ROLLED_BACK = "40"  # the class of SQLSTATE: a deadlock, or a conflict of serializable transactions
_PUT = (
    "SELECT * FROM hoox.put_1("
    "%s::text, %s::bigint, %s::text, %s::bigint, %s::text, %s::text, %s::text, %s::text, %s::bigint, "
    "%s::text[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[], "
    "%s::text[], %s::numeric[], %s::boolean, %s::double precision, %s::bigint)"
)
_ROWS = "SELECT i.workspace, i.seq, i.key, i.version, i.record, i.crc FROM hoox.intents i "


class SQLQueries:
    """Implements `Queries` for one member, over the connections to a PostgreSQL database.

    ``for_lease`` are connections that nothing else uses: a renewal must not wait behind other statements.
    """

    def __init__(
        self, connections: Connections, for_lease: Connections, schema: str, member: str, lease: float
    ) -> None:
        self._connections = connections
        self._for_lease = for_lease
        self._schema = schema
        self._member = member
        self._lease = lease
        self._key_salt: bytes | None = None

    @property
    def name(self) -> str:
        """What messages call the database."""
        return self._connections.name

    async def workspace(self, name: str) -> WorkspaceRow | None:
        """The workspace of this name."""
        rows = await self._ask(
            "WITH RECURSIVE same AS ("
            "SELECT id, base_url, fingerprints, key_confirmed, name FROM hoox.workspaces WHERE name = %s "
            "UNION SELECT w.id, w.base_url, w.fingerprints, w.key_confirmed, w.name FROM hoox.workspaces w "
            "JOIN same ON w.base_url = same.base_url AND w.fingerprints && same.fingerprints) "
            "SELECT id, (SELECT min(id) FROM same), base_url, salt, fingerprints, key_confirmed "
            "FROM same, hoox.key_salt WHERE name = %s",
            name, name,
        )  # fmt: skip
        if not rows:
            return None
        number, quota, base_url, salt, fingerprints, confirmed = rows[0]
        bindings = tuple(Binding(base_url, bytes(salt), bytes(one)) for one in fingerprints)
        return WorkspaceRow(number, quota, bindings, confirmed)

    async def key_salt(self) -> bytes:
        """The salt of all fingerprints of API keys."""
        if self._key_salt is None:
            self._key_salt = bytes((await self._ask("SELECT salt FROM hoox.key_salt"))[0][0])
        return self._key_salt

    async def add_workspace(self, name: str, binding: Binding) -> None:
        """Add a workspace, unless there is one of this name."""
        await self._ask(
            "WITH one_at_a_time AS (SELECT FROM hoox.key_salt FOR UPDATE) "  # in the order of their numbers
            "INSERT INTO hoox.workspaces (name, base_url, fingerprints) "
            "SELECT %s::text, %s::text, %b::bytea[] FROM one_at_a_time ON CONFLICT (name) DO NOTHING",
            name, binding.base_url, [binding.fingerprint],
        )  # fmt: skip

    async def replace_keys(self, workspace: int, old: Sequence[Binding], new: Sequence[Binding]) -> None:
        """Set the keys that are valid, if they are still the old ones."""
        await self._ask(
            "UPDATE hoox.workspaces SET fingerprints = %b, key_confirmed = false "
            "WHERE id = %s AND fingerprints = %b",
            _fingerprints(new), workspace, _fingerprints(old),
        )  # fmt: skip

    async def confirm_key(self, workspace: int, binding: Binding) -> None:
        """Write that the newest key is valid, if it is this one."""
        await self._ask(
            "UPDATE hoox.workspaces SET key_confirmed = true "
            "WHERE id = %s AND fingerprints[1] = %b AND NOT key_confirmed",
            workspace, binding.fingerprint,
        )  # fmt: skip

    async def get(self, workspace: int, keys: Collection[str]) -> list[IntentRow]:
        """The rows of those of these keys that are known."""
        return await self._rows(
            "WHERE i.workspace = %s AND i.key = ANY(%s::text[])",
            workspace, list(keys),
        )  # fmt: skip

    async def put(self, workspace: int, write: IntentWrite, *, if_sender_dead: bool = False) -> Written:
        """Write an intent by compare-and-set."""
        return await self._put(workspace, write, self._lease if if_sender_dead else None, None)

    async def restore(self, workspace: int, write: IntentWrite, version: int) -> Written:
        """Write an intent by compare-and-set, with this version."""
        return await self._put(workspace, write, None, version)

    async def _put(
        self, workspace: int, write: IntentWrite, sweep_lease: float | None, lost_version: int | None
    ) -> Written:
        ref = write.claimed
        try:
            rows = await self._ask(
                _PUT,
                self._member, workspace, write.key, write.was, write.state.value,
                ref and ref.avatar_id, ref and ref.look_id, write.record, write.crc,
                [attempt.id for attempt in write.attempts], [attempt.sent_at for attempt in write.attempts],
                [claim.avatar_id for claim in write.claims], [claim.look_id for claim in write.claims],
                [extra.avatar_id for extra in write.extra], [extra.look_id for extra in write.extra],
                [name for name, _ in write.charges], [change for _, change in write.charges],
                write.replaces, sweep_lease, lost_version,
            )  # fmt: skip
        except DatabaseError as error:
            is_taken = error.sqlstate == _UNIQUE_VIOLATION and error.constraint == _LOOK_IS_TAKEN
            if is_taken or (error.sqlstate or "")[:2] == _ROLLED_BACK:
                return Written("stale")  # another write took place at the same time: the next try sees it
            raise
        outcome, owner, avatar_id, look_id, budget, cap, charged, change = rows[0]
        if outcome == "taken":
            return Written(outcome, owner, LookRef(avatar_id, look_id))
        if outcome == "over":
            return Written(outcome, budget=StoredBudget(budget, cap, charged), change=change)
        return Written(outcome)

    async def release(self, workspace: int, key: str | None) -> None:
        """Let others replace planned intents that this member was to send again."""
        await self._ask(
            "UPDATE hoox.intents SET member = NULL WHERE workspace = %s AND state = 'planned' "
            "AND member = %s AND key = coalesce(%s::text, key)",
            workspace, self._member, key,
        )  # fmt: skip

    async def open_budget(self, workspace: int, budget: StoredBudget) -> BudgetRow:
        """Create the budget, unless there is one of this name."""
        rows = await self._ask(
            "SELECT * FROM hoox.open_budget_1(%s::bigint, %s::text, %s::numeric, %s::numeric)",
            workspace, *budget,
        )  # fmt: skip
        cap, charged, initial = rows[0]
        return BudgetRow(StoredBudget(budget.name, cap, charged), initial)

    async def budget(self, workspace: int, name: str) -> StoredBudget | None:
        """The budget of this name."""
        rows = await self._ask(
            "SELECT name, max_credits, charged FROM hoox.budgets "
            "WHERE workspace = %s AND name = %s AND initial IS NOT NULL",
            workspace, name,
        )  # fmt: skip
        return StoredBudget(*rows[0]) if rows else None

    async def set_cap(self, workspace: int, name: str, max_credits: Decimal) -> None:
        """Change the cap of a budget."""
        await self._ask(
            "UPDATE hoox.budgets SET max_credits = %s WHERE workspace = %s AND name = %s",
            max_credits, workspace, name,
        )  # fmt: skip

    async def by_attempt(self, workspace: int, attempt_id: str) -> IntentRow | None:
        """The intent that has this attempt."""
        return await self._row(
            "JOIN hoox.attempts a ON a.intent = i.seq WHERE a.workspace = %s AND a.id = %s",
            workspace, attempt_id,
        )  # fmt: skip

    async def by_ref(self, workspace: int, ref: LookRef) -> IntentRow | None:
        """The intent that has this look."""
        return await self._row(
            "WHERE i.workspace = %s AND i.avatar_id = %s AND i.look_id = %s",
            workspace, ref.avatar_id, ref.look_id,
        )  # fmt: skip

    async def page(
        self,
        workspace: int,
        states: Collection[IntentState] | None,
        *,
        own: bool = False,
        after: int = 0,
        size: int | None = None,
    ) -> list[IntentRow]:
        """The intents in these states with a higher number than ``after``, in that order."""
        conditions = ["i.workspace = %s", "i.seq > %s"]
        values: list[int | str] = [workspace, after]
        if states is not None:
            # spelled out, so that PostgreSQL sees that the small index of open intents has them all
            listed = ", ".join(f"'{state.value}'" for state in IntentState if state in states)
            conditions.append(f"i.state IN ({listed})" if listed else "false")
        if own:
            conditions.append("i.member = %s")
            values.append(self._member)
        return await self._rows(
            f"WHERE {' AND '.join(conditions)} ORDER BY i.seq LIMIT %s",
            *values, size,
        )  # fmt: skip

    async def last_settled(self, workspace: int, count: int) -> list[IntentRow]:
        """Up to ``count`` settled intents, those that were planned last."""
        return await self._rows(
            "WHERE i.workspace = %s AND i.state IN ('ready', 'failed') ORDER BY i.seq DESC LIMIT %s",
            workspace, count,
        )  # fmt: skip

    async def count_open(self, workspace: int) -> tuple[int, int]:
        """How many intents are UNKNOWN, and how many ACCEPTED."""
        [(unknown, accepted)] = await self._ask(
            "SELECT count(*) FILTER (WHERE state = 'unknown'), count(*) FILTER (WHERE state = 'accepted') "
            "FROM hoox.intents WHERE workspace = %s AND state IN ('unknown', 'accepted')",
            workspace,
        )  # fmt: skip
        return unknown, accepted

    async def claimed_looks(self, workspace: int, avatar_id: str) -> frozenset[str]:
        """The ids of an avatar's looks that were made for an intent."""
        rows = await self._ask(
            "SELECT look_id FROM hoox.claimed WHERE workspace = %s AND avatar_id = %s",
            workspace, avatar_id,
        )  # fmt: skip
        return frozenset(row[0] for row in rows)

    async def known_avatar(self, workspace: int, avatar_id: str) -> KnownAvatar:
        """What the workspace's intents tell of an avatar."""
        source = text_of_source(avatar_id)
        created = await self._ask(
            "SELECT 1 FROM hoox.intents WHERE workspace = %s AND avatar_id = %s AND look_id IS NOT NULL "
            "AND strpos(record, %s) = 0 LIMIT 1",
            workspace, avatar_id, source,
        )  # fmt: skip
        if created:
            return KnownAvatar(created=True)
        rows = await self._ask(
            "SELECT DISTINCT i.avatar_id FROM (SELECT avatar_id, record FROM hoox.intents "
            "WHERE workspace = %s ORDER BY seq DESC LIMIT %s) i "
            "WHERE i.avatar_id <> %s AND strpos(i.record, %s) > 0",
            workspace, RECENT, avatar_id, source,
        )  # fmt: skip
        return KnownAvatar(copies=frozenset(row[0] for row in rows))

    async def claim_look(self, workspace: int, ref: LookRef) -> None:
        """Write that this look was made for an intent."""
        await self._ask(
            "INSERT INTO hoox.claimed (workspace, avatar_id, look_id) VALUES (%s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            workspace, ref.avatar_id, ref.look_id,
        )  # fmt: skip

    async def keep_delivery(
        self, workspace: int, attempt_id: str, record: str, *, for_leader: bool = False
    ) -> None:
        """Keep the first delivery of an attempt that is known."""
        await self._ask(
            "INSERT INTO hoox.deliveries (workspace, attempt, record, kept_by) "
            "SELECT a.workspace, a.id, %s, %s FROM hoox.attempts a WHERE a.workspace = %s AND a.id = %s "
            "ON CONFLICT DO NOTHING",
            record, "" if for_leader else self._member, workspace, attempt_id,
        )  # fmt: skip

    async def kept_delivery(self, workspace: int, attempt_id: str) -> str | None:
        """The delivery that was kept for this attempt."""
        rows = await self._ask(
            "SELECT record FROM hoox.deliveries WHERE workspace = %s AND attempt = %s", workspace, attempt_id
        )
        return rows[0][0] if rows else None

    async def delivered(self, workspace: int, after: tuple[int, str], size: int) -> list[tuple[int, str]]:
        """Attempts for which a delivery was kept, of intents that are ACCEPTED or UNKNOWN."""
        rows = await self._ask(
            "SELECT i.seq, a.id FROM hoox.intents i JOIN hoox.attempts a ON a.intent = i.seq "
            "JOIN hoox.deliveries d ON d.workspace = a.workspace AND d.attempt = a.id "
            "WHERE i.workspace = %s AND i.state IN ('accepted', 'unknown') "
            "AND (i.seq, a.id) > (%s::bigint, %s::text) ORDER BY i.seq, a.id LIMIT %s",
            workspace, *after, size,
        )  # fmt: skip
        return [(row[0], row[1]) for row in rows]

    def permits(self, quota: int, workspace: int, minute: float) -> PostgresPermits:
        """The permits of a quota, for a session of this workspace."""
        boot = Clock(asyncio.get_running_loop()).boot
        return PostgresPermits(self._ask, quota, workspace, self._member, boot=boot, minute=minute)

    async def delete_deliveries(self, workspace: int, attempt_ids: Sequence[str]) -> None:
        """Delete the deliveries that were kept for these attempts."""
        await self._ask(
            "DELETE FROM hoox.deliveries WHERE workspace = %s AND attempt = ANY(%s::text[])",
            workspace, list(attempt_ids),
        )  # fmt: skip

    async def recent_attempts(self, workspace: int, since: datetime) -> list[datetime]:
        """When attempts were sent after ``since``, oldest first."""
        rows = await self._ask(
            "SELECT sent_at FROM hoox.attempts WHERE workspace = %s AND sent_at > %s ORDER BY sent_at",
            workspace, since,
        )  # fmt: skip
        return [row[0] for row in rows]

    async def renew(self, timeline: str | None) -> Renewed:
        """Renew this member's lease, or begin it."""
        rows = await self._ask_for_lease(
            "SELECT moment, timeline FROM "
            "hoox.renew_1(%s::text, %s::text, %s::integer, %s::double precision, %s::text)",
            self._member, socket.gethostname(), os.getpid(), self._lease, timeline,
        )  # fmt: skip
        return Renewed(*rows[0])

    async def leave(self) -> None:
        """End this member's lease, after a renewal that is still executed."""
        await self._ask_for_lease("DELETE FROM hoox.members WHERE id = %s", self._member)

    async def lead(
        self, candidates: Collection[int], watched: Collection[int]
    ) -> Mapping[int, Literal["self", "other"] | None]:
        """Lead those of the candidates that no living member leads. Returns who leads each."""
        rows = await self._ask(
            "SELECT led, leader FROM hoox.lead_1(%s::text, %s::bigint[], %s::bigint[])",
            self._member, sorted(candidates), sorted(watched),
        )  # fmt: skip
        return {
            workspace: None if leader is None else "self" if leader == self._member else "other"
            for workspace, leader in rows
        }

    async def resign(self, workspaces: Collection[int]) -> None:
        """Give up leading these workspaces, and the limit that this member has stated for each."""
        numbers = sorted(workspaces)
        await self._ask(
            "WITH stated AS "
            "(DELETE FROM hoox.stated_limits WHERE member = %s AND workspace = ANY(%s::bigint[])) "
            "DELETE FROM hoox.leaders WHERE member = %s AND workspace = ANY(%s::bigint[])",
            self._member, numbers, self._member, numbers,
        )  # fmt: skip

    async def confirm_notified(self, looks: Collection[tuple[int, str]]) -> None:
        """Write that the hooks were notified of the end of these looks: workspaces and keys."""
        await self._ask(
            "UPDATE hoox.intents i SET notified = true FROM ("  # locked in order: no deadlock
            "SELECT seq FROM hoox.intents JOIN unnest(%s::bigint[], %s::text[]) AS ended (workspace, key) "
            "USING (workspace, key) WHERE NOT notified ORDER BY seq FOR UPDATE OF intents"
            ") AS locked WHERE i.seq = locked.seq",
            [workspace for workspace, _ in looks], [key for _, key in looks],
        )  # fmt: skip

    async def unnotified(self, workspaces: Collection[int]) -> list[Unnotified]:
        """Settled intents that no hooks were notified of, those of ended senders first."""
        rows = await self._ask(
            "WITH living AS (SELECT m.id FROM hoox.members m WHERE hoox.is_alive_1(m.id)) "
            "SELECT i.workspace, i.seq, i.key, i.version, i.record, i.crc, living.id IS NOT NULL "
            "FROM hoox.intents i LEFT JOIN living ON living.id = i.member "
            "WHERE NOT i.notified AND i.workspace = ANY(%s::bigint[]) ORDER BY 7, i.seq LIMIT %s",
            list(workspaces), _UNNOTIFIED_AT_ONCE,
        )  # fmt: skip
        return [Unnotified(IntentRow(*row), lives) for *row, lives in rows]

    async def own_unnotified(self, workspaces: Collection[int]) -> list[IntentRow]:
        """Settled intents that this member sent and no hooks were notified of."""
        return await self._rows(
            "WHERE NOT i.notified AND i.workspace = ANY(%s::bigint[]) AND i.member = %s ORDER BY i.seq",
            list(workspaces), self._member,
        )  # fmt: skip

    async def deliveries(self, workspaces: Collection[int], since: str | None) -> KeptDeliveries:
        """What other members have kept since the snapshot, of intents that are not settled."""
        rows = await self._ask(
            "SELECT pg_current_snapshot()::text, d.workspace, d.attempt FROM (SELECT) AS one LEFT JOIN ("
            "SELECT d.workspace, d.attempt FROM hoox.deliveries d "
            "JOIN hoox.attempts a ON a.workspace = d.workspace AND a.id = d.attempt "
            "JOIN hoox.intents i ON i.seq = a.intent "
            "WHERE d.workspace = ANY(%s::bigint[]) AND i.state IN ('accepted', 'unknown', 'sending') "
            "AND (%s::text IS NULL OR d.kept_by <> %s "
            "AND d.kept_in >= pg_snapshot_xmin(%s::text::pg_snapshot) "
            "AND d.kept_in < pg_snapshot_xmax(pg_current_snapshot()) "
            "AND NOT pg_visible_in_snapshot(d.kept_in, %s::text::pg_snapshot))) AS d ON true",
            list(workspaces), since, self._member, since, since,
        )  # fmt: skip
        return KeptDeliveries(rows[0][0], [(row[1], row[2]) for row in rows if row[1] is not None])

    async def attempt_anywhere(self, attempt_id: str) -> IntentRow | None:
        """The intent that has this attempt, in whichever workspace."""
        return await self._row("JOIN hoox.attempts a ON a.intent = i.seq WHERE a.id = %s LIMIT 1", attempt_id)

    async def sent_by_dead_members(self, workspaces: Collection[int]) -> list[IntentRow]:
        """SENDING intents of members whose lease is over."""
        return await self._rows(
            "WHERE i.state = 'sending' AND i.workspace = ANY(%s::bigint[]) AND NOT hoox.is_alive_1(i.member) "
            "AND (SELECT hoox.may_sweep_1(%s::text, %s::double precision)) ORDER BY i.seq",
            list(workspaces), self._member, self._lease,
        )  # fmt: skip

    async def left_sending(self, workspaces: Collection[int]) -> list[IntentRow]:
        """SENDING intents that this member has sent."""
        return await self._rows(
            "WHERE i.state = 'sending' AND i.workspace = ANY(%s::bigint[]) AND i.member = %s",
            list(workspaces), self._member,
        )  # fmt: skip

    async def earlier_snapshot(self) -> str:
        """The snapshot of some thousands of transactions ago, as if none had been open then."""
        rows = await self._ask(
            "SELECT greatest(pg_snapshot_xmax(pg_current_snapshot())::text::bigint - %s, 3)", _CHANGED_LATELY
        )
        return f"{rows[0][0]}:{rows[0][0]}:"

    async def changes(
        self, workspaces: Collection[int], since: str | None, read: ChangesRead | None, size: int
    ) -> Changes:
        """What other members have committed since the snapshot; from None on, only the snapshot of now."""
        # The row of a transaction that was open at the last snapshot may have any number: what counts is
        # whether that snapshot could see it. The comparison with its xmin is there for the index. One that
        # began after this snapshot can't be seen, unless a dump of another server was restored here. What is
        # changed while pages are read is not visible in their common end, and is read next time.
        rows = await self._ask(
            "SELECT until::text, i.workspace, i.seq, i.key, i.version, i.record, i.crc, i.changed_in::text "
            "FROM (SELECT coalesce(%s::text::pg_snapshot, pg_current_snapshot())) AS one (until) "
            "LEFT JOIN LATERAL (SELECT * FROM hoox.intents i "
            "WHERE i.workspace = ANY(%s::bigint[]) AND i.changed_by <> %s "
            "AND i.changed_in >= pg_snapshot_xmin(%s::text::pg_snapshot) "
            "AND i.changed_in < pg_snapshot_xmax(until) AND pg_visible_in_snapshot(i.changed_in, until) "
            "AND NOT pg_visible_in_snapshot(i.changed_in, %s::text::pg_snapshot) "
            "AND (i.changed_in, i.seq) > (coalesce(%s::text, '0')::xid8, coalesce(%s::bigint, 0)) "
            "ORDER BY i.changed_in, i.seq LIMIT %s) AS i ON true",
            read and read.until, list(workspaces), self._member, since, since,
            read and read.transaction, read and read.seq, size,
        )  # fmt: skip
        found = [row for row in rows if row[1] is not None]
        read = ChangesRead(rows[0][0], found[-1][7], found[-1][2]) if len(found) == size else None
        return Changes(rows[0][0], [IntentRow(*row[1:7]) for row in found], read)

    async def _row(self, condition: str, *values: Any) -> IntentRow | None:
        rows = await self._rows(condition, *values)
        return rows[0] if rows else None

    async def _rows(self, condition: str, *values: Any) -> list[IntentRow]:
        return [IntentRow(*row) for row in await self._ask(_ROWS + condition, *values)]

    async def _ask(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return await self._connections.fetch(self._in_schema(sql), values)

    async def _ask_for_lease(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """As `_ask`, on the lease's own connection, or on another one where the server refuses that."""
        try:
            return await self._for_lease.fetch(self._in_schema(sql), values)
        except NoConnection:
            return await self._connections.fetch(self._in_schema(sql), values, deadline=self._lease / 3)

    def _in_schema(self, sql: str) -> str:
        return in_schema(sql, self._schema)


def _fingerprints(bindings: Sequence[Binding]) -> list[bytes]:
    return [binding.fingerprint for binding in bindings]
