"""The tables of a store, in words that the database itself finds for them: one line a fact."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

_COLUMNS = """
SELECT 'column ' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
    || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
    || CASE a.attidentity WHEN 'a' THEN ' identity' ELSE '' END
    || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'hoox'::regnamespace AND c.relkind = 'r'
"""
_TABLES = """
SELECT 'table ' || relname || coalesce(' with ' || array_to_string(reloptions, ', '), '')
FROM pg_class WHERE relnamespace = 'hoox'::regnamespace AND relkind = 'r'
"""
_CONSTRAINTS = """
SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ': ' || pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'hoox'::regnamespace AND contype <> 'n'
"""
_INDEXES = "SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'hoox'"
_FUNCTIONS = """
SELECT 'function ' || proname || '(' || pg_get_function_arguments(oid) || ') returns '
    || pg_get_function_result(oid) || ' ' || provolatile::text || ', its body ' || md5(prosrc)
FROM pg_proc WHERE pronamespace = 'hoox'::regnamespace
"""


def schema_of_file(path: str | Path) -> list[str]:
    """The tables and indexes of a SQLite store, and what its header says."""
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC, name")
        lines = [" ".join(sql.split()) for (sql,) in found]
        [(application,)], [(version,)] = (
            db.execute("PRAGMA application_id"),
            db.execute("PRAGMA user_version"),
        )
    return [*lines, f"application_id {application}", f"user_version {version}"]


def schema_of_database(url: str) -> list[str]:
    """Tables, columns, constraints, indexes and functions (by digests of their bodies) of ``hoox``."""
    return sorted(_facts(url))


def _facts(url: str) -> Iterator[str]:
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute("SET LOCAL search_path = ''")
        for question in (_TABLES, _COLUMNS, _CONSTRAINTS, _INDEXES, _FUNCTIONS):
            yield from (text for (text,) in connection.execute(question).fetchall())
        [(version,)] = connection.execute("SELECT max(version) FROM hoox.schema_versions").fetchall()
        yield f"version {version}"
