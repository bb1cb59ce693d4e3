"""``PYTHONPATH=tests python tests/golden/make_stores.py``: make the golden stores of this version anew.

It needs the extra ``dev``. A process does a bit of everything with a store and is killed in the middle of a
paid request, once with a SQLite file and once with PostgreSQL. What it leaves becomes ``store.sqlite.zip``
(the file and its ``-wal``) and ``store.postgresql.sql`` (a dump that any client can run), and what this
version reads from them ``….read.txt``. Look at those before they are committed. Once the version is released,
its files stay as they are.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from golden_kit import API_KEY, BUDGET, HUB, restored, space, unpacked, what_it_says
from postgres_kit import Server, TestRun

from hoox_async import (
    Budget,
    Event,
    HooxError,
    HooxSession,
    ImageAvatar,
    LookEdit,
    LookRef,
    LookSettled,
    OutcomeUnknown,
    PromptAvatar,
    __version__,
    prune_store,
)
from hoox_async.sandbox import DeliveryOptions, Fault, InProcessTransport
from hoox_async.webhooks import WebhookHub

FOLDER = Path(__file__).parent / ".".join(__version__.split(".")[:2])
ADA = LookRef("avtr_public_ada", "look_public_ada")
ELSEWHERE = "https://shop.example/a-hook-of-its-own"  # its deliveries do not reach the hub
DUMP = ("--inserts", "--no-owner", "--no-privileges", "--schema=hoox")
OLDEST = "16"  # of the servers that the wheel has: newer ones understand its dump


class World:
    """A workspace of the API, and sessions that use it."""

    def __init__(self) -> None:
        self.space = space()
        self.hub = WebhookHub(*HUB)
        self.transport: InProcessTransport | None = None

    async def deliver(self, url: str, body: dict[str, Any]) -> int:
        """Hand a delivery to the hub."""
        if url == ELSEWHERE:
            return 200
        return await self.hub.handle(url.rpartition("/")[2], json.dumps(body).encode())

    def session(self, store: str, **options: Any) -> HooxSession:
        """A session with webhooks."""
        self.transport = InProcessTransport(self.space, latency=0.02, connect=0.0, deliver=self.deliver)
        return HooxSession(
            API_KEY,
            store=store,
            transport=self.transport,
            webhooks=self.hub,
            requests_per_minute=6000,
            **options,
        )

    def client(self) -> HooxSession:
        """Another client of the workspace, of which the store knows nothing."""
        return HooxSession(API_KEY, transport=InProcessTransport(self.space), requests_per_minute=6000)

    def set_deliveries(self, options: DeliveryOptions) -> None:
        """How deliveries are made from now on."""
        assert self.transport is not None
        assert self.transport.webhook_sender is not None
        self.transport.webhook_sender.options = options

    def settle(self, ref: LookRef) -> None:
        """Let a look be ready now."""
        self.space.settle(ref, "ready", now())
        assert self.transport is not None
        assert self.transport.webhook_sender is not None
        self.transport.webhook_sender.wake()

    def fail(self, fault: Fault) -> None:
        """Let the next edit meet the fault."""
        self.space.faults.fail_next("edit", fault)


def now() -> float:
    """The loop's time."""
    return asyncio.get_running_loop().time()


# --- the process that is killed


async def work(store: str) -> None:
    """Do a bit of everything with the store, until this process is killed."""
    socket.gethostname = lambda: "shop-1"  # the name of no machine stands in the files
    world = World()
    async with world.session(store) as session:
        await session.run(PromptAvatar("Erased content", metadata={"customer": "acme"}), key="pruned")
    await prune_store(store, older_than=timedelta(0))
    async with world.session(store, hooks=[die]) as session:
        mara = await settle_some(world, session)
        await lose_some(world, session, mara)
        await die_while_sending(world, session, mara)


def die(event: Event) -> None:
    """A hook that is told of one look, and never ends."""
    if isinstance(event, LookSettled) and event.key == "owed news":
        os.kill(os.getpid(), signal.SIGKILL)


async def settle_some(world: World, session: HooxSession) -> LookRef:
    """Requests with an end, a budget, and an avatar whose looks are listed. Returns its first look."""
    budget = Budget(50, name=BUDGET)
    mara = await session.run(
        PromptAvatar("Fitness coach, früh", name="Mara", metadata={"customer": "acme"}),
        key="ready",
        budget=budget,
    )
    await session.run(ImageAvatar(["https://images.example/alex.jpg"], name="Alex"), key="images")
    await session.run(LookEdit(mara, "without a key"))
    async with world.client() as other:
        await other.run(LookEdit(mara, "made by another client"))
    await session.avatar(mara.ref.avatar_id)
    with suppress(HooxError):
        await session.run(LookEdit(mara, "it can't be made [fail]"), key="failed", budget=budget)
    world.fail(Fault.status(400, '{"error": "no such scene", "code": "bad_request"}'))
    with suppress(HooxError):
        await session.submit(LookEdit(mara, "refused"), key="rejected")
    return mara.ref


