"""Tasks of a batch that somebody else cancels: each item has its outcome, and the batch goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import pytest
from batch_kit import PICTURE, avatar, counts, edits, opened, space_of
from internals_kit import Intent, MemoryLedger
from session_kit import paid_prompts

from hoox_async import BatchItem, BatchRunner, HooxSession, ImageAvatar, LookEdit
from hoox_async.errors import HooxError
from hoox_async.sandbox import Fault, Sandbox


def cancel(name: str) -> bool:
    """Cancel the tasks of this name; whether there was one."""
    tasks = [task for task in asyncio.all_tasks() if task.get_name() == name]
    for task in tasks:
        task.cancel()
    return bool(tasks)


async def cancelled_at(seconds: float, name: str = "hoox-item-e1") -> None:
    await asyncio.sleep(seconds)
    cancel(name)


@pytest.mark.virtual_time
@pytest.mark.parametrize("tenth", range(0, 45, 2))
async def test_an_item_that_is_cancelled_at_any_moment_has_an_outcome(tenth: int) -> None:
    """An item whose task is cancelled at any moment is UNSENT only if it is not paid; the others are made."""
    space = space_of(2.0)
    async with opened(space, transport={"latency": 0.7, "connect": 0.3}) as session:
        source = await avatar(session)
        items = [*edits(source, 4), *edits("e1", 2, "f")]
        reaper = asyncio.create_task(cancelled_at(tenth / 10))
        report = await BatchRunner(session).run(items)
        await reaper
        again = await BatchRunner(session).run(items)
    assert len(report) == 6
    got = {outcome.key: outcome for outcome in report}
    assert {str(got[key].state) for key in ("e0", "e2", "e3")} == {"ready"}
    assert str(got["e1"].state) in ("unsent", "pending", "ready")
    assert (got["e1"].credits > 0) is (str(got["e1"].state) != "unsent")
    assert counts(again) == {"ready": 6}
    assert set(paid_prompts(space).values()) == {1}


@pytest.mark.virtual_time
async def test_an_item_that_is_cancelled_before_its_task_has_begun_has_an_outcome() -> None:
    """An item whose task is cancelled before its first step is UNSENT, and the others are made."""
    space = space_of(2.0)
    async with opened(space) as session:
        source = await avatar(session)

        async def reap() -> None:
            while not cancel("hoox-item-e1"):
                await asyncio.sleep(0)

        reaper = asyncio.create_task(reap())
        report = await BatchRunner(session).run(edits(source, 3))
        await reaper
    assert counts(report) == {"ready": 2, "unsent": 1}
    assert "cancelled" in str(report.outcomes[1].error)


@pytest.mark.virtual_time
async def test_a_lost_post_of_a_cancelled_item_is_unknown() -> None:
    """The outstanding POST of a cancelled item is waited for, and its loss makes the item UNKNOWN."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.HANG)
        reaper = asyncio.create_task(cancelled_at(5.0, "hoox-item-e0"))
        report = await BatchRunner(session).run(edits(source, 2))
        await reaper
    assert [str(outcome.state) for outcome in report] == ["unknown", "ready"]
    assert report.outcomes[0].at_risk == 2


class CancellingStore(MemoryLedger):
    """A store that cancels the task that uses it, from the n-th look-up of the key on."""

    def __init__(self, key: str, first: int, times: int) -> None:
        super().__init__()
        self._key = key
        self._left = range(first, first + times)
        self._count = 0

    async def get(self, keys: Collection[str]) -> dict[str, Intent]:
        if list(keys) == [self._key]:
            self._count += 1
            if self._count in self._left:
                raise asyncio.CancelledError
        return await super().get(keys)


@pytest.mark.parametrize(("times", "state"), [(1, "unsent"), (100, "unknown")])
@pytest.mark.fast_clock
async def test_a_cancellation_that_the_store_raises_ends_its_item_alone(times: int, state: str) -> None:
    """A CancelledError of the store ends only its item, which is UNKNOWN where the store repeats it."""
    async with (
        Sandbox(speed=50) as sandbox,
        sandbox.session(store=CancellingStore("e1", 1, times)) as session,
    ):
        source = (await session.run(ImageAvatar([PICTURE]), key="source")).ref
        report = await BatchRunner(session).run(edits(source, 4))
    assert [str(outcome.state) for outcome in report] == ["ready", state, "ready", "ready"]


@pytest.mark.virtual_time
async def test_a_cancelled_wait_for_a_source_of_an_earlier_run_leaves_its_item_unsent() -> None:
    """An item whose wait for an earlier run's source is cancelled is UNSENT, and so are its dependents."""
    space = space_of(100.0)
    async with opened(space) as session:
        source = await avatar(session)
        await BatchRunner(session, look_timeout=1).run(edits(source, 1))
        reaper = asyncio.create_task(cancelled_at(5.0, "hoox-batch-source"))
        items = [BatchItem("f", LookEdit("e0", "f")), BatchItem("g", LookEdit("f", "g"))]
        report = await BatchRunner(session).run(items)
        await reaper
    assert counts(report) == {"unsent": 2}


@pytest.mark.virtual_time
async def test_a_cancelled_reader_of_the_input_ends_the_batch_with_an_error() -> None:
    """A cancelled reader of the input raises an error: it must not look like the end of the input."""

    async def slow() -> Any:
        for item in items:
            yield item
            await asyncio.sleep(10)

    space = space_of()
    async with opened(space) as session:
        items = edits(await avatar(session), 5)
        reaper = asyncio.create_task(cancelled_at(25.0, "hoox-batch-reader"))
        with pytest.raises(HooxError, match="reads the input was cancelled"):
            await BatchRunner(session).run(slow())
        await reaper
        assert counts(await BatchRunner(session).run(items)) == {"ready": 5}
    assert max(paid_prompts(space).values()) == 1


@pytest.mark.virtual_time
async def test_a_batch_that_is_cancelled_as_a_whole_ends_at_once() -> None:
    """A batch that is cancelled as a whole leaves no task of an item."""

    async def left(session: HooxSession) -> set[str]:
        await asyncio.sleep(0.5)
        return {task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("hoox-item")}

    space = space_of(100.0)
    async with opened(space) as session:
        source = await avatar(session)
        run = asyncio.create_task(BatchRunner(session).run(edits(source, 5)))
        await asyncio.sleep(20)
        run.cancel()
        await asyncio.wait([run])
        assert run.cancelled()
        assert await left(session) == set()
