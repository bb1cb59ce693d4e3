"""How the ledger's statements are written for each database.

A statement has one text for both. Where that cannot be, a fragment stands for what differs:

- ``{now}`` and ``{timeline}``: whether a member is alive, in HOLDER, ATTEMPT, TAKE_OVER, TAKE_OVER_KEY and
  OWED_BY_A_LIVING_ONE, and in the statements of `member_statements` and `copy` about members. That goes by
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
from typing import NamedTuple


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
    return _prefixed(sql, dialect.prefix)  # last: the name of a schema may have any of these


@functools.cache
def in_schema(sql: str, schema: str) -> str:
    """The SQL with this schema in place of ``hoox``, for a statement without parameters or with %s."""
    return _prefixed(sql, f"{quoted(schema)}.")


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _prefixed(sql: str, prefix: str) -> str:
    return _SCHEMA.sub(lambda _: prefix, sql)
