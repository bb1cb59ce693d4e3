"""Hooks are called with each event, in order, and cannot harm the session."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

import pytest
from internals_kit import Hooks
from session_kit import on_space, prompt

from hoox_async.errors import ConfigurationError
from hoox_async.events import Event, Hook, LookSettled, Paused

pytestmark = pytest.mark.both_loops

PAUSED = Paused(1.5, "the API answered 429")


def test_every_hook_is_called_in_the_order_given() -> None:
    """Hooks get each event in the order in which they were given."""
    calls: list[tuple[str, Event]] = []
    hooks = Hooks([lambda event: calls.append(("a", event)), lambda event: calls.append(("b", event))])
    hooks.emit(PAUSED)
    assert calls == [("a", PAUSED), ("b", PAUSED)]


def test_a_hook_that_raises_is_logged_and_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The exception of a hook is logged, and the next hook is called."""
    calls: list[Event] = []

    def bad(event: Event) -> None:
        raise RuntimeError("mine")

    with caplog.at_level(logging.ERROR, logger="hoox_async"):
        Hooks([bad, calls.append]).emit(PAUSED)
    assert calls == [PAUSED]
    assert "a hook raised at Paused" in caplog.text


async def test_a_hook_that_raises_a_cancellation_cancels_nobody() -> None:
    """A CancelledError of a hook, as of a cancelled future, does not cancel the task that emits."""
    calls: list[Event] = []
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    Hooks([lambda _: future.result(), calls.append]).emit(PAUSED)
    assert calls == [PAUSED]
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


@pytest.mark.parametrize("hooks", [[print, "no"], [None], print, 3])
def test_hooks_that_are_not_a_list_of_callables_are_refused(hooks: Any) -> None:
    """Hooks that are no list of callables are a ConfigurationError when they are given."""
    with pytest.raises(ConfigurationError, match="hooks"):
        Hooks(hooks)


def test_an_event_without_hooks_does_nothing() -> None:
    """`emit` without hooks does nothing."""
    Hooks().emit(PAUSED)


# --- async hooks


class Recorder:
    """Async hooks of all kinds, and the order in which they have begun and ended."""

    def __init__(self) -> None:
        self.order: list[str] = []

    async def slow(self, event: Event) -> None:
        assert isinstance(event, Paused)
        self.order.append(f"begin {event.reason}")
        await asyncio.sleep(0.001)
        self.order.append(f"end {event.reason}")

    async def named(self, name: str, event: Event) -> None:
        await self.slow(event)

    async def __call__(self, event: Event) -> None:
        await self.slow(event)


def paused(reason: object) -> Paused:
    return Paused(1.0, str(reason))


@pytest.mark.parametrize("kind", ["method", "partial", "callable object", "plain function of one"])
async def test_an_async_hook_runs_in_the_order_of_the_events(kind: str) -> None:
    """Each event is handled to its end before the next one, whatever kind of async callable the hook is."""
    recorder = Recorder()
    kinds: dict[str, Hook] = {
        "method": recorder.slow,
        "partial": partial(recorder.named, "me"),
        "callable object": recorder,
        "plain function of one": lambda event: recorder.slow(event),
    }
    hooks = Hooks([kinds[kind]])
    for n in range(3):
        hooks.emit(paused(n))
    assert recorder.order == []
    await hooks.aclose(10.0)
    assert recorder.order == ["begin 0", "end 0", "begin 1", "end 1", "begin 2", "end 2"]


async def test_an_async_hook_delays_neither_the_session_nor_the_other_hooks() -> None:
    """While one async hook hangs, plain hooks are called at once, and another async hook runs."""
    calls: list[Event] = []
    recorder = Recorder()

    async def hangs(event: Event) -> None:
        await asyncio.Event().wait()

    hooks = Hooks([hangs, recorder.slow, calls.append])
    hooks.emit(paused("a"))
    hooks.emit(paused("b"))
    assert calls == [paused("a"), paused("b")]
    while len(recorder.order) < 4:
        await asyncio.sleep(0.001)
    hooks.stop()


async def test_an_async_hook_that_raises_is_logged_and_called_with_the_next_event(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An async hook that raises, even a CancelledError, is logged and gets the next event."""
    seen: list[str] = []

    async def bad(event: Event) -> None:
        assert isinstance(event, Paused)
        seen.append(event.reason)
        if event.reason == "cancelled":
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        raise RuntimeError("mine")

    hooks = Hooks([bad])
    for reason in ("cancelled", "raises", "last"):
        hooks.emit(paused(reason))
    await hooks.aclose(10.0)
    assert seen == ["cancelled", "raises", "last"]
    assert caplog.text.count("an async hook raised at Paused") == 3
    assert "RuntimeError: mine" in caplog.text


async def test_the_events_that_wait_for_an_async_hook_are_limited(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Events beyond the limit of an async hook's queue are dropped, and their number is logged."""
    monkeypatch.setattr("hoox_async._io.hooks.MOST_WAITING", 3)
    recorder = Recorder()
    hooks = Hooks([recorder.slow])
    for n in range(10):
        hooks.emit(paused(n))
    await hooks.aclose(10.0)
    assert recorder.order[::2] == ["begin 0", "begin 1", "begin 2"]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "not called with 1 Paused" in said[0]
    assert "not called with 6 Paused" in said[1]


@pytest.mark.virtual_time
async def test_closing_waits_for_async_hooks_for_a_bounded_time(caplog: pytest.LogCaptureFixture) -> None:
    """A hook that hangs is cancelled after ten seconds; the events that still waited for it are logged."""
    cancelled = asyncio.Event()

    async def hangs(event: Event) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    hooks = Hooks([hangs])
    hooks.emit(paused(1))
    hooks.emit(paused(2))
    await asyncio.sleep(1)
    began = asyncio.get_running_loop().time()
    await hooks.aclose(10.0)
    assert asyncio.get_running_loop().time() - began == pytest.approx(10.0)
    assert cancelled.is_set()
    assert "not called with 1 Paused" in caplog.text


@pytest.mark.virtual_time
async def test_a_sessions_async_hook_has_seen_every_event_when_the_session_is_closed() -> None:
    """When a session is closed its async hook has seen all events, in the order of a plain one."""
    plain: list[Event] = []
    slow: list[Event] = []

    async def hook(event: Event) -> None:
        await asyncio.sleep(0.01)
        slow.append(event)

    async with on_space(hooks=[plain.append, hook]) as (session, _):
        await session.run(prompt())
    assert slow == plain
    assert [event for event in slow if isinstance(event, LookSettled)]


@pytest.mark.virtual_time
async def test_an_async_hook_may_use_the_session() -> None:
    """An async hook can make a request with the session that emitted its event."""
    found: list[Any] = []

    async def hook(event: Event) -> None:
        if isinstance(event, LookSettled):
            found.append(await session.look(event.look))

    async with on_space(hooks=[hook]) as (session, _):
        look = await session.run(prompt())
        await asyncio.sleep(5)
        assert [details.ref for details in found] == [look.ref]
