"""Closing a session is completed when it is cancelled, and so is an opening that is cancelled."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from session_kit import on_space, others, prompt, turns

from hoox_async import HooxSession
from hoox_async.errors import OutcomeUnknown, SessionClosed
from hoox_async.events import Event
from hoox_async.sandbox import Fault, Sandbox

pytestmark = pytest.mark.both_loops


@asynccontextmanager
async def nothing_left_open() -> AsyncIterator[None]:
    """Fail if the loop reports anything that was left open or never retrieved."""
    problems: list[str] = []
    loop, before = asyncio.get_running_loop(), others()
    loop.set_exception_handler(lambda _, context: problems.append(str(context["message"])))
    yield
    gc.collect()
    await turns(3)
    assert problems == []
    assert {name for name in others() if name.startswith("hoox-")} <= before


async def test_a_cancelled_close_leaves_no_connection_open() -> None:
    """A close that is cancelled at any turn of the loop has closed everything when it ends."""
    with Sandbox() as sandbox:
        async with nothing_left_open():
            for turn in range(1, 26, 2):
                session = sandbox.session()
                await session.__aenter__()
                await session.status(await session.submit(prompt()))
                closing = asyncio.create_task(session.aclose())
                await turns(turn)
                closing.cancel()
                await asyncio.wait([closing])
                assert session._closing is not None
                assert session._closing.done()
                del session, closing


@pytest.mark.parametrize("cancellations", [2, 4])
async def test_a_close_that_is_cancelled_twice_is_finished_by_the_next_one(
    cancellations: int, tmp_path: Path
) -> None:
    """After a close was cancelled several times, another `aclose` waits until everything is closed."""
    with Sandbox() as sandbox:
        async with nothing_left_open():
            for turn in range(0, 12, 2):
                session = sandbox.session(store=tmp_path / "a.db")
                await session.__aenter__()
                await session.status(await session.submit(prompt()))
                closing = asyncio.create_task(session.aclose())
                await turns(turn)
                for _ in range(cancellations):
                    closing.cancel()
                    await asyncio.sleep(0)
                await asyncio.wait([closing])
                await session.aclose()
                assert session._closing is not None or turn == 0  # cancelled before it began
                assert "closed" in repr(session)
                del session, closing


async def test_a_close_with_a_timeout_cancels_the_posts_and_closes_everything() -> None:
    """A close that runs into a timeout cancels the POSTs; their callers get OutcomeUnknown."""
    async with Sandbox() as sandbox, nothing_left_open():
        session = sandbox.session()
        await session.__aenter__()
        sandbox.fail_next("create", Fault.HANG)
        post = asyncio.create_task(session.submit(prompt(), key="k"))
        while not sandbox.requests:
            await asyncio.sleep(0.01)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await session.aclose()
        with pytest.raises(OutcomeUnknown):
            await post
        with pytest.raises(SessionClosed):
            await session.status("a:b")  # type: ignore[arg-type]


async def test_concurrent_closes_all_wait_for_the_end() -> None:
    """Two concurrent closes both wait until the outstanding POST is answered."""
    async with Sandbox() as sandbox, nothing_left_open():
        session = sandbox.session()
        await session.__aenter__()
        sandbox.fail_next("create", Fault.late(0.3))
        post = asyncio.create_task(session.submit(prompt()))
        while not sandbox.requests:
            await asyncio.sleep(0.01)
        await asyncio.gather(session.aclose(), session.aclose())
        assert post.done()
        assert (await post).ref == sandbox.ledger[0].ref


async def test_a_post_that_a_close_cancelled_is_unknown_when_the_store_is_opened_again(
    tmp_path: Path,
) -> None:
    """A POST that was outstanding when its close was cancelled is an unknown of the next session."""
    async with Sandbox() as sandbox, nothing_left_open():
        session = sandbox.session(store=tmp_path / "a.db")
        await session.__aenter__()
        sandbox.fail_next("create", Fault.HANG)
        post = asyncio.create_task(session.submit(prompt(), key="k"))
        while not sandbox.requests:
            await asyncio.sleep(0.01)
        closing = asyncio.create_task(session.aclose())
        await turns(2)
        closing.cancel()
        await asyncio.wait([closing, post])
        assert closing.cancelled()
        async with sandbox.session(store=tmp_path / "a.db") as again:
            (unknown,) = await again.unknowns()
            assert unknown.key == "k"


async def test_an_opening_that_is_cancelled_leaves_nothing_open(tmp_path: Path) -> None:
    """An opening that is cancelled at any turn of the loop leaves the store's file free and no connector."""
    with Sandbox() as sandbox:
        async with nothing_left_open():
            for turn in range(0, 30, 2):
                session = sandbox.session(store=tmp_path / "a.db")
                opening = asyncio.create_task(session.__aenter__())
                await turns(turn)
                opening.cancel()
                await asyncio.wait([opening])
                if opening.cancelled() and turn:
                    with pytest.raises(SessionClosed):
                        await session.jobs()
                await session.aclose()
                del session, opening
            async with sandbox.session(store=tmp_path / "a.db"):
                pass


async def test_a_cancelled_close_does_not_wait_for_async_hooks() -> None:
    """A close that is cancelled cancels async hooks that are still running."""
    ended: list[str] = []

    async def hook(event: Event) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async with Sandbox() as sandbox, nothing_left_open():
        session = sandbox.session(hooks=[hook])
        await session.__aenter__()
        await session.submit(prompt())
        await turns()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await session.aclose()
    assert ended == ["cancelled"]


def test_a_program_that_is_interrupted_while_it_closes_leaves_nothing_open(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where asyncio.run ends while a cancelled close is going on, asyncio reports no problem."""
    held: list[Any] = []

    async def program() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: held.append(context["message"]))
        session = sandbox.session()
        await session.__aenter__()
        await session.run(prompt())
        closing = asyncio.create_task(session.aclose())
        await turns(2)
        closing.cancel()  # and nobody waits for it

    with Sandbox() as sandbox:
        for _ in range(3):
            asyncio.run(program())
            gc.collect()
    assert held == []


def test_a_session_that_was_never_opened_can_be_closed() -> None:
    """Closing a session that was never opened raises nothing, also a second time."""

    async def close() -> None:
        session = HooxSession("hx_live_marked")
        await session.aclose()
        await session.aclose()

    asyncio.run(close())


async def test_an_opening_that_fails_after_its_parts_were_created_closes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An opening that fails late closes its rate limiter and leaves no task."""
    ended: list[str] = []

    def recall(*_: Any) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr("hoox_async._session.rate_limiter.RateLimiter.restore", recall)
    monkeypatch.setattr(
        "hoox_async._session.rate_limiter.RateLimiter.close", lambda _: ended.append("rate_limiter")
    )
    async with Sandbox() as sandbox, nothing_left_open():
        session = sandbox.session()
        with pytest.raises(ValueError, match="a defect"):
            await session.__aenter__()
    assert ended == ["rate_limiter"]


async def test_updates_end_where_the_session_was_closed_between_two_of_them() -> None:
    """A caller that asks for the next update of a session that is closed by then does not wait for ever."""
    async with on_space(poll="awaited") as (session, _):
        job = await session.submit(prompt())
        updates = job.updates()
        await anext(updates)
        await session.aclose()
        async with asyncio.timeout(5):
            with pytest.raises(SessionClosed):
                await anext(updates)
