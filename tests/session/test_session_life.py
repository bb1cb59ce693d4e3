"""Creating, opening and closing a session, and what it leaves behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from door_kit import BASE, KEY, REF, session_on
from internals_kit import MemoryLedger, runtime_of
from session_kit import on_space, others, prompt

from hoox_async import HooxSession
from hoox_async.errors import ConfigurationError, SessionClosed, StoreError, StoreLocked, StoreMismatch
from hoox_async.sandbox import Fault, InProcessTransport, Sandbox, Space

pytestmark = pytest.mark.both_loops

# --- opening


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_url": "http://app.hoox.video"}, "https"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"hooks": [7]}, "hooks"),
        ({"timeouts": 30}, "timeouts"),
        ({"api_key": ""}, "HOOX_API_KEY"),
        ({"api_key": 5}, "api_key"),
        ({"new_key": "no"}, "new_key"),
        ({"webhooks": "https://shop.example.com/hooks"}, "webhooks"),
    ],
)
def test_invalid_options_are_refused_by_the_constructor(options: dict[str, Any], said: str) -> None:
    """The constructor raises ConfigurationError for an invalid option, also without a running loop."""
    with pytest.raises(ConfigurationError, match=said):
        HooxSession(**{"api_key": KEY, **options})


def test_the_key_comes_from_the_environment_and_the_url_never(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API key is read from HOOX_API_KEY, and the base URL from no variable."""
    monkeypatch.delenv("HOOX_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="HOOX_API_KEY"):
        HooxSession()
    monkeypatch.setenv("HOOX_API_KEY", KEY)
    for name in ("HOOX_BASE_URL", "HOOX_API_URL", "HOOX_URL"):
        monkeypatch.setenv(name, "https://evil.example")
    session = HooxSession()
    assert repr(session) == "<HooxSession https://app.hoox.video/api/public/v1 new>"
    assert KEY not in repr(session)


async def test_a_session_is_opened_once() -> None:
    """Opening a session that is open or was closed raises SessionClosed."""
    session = HooxSession(KEY, base_url=BASE)
    async with session:
        with pytest.raises(SessionClosed, match="once"):
            await session.__aenter__()
        assert "open" in repr(session)
    with pytest.raises(SessionClosed, match="closed"):
        await session.__aenter__()


async def test_an_opening_that_fails_leaves_nothing_open() -> None:
    """An opening that fails because of its store leaves no task behind.

    The store is open in another session, or belongs to another workspace.
    """
    before, store = others(), MemoryLedger()
    async with session_on(store=store):
        with pytest.raises(StoreLocked):
            await HooxSession(KEY, base_url=BASE, store=store).__aenter__()
        store.confirm_key()
    with pytest.raises(StoreMismatch):
        await HooxSession(KEY, base_url="https://elsewhere.example", store=store).__aenter__()
    with pytest.raises(StoreMismatch):
        await HooxSession("hx_another", base_url=BASE, store=store).__aenter__()
    async with HooxSession("hx_another", base_url=BASE, store=store, new_key=True):
        pass
    assert others() == before


async def test_a_store_that_fails_while_opening_is_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the store failed while opening, the session is closed and the store can be opened again."""
    store = MemoryLedger()

    async def recent_sends(_: Any) -> Any:
        raise StoreError("disk full")

    monkeypatch.setattr(store, "recent_sends", recent_sends)
    session = HooxSession(KEY, base_url=BASE, store=store)
    with pytest.raises(StoreError, match="disk full"):
        await session.__aenter__()
    monkeypatch.undo()
    with pytest.raises(SessionClosed):
        await session.status(REF)
    async with session_on(store=store):
        pass


# --- closing

CALLS: dict[str, Callable[[HooxSession], Awaitable[Any]]] = {
    "submit": lambda s: s.submit(prompt()),
    "run": lambda s: s.run(prompt()),
    "create_avatar": lambda s: s.create_avatar("x"),
    "create_avatar_from_images": lambda s: s.create_avatar_from_images(["https://m.example/a.jpg"]),
    "edit_look": lambda s: s.edit_look(REF, "x"),
    "status": lambda s: s.status(REF),
    "wait": lambda s: s.wait(REF),
    "jobs": lambda s: s.jobs(),
    "unknowns": lambda s: s.unknowns(),
    "resolve": lambda s: s.resolve("k", "avtr_1:look_1"),
    "resend": lambda s: s.resend("k"),
    "drop": lambda s: s.drop("k"),
    "avatar": lambda s: s.avatar("avtr_1"),
    "look": lambda s: s.look(REF),
    "looks": lambda s: s.looks(),
    "picture": lambda s: s.picture(REF),
    "download": lambda s: s.download(REF, "never-made.jpg"),
}


@pytest.mark.parametrize("name", CALLS)
async def test_methods_raise_session_closed_while_the_session_is_not_open(name: str) -> None:
    """Each method raises SessionClosed before the session was opened and after it was closed."""
    session = HooxSession(KEY, base_url=BASE)
    with pytest.raises(SessionClosed, match="async with"):
        await CALLS[name](session)
    async with session:
        pass
    with pytest.raises(SessionClosed, match="closed"):
        await CALLS[name](session)


async def test_quota_and_job_raise_session_closed_while_the_session_is_not_open() -> None:
    """`quota` and `job`, which send no request, raise SessionClosed too while the session is not open."""
    session = HooxSession(KEY, base_url=BASE)
    for _ in range(2):
        with pytest.raises(SessionClosed):
            _ = session.quota
        with pytest.raises(SessionClosed):
            session.job(REF)
        await session.aclose()
    with pytest.raises(SessionClosed):
        await session.__aenter__()


@pytest.mark.parametrize("name", CALLS)
async def test_methods_raise_configuration_error_on_another_loop(name: str) -> None:
    """Each method raises ConfigurationError on another loop than the session's."""
    async with session_on() as session:
        raised: list[BaseException] = []

        async def call() -> None:
            try:
                await CALLS[name](session)
            except ConfigurationError as error:
                raised.append(error)

        thread = threading.Thread(target=lambda: asyncio.run(call()))
        thread.start()
        await asyncio.to_thread(thread.join)
        assert "another event loop" in str(raised[0])


async def test_closing_on_another_loop_is_refused() -> None:
    """Closing on another loop raises ConfigurationError, and the session stays open."""
    async with session_on() as session:

        def close() -> str:
            with pytest.raises(ConfigurationError, match="another event loop"):
                asyncio.run(session.aclose())
            return "refused"

        assert await asyncio.to_thread(close) == "refused"
        assert session.quota.limit == 6_000


async def test_a_session_can_be_closed_twice() -> None:
    """Closing a session again, at the same time or later, raises nothing."""
    session = HooxSession(KEY, base_url=BASE)
    await session.__aenter__()
    await asyncio.gather(session.aclose(), session.aclose())
    await session.aclose()


def open_files_in(fds: Path) -> int:
    return len(list(fds.iterdir())) if fds.exists() else 0


async def test_closing_ends_what_waits_and_leaves_no_task_and_no_socket() -> None:
    """Closing ends all waits for jobs, reads and permits with SessionClosed; no task or socket is left."""
    before = others()
    fds = Path("/proc/self/fd")
    async with Sandbox() as sandbox:
        sandbox.hold()
        open_files = open_files_in(fds)
        async with sandbox.session(requests_per_minute=5) as session:
            job = await session.submit(prompt())
            sandbox.fail_next("avatar", Fault.HANG)
            waits = [
                asyncio.create_task(job.wait()),
                asyncio.create_task(session.wait(job)),
                asyncio.create_task(session.avatar(job.avatar_id)),
                *(asyncio.create_task(session.status(job)) for _ in range(9)),
            ]
            await asyncio.sleep(0.1)
        async with asyncio.timeout(60):
            results = await asyncio.gather(*waits, return_exceptions=True)
        assert {type(result) for result in results if isinstance(result, BaseException)} == {SessionClosed}
        assert {type(result) for result in results[:3]} == {SessionClosed}
        assert [name for name in others() if name.startswith("hoox-")] == []
        if fds.exists():
            async with asyncio.timeout(60):
                while open_files_in(fds) > open_files:
                    await asyncio.sleep(0.01)
    assert others() == before


async def test_an_error_inside_the_block_is_raised_and_the_session_is_closed() -> None:
    """An exception inside ``async with`` is raised, and the session is closed."""
    before = others()
    with pytest.raises(ZeroDivisionError):
        async with session_on() as session:
            raise ZeroDivisionError
    assert "closed" in repr(session)
    assert others() == before


def test_a_session_that_a_loop_leaves_open_does_not_keep_its_store(tmp_path: Path) -> None:
    """A session that is open when `asyncio.run` ends is closed then, and its store can be opened again.

    Its POST that had no answer yet is an unknown.
    """
    store, left = tmp_path / "looks.db", list[HooxSession]()

    async def leave(space: Space) -> None:
        session = HooxSession(space.api_key, transport=InProcessTransport(space), store=store)
        left.append(await session.__aenter__())
        space.faults.fail_next("create", Fault.HANG, 1, 0)
        asyncio.create_task(session.submit(prompt(), key="alex"))  # noqa: RUF006
        while not space.ledger:
            await asyncio.sleep(0.01)

    async def come_back(space: Space) -> list[str]:
        async with HooxSession(space.api_key, transport=InProcessTransport(space), store=store) as session:
            return [unknown.key for unknown in await session.unknowns()]

    space = Space(rng=Random(1))
    with pytest.warns(ResourceWarning, match="never closed; the end of its loop closed it"):
        asyncio.run(leave(space))
    assert asyncio.run(come_back(space)) == ["alex"]
    assert left


def test_without_asyncio_a_session_says_so() -> None:
    """Where no asyncio loop runs, as under trio, opening a session raises ConfigurationError."""
    opening = HooxSession(KEY, base_url=BASE).__aenter__()
    with pytest.raises(ConfigurationError, match="needs asyncio"):
        opening.send(None)


def test_a_session_that_nobody_closes_warns() -> None:
    """An open session that is garbage-collected gives a ResourceWarning."""

    async def forget() -> None:
        space = Space(rng=Random(1))
        session = HooxSession(space.api_key, transport=InProcessTransport(space))
        await session.__aenter__()
        runtime = runtime_of(session)
        held = [session]
        del session
        with pytest.warns(ResourceWarning, match="never closed"):
            held.clear()
        await runtime.tasks.cancel()

    asyncio.run(forget())


def test_a_session_that_was_never_opened_does_not_warn() -> None:
    """A session that was never opened gives no warning when it is garbage-collected."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HooxSession(KEY, base_url=BASE)
        gc.collect()


async def test_a_session_can_be_opened_and_closed_in_different_tasks() -> None:
    """A session can be closed in another task than the one that opened it, as pytest fixtures do."""
    session = HooxSession(KEY, base_url=BASE)
    await asyncio.create_task(session.__aenter__())
    await asyncio.create_task(session.aclose())


@pytest.mark.virtual_time
async def test_closing_ends_waits_at_once_while_a_post_is_outstanding() -> None:
    """Closing ends the waits for looks at once, and waits for the answer to an outstanding POST."""
    async with on_space() as (session, space):
        wait = asyncio.create_task((await session.submit(prompt())).wait())
        space.faults.fail_next("create", Fault.late(4.0), 1, 0)
        post = asyncio.create_task(session.submit(prompt("late")))
        await asyncio.sleep(1.0)
        closing = asyncio.create_task(session.aclose())
        with pytest.raises(SessionClosed):
            await asyncio.wait_for(wait, 0.1)
        assert not closing.done()
        await closing
        assert (await post).ref == space.ledger[1].ref
