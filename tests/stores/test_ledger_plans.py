"""All statements of the ledger: their plans on both databases, and what differs between these."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from internals_kit import IntentState
from internals_kit import postgres as dialect_of
from postgres_kit import Server
from store_kit import WORKSPACE

import hoox_async._io.ledger
from hoox_async._io.ledger import copy, ledger, offline, statements
from hoox_async._io.ledger.sqlite_schema import in_memory
from hoox_async._io.ledger.statements import SQLITE
from hoox_async.postgres import PostgresDatabase

MANY = 20_000
SMALL = {"members", "leaders", "workspaces", "copies", "key_salt", "budgets", "sends"}
ALIASES = {"m", "s", "w", "same", "c"}  # of members, workspaces and copies
WHOLE = {
    copy._FIRST_INTENTS,
    copy._ANY_ROW,
    copy._COUNTS,
    offline._SIZE_OF_WORKSPACE,
    *(part.clear for part in copy.PARTS),
}
"""Read whole tables on purpose: once, while no session is open."""
READS_ALL = re.compile(
    r"(SCAN (?!CONSTANT)|SEARCH (?!.* (intents_(open|owing)|listed_place) )(?=.* \(workspace=\?\)$))"
    r"(?P<table>\w+)"
)
SHARED = ("change_feed.", "database.", "leaders.", "member.", "postgres_")
ONLY_SHARED = re.compile(r"::|pg_|strpos|hoox\.(leaders|stated_limits)")
OF_STATEMENTS = ("change_feed", "leaders", "member", "news", "statements")
"""Modules whose private names are parts of statements."""
IS_STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")


def all_statements() -> dict[str, str]:
    """Every statement of the ledger's modules by its name, however it is kept there.

    Private names in ``OF_STATEMENTS`` are parts of others, and so is ``COLUMNS``.
    """
    found: dict[str, str] = {}
    for info in pkgutil.iter_modules(hoox_async._io.ledger.__path__):
        module = importlib.import_module(f"hoox_async._io.ledger.{info.name}")
        for name, value in vars(module).items():
            is_part = info.name in OF_STATEMENTS and name.startswith("_")
            if name != "COLUMNS" and not is_part:
                for number, text in enumerate(texts_in(value)):
                    if IS_STATEMENT.match(text) and "hoox." in text and "%s" not in text:
                        found.setdefault(text, f"{info.name}.{name} {number}")
    del found[statements.PAGE]
    pages = {
        "page": ledger._page(ledger._condition(None)),
        "accepted": ledger._page(ledger.in_states([IntentState.ACCEPTED])),
        "unknown or sending": ledger._page(ledger.in_states([IntentState.UNKNOWN, IntentState.SENDING])),
        "own": ledger._page(ledger.in_states([IntentState.ACCEPTED]) + " AND i.member = :me"),
    }
    return {name: text for text, name in found.items()} | pages


def texts_in(value: object) -> Iterator[str]:
    """The texts in a constant: itself, or those of a tuple."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from texts_in(each)


VALUES: Mapping[str, Any] = {
    "workspace": 1,
    "key": "key 77",
    "me": "member 1",
    "id": "attempt 77",
    "avatar_id": "avatar 77",
    "look_id": "look 77",
    "after": 500,
    "after_0": str(MANY - 100),
    "after_1": "attempt 1",
    "size": 500,
    "source": "avatar 77",
    "recent": 5000,
    "lease": 10_000_000,
    "transaction": "0",
    "seq": 0,
    "until": None,
    "age": "sent",
    "state": "sending",
    "version": 4,
    "was": 3,
    "was_crc": 0,
    "sender": "member 1",
    "sets_teller": 1,
    "teller": "member 1",
    "record": "r",
    "crc": 0,
}


FILL = f"""
INSERT INTO hoox.intents (workspace, key, state, version, member, teller, notified, avatar_id, look_id,
    record, crc, changed_in, changed_by)
    SELECT 1, 'key ' || n, CASE WHEN n % 2000 = 0 THEN 'accepted' ELSE 'ready' END, 3, 'member 1', 'member 1',
    'look ' || n, 'avatar ' || n, 'look ' || n, repeat('x', 300), 0, pg_current_xact_id(), 'member 1'
    FROM generate_series(1, {MANY}) AS n;
INSERT INTO hoox.attempts SELECT 1, 'attempt ' || seq, seq, seq FROM hoox.intents;
INSERT INTO hoox.listed SELECT 1, 'avatar ' || n % 50, 'look ' || n, n FROM generate_series(1, {MANY}) AS n;
INSERT INTO hoox.claimed SELECT 1, avatar_id, look_id FROM hoox.intents;
INSERT INTO hoox.deliveries
    SELECT 1, 'attempt ' || seq, look_id, 'r', 'member 1', pg_current_xact_id()
    FROM hoox.intents WHERE seq % 10 = 0;
INSERT INTO hoox.sends SELECT 1, seq FROM hoox.intents;
INSERT INTO hoox.members SELECT 'member ' || n, 'host', n, 1, 1, 1, '' FROM generate_series(1, 50) AS n
"""


