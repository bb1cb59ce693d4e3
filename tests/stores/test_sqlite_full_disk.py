"""The SQLite store on a full disk: writes raise, reads work, and with free space writes work again."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from internals_kit import FileLedger
from store_kit import NOW, WORKSPACE, planned, pragma, refused

from hoox_async.errors import StoreError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "campaign.db"


async def write_until_full(store: FileLedger) -> list[str]:
    """Plan intents until the store raises; return the keys that were written."""
    kept: list[str] = []
    message = ""
    for number in range(100_000):
        try:
            await store.plan(planned(f"item {number}"))
        except StoreError as error:
            message = str(error)
            break
        kept.append(f"item {number}")
    assert store.path in message
    assert "disk is full" in message
    return kept


async def check_full_then_free(store: FileLedger, kept: list[str]) -> None:
    """While full: reads answer, writes raise. The caller frees room afterwards."""
    assert [intent.key async for intent in store.stream()] == kept
    results = await asyncio.gather(
        store.get(kept[:1]), *(store.plan(planned(f"more {n}")) for n in range(50)), return_exceptions=True
    )
    assert results[0] == {kept[0]: planned(kept[0])}
    assert isinstance(results[-1], StoreError)
    store.note_sends([NOW])


async def test_a_full_database(path: Path) -> None:
    """At the file's greatest size writes raise and reads answer; with room again, writes pass again."""
    store = FileLedger(path)
    await store.open(WORKSPACE)
    await pragma(store, "max_page_count = 40")
    kept = await write_until_full(store)
    assert kept
    await check_full_then_free(store, kept)
    await pragma(store, "max_page_count = 100000")
    assert await store.plan(planned("room again")) == planned("room again")
    await store.aclose()


async def test_a_file_that_may_not_grow(path: Path) -> None:
    """When the system refuses the next byte (a quota), it is a `StoreError`, and it passes with the cause."""
    store = FileLedger(path)
    await store.open(WORKSPACE)
    keys = [f"item {number}" for number in range(20)]
    for key in keys:  # the -wal is written from its beginning again after the opening: past that it grows
        await store.plan(planned(key))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(f"{path}-wal").stat().st_size, hard))
    try:
        with pytest.raises(StoreError, match="disk"):
            await store.plan(planned("b"))
        assert list(await store.get([*keys, "b"])) == keys
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await store.plan(planned("b"))
    assert [intent.key async for intent in store.stream()] == [*keys, "b"]
    await store.aclose()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    mount = shutil.which("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        mount is None
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
        ).returncode
    ):
        pytest.skip("mounting a tmpfs is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
async def test_a_full_disk(small_disk: Path) -> None:
    """On a disk that is really full writes raise, reads answer, room makes writes pass, and all is kept."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * 500_000)
    store = FileLedger(small_disk / "campaign.db")
    await store.open(WORKSPACE)
    kept = await write_until_full(store)
    assert kept
    await check_full_then_free(store, kept)
    ballast.unlink()
    await store.plan(planned("room again"))
    await store.aclose()
    await store.open(WORKSPACE)
    keys = [intent.key async for intent in store.stream()]
    assert keys[: len(kept)] == kept
    assert keys[-1] == "room again"
    await store.aclose()


@pytest.mark.slow
async def test_no_room_for_a_new_file(small_disk: Path) -> None:
    """A new store on a full disk does not open."""
    ballast = os.open(small_disk / "ballast", os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):
        while os.write(ballast, b"\0" * 4096):
            pass
    os.close(ballast)
    await refused(small_disk / "campaign.db", "full|disk")
