"""The command line with a store in PostgreSQL: `--store URL`, `--workspace`, and no password anywhere."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from cli_kit import ITEMS, Cli, campaign
from internals_kit import MIGRATIONS

from hoox_async._cli.commands.store import parse_age
from hoox_async._cli.exit_codes import Exit
from hoox_async._cli.stores import DatabaseStore, Location, named_store, store_first, store_words
from hoox_async._cli.terminal import shown_url, without_urls
from hoox_async.errors import ConfigurationError
from hoox_async.postgres import CopyResult, PostgresDatabase
from hoox_async.sandbox import Fault

SECRET = "pa55word"
URLS = [
    f"postgresql://hoox:{SECRET}@127.0.0.1:1/db",
    f"postgres://hoox:{SECRET}@127.0.0.1:1/db?sslmode=disable",
    f"postgresql://hoox@127.0.0.1:1/db?password={SECRET}",
    f"postgresql://hoox:p@ss/{SECRET}@127.0.0.1:1/db",
    f"postgresql://hoox:p ss {SECRET}@127.0.0.1:1/db",
    f"postgresql://hoox:%zz{SECRET}@127.0.0.1:1/db",
]


def members(url: str) -> object:
    """How many members there are, and all of the schema's versions."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT (SELECT count(*) FROM hoox.members), (SELECT max(version) FROM hoox.schema_versions)"
        ).fetchone()


def written(url: str) -> object:
    """The transactions that have last written members, workspaces and intents."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT xmin::text FROM hoox.workspaces UNION ALL SELECT xmin::text FROM hoox.intents "
            "UNION ALL SELECT xmin::text FROM hoox.members"
        ).fetchall()


def test_a_campaign_in_a_database(cli: Cli, postgres_database: str, tmp_path: Path) -> None:
    """A batch with a database as its store pays once; reports and unknowns are read without a request.

    Another workspace is another store.
    """
    file = campaign(tmp_path)
    batch = ("batch", file, "--yes", "--store", postgres_database, "--workspace", "shop")
    assert cli(*batch).code == 0
    assert len(cli.sandbox.ledger) == 4
    assert cli(*batch).code == 0
    assert len(cli.sandbox.ledger) == 4
    asked = len(cli.sandbox.requests)
    where = ("--store", postgres_database, "--workspace", "shop")
    sheet = cli.bare(
        "report", *where, "--out", tmp_path / "sheet", "--no-download", "--jsonl", tmp_path / "o.jsonl"
    )
    assert sheet.code == 0
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert {line["key"] for line in lines} == ITEMS
    assert cli.bare("unknowns", *where).code == 0
    assert len(cli.sandbox.requests) == asked
    other = cli.bare("report", postgres_database, "--out", tmp_path / "other")
    assert other.code != 0
    assert "no workspace 'default'" in other.err


def test_many_unknowns_are_one_page_and_one_command(cli: Cli, postgres_database: str, tmp_path: Path) -> None:
    """Of a database too, the page shows the looks that may be results, and a file settles what it decides."""
    file, where = campaign(tmp_path), ("--store", postgres_database, "--workspace", "shop")
    assert cli("batch", file, "--yes", "--only", "*/podcast", *where).code == 0
    cli.sandbox.fail_next("edit", Fault.DROP_AFTER, times=2)
    assert cli("batch", file, "--yes", *where).code == 4
    shown = cli("unknowns", *where, "--page", tmp_path / "page", "--json")
    html = (tmp_path / "page" / "index.html").read_text("utf-8")
    decisions = []
    for unknown in shown.of("unknown"):
        [look] = unknown["candidates"]
        assert look in html
        decisions.append({"key": unknown["key"], "attempt": unknown["attempt"], "verdict": look})
    assert len(decisions) == 2
    content = {"format": "hoox-async decisions 2", "decisions": decisions}
    (tmp_path / "decisions.json").write_text(json.dumps(content))
    assert cli("resolve", f"@{tmp_path / 'decisions.json'}", "--yes", *where).code == 0
    assert cli("unknowns", *where).code == 0


def test_a_store_in_another_schema(cli: Cli, postgres_database: str, tmp_path: Path) -> None:
    """`--schema` names the schema in every command that takes a store, and in printed commands."""
    where = ("--store", postgres_database, "--schema", "shop_1")
    made = cli.bare("store", "migrate", *where)
    assert made.code == 0
    assert 'GRANT USAGE ON SCHEMA "shop_1" TO "app";' in made.err
    done = cli("batch", campaign(tmp_path), "--yes", "--limit", "1", *where)
    assert done.code == 0
    assert "--schema shop_1" in done.err.splitlines()[-1]
    for command in (("report", "--out", tmp_path / "sheet"), ("unknowns",), ("costs", "--by", "state")):
        assert cli.bare(command[0], *where, *command[1:]).code == 0
    with psycopg.connect(postgres_database) as connection:
        found = connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'hoox'").fetchone()
    assert found == (0,)
    assert cli.bare("report", campaign(tmp_path), "--schema", "shop_1").code == 2


def test_reading_commands_make_nothing(
    cli: Cli, postgres_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a database without a store, reports, unknowns, pruning and a dry run make no table."""
    monkeypatch.delenv("HOOX_API_KEY")
    for command in (
        ("report", postgres_database, "--out", tmp_path / "sheet"),
        ("unknowns", "--store", postgres_database),
        ("store", "prune", postgres_database, "--older-than", "90d"),
        ("batch", campaign(tmp_path), "--dry-run", "--store", postgres_database),
    ):
        done = cli.bare(*command)
        assert done.code == (0 if "--dry-run" in command else 2), done.err
    with psycopg.connect(postgres_database) as connection:
        found = connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'hoox'").fetchone()
    assert found == (0,)


