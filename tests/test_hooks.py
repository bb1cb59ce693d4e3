"""Hooks: told of each event, in order, and harmless."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from hoox_async._hooks import Hooks
from hoox_async.errors import ConfigurationError
from hoox_async.events import Event, Paused

pytestmark = pytest.mark.both_loops

PAUSED = Paused(1.5, "the API answered 429")


def test_every_hook_is_told_in_order() -> None:
    """In the order in which they were given."""
    told: list[tuple[str, Event]] = []
    hooks = Hooks([lambda event: told.append(("a", event)), lambda event: told.append(("b", event))])
    hooks.tell(PAUSED)
    assert told == [("a", PAUSED), ("b", PAUSED)]


def test_a_hook_that_raises_is_logged_and_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The next one is told all the same."""
    told: list[Event] = []

    def bad(event: Event) -> None:
        raise RuntimeError("mine")

    with caplog.at_level(logging.ERROR, logger="hoox_async"):
        Hooks([bad, told.append]).tell(PAUSED)
    assert told == [PAUSED]
    assert "a hook raised at Paused" in caplog.text


async def test_a_hook_that_raises_a_cancellation_cancels_nobody() -> None:
    """Such as the result() of a future that was cancelled: whoever told it goes on."""
    told: list[Event] = []
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    Hooks([lambda _: future.result(), told.append]).tell(PAUSED)
    assert told == [PAUSED]
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


@pytest.mark.parametrize("hooks", [[print, "no"], [None], print, 3])
def test_what_is_no_list_of_callables_is_refused(hooks: Any) -> None:
    """When the session is made, not at the first event."""
    with pytest.raises(ConfigurationError, match="hooks"):
        Hooks(hooks)


def test_no_hooks_are_fine() -> None:
    """Nobody listens, nothing happens."""
    Hooks().tell(PAUSED)
