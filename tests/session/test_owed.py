"""What stays owed: ends for which a hook had no room, and those of processes that were killed or stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from internals_kit import IntentState, MemoryLedger, runtime_of
from session_kit import intents, on_space, prompt
from shared_memory_kit import MemoryDatabase, SharedMemory
from test_leader import LEASE, Process, apart, processes, until

from hoox_async import DisplayOnly, Event, HooxSession, LookSettled
from hoox_async.sandbox import Space

pytestmark = pytest.mark.virtual_time


class Heard:
    """A hook that notes of which looks it was told."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, LookSettled):
            self.keys.append(str(event.key))


@pytest.mark.parametrize("is_shared", [False, True])
async def test_an_end_that_finds_an_async_hooks_queue_full_is_told_once_there_is_room(
    is_shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each hook is told of each end once, though more ends come than can wait for the slow one."""
    monkeypatch.setattr("hoox_async._io.hooks.MOST_WAITING", 3)
    heard, slow_heard, may_go_on = Heard(), Heard(), asyncio.Event()

    async def slow(event: Event) -> None:
        await may_go_on.wait()
        slow_heard(event)

    def only_ends(event: Event) -> object:
        return slow(event) if isinstance(event, LookSettled) else None

    keys = [f"k{number}" for number in range(10)]
    store: Any = MemoryDatabase().default_workspace() if is_shared else None
    async with on_space(store=store, hooks=[heard, only_ends]) as (session, _):
        jobs = [await session.submit(prompt(), key=key) for key in keys]
        await asyncio.gather(*jobs)
        await asyncio.sleep(200.0)
        assert 0 < len(heard.keys) < len(keys)
        may_go_on.set()
        await asyncio.sleep(200.0)
        assert sorted(heard.keys) == sorted(slow_heard.keys) == keys


class DisplayProcess(Process):
    """A process whose hook only shows something."""

    @property
    def _hear(self) -> DisplayOnly:  # type: ignore[override]
        return DisplayOnly(super()._hear)


async def test_what_a_session_sends_that_only_shows_is_shown_by_it_and_owed_to_nobody() -> None:
    """Also where its process was killed: no session with hooks takes that for what a gone one owes."""
    async with processes(1) as (space, (leader,)):
        memory = leader.database.memory
        shows = DisplayProcess(memory, space)
        await shows.open()
        await shows.session.submit(prompt(), key="shown")
        await until(lambda: shows.notified == ["shown"], 240.0)
        await shows.session.submit(prompt(), key="left")
        rows = [memory.row("shown"), memory.row("left")]
        assert [row and row.teller for row in rows] == [None, None]
        await shows.kill()
        await until(lambda: memory.states == [IntentState.READY] * 2, 240.0)
        await asyncio.sleep(3 * LEASE)
        assert (leader.notified, shows.notified) == ([], ["shown"])


async def test_a_session_that_only_shows_leaves_what_a_killed_one_owes_to_one_with_hooks() -> None:
    """In a store of one process too, where the killed session left an end that nobody was told of."""
    store, space = MemoryLedger(), Space(rng=Random(1), requests_per_minute=None)
    shown, heard = Heard(), Heard()

    async def hangs(event: Event) -> None:
        await asyncio.Event().wait()

    async with on_space(space, store=store, hooks=[hangs]) as (session, _):
        await session.submit(prompt(), key="k")
        while await intents(session) != {"k": IntentState.READY}:
            await asyncio.sleep(1.0)
        await kill(session, store)
    async with on_space(space, store=store, hooks=[DisplayOnly(shown)]):
        await asyncio.sleep(100.0)
    async with on_space(space, store=store, hooks=[heard]):
        await asyncio.sleep(100.0)
    assert (shown.keys, heard.keys) == ([], ["k"])


async def kill(session: HooxSession, store: MemoryLedger) -> None:
    """End the session as a process that is killed: nothing more is sent, written or told."""
    runtime = runtime_of(session)
    runtime.submitter.posts.stop()
    runtime.tasks.stop()
    runtime.hooks.stop()
    session._open = None
    store._news = None  # so that it leaves nothing
    await store.aclose()


class Stopped:
    """What stops a process: it sends no message, and reads no answer. ``begins`` says with which one."""

    def __init__(self, begins: Callable[[str, str], bool] = lambda *_: True) -> None:
        self.go_on = asyncio.Event()
        self._begins = begins
        self._has_begun = False

    async def __call__(self, when: str, name: str) -> None:
        self._has_begun = self._has_begun or self._begins(when, name)
        if self._has_begun:
            await self.go_on.wait()


async def test_a_process_that_was_stopped_does_not_tell_what_was_told_for_it_meanwhile() -> None:
    """It had asked for what others have changed, and reads the answer when its lease has been over."""
    async with processes(2) as (_, opened):
        leader, (other,) = apart(opened)
        memory = leader.database.memory
        other.database.fault = stopped = Stopped(
            lambda *message: message == ("after", "changes") and memory.states == [IntentState.READY]
        )
        await other.session.submit(prompt(), key="k")
        await until(lambda: leader.notified == ["k"], 240.0)
        stopped.go_on.set()
        await asyncio.sleep(100.0)
        assert (leader.notified, other.notified) == (["k"], [])
        await other.session.submit(prompt("another"), key="next")
        await until(lambda: other.notified == ["next"], 240.0)


class WaitingProcess(Process):
    """A process with an async hook that waits for a word before its first call ends."""

    def __init__(self, memory: SharedMemory, space: Space) -> None:
        super().__init__(memory, space)
        self.may_go_on = asyncio.Event()

    async def _hear(self, event: Event) -> None:  # type: ignore[override]
        if isinstance(event, LookSettled):
            self.notified.append(event.key)
            await self.may_go_on.wait()


@pytest.mark.parametrize("others", [0, 1])
async def test_a_hook_is_not_called_with_what_others_told_while_it_waited_in_the_queue(others: int) -> None:
    """The lease of its process was over meanwhile. Where nobody else has told it, the hook is called."""
    async with processes(others) as (space, opened):
        memory = opened[0].database.memory if others else SharedMemory()
        process = WaitingProcess(memory, space)
        await process.open()
        for key in ("running", "waiting"):
            await process.session.run(prompt(key), key=key)
        await until(lambda: process.notified == ["running"], 5.0)
        works, process.database.fault = process.database.fault, (stopped := Stopped())
        await asyncio.sleep(3 * LEASE)
        process.database.fault = works
        stopped.go_on.set()
        process.may_go_on.set()
        await asyncio.sleep(100.0)
        told = [each.notified for each in opened]
        assert told == [["running", "waiting"]] * others
        assert process.notified == (["running"] if others else ["running", "waiting"])
        await process.close()
