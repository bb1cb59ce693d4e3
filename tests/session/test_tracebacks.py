"""What a user reads when an error of the library is raised: the own line, and hardly any of ours."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from session_kit import made

import hoox_async
from hoox_async import (
    BatchReport,
    BatchRunner,
    Budget,
    HooxError,
    HooxSession,
    InvalidRequest,
    LookEdit,
    LookRef,
    PromptAvatar,
    backup_store,
    read_costs,
    store_budget,
)
from hoox_async.postgres import PostgresDatabase, copy_store, migrate_database, workspace_exists
from hoox_async.sandbox import Fault, InProcessTransport, Space

pytestmark = pytest.mark.virtual_time

OURS = str(Path(hoox_async.__file__).parent)
MOST = 3
NO_DATABASE = "postgresql://127.0.0.1:9/none"


def frames_of_ours(error: BaseException) -> list[str]:
    """The package's frames in what is printed of an error, those of its causes included."""
    chain, frames = [traceback.TracebackException.from_exception(error)], []
    while chain:
        shown = chain.pop()
        frames += [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in shown.stack]
        hidden = shown.__suppress_context__
        chain += [one for one in (shown.__cause__, None if hidden else shown.__context__) if one is not None]
    return [frame for frame in frames if frame.startswith(OURS)]


class World:
    """An open session on a workspace without sockets, and looks to ask for."""

    def __init__(self, session: HooxSession, space: Space, folder: Path) -> None:
        self.session = session
        self.space = space
        self.folder = folder
        self.source = made(space)
        self.missing = LookRef("avtr_9", "look_9")

    def edit(self, prompt: str = "at the sea") -> LookEdit:
        return LookEdit(self.source, prompt)


async def refused(world: World, status: int, code: str) -> None:
    fault = Fault.status(status, f'{{"error": "x", "code": "{code}"}}')
    world.space.faults.fail_next("edit", fault, times=1_000)
    world.space.faults.fail_next("list", fault, times=1_000)
    world.space.faults.fail_next("status", fault, times=1_000)
    await world.session.edit_look(world.source, "at the sea")


async def key_conflict(world: World) -> None:
    await world.session.submit(world.edit(), key="a")
    await world.session.submit(world.edit("in the rain"), key="a")


async def unknown(world: World) -> None:
    world.space.faults.fail_next("edit", Fault.DROP_AFTER)
    await world.session.run(world.edit())


async def failed(world: World) -> None:
    await (await world.session.submit(world.edit("[fail]")))


async def timed_out(world: World) -> None:
    await world.session.run(world.edit(), timeout=1.0)


async def not_ready(world: World) -> None:
    (await world.session.submit(world.edit())).result()


async def updates_of_nothing(world: World) -> None:
    async for _ in world.session.job(world.missing).updates():
        pass


async def closed(world: World) -> None:
    await world.session.aclose()
    await world.session.status(world.source)


async def server_error(world: World) -> None:
    world.space.faults.fail_next("list", Fault.status(500), times=100)
    await world.session.looks()


async def unreachable(world: World) -> None:
    async with HooxSession("hx_a", base_url="http://127.0.0.1:9") as session:
        await session.status(world.source)


async def not_sent(world: World) -> None:
    async with HooxSession("hx_a", base_url="http://127.0.0.1:9") as session:
        await session.submit(world.edit(), max_wait=0.5)


async def no_time_for_the_quota(world: World) -> None:
    transport = InProcessTransport(world.space)
    async with HooxSession(world.space.api_key, transport=transport, requests_per_minute=1) as session:
        for _ in range(3):
            await session.submit(world.edit(), max_wait=0)


async def opened_with(world: World, **options: Any) -> None:
    async with HooxSession("hx_a", **options):
        pass


async def store_of_garbage(world: World) -> None:
    file = world.folder / "garbage.db"
    file.write_bytes(b"no store at all" * 100)
    await opened_with(world, store=file)


async def store_of_another(world: World) -> None:
    file = world.folder / "one.db"
    await opened_with(world, store=file)
    await opened_with(world, store=file, base_url="https://elsewhere.example/v1")


async def store_locked(world: World) -> None:
    file = world.folder / "one.db"
    async with HooxSession("hx_a", store=file):
        await opened_with(world, store=file)


async def database_away(world: World) -> None:
    async with PostgresDatabase(NO_DATABASE):
        pass


async def unwrapped(world: World, fault: Fault) -> None:
    world.space.faults.fail_next("edit", fault)
    (await BatchRunner(world.session).run([world.edit()])).outcomes[0].unwrap()


async def batch_closed(world: World) -> None:
    async for _ in BatchRunner(world.session).stream([world.edit(), world.edit("in the rain")]):
        await world.session.aclose()


async def batch_of_nothing(world: World) -> None:
    await BatchRunner(world.session).run(7)  # type: ignore[arg-type]