def test_a_dry_run_only_reads_the_store(
    cli: Cli, postgres_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a workspace that exists it needs no key, begins no lease, and writes nothing.

    Nor does it on a file, also while a session has that open. The run itself asks for the key first.
    """
    file, stored = campaign(tmp_path), tmp_path / "campaign.db"
    for store in (postgres_database, stored):
        assert cli("batch", file, "--only", "alex/*", "--yes", "--store", store).code == 0
    before = written(postgres_database)

    async def run_meanwhile(store: str | Path) -> None:
        async with cli.sandbox.session(store=stored):
            dry = await asyncio.to_thread(cli.bare, "batch", file, "--dry-run", "--store", store)
            assert dry.code == 0, dry.err
            assert "to send      2 edits" in dry.out
            assert "from before  2 ready" in dry.out

    monkeypatch.delenv("HOOX_API_KEY")
    monkeypatch.delattr(PostgresDatabase, "open")
    for store in (postgres_database, stored):
        asyncio.run(run_meanwhile(store))
        assert cli.bare("batch", file, "--yes", "--store", store).code == Exit.ACCESS
    assert written(postgres_database) == before


def test_migrate_makes_the_tables_and_nothing_else(cli: Cli, postgres_database: str) -> None:
    """`store migrate` makes the tables, says the versions, and begins no lease; again it changes nothing."""
    first = cli.bare("store", "migrate", "--store", postgres_database)
    assert (first.code, members(postgres_database)) == (0, (0, MIGRATIONS[-1].version)), first.err
    again = cli.bare("store", "migrate", "--store", postgres_database, "--json")
    assert again.of("migrated")[0]["before"] == again.of("migrated")[0]["now"] == MIGRATIONS[-1].version
    assert cli.bare("store", "migrate", "campaign.db").code == 2


def test_pruning_says_how_many(cli: Cli, postgres_database: str, tmp_path: Path) -> None:
    """`store prune` prunes a file and a database, and says how many and how much smaller it is."""
    file = campaign(tmp_path)
    for store in (("--store", postgres_database), ()):
        assert cli("batch", file, "--yes", *store).code == 0
        where = store[1:] or (file,)
        preview = cli.bare("store", "prune", *where, "--older-than", "0d", "--dry-run")
        assert preview.out.startswith("4 requests would be pruned, about "), preview.err
        done = cli.bare("store", "prune", *where, "--older-than", "0d", "--json")
        assert (done.of("pruned")[0]["pruned"], done.of("pruned")[0]["already"]) == (4, 0)
        assert cli.bare("store", "prune", *where, "--older-than", "0d").out.startswith("0 requests pruned")
        paid = len(cli.sandbox.ledger)
        assert cli("batch", file, "--yes", *store).code == 0
        assert len(cli.sandbox.ledger) == paid


WORDS = [
    ("report", "URL"),
    ("report", "--store", "URL"),
    ("report", "--store=URL"),
    ("unknowns", "URL"),
    ("resolve", "URL", "key", "drop"),
    ("create", "a host", "--store", "URL", "--key", "k"),
    ("batch", "CAMPAIGN", "--dry-run", "--store", "URL"),
    ("store", "prune", "URL", "--older-than", "90d"),
    ("store", "migrate", "URL"),
    ("store", "backup", "URL", "copy.db"),
    ("store", "recover", "URL"),
    ("store", "copy", "URL", "copy.db"),
    ("store", "copy", "CAMPAIGN", "URL"),
    ("wait", "URL"),
    ("report", "URL", "too", "many", "URL"),
    ("report", "campaign.db", "--out=x", "--typo=URL"),
    ("looks", "--rpm", "URL"),
    ("report", "--help", "URL"),
]


@pytest.mark.parametrize(
    ("words", "url"),
    [
        *((words, URLS[0]) for words in WORDS),
        *((WORDS[place], url) for place in (1, 8, 15) for url in URLS[1:]),
    ],
)
def test_no_password_is_written(cli: Cli, tmp_path: Path, words: tuple[str, ...], url: str) -> None:
    """No output of any command holds a URL's password, whether it is used, refused or in a wrong place."""
    file = campaign(tmp_path)
    given = [word.replace("URL", url).replace("CAMPAIGN", str(file)) for word in words]
    for more in ((), ("--json",)):
        done = cli.bare(*given, *more)
        assert SECRET not in done.out + done.err


def test_commands_that_are_printed_hold_no_password() -> None:
    """A store in a printed command is its URL without a password, and its workspace."""
    [first, *_] = URLS
    assert store_words(first, Location(workspace="shop")) == ["postgresql://...", "--workspace", "shop"]
    assert SECRET not in f"{DatabaseStore(first)} {DatabaseStore(first)!r}"
    plain = "postgresql://owner@db.example.com/shop?sslmode=require"
    assert store_words(DatabaseStore(plain)) == [plain]
    assert shown_url("campaign.db") == "campaign.db"
    assert (
        without_urls(f"cannot use '{first}', nor {plain}", [first])
        == f"cannot use 'postgresql://...', nor {plain}"
    )


def test_the_option_stands_anywhere() -> None:
    """`--store X` may stand anywhere, where a command takes its store as its first argument."""
    for given in (
        ["report", "--store", "X", "--json"],
        ["report", "--json", "--store=X"],
        ["report", "X", "--json"],
    ):
        assert store_first(given) == ["report", "X", "--json"]
    assert store_first(["resolve", "key", "drop", "--store", "X"]) == ["resolve", "X", "key", "drop"]
    assert store_first(["store", "prune", "--older-than", "9d", "--store", "X"])[:3] == [
        "store",
        "prune",
        "X",
    ]
    assert store_first(["batch", "f", "--store", "X"]) == ["batch", "f", "--store", "X"]


def test_a_workspace_needs_a_database(cli: Cli, tmp_path: Path) -> None:
    """`--workspace` with a file is refused, and a URL of another kind too."""
    file = campaign(tmp_path)
    assert cli("batch", file, "--yes").code == 0
    assert "--workspace shop" in cli.bare("report", file, "--workspace", "shop").err
    with pytest.raises(ConfigurationError, match="not the path"):
        named_store("mysql://hoox:pa55word@host/db")


def test_ages() -> None:
    """An age is a whole number of hours, days or weeks."""
    assert [parse_age(text) for text in ("90d", "12h", "6w")] == [
        timedelta(days=90), timedelta(hours=12), timedelta(weeks=6)
    ]  # fmt: skip
    for wrong in ("", "90", "-1d", "1.5d", "90 days", "9999999d"):
        with pytest.raises(ConfigurationError, match="90d"):
            parse_age(wrong)


def test_growing_out_of_a_file(cli: Cli, postgres_database: str, tmp_path: Path) -> None:
    """`store copy` moves a campaign's store to a database, where the next run pays nothing.

    It says what both hold. The campaign's file is not used any more until `store recover`, which says why and
    asks. Back, it is a file to look at.
    """
    file, where = campaign(tmp_path), ("--workspace", "shop")
    assert cli("batch", file, "--yes").code == 0
    done = cli.bare("store", "copy", file, postgres_database, *where)
    assert done.code == 0, done.err
    assert re.search(r"ready +4 +4\n", done.out)
    assert re.search(r"credits spent +8 +8\n", done.out)
    assert cli("batch", file, "--yes", "--store", postgres_database, *where).code == 0
    assert len(cli.sandbox.ledger) == 4
    again = cli.bare("store", "copy", file, postgres_database, *where, "--json")
    assert (again.code, again.of("copied")[0]["already"]) == (0, True)
    moved = cli("batch", file, "--yes")
    assert moved.code == 2
    assert "was copied to PostgreSQL" in moved.err

    look = tmp_path / "look.hoox.db"
    back = cli.bare("store", "copy", postgres_database, look, *where, "--json")
    assert (back.code, back.of("copied")[0]["after"]["credits spent"]) == (0, "8"), back.err
    assert cli.bare("report", look, "--out", tmp_path / "sheet", "--no-download").code == 0
    asked = cli.bare("store", "recover", file)
    assert asked.code == 2
    assert "each would pay again" in asked.err
    assert cli.bare("store", "recover", file, "--yes").code == 0
    assert cli("batch", file, "--yes").code == 0
    assert len(cli.sandbox.ledger) == 4


def test_a_copy_that_differs(
    cli: Cli, postgres_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that holds something else than its source ends with code 1, and says that it is not used."""
    file = campaign(tmp_path)
    assert cli("batch", file, "--yes").code == 0

    async def different(*_: object, **__: object) -> CopyResult:
        return CopyResult("one", "other", {"ready": 4}, {"ready": 3})

    monkeypatch.setattr("hoox_async.postgres.copy_store", different)
    done = cli.bare("store", "copy", file, postgres_database)
    assert done.code == Exit.FAILED
    assert "other can't be used" in done.err


def test_a_copy_needs_the_key(
    cli: Cli, postgres_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a database it needs the store's key, from a file too; a campaign without a store is no source."""
    file = campaign(tmp_path)
    assert cli.bare("store", "copy", file, postgres_database).code == 2
    assert cli("batch", file, "--yes").code == 0
    monkeypatch.delenv("HOOX_API_KEY")
    assert cli.bare("store", "copy", file, postgres_database).code == Exit.ACCESS
    key = tmp_path / "key"
    key.write_text("hx_live_other")
    wrong = cli.bare("store", "copy", file, postgres_database, "--key-file", key)
    assert wrong.code == 2
    assert "another API key" in wrong.err
    key.write_text(cli.sandbox.api_key)
    assert cli.bare("store", "copy", file, postgres_database, "--key-file", key).code == 0
