"""Submissions where the store fails before or after the POST."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from internals_kit import IntentState, MemoryLedger
from session_kit import money, on_space, prompt, sends, store_of

from hoox_async import Budget, HooxSession, LookStatus
from hoox_async.errors import NotSent, OutcomeUnknown, StoreError
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time


def failing(
    session: HooxSession, monkeypatch: pytest.MonkeyPatch, name: str, when: Callable[..., bool]
) -> None:
    store = store_of(session)
    method = getattr(store, name)

    async def wrapped(*args: Any) -> Any:
        if when(*args):
            raise StoreError("disk full")
        return await method(*args)

    monkeypatch.setattr(store, name, wrapped)


async def test_a_store_that_fails_before_the_post_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SENDING can't be written, nothing is sent and nothing is charged."""
    async with on_space() as (session, space):
        budget = Budget(10)
        failing(session, monkeypatch, "plan", lambda *_: True)
        with pytest.raises(StoreError) as caught:
            await session.submit(prompt(), key="k", budget=budget)
        assert (caught.value.charged, caught.value.ref) == ("no", None)
        assert (space.requests, *money(budget)) == ([], 0, 0)
        monkeypatch.undo()
        await session.submit(prompt(), key="k", budget=budget)
        assert len(space.ledger) == 1


async def test_a_store_that_fails_after_the_post_says_what_was_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the look that was paid, and the key is not sent again."""
    store, space = MemoryLedger(), Space(rng=Random(1))
    async with on_space(space, store=store) as (session, _):
        budget = Budget(10)
        failing(session, monkeypatch, "advance", lambda *_: True)
        with pytest.raises(StoreError) as caught:
            await session.submit(prompt(), key="k", budget=budget)
        assert (caught.value.charged, caught.value.ref) == ("yes", space.ledger[0].ref)
        assert money(budget) == (0, 2)
        with pytest.raises(StoreError) as again:
            await session.submit(prompt(), key="k")
        assert (again.value.charged, again.value.ref) == ("yes", space.ledger[0].ref)
    monkeypatch.undo()
    async with on_space(space, store=store) as (session, _):
        (unknown,) = await session.unknowns()
        assert caught.value.ref is not None
        job = await session.resolve(unknown.key, caught.value.ref)
        assert job is not None
        assert (await job).status is LookStatus.READY
    assert len(space.ledger) == 1


async def test_a_lost_post_in_a_failing_store_is_unknown_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A lost POST raises OutcomeUnknown also where the store fails at that moment."""
    async with on_space() as (session, space):
        for broken in ("advance", "get"):
            space.faults.fail_next("create", Fault.DROP_AFTER)
            budget, key = Budget(10), broken
            task = asyncio.create_task(session.submit(prompt(), key=key, budget=budget))
            await asyncio.sleep(0.1)
            failing(session, monkeypatch, broken, lambda *_: True)
            with pytest.raises(OutcomeUnknown) as caught:
                await task
            monkeypatch.undo()
            assert (caught.value.charged, *money(budget)) == ("maybe", 0, 2)
        assert len(space.ledger) == 2


@pytest.mark.parametrize("known", [False, True])
async def test_a_permit_that_the_write_of_sending_outlasted_is_not_used(
    monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """Where writing SENDING outlasts the permit, it is taken back, and sent with another permit."""
    async with on_space() as (session, space):
        if known:
            space.faults.fail_next("create", Fault.RATE_LIMITED)
            with pytest.raises(NotSent):
                await session.submit(prompt(), key="k", max_wait=0.0)
        store = store_of(session)
        name, slow = "advance" if known else "plan", [40.0]
        write = getattr(store, name)

        async def wrapped(*args: Any) -> Any:
            written = await write(*args)
            if slow and written.state is IntentState.SENDING:
                await asyncio.sleep(slow.pop())
            return written

        monkeypatch.setattr(store, name, wrapped)
        sent_before = sends(space, "create")
        job = await session.submit(prompt(), key="k")
        assert not slow
        assert sends(space, "create") == sent_before + 1
        assert (await job).status is LookStatus.READY
        assert len(space.ledger) == 1