@pytest.fixture
async def filled(postgres: Server, postgres_url: str, postgres_schema: str) -> tuple[Server, str]:
    """A schema with 20,000 settled intents, their attempts and looks, and a few open ones."""
    async with PostgresDatabase(postgres_url, schema=postgres_schema) as database:
        store = database.workspace("shop")
        await store.open(WORKSPACE)
        await store.aclose()
    place = f'"{postgres_schema}".'
    with postgres.connect() as connection:
        for sql in FILL.strip().split(";"):
            connection.execute(sql.replace("hoox.", place))
        for table in ("intents", "attempts", "claimed", "listed", "deliveries", "sends", "members"):
            connection.execute(f"ANALYZE {place}{table}")
    return postgres, postgres_schema


def given(statement: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a statement's parameters; '1', which any type takes, for those that do not matter."""
    names = re.findall(r"(?<![:\w]):([a-z_]\w*)", statement)
    found = {name: values.get(name, "1") for name in names}
    return {name: str(value) if isinstance(value, int) else value for name, value in found.items()}


async def test_no_statement_reads_a_whole_table(filled: tuple[Server, str]) -> None:
    """On PostgreSQL with 20,000 intents each statement finds its rows by an index."""
    from psycopg import ClientCursor

    server, schema = filled
    with server.connect() as connection:
        # not its xmin: while tests beside this one have a transaction open, that is from before the filling
        [(next_one,)] = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())").fetchall()
        values = {**VALUES, "since": f"{next_one}:{next_one}:"}
        for name, statement in all_statements().items():
            text = dialect_of(schema).compile(statements.of_workspaces(statement, [1]))
            own = values | ({"since": MANY - 50} if statement == statements.RECENT_SENDS else {})
            cursor = ClientCursor(connection)
            cursor.execute(b"EXPLAIN (FORMAT JSON) " + cursor.mogrify(text, given(statement, own)).encode())
            [(plan,)] = cursor.fetchall()
            scanned = {
                node["Relation Name"]
                for node in nodes(plan[0]["Plan"] if isinstance(plan, list) else json.loads(plan)[0]["Plan"])
                if node["Node Type"] == "Seq Scan"
            }
            assert statement in WHOLE or scanned <= SMALL, f"{name}: {scanned}"


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """A plan and the plans in it."""
    return [plan, *(node for inner in plan.get("Plans", ()) for node in nodes(inner))]


def test_no_statement_reads_a_whole_table_of_a_file() -> None:
    """SQLite finds the rows of each statement by an index, and by more of it than the workspace.

    Only what is small is sorted: what a page or an index has given, or send times.
    """
    db = in_memory()
    for name, statement in all_statements().items():
        if name.startswith(SHARED) or ONLY_SHARED.search(statement):
            continue
        if statement in WHOLE | {statements.LAST_SETTLED, statements.RELEASE}:  # nor these
            continue
        text = SQLITE.compile(statements.of_workspaces(statement, [1]))
        lines = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {text}", given(text, VALUES))]
        read = {found["table"] for line in lines if (found := READS_ALL.match(line)) is not None}
        is_page = "CO-ROUTINE i" in lines  # of the intents, in the order of an index
        assert read <= SMALL | ALIASES | ({"i", "intents"} if is_page else set()), f"{name}: {lines}"
        assert is_page or "USE TEMP B-TREE FOR ORDER BY" not in lines, f"{name}: {lines}"
    db.close()


def test_the_statements_with_two_texts_are_listed() -> None:
    """The docstring of `statements` names each statement that differs between the databases, and no other."""
    about = dict(re.findall(r"^- ``{(\w+)}``(.*?)(?=^- |^$)", statements.__doc__ or "", re.M | re.S))
    for fragment in ("now", "xid", "position"):
        named = set(re.findall(r"\b[A-Z][A-Z_]+\b", about[fragment])) - {"SQL"}
        differ = {
            name.split(".")[1].removesuffix(" 0")
            for name, statement in all_statements().items()
            if name.startswith(("statements.", "news.")) and f"{{{fragment}}}" in statement
        }
        assert named == differ, fragment
