"""The lock of a store's file: who holds it is named, and it ends with its process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from pathlib import Path

import attrs
import pytest
from internals_kit import FileLedger, FileLock
from store_kit import NOW, WORKSPACE, child, planned

from hoox_async._io.ledger.news import News
from hoox_async.errors import StoreError, StoreLocked

HOLD = """
import asyncio, sys
from hoox_async._io.ledger.local_ledger import FileLedger
from store_kit import WORKSPACE, planned

async def main():
    store = FileLedger(sys.argv[1])
    await store.open(WORKSPACE)
    await store.plan(planned("of the child"))
    print("holding", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "campaign.db"


@pytest.mark.slow
async def test_another_process_is_kept_out_until_it_is_killed(path: Path) -> None:
    """While a process holds the file, it is named; killed with SIGKILL, it holds nothing any more."""
    with child(HOLD, path) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "holding\n"
            with pytest.raises(StoreLocked) as caught:
                await FileLedger(path).open(WORKSPACE)
        finally:
            process.send_signal(signal.SIGKILL)
    message = str(caught.value)
    assert f"process {process.pid} on {socket.gethostname()} since 20" in message
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC;", message)
    assert str(path) in message
    store = FileLedger(path)
    await store.open(WORKSPACE)
    assert [intent.key async for intent in store.stream()] == ["of the child"]
    await store.aclose()


async def test_a_second_session_of_the_process_is_kept_out(path: Path) -> None:
    """Two stores of one process on one file: the second is `StoreLocked`, and the first is not disturbed."""
    first, second = FileLedger(path), FileLedger(path)
    await first.open(WORKSPACE)
    with pytest.raises(StoreLocked, match=f"process {os.getpid()} "):
        await second.open(WORKSPACE)
    await first.plan(planned("a"))
    await first.aclose()
    await second.open(WORKSPACE)
    assert list(await second.get(["a"])) == ["a"]
    await second.aclose()


async def test_other_names_are_the_same_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link, a relative path and the absolute one are one file and one lock."""
    link = path.parent / "link.db"
    link.symlink_to(path)
    (path.parent / "linked").symlink_to(path.parent)
    monkeypatch.chdir(path.parent)
    store = FileLedger(link)
    await store.open(WORKSPACE)
    for name in ("campaign.db", "./linked/campaign.db", str(path), "link.db"):
        with pytest.raises(StoreLocked):
            await FileLedger(name).open(WORKSPACE)
    await store.aclose()


async def test_the_working_folder_may_change(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path means the folder in which the store was opened, however the process moves later."""
    (path.parent / "elsewhere").mkdir()
    monkeypatch.chdir(path.parent)
    store = FileLedger("campaign.db")
    await store.open(WORKSPACE)
    monkeypatch.chdir(path.parent / "elsewhere")
    await store.plan(planned("a"))
    await store.aclose()
    assert list((path.parent / "elsewhere").iterdir()) == []


async def test_the_side_file_stays_and_harms_nothing(path: Path) -> None:
    """After closing, the lock's file is empty, names nobody, and the store opens again."""
    store = FileLedger(path)
    for _ in range(2):
        await store.open(WORKSPACE)
        await store.aclose()
    assert Path(f"{path}.lock").read_bytes() == b""
    assert sorted(file.name for file in path.parent.iterdir()) == ["campaign.db", "campaign.db.lock"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"pid": 1}'])
def test_a_holder_without_a_name(path: Path, content: bytes) -> None:
    """Where the holder has not written its name, or something else is in the file, it is still locked."""
    holder = FileLock(str(path))
    holder.acquire(NOW)
    Path(f"{path}.lock").write_bytes(content)
    with pytest.raises(StoreLocked, match="another session"):
        FileLock(str(path)).acquire(NOW)
    holder.release()
    holder.release()


async def test_an_open_that_fails_frees_the_lock(path: Path) -> None:
    """After an `open` that failed for another reason, the lock can be taken."""
    path.write_bytes(b"no database, " * 100)
    with pytest.raises(StoreError):
        await FileLedger(path).open(WORKSPACE)
    lock = FileLock(str(path))
    lock.acquire(NOW)
    lock.release()


async def test_a_closing_that_is_cancelled_releases_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while it writes what hooks were told: a later session tells that again."""
    store, leaving = FileLedger(path), asyncio.Event()
    await store.open(attrs.evolve(WORKSPACE, hooks="hooks"))
    store.tell_by(lambda _: None, lambda: True)

    async def leave(_: News) -> None:
        leaving.set()
        await asyncio.sleep(3600)

    monkeypatch.setattr(News, "leave", leave)
    closing = asyncio.create_task(store.aclose())
    await leaving.wait()
    closing.cancel()
    await asyncio.wait([closing])
    other = FileLedger(path)
    await other.open(WORKSPACE)
    await other.aclose()
