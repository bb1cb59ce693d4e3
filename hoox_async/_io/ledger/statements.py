"""The SQL of the ledger: one text for SQLite and PostgreSQL, with ``:name`` for a parameter.

A guard is a value that becomes NULL where a write is not to take place: its column refuses that, and nothing
of the transaction is written. So what was decided from what was read needs no lock until then.

Statements of one module only stand there. ``{workspaces}`` in one stands for numbers: see `of_workspaces`.

A fragment stands for what differs between the databases:

- ``{now}`` and ``{timeline}``: whether a member is alive, in HOLDER, ATTEMPT, TAKE_OVER, TAKE_OVER_KEY and
  OWED_BY_A_LIVING_ONE, and in the statements of `member`, `leaders` and `copy` about members. That goes by
  the server's clock, and by its timeline, which a failover changes. The one member of a file lives as long as
  its process.
- ``{xid}``: the number of the transaction, in INSERT, UPDATE and KEEP_DELIVERY, and in what `copy` writes.
  The feed of changes goes by it, which nobody reads of a file.
- ``{position}``: the place of a text in another, in MADE and COPIES. Each database has its own name for it.
- ``{identity}`` and ``{xid_type}``: types of columns in `schema`.

Without a counterpart for a file are CHANGES, KEPT_SINCE, SNAPSHOT and EARLIER_SNAPSHOT, which go by
PostgreSQL's snapshots, and the functions of the quota in ``sql/``: a file has no other process.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import NamedTuple

from .schema import OPEN


class Dialect(NamedTuple):
    """What differs between the databases: how parameters are written, and these fragments of SQL.

    ``now`` is the clock that all processes go by, in microseconds since 1970.
    """

    prefix: str
    parameter: str
    identity: str
    xid_type: str
    now: str
    timeline: str
    xid: str
    position: str

    def compile(self, sql: str) -> str:
        """The statement for this database."""
        return _compiled(self, sql)


SQLITE = Dialect("", r":\1", "INTEGER PRIMARY KEY", "bigint", "0", "''", "0", "instr")
"""A file or memory of one process: its member lives as long as the process, and nobody reads its feed."""


def postgres(schema: str) -> Dialect:
    """PostgreSQL, with the tables in this schema."""
    return Dialect(
        f"{quoted(schema)}.",
        r"%(\1)s",
        "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "xid8",
        "(extract(epoch FROM hoox.now_1()) * 1000000)::bigint",
        "hoox.timeline_1()",
        "pg_current_xact_id()",
        "strpos",
    )


_FRAGMENT = re.compile(r"{([a-z_]+)}")
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]\w*)")
_SCHEMA = re.compile(r"\bhoox\.")


@functools.lru_cache(1000)
def _compiled(dialect: Dialect, sql: str) -> str:
    sql = _FRAGMENT.sub(lambda found: str(getattr(dialect, found[1])), sql)
    sql = _PARAMETER.sub(dialect.parameter, sql)
    return _SCHEMA.sub(lambda _: dialect.prefix, sql)  # last: the name of a schema may have any of these


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


_ALIVE = (
    "{alias}.expires_at > (SELECT {now}) AND {alias}.expires_at <= (SELECT {now}) + 2 * {alias}.lease "
    "AND {alias}.timeline = (SELECT {timeline})"
)


def alive(alias: str) -> str:
    """Whether the lease of this row of ``members`` is not over, by the database's clock.

    One that ends more than two lengths ahead was renewed before the clock was set back, and tells nothing.
    """
    return _ALIVE.replace("{alias}", alias)


def of_workspaces(statement: str, workspaces: Iterable[int]) -> str:
    """The statement for these workspaces."""
    return statement.replace("{workspaces}", ", ".join(map(str, sorted(workspaces))))


OPEN_PAGE = 1000
"""Open intents that are looked through, without their records, until the loop has a turn."""

COLUMNS = (
    "SELECT i.workspace, i.seq, i.key, i.version, i.record, i.crc, i.teller, i.notified FROM hoox.intents i "
)

# It has renewed in time for one lease, so every member that is alive had the time to do so too, also after
# the database was gone for a while or its clock was set.
MAY_SWEEP = (
    "EXISTS (SELECT 1 FROM hoox.members s WHERE s.id = :me AND s.expires_at >= (SELECT {now}) + s.lease / 2 "
    "AND s.expires_at <= (SELECT {now}) + 2 * s.lease AND s.steady_since + s.lease <= (SELECT {now}) "
    "AND s.timeline = (SELECT {timeline}))"
)

MOMENT = "SELECT {now}, {timeline}"

# --- intents: what a write reads

ROW = COLUMNS + "WHERE i.workspace = :workspace AND i.key = :key"
OWNER = (
    "SELECT i.key, i.state FROM hoox.intents i WHERE i.workspace = :workspace AND i.avatar_id = :avatar_id "
    "AND i.look_id = :look_id AND i.key <> :key"
)
HOLDER = (
    "SELECT i.member FROM hoox.intents i JOIN hoox.members m ON m.id = i.member "  # noqa: S608
    f"WHERE i.workspace = :workspace AND i.key = :key AND i.state = 'planned' AND i.member <> :me "
    f"AND {alive('m')}"
)
BUDGET = (
    "SELECT name, max_credits, charged, initial FROM hoox.budgets "
    "WHERE workspace = :workspace AND name = :name"
)

# --- intents: what it writes, in this order: budgets by their names, the intent, its attempts, looks

CHARGE = (  # guards: also where there is no such budget any more, which an UPDATE would pass over
    "INSERT INTO hoox.budgets (workspace, name, max_credits, charged) VALUES (:workspace, :name, 0, "
    "(SELECT charged FROM hoox.budgets WHERE workspace = :workspace AND name = :name)) "
    "ON CONFLICT (workspace, name) DO UPDATE SET charged = "
    "CASE WHEN budgets.charged + :change <= budgets.max_credits THEN budgets.charged + :change END"
)
CHARGE_ANYHOW = (
    "UPDATE hoox.budgets SET charged = charged + :change WHERE workspace = :workspace AND name = :name"
)
# A place is one more than the last that its transaction sees. So a place that is not higher than the last one
# of a SENDING was given by a transaction that could not see that one yet, and so began before the SENDING.
_LAST_PLACE = "coalesce((SELECT max(l.place) FROM hoox.listed l WHERE l.workspace = :workspace), 0)"
_LISTED_AT = f"CASE :age WHEN 'sent' THEN {_LAST_PLACE} WHEN 'kept' THEN {{kept}} END"
INSERT = (
    "INSERT INTO hoox.intents (workspace, key, state, version, member, teller, avatar_id, look_id, record, "  # noqa: S608
    "crc, changed_in, changed_by, listed_at) VALUES (:workspace, :key, :state, :version, :sender, :teller, "
    f":avatar_id, :look_id, :record, :crc, {{xid}}, :me, {_LISTED_AT.format(kept='NULL')})"
)
UPDATE = (
    "UPDATE hoox.intents SET version = CASE WHEN version = :was AND crc = :was_crc "  # noqa: S608 -- guard
    "THEN CAST(:version AS bigint) END, state = :state, member = coalesce(:sender, member), "
    "teller = CASE WHEN :sets_teller = 1 THEN CAST(:teller AS text) ELSE teller END, "
    "notified = coalesce(CAST(:owed_by_nobody AS text), notified), avatar_id = :avatar_id, "
    "look_id = :look_id, record = :record, "
    f"crc = :crc, changed_in = {{xid}}, changed_by = :me, listed_at = {_LISTED_AT.format(kept='listed_at')} "
    "WHERE workspace = :workspace AND key = :key"
)
ATTEMPT = (  # guards: it has its row, and what is sent has a lease
    "INSERT INTO hoox.attempts (workspace, id, intent, sent_at) VALUES (:workspace, :id, "  # noqa: S608
    "(SELECT i.seq FROM hoox.intents i WHERE i.workspace = :workspace AND i.key = :key), "
    "CASE WHEN :state <> 'sending' OR EXISTS (SELECT 1 FROM hoox.members m WHERE m.id = :me AND "
    f"{alive('m')}) THEN CAST(:sent_at AS bigint) END)"
)
CLAIM = (
    "INSERT INTO hoox.claimed (workspace, avatar_id, look_id) VALUES (:workspace, :avatar_id, :look_id) "
    "ON CONFLICT DO NOTHING"
)
UNCLAIM = (
    "DELETE FROM hoox.claimed WHERE workspace = :workspace AND avatar_id = :avatar_id AND look_id = :look_id"
)

# --- intents: reading

BY_ATTEMPT = COLUMNS + (
    "JOIN hoox.attempts a ON a.intent = i.seq WHERE a.workspace = :workspace AND a.id = :id"
)
BY_REF = COLUMNS + (
    "WHERE i.workspace = :workspace AND i.avatar_id = :avatar_id AND i.look_id = :look_id "
    "AND i.state <> 'forgotten'"
)
PAGE = COLUMNS + "WHERE i.workspace = :workspace AND i.seq > :after {condition} ORDER BY i.seq LIMIT :size"
LAST_SETTLED = COLUMNS + (
    "WHERE i.workspace = :workspace AND i.state IN ('ready', 'failed') ORDER BY i.seq DESC LIMIT :size"
)
COUNT_OPEN = (
    "SELECT state, count(*), max(seq) FROM (SELECT state, seq FROM hoox.intents "  # noqa: S608
    f"WHERE workspace = :workspace AND state IN {OPEN} AND seq > :after ORDER BY seq LIMIT :size) i "
    "GROUP BY state"
)
RELEASE = (
    "UPDATE hoox.intents SET member = NULL WHERE workspace = :workspace AND member = :me "
    "AND state = 'planned' AND key = coalesce(CAST(:key AS text), key)"
)

# --- pruning; and forgetting, in memory only: the look stays claimed, and its avatar's origin known

DROP_DELIVERIES = (
    "DELETE FROM hoox.deliveries WHERE workspace = :workspace "
    "AND attempt IN (SELECT id FROM hoox.attempts WHERE intent = :seq)"
)

FORGET = (
    (
        "INSERT INTO hoox.sends (workspace, sent_at) SELECT workspace, sent_at FROM hoox.attempts "
        "WHERE intent = :seq"
    ),
    DROP_DELIVERIES,
    "DELETE FROM hoox.attempts WHERE intent = :seq",
    "DELETE FROM hoox.intents WHERE seq = :seq AND look_id IS NULL",
    ("UPDATE hoox.intents SET key = :nobodys_key, state = 'forgotten', record = :source WHERE seq = :seq"),
)

# --- budgets

OPEN_BUDGET = (
    "INSERT INTO hoox.budgets (workspace, name, max_credits, charged, initial) "
    "VALUES (:workspace, :name, :cap, :spent, :spent) ON CONFLICT (workspace, name) DO UPDATE SET "
    "max_credits = excluded.max_credits, charged = budgets.charged + excluded.initial, "
    "initial = excluded.initial WHERE budgets.initial IS NULL"
)
LOST_BUDGET = (
    "INSERT INTO hoox.budgets (workspace, name, max_credits, charged) VALUES (:workspace, :name, 0, 0) "
    "ON CONFLICT DO NOTHING"
)
SET_CAP = "UPDATE hoox.budgets SET max_credits = :cap WHERE workspace = :workspace AND name = :name"

# --- looks, deliveries, send times

CLAIMED = "SELECT look_id FROM hoox.claimed WHERE workspace = :workspace AND avatar_id = :avatar_id"
LISTED = "SELECT look_id FROM hoox.listed WHERE workspace = :workspace AND avatar_id = :avatar_id"
ADD_LISTED = (
    "INSERT INTO hoox.listed (workspace, avatar_id, look_id, place) "  # noqa: S608
    f"VALUES (:workspace, :avatar_id, :look_id, {_LAST_PLACE} + 1) ON CONFLICT DO NOTHING"
)
LISTED_BEFORE = (  # + 0: by the avatar's looks, not by all places up to this one
    "SELECT l.look_id FROM hoox.intents i JOIN hoox.listed l ON l.workspace = i.workspace "
    "AND l.avatar_id = :avatar_id AND l.place + 0 <= i.listed_at "
    "WHERE i.workspace = :workspace AND i.key = :key"
)
MADE = (  # two texts: each database has its own name for the place of a text
    "SELECT 1 FROM hoox.intents WHERE workspace = :workspace AND avatar_id = :avatar_id "
    "AND look_id IS NOT NULL AND {position}(record, :source) = 0 LIMIT 1"
)
COPIES = (
    "SELECT DISTINCT i.avatar_id FROM (SELECT avatar_id, record FROM hoox.intents "
    "WHERE workspace = :workspace ORDER BY seq DESC LIMIT :recent) i "
    "WHERE i.avatar_id <> :avatar_id AND {position}(i.record, :source) > 0"
)
KEEP_DELIVERY = (
    "INSERT INTO hoox.deliveries (workspace, attempt, look_id, record, kept_by, kept_in) "
    "SELECT a.workspace, a.id, :look_id, :record, :me, {xid} FROM hoox.attempts a "
    "WHERE a.workspace = :workspace AND a.id = :id ON CONFLICT (workspace, attempt) DO UPDATE SET "
    "record = CASE WHEN deliveries.record = CAST(:was AS text) THEN excluded.record END, "  # guard
    "kept_by = excluded.kept_by, kept_in = excluded.kept_in"
)
KEPT_DELIVERY = "SELECT record FROM hoox.deliveries WHERE workspace = :workspace AND attempt = :id"
_KEPT = (
    "FROM hoox.intents i JOIN hoox.attempts a ON a.intent = i.seq "
    "JOIN hoox.deliveries d ON d.workspace = a.workspace AND d.attempt = a.id "
)
DELIVERED_ATTEMPTS = f"SELECT a.id {_KEPT} WHERE i.workspace = :workspace AND i.key = :key"
DELIVERED_TO = "SELECT attempt FROM hoox.deliveries WHERE workspace = :workspace AND look_id = :look_id"
DELIVERED = (  # a page of intents, also of those without one: the loop waits for a page, not for all of them
    "SELECT i.seq, d.attempt FROM (SELECT seq FROM hoox.intents WHERE workspace = :workspace "  # noqa: S608
    f"AND state IN {OPEN} AND state IN ('accepted', 'unknown') AND seq > :after ORDER BY seq LIMIT :size) i "
    "LEFT JOIN hoox.attempts a ON a.intent = i.seq "
    "LEFT JOIN hoox.deliveries d ON d.workspace = a.workspace AND d.attempt = a.id ORDER BY i.seq"
)
ADD_SEND = "INSERT INTO hoox.sends (workspace, sent_at) VALUES (:workspace, :sent_at)"
DROP_SENDS = "DELETE FROM hoox.sends WHERE workspace = :workspace AND abs(sent_at - :newest) > :kept"
RECENT_SENDS = (
    "SELECT sent_at FROM hoox.sends WHERE workspace = :workspace AND sent_at > :since UNION ALL "
    "SELECT sent_at FROM hoox.attempts WHERE workspace = :workspace AND sent_at > :since ORDER BY 1"
)

# --- workspaces: their base URLs and API keys

WORKSPACE = (
    "WITH RECURSIVE same AS (SELECT id, base_url, fingerprint, older_fingerprint FROM hoox.workspaces "
    "WHERE name = :name UNION SELECT w.id, w.base_url, w.fingerprint, w.older_fingerprint "
    "FROM hoox.workspaces w JOIN same s ON w.base_url = s.base_url AND "
    "(w.fingerprint IN (s.fingerprint, s.older_fingerprint) "
    "OR w.older_fingerprint IN (s.fingerprint, s.older_fingerprint))) "
    "SELECT w.id, (SELECT min(id) FROM same), w.base_url, w.fingerprint, w.older_fingerprint, "
    "w.key_confirmed FROM hoox.workspaces w WHERE w.name = :name"
)
KEY_SALT = "SELECT salt FROM hoox.key_salt"
ADD_KEY_SALT = "INSERT INTO hoox.key_salt (id, salt) VALUES (1, :salt)"
ONE_AT_A_TIME = "UPDATE hoox.key_salt SET salt = salt"  # so workspaces appear in the order of their numbers
ADD_WORKSPACE = (
    "INSERT INTO hoox.workspaces (name, base_url, fingerprint) VALUES (:name, :base_url, :fingerprint) "
    "ON CONFLICT (name) DO NOTHING"
)
REPLACE_KEYS = (
    "UPDATE hoox.workspaces SET fingerprint = :fingerprint, older_fingerprint = :older, key_confirmed = 0 "
    "WHERE id = :workspace AND fingerprint = :was AND coalesce(older_fingerprint, '') = :was_older"
)
CONFIRM_KEY = (
    "UPDATE hoox.workspaces SET key_confirmed = 1 "
    "WHERE id = :workspace AND fingerprint = :fingerprint AND key_confirmed = 0"
)

# --- copies of a workspace: see `copy`

COPY = (
    "SELECT c.made_by, c.place, c.moved_by, c.moved_to, c.handed_over FROM hoox.copies c "
    "JOIN hoox.workspaces w ON w.id = c.workspace WHERE w.name = :name"
)
USE_COPIED = (
    "UPDATE hoox.copies SET moved_by = NULL, moved_to = NULL, handed_over = 0 WHERE workspace = :workspace"
)
