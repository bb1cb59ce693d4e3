"""A process that is forked while a store is open: it keeps no lock, and cannot use or harm the store."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from internals_kit import FileLedger
from store_kit import WORKSPACE, child

from hoox_async.errors import StoreLocked

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is forked there")

# The parent opens the store and forks; the child lives on after the parent's end, until its stdin is closed.
# `use` and `reopen` tell what happens to the store in the child.
PARENT = """
import asyncio, gc, json, os, sys
from hoox_async._io.ledger.local_ledger import FileLedger
from hoox_async.errors import HooxError
from store_kit import WORKSPACE, planned

path, mode = sys.argv[1:]

async def use(store):
    results = {}
    for name, call in {
        "plan": lambda: store.plan(planned("of the child")),
        "get": lambda: store.get(["a"]),
        "open": lambda: store.open(WORKSPACE),
        "another": lambda: FileLedger(path).open(WORKSPACE),
        "aclose": store.aclose,
    }.items():
        try:
            await call()
            results[name] = ""
        except HooxError as error:
            results[name] = f"{type(error).__name__}: {error}"
    return results

async def begin(store):
    await store.open(WORKSPACE)
    await store.plan(planned("a"))

async def end(store):
    await store.plan(planned("b"))
    await store.aclose()

store, runner = FileLedger(path), asyncio.Runner()
runner.run(begin(store))
ready, forked = os.pipe()
child = os.fork()  # between two runs: the parent and the child would share a running loop's selector
if child == 0:
    os.write(forked, b"x")  # what is done at a fork is done in the child
if child == 0 and mode == "stay":
    os._exit(0)
if child:
    os.read(ready, 1)
if child:
    if mode == "stay":
        os.waitpid(child, 0)
    if mode == "exit":
        runner.run(end(store))
    print("forked", flush=True)
    if mode == "kill":
        os.kill(os.getpid(), 9)
    if mode == "stay":
        sys.stdin.readline()
        runner.run(end(store))
    os._exit(0)
sys.stdin.readline()
print(json.dumps(asyncio.run(use(store))), flush=True)
sys.stdin.readline()
del store, runner
gc.collect()  # what the store leaves is closed here, if anywhere
os._exit(0)
"""


def signal_go(process: Any) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["kill", "exit"])
async def test_a_child_keeps_nothing(tmp_path: Path, mode: str) -> None:
    """When the parent was killed or has closed the store, a session opens it while the forked child lives.

    In the child every use is a `StoreError` that says why, closing it does nothing, and the child's end
    harms neither the session that has the store then nor what that leaves when it is killed.
    """
    path = tmp_path / "campaign.db"
    with child(PARENT, path, mode, stdin=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "forked\n"
        assert process.wait() == (-signal.SIGKILL if mode == "kill" else 0)
        store = FileLedger(path)
        await store.open(WORKSPACE)
        assert list(await store.get(["a"])) == ["a"]
        await store.aclose()
        with child(HOLD, path) as later:
            assert later.stdout is not None
            assert later.stdout.readline() == "holding\n"
            signal_go(process)
            results = json.loads(process.stdout.readline())
            later.kill()
        signal_go(process)
        assert process.stdout.read() == ""  # the child has ended too
    for name in ("plan", "get", "open"):
        assert f"StoreError: {path}: the store belongs to process {process.pid}" in results[name]
    assert "was open when this process was forked" in results["another"]
    assert results["aclose"] == ""
    await store.open(WORKSPACE)
    assert list(await store.get(["a", "of the child", "of the later one"])) == ["a", "of the later one"]
    await store.aclose()


HOLD = """
import asyncio, sys
from hoox_async._io.ledger.local_ledger import FileLedger
from store_kit import WORKSPACE, planned

async def main():
    store = FileLedger(sys.argv[1])
    await store.open(WORKSPACE)
    await store.plan(planned("of the later one"))
    print("holding", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_parent_keeps_its_lock(tmp_path: Path) -> None:
    """A child that closes its handle of the lock and ends leaves it to its parent, which goes on writing."""
    path = tmp_path / "campaign.db"
    with child(PARENT, path, "stay", stdin=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "forked\n"
        with pytest.raises(StoreLocked, match=f"process {parent.pid} "):
            await FileLedger(path).open(WORKSPACE)
        signal_go(parent)
        assert parent.wait() == 0
    store = FileLedger(path)
    await store.open(WORKSPACE)
    assert list(await store.get(["a", "b"])) == ["a", "b"]
    await store.aclose()
