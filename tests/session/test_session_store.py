"""What a session does with its store: when it closes it, binds it to a key, and must not send."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
from internals_kit import FileLedger, Ledger, MemoryLedger
from session_kit import made, on_space, prompt, sends

from hoox_async import BatchRunner, Endpoint, HooxSession, backup_store
from hoox_async.errors import HooxError, StoreError, StoreLocked, StoreMismatch
from hoox_async.sandbox import Fault, InProcessTransport, Sandbox, Space

WRONG = "hx_live_with_a_typing_error"


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    return MemoryLedger() if request.param == "memory" else FileLedger(tmp_path / "campaign.db")


async def test_a_refused_session_leaves_the_store_open(store: Ledger) -> None:
    """A session that is refused a store object does not close it under the session that has it."""
    async with Sandbox(speed=1000) as sandbox, sandbox.session(store=store) as first:
        for _ in range(2):
            with pytest.raises(StoreLocked):
                await sandbox.session(store=store).__aenter__()
        job = await first.submit(prompt(), key="a")
        assert (await store.get(["a"]))["a"].ref == job.ref
        await job


async def test_only_its_owner_can_read_a_store(tmp_path: Path) -> None:
    """Its file, ``-wal``, ``-shm``, lock and backups have mode 0600, whatever the umask."""
    path, umask = tmp_path / "looks.db", os.umask(0)
    try:
        async with on_space(Space(), store=FileLedger(path)):
            await backup_store(path, tmp_path / "copy.db")
            modes = {file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()}
    finally:
        os.umask(umask)
    names = ("copy.db", "looks.db", "looks.db-shm", "looks.db-wal", "looks.db.lock")
    assert modes == dict.fromkeys(names, "0o600")


@pytest.mark.virtual_time
async def test_a_store_is_not_bound_to_a_wrong_key(store: Ledger) -> None:
    """A key that the API answers 401, 429 and 502 can be replaced by the right one, which then stays."""
    space = Space(rng=Random(1), requests_per_minute=None)
    carrier = InProcessTransport(space, api_key=WRONG)
    async with HooxSession(WRONG, transport=carrier, store=store) as session:
        space.faults.fail_next(Endpoint.LIST, Fault.RATE_LIMITED)
        space.faults.fail_next(Endpoint.LIST, Fault.BAD_GATEWAY)
        for attempt in (session.looks(), session.submit(prompt(), key="a", max_wait=1)):
            with pytest.raises(HooxError):
                await attempt
    async with on_space(space, store=store) as (session, _):
        await session.submit(prompt(), key="a")
    assert len(space.ledger) == 1
    with pytest.raises(StoreMismatch):
        await HooxSession(WRONG, transport=carrier, store=store).__aenter__()


@pytest.mark.virtual_time
@pytest.mark.parametrize("fault", [None, Fault.status(404)], ids=["200", "404"])
async def test_the_first_answer_that_shows_a_valid_key_binds_the_store_to_it(
    store: Ledger, fault: Fault | None
) -> None:
    """The first answer that a wrong key would not get binds the store to the key, though nothing is paid."""
    async with on_space(store=store) as (session, space):
        ref = made(space)
        if fault is not None:
            space.faults.fail_next(Endpoint.STATUS, fault)
        try:
            await session.status(ref)
        except HooxError:
            assert fault is not None
    with pytest.raises(StoreMismatch):
        await HooxSession(WRONG, transport=InProcessTransport(space), store=store).__aenter__()


@pytest.mark.virtual_time
async def test_nothing_is_sent_once_the_files_of_the_store_are_gone(tmp_path: Path) -> None:
    """When the store's files are removed, a submission is a `StoreError` that cost nothing and a batch stops.

    A look that was paid for before can still be awaited, though its end cannot be recorded.
    """
    path = tmp_path / "campaign.db"
    async with on_space(store=path) as (session, space):
        job = await session.submit(prompt(), key="before")
        for file in tmp_path.iterdir():
            file.unlink()
        with pytest.raises(StoreError, match="removed") as caught:
            await session.submit(prompt(), key="after")
        assert caught.value.charged == "no"
        report = await BatchRunner(session, max_credits=100).run([prompt(f"look {n}") for n in range(5)])
        assert len(report.unsent) == 5
        assert (await job).ref == job.ref
        assert sends(space, "create") == 1
        async with on_space(space, store=path) as (second, _):
            assert await second.jobs() == []
            await second.submit(prompt(), key="of the second")
    async with on_space(space, store=path) as (third, _):
        assert [job.key for job in await third.jobs()] == ["of the second"]


@pytest.mark.virtual_time
async def test_a_paid_answer_is_read_though_the_store_fails_to_bind_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A paid POST is accepted whatever the store raises when it is bound to the key."""

    def broken() -> None:
        raise RuntimeError("no such thing")

    store = MemoryLedger()
    monkeypatch.setattr(store, "confirm_key", broken)
    async with on_space(store=store) as (session, space):
        job = await session.submit(prompt(), key="a")
        assert [charge.ref for charge in space.ledger] == [job.ref]