async def lose_some(world: World, session: HooxSession, mara: LookRef) -> None:
    """Requests without an answer, and what was decided about some of them."""
    edit = LookEdit(mara, "on a small stage", webhook_url=ELSEWHERE, metadata={"customer": "acme"})
    await lose(world, session, "unknown", Fault.DROP_AFTER, edit)
    await lose(world, session, "dropped", Fault.DROP_BEFORE, edit)
    await session.drop("dropped")
    await lose(world, session, "dropped and paid again", Fault.DROP_BEFORE, edit)
    await session.drop("dropped and paid again")
    await (await session.resend("dropped and paid again")).wait()
    await lose(world, session, "resent", Fault.DROP_BEFORE, edit)
    await (await session.resend("resent", budget=Budget(50, name=BUDGET))).wait()
    await lose(world, session, "named by a person", Fault.DROP_AFTER, edit)
    made = world.space.ledger[-1]
    await session.resolve("named by a person", LookRef(made.avatar_id, made.look_id))
    await session.unknowns()  # it writes down their candidates


async def lose(world: World, session: HooxSession, key: str, fault: Fault, request: LookEdit) -> None:
    """Submit it, and get no answer."""
    world.fail(fault)
    with suppress(OutcomeUnknown):
        await session.submit(request, key=key)


async def die_while_sending(world: World, session: HooxSession, mara: LookRef) -> None:
    """Leave requests outstanding, and what is not applied yet, as a process that is killed does."""
    edit, car = LookEdit(mara, "in a café", webhook_url=ELSEWHERE), LookEdit(mara, "in a car")
    await lose(world, session, "sending again", Fault.DROP_BEFORE, edit)
    world.space.hold(now())
    await session.submit(LookEdit(mara, "on the way"), key="accepted")
    owed = await session.submit(LookEdit(mara, "the hook dies"), key="owed news")
    for endpoint in ("avatar", "list"):  # so that nothing says which avatar these deliveries are about
        world.space.faults.fail_next(endpoint, Fault.status(503), times=1000)
    world.set_deliveries(DeliveryOptions(form="old", early=1.0))
    await lose(world, session, "unknown and delivered", Fault.DROP_AFTER, LookEdit(ADA, "at the sea"))
    outstanding = [
        await wait_in_vain(world, Fault.HANG, session.submit(car, key="sending and delivered")),
        await wait_in_vain(world, Fault.HANG, session.submit(edit, key="sending")),
        await wait_in_vain(world, Fault.HANG, session.resend("sending again")),
        await wait_in_vain(world, Fault.rate_limited(retry_after=300), session.submit(edit, key="planned")),
    ]
    await asyncio.sleep(2.0)  # until it is written of which ends hooks were told
    world.set_deliveries(DeliveryOptions())
    world.settle(owed.ref)
    await asyncio.wait(outstanding, timeout=60)
    raise RuntimeError("the hook was not told, so that this process lives")


async def wait_in_vain(world: World, fault: Fault, submission: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Submit it, and begin to wait for an answer that does not come."""
    world.fail(fault)
    task = asyncio.create_task(submission)
    await asyncio.sleep(0.5)
    return task


# --- the files


def leave(store: str) -> None:
    """Run the process that works with the store, and dies."""
    done = subprocess.run([sys.executable, __file__, store], check=False)
    if done.returncode != -signal.SIGKILL:
        raise SystemExit(f"the process that works with {store} ended with {done.returncode}")


def make_sqlite(work: Path) -> None:
    """A file and its ``-wal``."""
    path = work / "looks.db"
    leave(str(path))
    with ZipFile(FOLDER / "store.sqlite.zip", "w", ZIP_DEFLATED) as archive:
        for file in (path, path.with_name("looks.db-wal")):
            archive.write(file, file.name)
    write_down("store.sqlite", str(unpacked(FOLDER, work / "copy")))


def make_postgresql(server: Server) -> None:
    """A dump without the commands that only psql knows."""
    with server.database() as url:
        leave(url)
        command = [str(server._binaries / "pg_dump"), *DUMP, url]
        dumped = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [line for line in dumped.splitlines() if not line.startswith("\\")]
    # its settings hold for the transaction that it is restored in
    text = re.sub("^SET ", "SET LOCAL ", "\n".join(lines), flags=re.MULTILINE).replace(
        "'', false)", "'', true)"
    )
    (FOLDER / "store.postgresql.sql").write_text(f"{text}\n", encoding="utf-8")
    with server.database() as url:
        write_down("store.postgresql", restored(FOLDER, url))


def write_down(name: str, store: str) -> None:
    """Write what this version reads from it."""
    lines = asyncio.run(what_it_says(store))
    (FOLDER / f"{name}.read.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    if len(sys.argv) == 2:
        asyncio.run(work(sys.argv[1]))
    os.environ["HOOX_TEST_POSTGRES"] = OLDEST
    with tempfile.TemporaryDirectory(prefix="hoox-golden-") as work_folder, TestRun.owned() as run:
        make_sqlite(Path(work_folder))
        with run.own_server() as server:
            make_postgresql(server)


if __name__ == "__main__":
    main()
