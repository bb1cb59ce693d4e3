"""How the ledger's statements are written for each database."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple


class Dialect(NamedTuple):
    """What differs between the databases: how parameters are written, and these fragments of SQL.

    ``now`` is the clock that all processes go by, in microseconds since 1970, and ``timeline`` what a
    failover changes. ``xid`` is the number of the transaction, ``position`` the place of a text in another.
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
    prefix = '"' + schema.replace('"', '""') + '".'
    return Dialect(
        prefix,
        r"%(\1)s",
        "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "xid8",
        f"(extract(epoch FROM {prefix}now_1()) * 1000000)::bigint",
        f"{prefix}timeline_1()",
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
    return _SCHEMA.sub(lambda _: dialect.prefix, sql)
