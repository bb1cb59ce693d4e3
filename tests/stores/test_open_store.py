"""Which store a session gets for what it was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hoox_async._io.stores import open_store
from hoox_async._io.stores.memory import MemoryStore
from hoox_async._io.stores.sqlite.store import SQLiteStore
from hoox_async.errors import ConfigurationError


def test_nothing_given_is_memory() -> None:
    """None is a memory store, each time a new one."""
    assert isinstance(open_store(None), MemoryStore)
    assert open_store(None) is not open_store(None)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_a_file(tmp_path: Path, kind: type[Any]) -> None:
    """A path, as text or `Path`, is a SQLite store, of which nothing is made yet."""
    store = open_store(kind(tmp_path / "campaign.db"))
    assert isinstance(store, SQLiteStore)
    assert repr(store) == f"SQLiteStore({str(tmp_path / 'campaign.db')!r})"
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_taken_as_it_is() -> None:
    """A store of one's own comes back."""
    store = MemoryStore()
    assert open_store(store) is store


@pytest.mark.parametrize(
    "wrong", [7, object(), b"campaign.db", "", "  ", ":memory:", "postgresql://u:p@h/d", ["campaign.db"]]
)
def test_anything_else_is_refused(wrong: Any) -> None:
    """What is neither None, a path nor a store is a `ConfigurationError`."""
    with pytest.raises(ConfigurationError, match="store:"):
        open_store(wrong)
