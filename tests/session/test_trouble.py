"""`SessionHealth.trouble`: each fault of the runbook shows its own word alone, until it has healed."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Literal

import pytest
from delivery_kit import Hub
from internals_kit import BeforeSend, WireRequest, WireResponse, status_request
from rate_limiter_kit import virtual
from session_kit import edit, end_faults, made, now, on_space, prompt, sends, set_key, store_of
from shared_memory_kit import MemoryDatabase, SharedMemory

from hoox_async import HooxSession, StoreError, Trouble
from hoox_async._core.trouble import STALE
from hoox_async._io import downloads
from hoox_async.errors import HooxError, OutcomeUnknown
from hoox_async.sandbox import DeliveryOptions, Fault, InProcessTransport, Space

pytestmark = virtual
EVERY = 5.0  # seconds between two submissions, and between two readings of the health
SEEN_WITHIN = 30.0
API_WORDS = {
    Fault.REFUSED: Trouble.API_UNREACHABLE,
    Fault.HANG_BEFORE: Trouble.API_SILENT,
    Fault.ERROR_500_BEFORE: Trouble.API_FAILING,
}
Switch = Callable[["Scene", pytest.MonkeyPatch], None]


class Api(InProcessTransport):
    """The API, with a fault that all requests meet."""

    fault: Fault | None = None

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        if self.fault is not None:
            self.space.faults.fail_next(request.endpoint, self.fault)
        return await super().send(request, before_send)


class Scene:
    """A session that submits a look every 5 s and has deliveries, and what its health has said when."""

    def __init__(self, session: HooxSession, api: Api, space: Space, hub: Hub) -> None:
        self.session, self.api, self.space, self.hub = session, api, space, hub
        self.stranger: asyncio.Task[None] | None = None
        self.seen: list[tuple[float, frozenset[Trouble]]] = []

    async def submit(self) -> None:
        number = 0
        while True:
            number += 1
            with suppress(HooxError):
                await self.session.submit(prompt(f"host {number}"), max_wait=EVERY)
            await asyncio.sleep(EVERY)

    async def watch(self) -> None:
        while True:
            health = await self.session.health()
            self.seen.append((now(), health.trouble))
            await asyncio.sleep(EVERY)

    def words(self, since: float) -> set[Trouble]:
        return {word for at, words in self.seen if at >= since for word in words}

    def first(self, since: float, word: Trouble) -> float:
        """How many seconds after ``since`` the word was seen."""
        return next(at - since for at, words in self.seen if at >= since and word in words)

    def gone(self, since: float) -> float:
        """How many seconds after ``since`` no word was seen any more."""
        return max([0.0, *(at - since for at, words in self.seen if at >= since and words)])


def api_fault(fault: Fault) -> Switch:
    def switch(scene: Scene, _: pytest.MonkeyPatch) -> None:
        scene.api.fault = fault

    return switch


def key_revoked(scene: Scene, _: pytest.MonkeyPatch) -> None:
    set_key(scene.api, "hx_live_revoked")


def no_credits(scene: Scene, _: pytest.MonkeyPatch) -> None:
    scene.api.fault = None
    paid_off = Fault.status(402, '{"error": "Insufficient credits", "code": "INSUFFICIENT_CREDITS"}')
    scene.space.faults.fail_next("create", paid_off, 10_000)


def stranger(scene: Scene, _: pytest.MonkeyPatch) -> None:
    ref = made(scene.space)
    other = InProcessTransport(scene.space)

    async def use() -> None:
        while True:
            await other.send(status_request(ref))
            await asyncio.sleep(1.5)

    scene.stranger = asyncio.create_task(use())


def no_deliveries(scene: Scene, _: pytest.MonkeyPatch) -> None:
    assert scene.api.webhook_sender is not None
    scene.api.webhook_sender.options = DeliveryOptions(lose=1.0)


def store_fails(error: Callable[[], Exception] | None, *, reads: bool, seconds: float = 0.0) -> Switch:
    def switch(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        store = store_of(scene.session)

        def patch(name: str) -> None:
            real: Callable[..., Awaitable[Any]] = getattr(store, name)

            async def broken(*args: Any) -> Any:
                await asyncio.sleep(seconds)
                if error is not None:
                    raise error()
                return await real(*args)

            monkeypatch.setattr(store, name, broken)

        for name in ("plan", "advance", "keep_delivery", *(("get", "gauges", "delivered") if reads else ())):
            patch(name)

    return switch


def full() -> StoreError:
    error = StoreError("the database failed: its disk is full")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    return error


FAULTS: dict[Trouble, Switch] = {
    **{word: api_fault(fault) for fault, word in API_WORDS.items()},
    Trouble.KEY_REFUSED: key_revoked,
    Trouble.NO_CREDITS: no_credits,
    Trouble.THROTTLED: api_fault(Fault.RATE_LIMITED),
    Trouble.QUOTA_USED_BY_OTHERS: stranger,
    Trouble.NO_DELIVERIES: no_deliveries,
    Trouble.STORE_AWAY: store_fails(lambda: StoreError("the database is gone"), reads=True),
    Trouble.STORE_FULL: store_fails(full, reads=False),
    Trouble.STORE_SLOW: store_fails(None, reads=True, seconds=1.2),
}


def heal(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    scene.api.fault = None
    set_key(scene.api)
    end_faults(scene.space)
    if scene.stranger is not None:
        scene.stranger.cancel()
    assert scene.api.webhook_sender is not None
    scene.api.webhook_sender.options = DeliveryOptions()


@pytest.mark.parametrize("word", FAULTS)
async def test_each_fault_shows_its_word_alone(word: Trouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its word is there within 30 s of the first sign, no other while it lasts, and none once it has healed.

    Then all that was paid is settled without anybody's help.
    """
    space, hub = Space(rng=Random(1), requests_per_minute=100), Hub()
    api = Api(space, deliver=hub.post)
    async with HooxSession(space.api_key, transport=api, webhooks=hub) as session:  # type: ignore[arg-type]
        scene = Scene(session, api, space, hub)
        submitting, watching = (asyncio.create_task(work()) for work in (scene.submit, scene.watch))
        await asyncio.sleep(150.0)
        assert scene.words(0.0) == set()
        began = now()
        FAULTS[word](scene, monkeypatch)
        await asyncio.sleep(180.0)
        assert scene.words(began) == {word}
        # a delivery can't be missed before a look is done, which takes a minute
        first_sign = 60.0 if word is Trouble.NO_DELIVERIES else 0.0
        assert scene.first(began, word) <= first_sign + SEEN_WITHIN
        healed = now()
        heal(scene, monkeypatch)
        await asyncio.sleep(240.0)
        assert scene.words(healed) <= {word}
        assert scene.gone(healed) <= 120.0
        submitting.cancel()
        await asyncio.sleep(240.0)
        health = await session.health()
        watching.cancel()
        assert health.unsettled == 0
        assert health.trouble == frozenset()


