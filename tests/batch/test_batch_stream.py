"""The stream of outcomes, and all the ways in which it is left."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from batch_kit import avatar, edits, hooked, opened, space_of
from session_kit import paid_prompts, turns

from hoox_async import BatchItem, BatchRunner, HooxSession, ImageAvatar, LookEdit, Outcome
from hoox_async.errors import SessionClosed
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


def tasks_of_a_batch() -> list[str]:
    """The names of the tasks that belong to a run."""
    return [
        task.get_name()
        for task in asyncio.all_tasks()
        if task.get_name().startswith(("hoox-batch", "hoox-item"))
    ]


async def test_outcomes_come_as_items_settle() -> None:
    """A stream gives outcomes as their items settle, so that a slow first item comes last."""
    space = space_of(duration=lambda index, body: 100.0 if body.get("prompt") == "e0" else 10.0)
    async with opened(space) as session:
        source = await avatar(session)
        got = [outcome.key async for outcome in BatchRunner(session).stream(edits(source, 3))]
    assert got[-1] == "e0"
    assert sorted(got) == ["e0", "e1", "e2"]


async def test_nothing_is_sent_before_the_first_outcome_is_asked_for() -> None:
    """Neither making a stream nor closing one that was never started sends anything."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        stream = BatchRunner(session).stream(edits(source, 3))
        await asyncio.sleep(100)
        assert paid_prompts(space).total() == 1  # the avatar
        await stream.aclose()
        assert [outcome async for outcome in stream] == []
        assert tasks_of_a_batch() == []


async def leave_by_break(session: HooxSession, items: list[BatchItem]) -> None:
    async for _ in BatchRunner(session).stream(items):
        break


async def leave_by_exception(session: HooxSession, items: list[BatchItem]) -> None:
    with suppress(ZeroDivisionError):
        async for _ in BatchRunner(session).stream(items):
            raise ZeroDivisionError


