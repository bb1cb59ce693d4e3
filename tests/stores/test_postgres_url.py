"""URLs of databases: no part of a password is ever shown, however badly it is escaped."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from internals_kit import DatabaseUrl, open_store

from hoox_async import HooxSession
from hoox_async.errors import ConfigurationError, HooxError
from hoox_async.postgres import PostgresDatabase, migrate_database

NOWHERE = "127.0.0.1:1"  # nothing listens there

# Each has the words sesame and cardamom in its password, with a character between them that means something.
BADLY_ESCAPED = [
    "sesame@cardamom",
    "sesame/cardamom",
    "sesame%zzcardamom",
    "9876/cardamom",
    "sesame@9876@cardamom",
    "sesame%00cardamom",
]
USABLE = ["sesame:cardamom", "sesame%40cardamom", "sesame%2Fcardamom", "sesamecardamom", "sesame?cardamom"]
PIECES = ("sesame", "cardamom", "9876")


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """What is to be searched for pieces of passwords; everything that is logged or printed is added."""
    caplog.set_level(logging.DEBUG)
    texts: list[str] = []
    yield texts
    texts += [caplog.text, *capsys.readouterr()]
    for text in texts:
        assert not [piece for piece in PIECES if piece in text.replace(" 9876 ", "")]


def everything_of(error: BaseException) -> str:
    """The error with its traceback, its attributes, and those of its causes, also of those not shown."""
    shown = "".join(traceback.format_exception(error))
    earlier = [each for each in (error.__cause__, error.__context__) if each is not None]
    return f"{shown} {error!r} {error.args} {vars(error)} {' '.join(map(everything_of, earlier))}"


@pytest.mark.parametrize("password", BADLY_ESCAPED)
@pytest.mark.parametrize(
    "rest", [f"{NOWHERE}/looks", "/looks", f"{NOWHERE}/looks?connect_timeout=2", NOWHERE]
)
def test_a_badly_escaped_password_is_refused_and_not_shown(password: str, rest: str, told: list[str]) -> None:
    """The URL is a `ConfigurationError` that says what to escape, and shows nothing of it."""
    with pytest.raises(ConfigurationError, match="percent-encoded") as caught:
        PostgresDatabase(f"postgresql://someone:{password}@{rest}")
    told.append(everything_of(caught.value))


@pytest.mark.parametrize("password", [*USABLE, "sesame#cardamom"])
async def test_a_password_is_in_no_message(password: str, told: list[str]) -> None:
    """A URL that can be read: its password is in no error of a connection, no repr and no log."""
    url = f"postgresql://someone:{password}@{NOWHERE}/looks"
    database = PostgresDatabase(url)
    store = database.workspace("shop")
    told += [repr(database), str(database), repr(store), repr(DatabaseUrl.parse(url)), repr(vars(store))]
    for opening in (database.open(), migrate_database(url), HooxSession("key", store=url).__aenter__()):
        with pytest.raises(HooxError) as caught:
            await opening
        assert "'looks' on 127.0.0.1:1" in str(caught.value)
        told.append(everything_of(caught.value))


@pytest.mark.parametrize("parameter", ["service", "connect_timeout", "sslmode", "hostaddr"])
async def test_a_password_that_is_another_parameter_too_is_in_no_message(
    parameter: str, told: list[str]
) -> None:
    """What libpq says of a parameter it can't use is not told, nor kept as an error's context, if secret."""
    url = f"postgresql://someone:sesame@{NOWHERE}/looks?{parameter}=sesame"
    with pytest.raises(HooxError) as caught:
        await PostgresDatabase(url).open()
    told.append(everything_of(caught.value))


def test_a_connection_string_is_no_path() -> None:
    """``host=… password=…`` makes no file of that name, and is not shown."""
    with pytest.raises(ConfigurationError, match="postgresql://") as caught:
        HooxSession("key", store="host=db.example password=sesame")
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://h/d", "PostgreSQL database 'd' on h:5432"),
        ("postgres://u:p@h:99/d", "PostgreSQL database 'd' on h:99"),
        ("postgresql://u@h", "PostgreSQL database 'u' on h:5432"),
        ("postgresql://h1:1,h2:2/d", "PostgreSQL database 'd' on h1,h2:1,2"),
        ("postgresql://[::1]:77/d", "PostgreSQL database 'd' on ::1:77"),
        ("postgresql:///d?host=/run/postgresql", "PostgreSQL database 'd' on /run/postgresql:5432"),
        ("postgresql://u%40x:p@h/d%40e?sslmode=require", "PostgreSQL database 'd@e' on h:5432"),
    ],
)
def test_any_uri_of_libpq_is_read(url: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts, ports, sockets and options are libpq's; messages name host and database."""
    for variable in ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER"):
        monkeypatch.delenv(variable, raising=False)
    assert DatabaseUrl.parse(url).name == name


@pytest.mark.parametrize("url", ["postgresql://h:port/d", "postgresql://h/d?no=option", "postgresql://h/d?x"])
def test_what_libpq_cannot_read_is_refused(url: str) -> None:
    """A wrong port or option is a `ConfigurationError`."""
    with pytest.raises(ConfigurationError):
        PostgresDatabase(url)


@pytest.mark.parametrize("url", ["mysql://h/d", "campaign.db", "", 7, None])
def test_only_urls_of_postgresql_are_taken(url: Any) -> None:
    """Anything else is a `ConfigurationError` that does not show it."""
    with pytest.raises(ConfigurationError, match="begins with postgresql://"):
        PostgresDatabase(url)


@pytest.mark.parametrize(
    "options",
    [
        {"lease": 0},
        {"lease": float("nan")},
        {"lease": "10"},
        {"lease": 1e300},
        {"schema": ""},
        {"schema": "x" * 64},
        {"max_connections": 1},
        {"max_connections": True},
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    """Options that can't work are a `ConfigurationError` that names the option."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        PostgresDatabase("postgresql://h/d", **options)


@pytest.mark.parametrize("name", ["", "  ", "a\0b", 7, None, "x" * 201])
def test_a_workspace_has_a_name(name: Any) -> None:
    """A workspace's name is a text that is not empty, else it is a `ConfigurationError`."""
    with pytest.raises(ConfigurationError, match="workspace"):
        PostgresDatabase("postgresql://h/d").workspace(name)


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where psycopg is not installed, a URL is a `ConfigurationError` that says what to install."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r'pip install "hoox-async\[postgres\]"'):
        open_store("postgresql://h/d")
