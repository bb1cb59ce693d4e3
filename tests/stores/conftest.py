"""Fixtures: a store of each kind, closed or open, for the tests that hold for all kinds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from postgres_kit import Server, unique_name
from shared_memory_kit import MemoryDatabase
from shared_store_kit import MemoryWorld, PostgresWorld, World
from store_kit import WORKSPACE, make_store

from hoox_async._io.ledger.ledger import Ledger
from hoox_async._io.ledger.shared_ledger import SharedLedger
from hoox_async.postgres import PostgresDatabase

SHARED = ["shared memory", "postgres"]


@pytest.fixture
def closed(request: pytest.FixtureRequest) -> Ledger:
    """A store that is not open, of each kind. `kinds` restricts them."""
    kind: str = request.param
    if kind == "shared memory":
        return MemoryDatabase().default_workspace()
    if kind == "postgres":
        database: PostgresDatabase = request.getfixturevalue("shared_database")
        return SharedLedger(database, unique_name(), owns_database=True)
    path: Path = request.getfixturevalue("tmp_path")
    return make_store(kind, path)


@pytest.fixture(scope="session")
def stores_schema(postgres: Server) -> Iterator[str]:
    """A schema for all tests of a store, each of which has a workspace of its own: making one takes long."""
    with postgres.schema() as name:
        yield name


@pytest.fixture
def shared_database(postgres_url: str, stores_schema: str) -> PostgresDatabase:
    """A database object that is not open."""
    return PostgresDatabase(postgres_url, schema=stores_schema)


@pytest.fixture(params=SHARED)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A database that processes share, of both kinds."""
    async with AsyncExitStack() as stack:
        if request.param == "shared memory":
            yield MemoryWorld(stack)
        else:
            names = ("postgres", "postgres_url", "postgres_schema")
            yield PostgresWorld(stack, *map(request.getfixturevalue, names))


@pytest.fixture
async def store(closed: Ledger) -> AsyncIterator[Ledger]:
    """A store that is open, of each kind."""
    await closed.open(WORKSPACE)
    yield closed
    await closed.aclose()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "closed" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("kinds")
        kinds = marker.args if marker else ("memory", "sqlite", *SHARED)
        metafunc.parametrize("closed", kinds, indirect=True)