WAYS: dict[str, Callable[[World], Awaitable[object]]] = {
    "400": lambda world: refused(world, 400, "INVALID"),
    "401": lambda world: refused(world, 401, "UNAUTHORIZED"),
    "402": lambda world: refused(world, 402, "INSUFFICIENT_CREDITS"),
    "KeyConflict": key_conflict,
    "OutcomeUnknown": unknown,
    "BudgetExceeded": lambda world: world.session.submit(world.edit(), budget=Budget(1)),
    "NotSent for max_wait": no_time_for_the_quota,
    "NotSent": not_sent,
    "GenerationFailed from await job": failed,
    "GenerationFailed from run": lambda world: world.session.run(world.edit("[fail]")),
    "WaitTimeout": timed_out,
    "WaitTimeout from result": not_ready,
    "WaitTimeout from wait": lambda world: world.session.wait(world.source, timeout=0),
    "NotFound from status": lambda world: world.session.status(world.missing),
    "NotFound from job.status": lambda world: world.session.job(world.missing).status(),
    "NotFound from wait": lambda world: world.session.wait(world.missing),
    "NotFound from updates": updates_of_nothing,
    "NotFound from avatar": lambda world: world.session.avatar("avtr_9"),
    "NotFound from look": lambda world: world.session.look(world.missing),
    "NotFound from download": lambda world: world.session.download(world.missing, world.folder),
    "ServerError": server_error,
    "TransportError": unreachable,
    "SessionClosed": closed,
    "resolve": lambda world: world.session.resolve("nobody's", world.source),
    "resend": lambda world: world.session.resend("nobody's"),
    "drop": lambda world: world.session.drop("nobody's"),
    "InvalidRequest from edit_look": lambda world: world.session.edit_look(world.source, ""),
    "InvalidRequest from create_avatar": lambda world: world.session.create_avatar("x", style="oil"),  # type: ignore[arg-type]
    "InvalidRequest from submit": lambda world: world.session.submit(7),  # type: ignore[arg-type]
    "InvalidRequest from a request": lambda world: world.session.submit(PromptAvatar("x", metadata=7)),  # type: ignore[arg-type]
    "ConfigurationError": lambda world: opened_with(world, base_url="http://elsewhere.example"),
    "StoreError": store_of_garbage,
    "StoreMismatch": store_of_another,
    "StoreLocked": store_locked,
    "PostgreSQL away": lambda world: opened_with(world, store=NO_DATABASE),
    "PostgresDatabase": database_away,
    "migrate_database": lambda world: migrate_database(NO_DATABASE),
    "workspace_exists": lambda world: workspace_exists(NO_DATABASE, "a"),
    "copy_store": lambda world: copy_store(NO_DATABASE, world.folder / "copy.db"),
    "backup_store": lambda world: backup_store(world.folder / "none.db", world.folder / "copy.db"),
    "read_costs": lambda world: read_costs(world.folder / "none.db", by="day"),
    "store_budget": lambda world: store_budget(world.folder / "none.db", "spring"),
    "BatchReport.open": lambda world: BatchReport.open(world.folder / "none.db"),
    "unwrap, 400": lambda world: unwrapped(world, Fault.status(400)),
    "unwrap, 402": lambda world: unwrapped(world, Fault.status(402)),
    "unwrap, lost": lambda world: unwrapped(world, Fault.DROP_AFTER),
    "a batch whose session is closed": batch_closed,
    "a batch of no iterable": batch_of_nothing,
}


async def frames_of(way: str, folder: Path) -> list[str]:
    space = Space(rng=Random(1), requests_per_minute=None)
    with pytest.raises(HooxError) as raised:
        async with HooxSession(space.api_key, transport=InProcessTransport(space)) as session:
            await WAYS[way](World(session, space, folder))
    return frames_of_ours(raised.value)


@pytest.mark.parametrize("way", WAYS)
async def test_an_error_shows_at_most_three_frames_of_ours(way: str, tmp_path: Path) -> None:
    """Whichever way it comes, the user's own line is near the end of what is printed."""
    frames = await frames_of(way, tmp_path)
    assert len(frames) <= MOST, "\n".join(frames)


async def test_at_debug_an_error_shows_where_it_came_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the library's logger at DEBUG all frames are there, those of the submission too."""
    caplog.set_level(logging.DEBUG, "hoox_async")
    frames = await frames_of("OutcomeUnknown", tmp_path)
    assert any("attempt.py" in frame for frame in frames)


async def test_the_users_own_frames_and_those_of_bugs_stay() -> None:
    """An error that the user's own code raises inside the library shows that code; a bug shows everything."""
    space = Space(rng=Random(1), requests_per_minute=None)

    def rows_with_an_empty_prompt() -> Iterator[LookEdit]:
        yield LookEdit("avtr_1:look_1", "")

    def rows_with_a_bug() -> Iterator[LookEdit]:
        yield LookEdit("avtr_1:look_1", str(1 // 0))

    async with HooxSession(space.api_key, transport=InProcessTransport(space)) as session:
        with pytest.raises(InvalidRequest) as raised:
            await BatchRunner(session).estimate(rows_with_an_empty_prompt())
        assert any(frame.name == "rows_with_an_empty_prompt" for frame in traceback.extract_tb(raised.tb))
        with pytest.raises(ZeroDivisionError) as bug:
            await BatchRunner(session).estimate(rows_with_a_bug())
        assert len(frames_of_ours(bug.value)) > MOST