async def leave_by_cancellation(session: HooxSession, items: list[BatchItem]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(15.0):
            async for _ in BatchRunner(session).stream(items):
                pass


async def leave_by_aclose(session: HooxSession, items: list[BatchItem]) -> None:
    stream = BatchRunner(session).stream(items)
    await anext(stream)
    await stream.aclose()
    assert tasks_of_a_batch() == [], "at once"
    await stream.aclose()


async def leave_by_context(session: HooxSession, items: list[BatchItem]) -> None:
    async with BatchRunner(session).stream(items) as stream:
        await anext(stream)
    assert tasks_of_a_batch() == [], "at once"


async def leave_by_collection(session: HooxSession, items: list[BatchItem]) -> None:
    stream = BatchRunner(session).stream(items)
    await anext(stream)
    circle = [stream]
    circle.append(circle)  # type: ignore[arg-type]
    del stream, circle
    gc.collect()


WAYS = [
    leave_by_break, leave_by_exception, leave_by_cancellation, leave_by_aclose, leave_by_context,
    leave_by_collection,
]  # fmt: skip


@pytest.mark.parametrize("leave", WAYS)
async def test_a_stream_that_is_left_ends_its_tasks_and_keeps_what_was_accepted(
    leave: Callable[[HooxSession, list[BatchItem]], object],
) -> None:
    """A stream that is left ends its tasks within a few turns of the loop, and sends nothing more."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        await leave(session, edits(source, 60))  # type: ignore[misc]
        await turns()
        assert tasks_of_a_batch() == []
        await asyncio.sleep(1)  # a POST that was outstanding is finished
        paid = paid_prompts(space)
        assert 0 < len(paid) < 60
        jobs = await session.jobs()
        await asyncio.sleep(120)
        assert paid_prompts(space) == paid
        looks = await asyncio.gather(*jobs)
        report = await BatchRunner(session).run(edits(source, 60))
    refs = {outcome.ref for outcome in report}
    assert {look.ref for look in looks} <= refs
    assert set(paid_prompts(space).values()) == {1}


async def test_a_post_that_is_outstanding_when_the_reader_leaves_is_finished_and_recorded() -> None:
    """A POST that is outstanding when the stream's reader is cancelled is finished and recorded."""
    space = space_of()
    async with opened(space, transport={"latency": 4.0}) as session:
        source = await avatar(session)
        with suppress(TimeoutError):
            async with asyncio.timeout(3.0):
                await BatchRunner(session).run(edits(source, 1))
        assert paid_prompts(space)["e0"] == 1
        assert await session.jobs() == []
        await asyncio.sleep(4)
        (job,) = await session.jobs()
        assert job.key == "e0"
        (outcome,) = (await BatchRunner(session).run(edits(source, 1))).outcomes
    assert outcome.ref == job.ref
    assert paid_prompts(space)["e0"] == 1


async def test_running_again_joins_a_post_that_is_still_outstanding() -> None:
    """A second run joins the POST of its item that is still outstanding, and the item ends READY."""
    space = space_of()
    async with opened(space, transport={"latency": 4.0}) as session:
        source = await avatar(session)
        with suppress(TimeoutError):
            async with asyncio.timeout(3.0):
                await BatchRunner(session).run(edits(source, 1))
        (outcome,) = (await BatchRunner(session).run(edits(source, 1))).outcomes
    assert str(outcome.state) == "ready"
    assert paid_prompts(space)["e0"] == 1


async def test_a_session_that_is_closed_under_a_stream() -> None:
    """A stream whose session is closed raises `SessionClosed`, as often as it is asked."""
    space = space_of(50.0)
    async with opened(space) as session:
        source = await avatar(session)
        stream = BatchRunner(session).stream(edits(source, 30))
        found: list[Outcome] = []

        async def read() -> None:
            async for outcome in stream:
                found.append(outcome)  # noqa: PERF401 - what came before it raised is looked at

        reading = asyncio.create_task(read())
        await asyncio.sleep(5)
        await session.aclose()
        with pytest.raises(SessionClosed):
            await reading
        with pytest.raises(SessionClosed):
            await anext(stream)
        assert tasks_of_a_batch() == []
        assert all(str(outcome.state) in ("unsent", "pending") for outcome in found)


async def test_a_stream_of_a_session_that_was_closed_before_it_began() -> None:
    """A stream whose session was closed before it began raises `SessionClosed` and leaves no task."""
    async with opened(space_of()) as session:
        stream = BatchRunner(session).stream([ImageAvatar(["https://example.com/a.jpg"])])
    with pytest.raises(SessionClosed):
        await anext(stream)
    with pytest.raises(SessionClosed):
        BatchRunner(session).stream([])
    assert tasks_of_a_batch() == []


async def test_a_generator_of_the_callers_is_closed_when_the_stream_is_left() -> None:
    """The ``finally`` of a caller's generator runs when the stream is left early."""
    closed: list[bool] = []

    def given() -> Iterator[LookEdit]:
        try:
            while True:
                yield LookEdit(source, "x")
        finally:
            closed.append(True)

    async with opened(space_of()) as session:
        source = await avatar(session)
        async with BatchRunner(session).stream(given()) as stream:
            await anext(stream)
        assert closed == [True]


async def test_a_consumer_that_is_slow_slows_nothing_down() -> None:
    """A batch goes on while its consumer is slow between two outcomes."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        ended = []
        async for outcome in BatchRunner(session).stream(edits(source, 20)):
            ended.append(outcome.settled_at or datetime.max.replace(tzinfo=UTC))
            await asyncio.sleep(60)
        assert max(ended) - min(ended) < timedelta(seconds=60)


async def test_many_readers_share_one_stream() -> None:
    """Each outcome goes to one of several readers of a stream, and all of them end."""
    async with opened(space_of()) as session:
        source = await avatar(session)
        stream = BatchRunner(session).stream(edits(source, 12))

        async def read() -> list[str]:
            return [outcome.key async for outcome in stream]

        found = await asyncio.gather(*(read() for _ in range(3)))
    assert sorted(key for keys in found for key in keys) == sorted(f"e{n}" for n in range(12))


async def test_a_lost_post_of_a_stream_that_was_left_is_proved_for_the_next_run() -> None:
    """The delivery of a POST that was lost after its stream was left gives the next run its look."""
    space = space_of()
    async with hooked(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.DROP_AFTER)
        with suppress(TimeoutError):
            async with asyncio.timeout(1.5):
                await BatchRunner(session).run(edits(source, 2))
        report = await BatchRunner(session).run(edits(source, 2))
    assert [str(outcome.evidence) for outcome in report] == ["webhook", "answer"]
    assert paid_prompts(space)["e0"] == paid_prompts(space)["e1"] == 1
