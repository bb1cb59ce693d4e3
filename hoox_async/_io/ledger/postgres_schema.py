"""What only PostgreSQL has of the ledger's schema: the clock, the timeline, and the quota's functions."""

from __future__ import annotations

from pathlib import Path

from .statements import alive

_SQL = Path(__file__).with_name("sql")
_KEY_SALT = """
INSERT INTO hoox.key_salt (id, salt)
SELECT 1, replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '')
"""
_IS_ALIVE = f"""
CREATE FUNCTION hoox.is_alive_1(member text) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM hoox.members m WHERE m.id = $1 AND {alive("m")}) $$
"""  # noqa: S608

CLOCK = ((_SQL / "clock_1.sql").read_text(encoding="utf-8"),)
"""Before the tables."""

QUOTA = (_KEY_SALT, _IS_ALIVE, (_SQL / "quota_1.sql").read_text(encoding="utf-8"))
"""After them."""