@pytest.mark.parametrize("fault", [None, Fault.REFUSED, Fault.ERROR_500_BEFORE])
async def test_nobody_polls(fault: Fault | None) -> None:
    """Where looks are unsettled and the process that polls for all has ended, another one says so.

    Where that process is there and the API serves nobody, the other one says that instead.
    """
    space, memory = Space(rng=Random(1), requests_per_minute=100), SharedMemory()
    space.hold(0.0)
    apis = [Api(space), Api(space)]

    @asynccontextmanager
    async def process(poll: Literal["all", "awaited"]) -> AsyncIterator[HooxSession]:
        api = apis[poll == "all"]
        async with (
            MemoryDatabase(memory) as database,
            HooxSession(space.api_key, transport=api, store=database.workspace("shop"), poll=poll) as session,
        ):
            yield session

    async def read(web: HooxSession) -> list[frozenset[Trouble]]:
        seen = []
        for _ in range(12):
            await asyncio.sleep(EVERY)
            seen.append((await web.health()).trouble)
        return seen

    async with process("awaited") as web:
        async with process("all"):
            await web.submit(prompt())
            assert set(await read(web)) == {frozenset()}
            for api in apis:
                api.fault = fault
            if fault is not None:
                seen, word = await read(web), API_WORDS[fault]
        if fault is None:
            seen, word = await read(web), Trouble.NOBODY_POLLS
        assert set(seen) <= {frozenset(), frozenset({word})}
        assert seen[-1] == {word}
        # before a process resigns it has had no answer for 15 s
        assert (1 + seen.index(frozenset({word}))) * EVERY <= SEEN_WITHIN + (15.0 if fault else 0.0)
        for api in apis:
            api.fault = None
        async with process("all"):
            seen = await read(web)
    assert seen[-1] == set()
    assert sends(space, "status") < 60


