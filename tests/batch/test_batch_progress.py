"""What a batch tells its ``progress`` callback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import pairwise

import pytest
from batch_kit import avatar, edits, opened, space_of
from session_kit import paid_prompts

from hoox_async import BatchItem, BatchRunner, ConfigurationError, LookEdit, Progress
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


class Seen:
    """Keeps each call with the loop's time of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Progress]] = []

    def __call__(self, progress: Progress) -> None:
        self.calls.append((asyncio.get_running_loop().time(), progress))

    @property
    def last(self) -> Progress:
        return self.calls[-1][1]


async def test_progress_is_told_ten_times_a_second_at_most_and_at_the_end() -> None:
    """Counts only grow, at most ten calls come in a second, and the last one has the figures of the report.

    A lost POST is among the unknowns and in the credits.
    """
    space, seen = space_of(duration=lambda index, body: 5.0 + index % 7), Seen()
    space.faults.fail_next("edit", Fault.DROP_AFTER)
    async with opened(space) as session:
        source = await avatar(session)
        report = await BatchRunner(session, progress=seen).run(edits(source, 120))
    calls = [progress for _, progress in seen.calls]
    assert all(now.done - before.done >= 0 for before, now in pairwise(calls))
    assert all(before.credits <= now.credits for before, now in pairwise(calls))
    assert all(now - before >= 0.0999 for (before, _), (now, _) in pairwise(seen.calls[:-1]))
    assert {progress.total for progress in calls} == {120}
    assert 5 <= max(progress.in_flight for progress in calls) <= 120
    paid = report.credits_spent + report.credits_at_risk
    assert paid == 240
    assert seen.last == Progress(120, 0, 1, 120, paid, 0.0)
    middle = next((at, progress) for at, progress in seen.calls if progress.done >= 40)
    left = middle[1].seconds_left
    assert left is not None
    took = seen.calls[-1][0] - middle[0]
    assert took / 1.5 < left < took * 1.5


async def test_a_resumed_batch_counts_what_earlier_runs_have_paid() -> None:
    """What the store knows is done at once and in the credits; only the rest takes time."""
    space, seen = space_of(), Seen()
    async with opened(space) as session:
        items = edits(await avatar(session), 20)
        await BatchRunner(session).run(items[:15])
        before = paid_prompts(space).total()
        await BatchRunner(session, progress=seen).run(items)
    assert paid_prompts(space).total() == before + 5
    done_early = next(progress for _, progress in seen.calls if progress.done)
    assert (done_early.done, done_early.credits >= 30) == (15, True)
    assert seen.last == Progress(20, 0, 0, 20, Decimal(40), 0.0)


async def test_without_a_length_neither_total_nor_time_left_is_known() -> None:
    """Of an async input and of a generator both are None."""
    space, seen = space_of(), Seen()
    async with opened(space) as session:
        source = await avatar(session)

        async def arriving() -> AsyncIterator[BatchItem]:
            for item in edits(source, 3):
                yield item

        await BatchRunner(session, progress=seen).run(arriving())
        await BatchRunner(session, progress=seen).run(LookEdit(source, str(n)) for n in range(3))
    assert {(one.total, one.seconds_left) for _, one in seen.calls} == {(None, None)}
    assert seen.last.done == 3


async def test_a_batch_that_gets_no_answer_knows_no_time_left() -> None:
    """While paid requests are held back, the time left is None; then it is known again."""
    space, seen = space_of(), Seen()
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.DROP_AFTER, times=5)
        await BatchRunner(session, progress=seen).run(edits(source, 30))
    known = [one.seconds_left is not None for _, one in seen.calls]
    assert (known[0], known[-1]) == (True, True)
    assert False in known
    assert seen.last.unknown == 5


async def test_a_callback_that_raises_is_logged_and_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Each item gets its outcome, and the callback is called again; a batch that is left tells it at once."""
    calls: list[Progress] = []

    def broken(progress: Progress) -> None:
        calls.append(progress)
        raise asyncio.CancelledError if len(calls) % 2 else ValueError("a bug of the caller's")

    async with opened(space_of()) as session:
        source = await avatar(session)
        runner = BatchRunner(session, progress=broken)
        with caplog.at_level(logging.ERROR, "hoox_async"):
            assert len((await runner.run(edits(source, 3))).ready) == 3
            count = len(calls)
            async with runner.stream(edits(source, 30, "f")) as stream:
                await anext(stream)
    assert count > 2
    assert len(calls) > count
    assert {record.message for record in caplog.records} == {"the progress callback of a batch raised"}
    assert len(caplog.records) == len(calls)


async def test_what_cannot_be_called_is_invalid() -> None:
    """A callback is a plain function: an async one would never run."""

    async def asynchronous(progress: Progress) -> None: ...

    async with opened(space_of()) as session:
        for wrong in (asynchronous, "print"):
            with pytest.raises(ConfigurationError, match=r"progress: .* expected a plain function"):
                BatchRunner(session, progress=wrong)  # type: ignore[arg-type]
