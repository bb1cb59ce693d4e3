"""The SQL of members: leases, the sweep, the feed of changes, leaders. See `statements`.

``{workspaces}`` stands for the numbers of workspaces. The feed goes by PostgreSQL's snapshots; the rest is
the same for both databases.
"""

from __future__ import annotations

from .statements import COLUMNS, MAY_SWEEP, alive

# --- leases

FORGET_MEMBERS = (  # those that were killed long ago, also by a clock that was set
    "DELETE FROM hoox.members WHERE expires_at < (SELECT {now}) - 86400000000 "
    "OR expires_at > (SELECT {now}) + 2 * lease + 86400000000"
)
# In time is within half a lease, since it is renewed every third of one.
RENEW = (
    "INSERT INTO hoox.members (id, host, pid, lease, expires_at, steady_since, timeline) "
    "VALUES (:me, :host, :pid, :lease, (SELECT {now}) + :lease, (SELECT {now}), "
    "coalesce(:timeline, (SELECT {timeline}))) "
    "ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at, timeline = excluded.timeline, "
    "steady_since = CASE WHEN members.expires_at >= excluded.steady_since + :lease / 2 "
    "AND members.expires_at <= excluded.steady_since + 2 * :lease "
    "AND members.steady_since < excluded.steady_since AND members.timeline = excluded.timeline "
    "THEN members.steady_since ELSE excluded.steady_since END"
)
MOMENT = "SELECT {now}, {timeline}"
LEAVE = "DELETE FROM hoox.members WHERE id = :me"

# --- the sweep

_SENDER_IS_DEAD = (
    "NOT EXISTS (SELECT 1 FROM hoox.members m "  # noqa: S608
    f"WHERE m.id = i.member AND {alive('m')})"
)
DEAD_SENDINGS = COLUMNS + (
    f"WHERE i.state = 'sending' AND i.workspace IN ({{workspaces}}) AND {_SENDER_IS_DEAD} AND {MAY_SWEEP} "
    "ORDER BY i.seq"
)
LEFT_SENDING = COLUMNS + "WHERE i.state = 'sending' AND i.workspace IN ({workspaces}) AND i.member = :me"
IS_DEAD = (
    "SELECT 1 FROM hoox.intents i WHERE i.workspace = :workspace AND i.key = :key "  # noqa: S608
    f"AND i.state = 'sending' AND {_SENDER_IS_DEAD} AND {MAY_SWEEP}"
)
STILL_DEAD = (  # a guard of its own: it changes nothing
    "UPDATE hoox.intents AS i SET version = CASE WHEN i.state = 'sending' AND "  # noqa: S608
    f"{_SENDER_IS_DEAD} AND {MAY_SWEEP} THEN i.version END WHERE i.workspace = :workspace AND i.key = :key"
)

# --- the feed of changes

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

# --- leaders

# Two leaders for a moment cost requests, never truth.
LEAD = (
    "INSERT INTO hoox.leaders (workspace, member) SELECT w.id, m.id FROM hoox.workspaces w "  # noqa: S608
    f"JOIN hoox.members m ON m.id = :me AND {alive('m')} WHERE w.id IN ({{workspaces}}) AND NOT EXISTS "
    f"(SELECT 1 FROM hoox.leaders o JOIN hoox.members l ON l.id = o.member AND {alive('l')} "
    "WHERE o.workspace = w.id) ORDER BY w.id "
    "ON CONFLICT (workspace) DO UPDATE SET member = excluded.member WHERE NOT EXISTS "
    f"(SELECT 1 FROM hoox.members l WHERE l.id = leaders.member AND {alive('l')})"
)
LEADERS = (
    "SELECT o.workspace, o.member FROM hoox.leaders o JOIN hoox.members m ON m.id = o.member "  # noqa: S608
    f"WHERE o.workspace IN ({{workspaces}}) AND {alive('m')}"
)
IS_ALIVE = f"SELECT EXISTS (SELECT 1 FROM hoox.members m WHERE m.id = :me AND {alive('m')})"  # noqa: S608
RESIGN = "DELETE FROM hoox.leaders WHERE workspace IN ({workspaces}) AND member = :me"
WITHDRAW_LIMITS = "DELETE FROM hoox.stated_limits WHERE workspace IN ({workspaces}) AND member = :me"
SNAPSHOT = "SELECT pg_current_snapshot()::text"
_KEPT = (
    "SELECT d.workspace, d.attempt FROM hoox.deliveries d JOIN hoox.attempts a ON a.workspace = d.workspace "
    "AND a.id = d.attempt JOIN hoox.intents i ON i.seq = a.intent WHERE d.workspace IN ({workspaces}) "
    "AND i.state IN ('accepted', 'unknown', 'sending')"
)
ALL_KEPT = _KEPT
KEPT_SINCE = _KEPT + (
    " AND d.kept_by <> :me AND d.kept_in >= pg_snapshot_xmin(CAST(:since AS pg_snapshot)) "
    "AND d.kept_in < pg_snapshot_xmax(pg_current_snapshot()) "
    "AND NOT pg_visible_in_snapshot(d.kept_in, CAST(:since AS pg_snapshot))"
)
ATTEMPT_ANYWHERE = COLUMNS + "JOIN hoox.attempts a ON a.intent = i.seq WHERE a.id = :id LIMIT 1"
