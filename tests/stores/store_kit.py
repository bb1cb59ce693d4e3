"""Intents, workspaces and read-only folders for the tests of the stores."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hoox_async import Evidence, ImageAvatar, Look, LookEdit, LookRef, LookStatus, PromptAvatar, Request
from hoox_async._core.intents.intent import Intent
from hoox_async._core.intents.transitions import Accept, Send, Settle
from hoox_async._io.ledger.ledger import Ledger
from hoox_async._io.ledger.local_ledger import FileLedger, MemoryLedger
from hoox_async._io.protocols import Workspace
from hoox_async.errors import StoreError

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
API_KEY = "hx_live_" + "5ec2e7" * 10
WORKSPACE = Workspace("https://api.example/v1", API_KEY)
SOURCE = LookRef("avtr_1", "look_source")
EDIT = LookEdit(SOURCE, "podcast scene", style="podcast", metadata={"scene": "7"})
CREATE = PromptAvatar("Young entrepreneur", name="Alex")
FREE_CREATE = ImageAvatar(["https://pictures.example/a.jpg"])


def make_store(kind: str, folder: Path) -> Ledger:
    """A new store, ``"memory"`` or ``"sqlite"``."""
    return MemoryLedger() if kind == "memory" else FileLedger(folder / "campaign.db")


@asynccontextmanager
async def turns_counted() -> AsyncIterator[Callable[[], int]]:
    """Count the turns of the loop meanwhile: what it gives tells how many there were."""
    turn = 0

    async def count() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    try:
        yield lambda: turn
    finally:
        counting.cancel()


def after(seconds: float) -> datetime:
    """A moment some seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


def planned(key: str, request: Request = EDIT, *, own_key: bool = True) -> Intent:
    """A new intent."""
    return Intent(key, own_key, request, f"digest of {key}", NOW)


def send(attempt_id: str) -> Send:
    """The transition that sends it."""
    return Send(attempt_id, NOW, SOURCE)


def accept(look_id: str, avatar_id: str = "avtr_1", evidence: Evidence = Evidence.ANSWER) -> Accept:
    """The transition that gives it a look."""
    return Accept(LookRef(avatar_id, look_id), NOW, evidence)


def settle(look_id: str, avatar_id: str = "avtr_1", status: LookStatus = LookStatus.READY) -> Settle:
    """The transition that settles it."""
    return Settle(Look(LookRef(avatar_id, look_id), status, "https://cdn.example/1.jpg"), NOW)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder and what is in it cannot be written meanwhile, not even by root's process."""
    modes = [(place, place.stat().st_mode) for place in (folder, *folder.iterdir())]
    euid = os.geteuid()
    for place, mode in modes:
        place.chmod((mode | 0o444) & ~0o222)  # readable also for whom root's process becomes
    if euid == 0:
        os.seteuid(65534)  # root may write everywhere
    try:
        yield
    finally:
        os.seteuid(euid)
        for place, mode in modes:
            place.chmod(mode)


def child(program: str, *arguments: object, stdin: bool = False) -> subprocess.Popen[str]:
    """A real process that runs this program with these arguments in ``sys.argv``.

    With ``stdin`` it can be written to.
    """
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE if stdin else None,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent,  # it can import this kit
        text=True,
    )


async def refused(path: Path, wanted: str) -> None:
    """Opening this file raises a `StoreError` that names the path and matches ``wanted``."""
    import pytest  # not needed by the processes that import this kit

    with pytest.raises(StoreError, match=wanted) as caught:
        await FileLedger(path).open(WORKSPACE)
    assert str(path) in str(caught.value)


async def pragma(store: FileLedger, command: str) -> None:
    """Run a PRAGMA on the store's own connection."""
    await store._run(lambda tx: tx.ask((f"PRAGMA {command}", {})), writes=False)