async def test_nobody_can_poll_while_no_lease_is_renewed() -> None:
    """Where the store can't be written, all leases end and nobody polls: that is no trouble of its own."""
    space, memory = Space(rng=Random(1), requests_per_minute=100), SharedMemory()
    space.hold(0.0)
    is_full, said = False, set[Trouble]()

    async def fault(moment: str, message: str) -> None:
        if is_full and (moment, message) == ("before", "renew"):
            raise StoreError("the database: its disk is full: nothing can be written")

    async def listen(seconds: float) -> None:
        for _ in range(int(seconds / EVERY)):
            await asyncio.sleep(EVERY)
            for session in (web, worker):
                said.update((await session.health()).trouble)

    def process(poll: Literal["all", "awaited"]) -> tuple[MemoryDatabase, HooxSession]:
        database = MemoryDatabase(memory, fault=fault)
        store = database.workspace("shop")
        return database, HooxSession(space.api_key, transport=Api(space), store=store, poll=poll)

    (first, web), (second, worker) = process("awaited"), process("all")
    async with first, second, web, worker:
        await worker.submit(prompt())
        await listen(30.0)
        is_full = True
        await listen(60.0)
        is_full = False
        await listen(30.0)
    assert Trouble.NOBODY_POLLS not in said


async def test_a_full_picture_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that finds no room shows it, until a picture is saved; another `OSError` does not."""

    async def write(path: Path, _: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    async with on_space() as (session, space):
        ref = made(space)
        for number, shown in ((errno.EACCES, set()), (errno.ENOSPC, {Trouble.PICTURE_DISK_FULL})):
            with monkeypatch.context() as patch:
                patch.setattr(downloads, "_write", write)
                with pytest.raises(OSError, match=os.strerror(number)):
                    await session.download(ref, tmp_path)
            assert (await session.health()).trouble == shown
        await session.download(ref, tmp_path)
        assert (await session.health()).trouble == set()


async def test_two_causes_are_two_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong at the same time for different causes is shown together."""
    async with on_space() as (session, space):
        ref = made(space)
        await session.submit(edit(ref))
        space.faults.fail_next("edit", Fault.ERROR_500_BEFORE)
        with pytest.raises(OutcomeUnknown):
            await session.submit(edit(ref, "another"))
        monkeypatch.setattr(store_of(session), "gauges", fails)
        assert (await session.health()).trouble == {Trouble.API_FAILING, Trouble.STORE_AWAY}
        await asyncio.sleep(STALE)
        monkeypatch.undo()
        assert (await session.health()).trouble == set()


async def fails() -> StoreError:
    raise StoreError("the database is gone")


def test_each_word_is_in_both_runbooks() -> None:
    """The docstring of `Trouble` and the README of the production example have a row for each word."""
    assert set(re.findall(r"- ``([A-Z_]+)``", Trouble.__doc__ or "")) == {word.name for word in Trouble}
    readme = Path(__file__).parents[2] / "examples" / "production" / "README.md"
    if not readme.exists():
        pytest.skip("the examples are not here")
    runbook = readme.read_text("utf-8").partition("## Runbook")[2].partition("| alert when")[0]
    assert re.findall(r"^\| `([a-z_]+)` \|", runbook, re.M) == [word.value for word in Trouble]
