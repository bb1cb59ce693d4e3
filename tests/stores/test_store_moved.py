"""The store's files removed, moved or replaced while a session has them open."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from internals_kit import FileLedger, IntentState, advance
from store_kit import WORKSPACE, accept, child, planned, send

from hoox_async import LookRef
from hoox_async.errors import StoreError

CHILD = """
import asyncio, sys
from hoox_async._io.ledger.local_ledger import FileLedger
from store_kit import WORKSPACE, planned

async def main():
    store = FileLedger(sys.argv[1])
    await store.open(WORKSPACE)
    await store.plan(planned("of the second"))
    print("written", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def remove(*suffixes: str) -> Callable[[Path], None]:
    def do(path: Path) -> None:
        for suffix in suffixes:
            Path(f"{path}{suffix}").unlink()

    return do


def replace(path: Path) -> None:
    other = path.with_name("other")
    shutil.copy(path, other)
    other.replace(path)


def move_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


CASES: dict[str, Callable[[Path], None]] = {
    "all removed": remove("", "-wal", "-shm", ".lock"),
    "the file removed": remove(""),
    "the -wal removed": remove("-wal"),
    "the lock removed": remove(".lock"),
    "replaced": replace,
    "folder moved": move_folder,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "campaign.db"


@pytest.mark.parametrize("happens", CASES.values(), ids=CASES)
async def test_nothing_is_sent_that_could_not_be_remembered(
    path: Path, happens: Callable[[Path], None]
) -> None:
    """A sending is refused, whether its intent is known or new, and costs nothing.

    What was sent before is written and reported as usual.
    """
    store = FileLedger(path)
    await store.open(WORKSPACE)
    for key in "ab":
        await store.plan(planned(key))
    await store.advance("a", send("att_a"))
    happens(path)
    for attempt in (
        store.advance("b", send("att_b")),
        store.plan(advance(planned("c"), send("att_c"))),
    ):
        with pytest.raises(StoreError, match=r"was (removed|replaced) while .* nothing is sent") as caught:
            await attempt
        assert str(path) in str(caught.value)
        assert caught.value.charged == "no"
    assert (await store.advance("a", accept("look_a"))).ref == LookRef("avtr_1", "look_a")
    found = await store.get("abc")
    assert {key: intent.state for key, intent in found.items()} == {
        "a": IntentState.ACCEPTED,
        "b": IntentState.PLANNED,
    }
    await store.aclose()


async def test_a_file_that_came_back_is_used_again(path: Path) -> None:
    """Files that were moved away and back are the same: sendings pass, and nothing is missing in them."""
    store = FileLedger(path)
    await store.open(WORKSPACE)
    await store.plan(planned("a"))
    away = path.parent.with_name("away")
    path.parent.rename(away)
    with pytest.raises(StoreError):
        await store.advance("a", send("att_1"))
    await store.plan(planned("meanwhile"))
    away.rename(path.parent)
    await store.advance("a", send("att_1"))
    await store.aclose()
    await store.open(WORKSPACE)
    assert list(await store.get(["a", "meanwhile"])) == ["a", "meanwhile"]
    await store.aclose()


async def test_what_was_moved_is_complete(path: Path) -> None:
    """A store that was moved while it was open is whole in its new place once the session is closed."""
    store = FileLedger(path)
    await store.open(WORKSPACE)
    await store.plan(planned("a"))
    move_folder(path)
    await store.plan(planned("b"))
    await store.aclose()
    moved = path.parent.with_name("moved") / path.name
    alone = path.parent.with_name("alone.db")
    shutil.copy(moved, alone)
    for place in (alone, moved):
        other = FileLedger(place)
        await other.open(WORKSPACE)
        assert list(await other.get("ab")) == ["a", "b"]
        await other.aclose()


@pytest.mark.slow
async def test_closing_leaves_a_later_sessions_files_alone(path: Path) -> None:
    """A session whose files were removed does not delete those that another process made in their place."""
    store = FileLedger(path)
    await store.open(WORKSPACE)
    CASES["all removed"](path)
    with child(CHILD, path) as second:
        assert second.stdout is not None
        assert second.stdout.readline() == "written\n"
        await store.aclose()
        second.kill()
    await store.open(WORKSPACE)
    assert list(await store.get(["of the second"])) == ["of the second"]
    await store.aclose()
