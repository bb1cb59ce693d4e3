"""The SQL of who is told that a look is done. See `statements`."""

from __future__ import annotations

from .schema import OPEN, OWES
from .statements import COLUMNS, MAY_SWEEP, alive

PAGE = 100
"""Rows, with their intents: some milliseconds of work, after which the loop has a turn."""

_AFTER = "(workspace, seq) > (:after_workspace, :after)"
_IN_ORDER = f"ORDER BY workspace, seq LIMIT {PAGE}"
# Those that owe are few, which no statistics tell PostgreSQL: with an order and a limit it reads their index.
_OWING = (
    "(SELECT * FROM hoox.intents WHERE workspace IN ({workspaces}) "  # noqa: S608
    f"AND {OWES} AND teller = :me AND {_AFTER} {_IN_ORDER}) i"
)
OWED = COLUMNS.replace("hoox.intents i", _OWING) + "ORDER BY i.workspace, i.seq"

_IS_ALIVE = f"EXISTS (SELECT 1 FROM hoox.members m WHERE m.id = intents.teller AND {alive('m')})"  # noqa: S608
_IS_GONE = f"(teller = '' OR (NOT {_IS_ALIVE} AND {MAY_SWEEP}))"
# The conditions stand in the outer statement too: of two members that take the same row one finds it taken.
TAKE_OVER = (
    "UPDATE hoox.intents SET teller = :me WHERE seq IN (SELECT seq FROM hoox.intents "  # noqa: S608
    f"WHERE workspace IN ({{workspaces}}) AND {OWES} AND teller <> :me AND {_IS_GONE} AND {_AFTER} "
    f"{_IN_ORDER}) AND {OWES} AND teller <> :me AND {_IS_GONE}"
)
TAKE_OVER_KEY = (
    "UPDATE hoox.intents SET teller = :me WHERE workspace = :workspace AND key = :key "  # noqa: S608
    f"AND {OWES} AND teller <> :me AND {_IS_GONE}"
)
OWED_BY_ANOTHER = (
    "SELECT 1 FROM hoox.intents WHERE workspace = :workspace AND key = :key "  # noqa: S608
    f"AND {OWES} AND teller <> :me"
)
OWED_BY_A_LIVING_ONE = f"{OWED_BY_ANOTHER} AND {_IS_ALIVE}"
TOLD = (
    "UPDATE hoox.intents SET notified = look_id "
    "WHERE workspace = :workspace AND key = :key AND look_id = :look_id"
)
LAST_OPEN = (
    "SELECT max(seq) FROM (SELECT seq FROM hoox.intents WHERE workspace = :workspace "  # noqa: S608
    f"AND state IN {OPEN} AND seq > :after ORDER BY seq LIMIT :size) i"
)
_OPEN_PAGE = f"AND state IN {OPEN} AND seq > :after AND seq <= :last"
ADOPT = (
    "UPDATE hoox.intents SET teller = :me WHERE workspace = :workspace AND teller = '' "  # noqa: S608
    f"{_OPEN_PAGE}"
)
_LEAVE = "UPDATE hoox.intents SET teller = '' WHERE workspace = :workspace AND teller = :me "
LEAVE = _LEAVE + _OPEN_PAGE
LEAVE_ENDED = (
    _LEAVE + "AND seq IN (SELECT seq FROM hoox.intents WHERE workspace = :workspace "  # noqa: S608
    f"AND {OWES} AND teller = :me {_IN_ORDER})"
)
