"""Which store a session gets for what it was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from internals_kit import FileLedger, MemoryLedger, SharedLedger, open_store

from hoox_async.errors import ConfigurationError


def test_none_opens_a_new_memory_store() -> None:
    """`open_store(None)` gives a memory store, each time a new one."""
    assert isinstance(open_store(None), MemoryLedger)
    assert open_store(None) is not open_store(None)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_gives_a_sqlite_store(tmp_path: Path, kind: type[Any]) -> None:
    """`open_store` of a path, as text or `Path`, gives a SQLite store and makes no file yet."""
    store = open_store(kind(tmp_path / "campaign.db"))
    assert isinstance(store, FileLedger)
    assert repr(store) == f"FileLedger({str(tmp_path / 'campaign.db')!r})"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_url_gives_the_default_workspace(scheme: str) -> None:
    """`open_store` of a PostgreSQL URL gives its workspace "default", and connects to nothing yet."""
    store = open_store(f"{scheme}://someone:secret@nowhere.example/looks")
    assert isinstance(store, SharedLedger)
    name = "PostgreSQL database 'looks' on nowhere.example:5432, workspace 'default'"
    assert repr(store) == f"<SharedLedger: {name}>"


def test_a_store_is_taken_as_it_is() -> None:
    """`open_store` of a store returns that store."""
    store = MemoryLedger()
    assert open_store(store) is store


@pytest.mark.parametrize(
    "wrong", [7, object(), b"campaign.db", "", "  ", ":memory:", "mysql://u:p@h/d", ["campaign.db"], "a\0.db"]
)
def test_anything_else_is_refused(wrong: Any) -> None:
    """`open_store` of anything else raises a `ConfigurationError`."""
    with pytest.raises(ConfigurationError, match="store:"):
        open_store(wrong)
