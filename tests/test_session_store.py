"""What a session does with its store: which one it closes, and when it binds it to its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoox_async import HooxSession, LookRef
from hoox_async._protocols import Store
from hoox_async._store.memory import MemoryStore
from hoox_async._store.sqlite import SQLiteStore
from hoox_async.errors import AuthenticationError, BadRequest, HooxError, StoreError, StoreLocked, StoreMismatch
from hoox_async.sandbox import Fault, Sandbox

WRONG = "hx_live_with_a_typing_error"
NOBODY = LookRef("avtr_nobody", "look_nobody")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "campaign.db")


async def test_a_refused_session_leaves_the_store_open(store: Store) -> None:
    """A session that is refused a store object does not close it under the session that has it."""
    async with Sandbox(speed=1000) as sandbox, sandbox.session(store=store) as first:
        for _ in range(2):
            with pytest.raises(StoreLocked):
                async with sandbox.session(store=store):
                    pass
        look = await first.run(sandbox_prompt(), key="a")
    async with sandbox_session(sandbox, store) as later:
        assert [job.ref for job in await later.jobs()] in ([], [look.ref])


async def test_a_wrong_key_does_not_spoil_a_store(store: Store) -> None:
    """A key that the API answers 401 can be replaced by the right one without a word; that one then stays."""
    async with Sandbox(speed=1000) as sandbox:
        async with HooxSession(WRONG, base_url=sandbox.base_url, store=store) as session:
            with pytest.raises(HooxError):
                await session.run(sandbox_prompt(), key="a", max_wait=1)
        async with sandbox.session(store=store) as session:
            await session.run(sandbox_prompt(), key="a")
        assert len(sandbox.ledger) == 1
        with pytest.raises(StoreMismatch):
            await HooxSession(WRONG, base_url=sandbox.base_url, store=store).__aenter__()
