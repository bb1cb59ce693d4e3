"""Fixtures: a store of each kind, closed or open, for the tests that hold for both kinds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from store_kit import WORKSPACE, make_store

from hoox_async._io.protocols import Store


@pytest.fixture(params=["memory", "sqlite"])
def closed(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store that is not open, of each kind."""
    return make_store(request.param, tmp_path)


@pytest.fixture
async def store(closed: Store) -> AsyncIterator[Store]:
    """A store that is open, of each kind."""
    await closed.open(WORKSPACE)
    yield closed
    await closed.aclose()
