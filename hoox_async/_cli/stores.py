"""What ``--store`` names: a file, or a workspace of a PostgreSQL database, whose URL is never shown whole."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import attrs
from cyclopts import Group, Parameter

from hoox_async import BatchReport, ConfigurationError, Outcome

from .terminal import SCHEMES, as_typed, shown_url

DEFAULT_WORKSPACE = "default"
_CAMPAIGNS = (".toml", ".csv", ".jsonl", ".ndjson")
DEFAULT_SCHEMA = "hoox"
_GROUP = Group("Connection and output", sort_key=9)
SchemaOption = Annotated[
    str, Parameter(name="--schema", group=_GROUP, help="The schema in a postgresql:// database (hoox).")
]


StoreArgument = Annotated[
    str,
    Parameter(
        help="The store (FILE.hoox.db or a postgresql:// URL), or the campaign file beside it. Also as "
        "--store."
    ),
]


@Parameter(name="*", group=_GROUP)
@attrs.frozen(kw_only=True)
class Location:
    """Which of the stores in a PostgreSQL database is meant.

    Parameters
    ----------
    workspace
        The workspace in a store that is a postgresql:// URL (default).
    """

    workspace: str = DEFAULT_WORKSPACE
    schema: SchemaOption = DEFAULT_SCHEMA

    def arguments(self) -> list[str]:
        """These options as they are typed, without those that have their default."""
        return as_typed(self, "workspace", "schema")


DEFAULT_LOCATION = Location()


@attrs.frozen
class DatabaseStore:
    """A workspace of a PostgreSQL database, as a store. As text it is its URL without a password."""

    url: str = attrs.field(repr=False)
    location: Location = DEFAULT_LOCATION

    def __str__(self) -> str:
        return shown_url(self.url)

    @property
    def name(self) -> str:
        """What its report is called."""
        return self.location.workspace

    def exists(self) -> bool:
        """Whether there is such a workspace. Raises `StoreError` where the database can't be asked."""
        from hoox_async.postgres import workspace_exists

        return asyncio.run(workspace_exists(self.url, self.location.workspace, schema=self.location.schema))


AnyStore = Path | DatabaseStore


def named_store(text: str, location: Location = DEFAULT_LOCATION) -> AnyStore:
    """The store that ``--store`` names; it need not exist yet.

    Every command that has this option takes its store from here. Raises `ConfigurationError`.
    """
    if text.startswith(SCHEMES):
        return DatabaseStore(text, location)
    if "://" in text:  # not shown: it may hold a password
        raise ConfigurationError("--store: a URL is not the path of a file, except postgresql://...")
    if location != DEFAULT_LOCATION:
        words = " ".join(location.arguments())
        raise ConfigurationError(f"{words}: only a postgresql:// URL has workspaces and schemas")
    if not text.strip() or text.endswith("/"):
        raise ConfigurationError(f"--store {text!r}: expected the path of a file")
    return Path(text)


def store_of(text: str, location: Location = DEFAULT_LOCATION) -> AnyStore:
    """The store of this name, or the one beside this campaign file.

    Raises `ConfigurationError` if there is none.
    """
    path = named_store(text, location)
    if isinstance(path, DatabaseStore):
        return path
    beside = store_beside(path)
    is_store = path.suffix == ".db" or (path.is_file() and path.suffix not in _CAMPAIGNS)
    if is_store and not beside.is_file():
        beside = path
    if not beside.is_file():
        raise ConfigurationError(
            f"{beside}: there is no such store; `batch` creates one beside the campaign file"
        )
    return beside


def source_of(store: AnyStore) -> Path | str:
    """The store as the library's functions take it."""
    return store.url if isinstance(store, DatabaseStore) else store


def store_beside(campaign: Path) -> Path:
    """The path of a campaign's store: the file's whole name with ``.hoox.db`` added."""
    return campaign.with_name(campaign.name + ".hoox.db")


def beside(store: AnyStore, name: str) -> Path:
    """A folder of this name beside a file, or here for a workspace of a database."""
    return store.with_name(name) if isinstance(store, Path) else Path(name.replace("/", "-"))


def campaign_name(store: AnyStore) -> str:
    """The name of the campaign that a store belongs to."""
    return store.name.removesuffix(".db").removesuffix(".hoox")


def store_words(store: AnyStore | str, location: Location = DEFAULT_LOCATION) -> list[str]:
    """The store as it is typed in a command that is printed, without its password."""
    if isinstance(store, DatabaseStore):
        return store_words(store.url, store.location)
    return [shown_url(str(store)), *location.arguments()]


def key_words(store: AnyStore | str, key: str, location: Location = DEFAULT_LOCATION) -> list[str]:
    """The store and a key as they are typed after ``resolve``."""
    shown, *location_words = store_words(store, location)
    return [shown, key, *location_words]


async def read_report(store: AnyStore) -> BatchReport:
    """All outcomes of a store. Changes nothing, and needs no API key."""
    location = store.location if isinstance(store, DatabaseStore) else DEFAULT_LOCATION
    return await BatchReport.open(source_of(store), **attrs.asdict(location))


async def read_outcomes(store: AnyStore) -> dict[str, Outcome]:
    """All outcomes of a store, by key."""
    return {outcome.key: outcome for outcome in await read_report(store)}


def store_first(words: Sequence[str]) -> list[str]:
    """The words with ``--store X`` moved to where a command takes its store as its first argument."""
    count = 2 if words[:1] == ["store"] else 1
    if tuple(words[:count]) not in _POSITIONAL:
        return list(words)
    command, rest = list(words[:count]), list(words[count:])
    for place, word in enumerate(rest):
        if word == "--":
            break
        if word == "--store" and place + 1 < len(rest):
            return [*command, rest[place + 1], *rest[:place], *rest[place + 2 :]]
        if word.startswith("--store="):
            return [*command, word.removeprefix("--store="), *rest[:place], *rest[place + 1 :]]
    return [*command, *rest]


_POSITIONAL = {
    ("report",), ("download",), ("costs",), ("unknowns",), ("resolve",),
    ("store", "backup"), ("store", "recover"), ("store", "prune"), ("store", "migrate"),
}  # fmt: skip
