"""What a batch holds: bounded reading ahead, few items in flight, and no wait for a slow input."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator

import pytest
from batch_kit import PICTURE, avatar, edits, opened, space_of
from internals_kit import ENOUGH_UNSENT, MAX_UNDELIVERED, MAX_UNSENT, Intent, runtime_of
from session_kit import now

from hoox_async import BatchItem, BatchRunner, ImageAvatar, LookEdit, LookRef, PromptAvatar
from hoox_async._batch import window
from hoox_async.sandbox import Space

pytestmark = pytest.mark.virtual_time


class Meter:
    """Counts how many items were read and how many outcomes were delivered."""

    def __init__(self) -> None:
        self.read = 0
        self.delivered = 0
        self.most = 0

    def items(self, source: LookRef, count: int) -> Iterator[BatchItem]:
        """Items, counted as they are read."""
        for n in range(count):
            self.read += 1
            self.most = max(self.most, self.read - self.delivered)
            yield BatchItem(f"e{n}", LookEdit(source, f"e{n}"))


class Sized:
    """An input whose length is known, and that is read lazily all the same."""

    def __init__(self, items: Iterator[BatchItem], count: int) -> None:
        self._items = items
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[BatchItem]:
        return self._items


def running(space: Space) -> int:
    """How many looks are being made now."""
    return sum(look.done_at > now() for look in space.looks.values() if not look.avatar.public)


async def test_twenty_thousand_items_are_read_lazily() -> None:
    """A run never holds more items than may be unsent and undelivered."""
    space = space_of(3.0, requests_per_minute=None)
    meter = Meter()
    async with opened(space, requests_per_minute=60_000) as session:
        source = await avatar(session)
        items = Sized(meter.items(source, 20_000), 20_000)
        async for outcome in BatchRunner(session, max_credits=0).stream(items):
            meter.delivered += 1
            assert str(outcome.state) == "unsent"
    assert meter.delivered == 20_000
    assert meter.most <= ENOUGH_UNSENT + MAX_UNDELIVERED


async def test_a_slow_reader_of_outcomes_holds_the_reading_of_the_input_back() -> None:
    """The input is read no further while thousands of outcomes wait for a slow reader."""
    meter = Meter()
    async with opened(space_of(1.0)) as session:
        source = await avatar(session)
        stream = BatchRunner(session, max_credits=0).stream(meter.items(source, 50_000))
        for _ in range(3):
            await anext(stream)
            meter.delivered += 1
            await asyncio.sleep(1000)
        assert meter.read <= ENOUGH_UNSENT + MAX_UNDELIVERED + 3
        await stream.aclose()


async def test_a_reader_that_stops_reading_does_not_have_thousands_of_looks_paid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For a reader that stops, no more are paid than may be undelivered, however many were read ahead."""
    monkeypatch.setattr(window, "MAX_UNDELIVERED", 100)
    space = space_of(1.0, requests_per_minute=None)
    async with opened(space, requests_per_minute=60_000) as session:
        sources = [await avatar(session) for _ in range(6)]
        items = (edit for n in range(500) for edit in edits(sources[n % 6], 1, f"{n}-"))
        async with BatchRunner(session, max_in_flight=50).stream(items) as stream:
            for _ in range(3):
                await anext(stream)
            await asyncio.sleep(10_000)
            paid = len(space.ledger) - len(sources)
    assert paid == 100 + 3


async def test_what_ended_in_an_earlier_run_is_read_as_fast_as_its_outcomes_are_taken() -> None:
    """Items that ended in an earlier run are read no faster than their outcomes are taken."""
    meter = Meter()
    async with opened(space_of(1.0)) as session:
        source = await avatar(session)
        known = edits(source, 1)[0]
        await BatchRunner(session).run([known])

        def again() -> Iterator[BatchItem]:
            for _ in meter.items(source, 50_000):
                yield known

        async with BatchRunner(session).stream(again()) as stream:
            assert (await anext(stream)).look is not None
            await asyncio.sleep(1000)
        assert meter.read == MAX_UNDELIVERED + 1


async def test_looks_of_one_avatar_are_sent_in_a_row_though_the_input_is_given_scene_by_scene() -> None:
    """30 looks of an avatar are sent in a row, though the input alternates between 60 avatars."""
    space = space_of(5.0)
    async with opened(space) as session:
        made = [await session.submit(ImageAvatar([PICTURE])) for _ in range(60)]
        await asyncio.sleep(130)
        items = [BatchItem(f"{n}", LookEdit(made[n % 60].ref, f"{n}")) for n in range(60 * 30)]
        async with BatchRunner(session).stream(items) as stream:
            for _ in range(25):
                await anext(stream)
            sent = [r.body["avatar_id"] for r in space.requests if r.endpoint == "edit"]
    assert len(set(sent[:30])) == 1


async def test_no_more_is_read_ahead_than_helps_to_choose() -> None:
    """At most 1,000 unsent items are read ahead where all are of one avatar, or all are new avatars."""
    for new in (False, True):
        meter = Meter()
        async with opened(space_of(1.0)) as session:
            source = await avatar(session)
            items = (
                BatchItem(item.key, PromptAvatar(item.key)) if new else item
                for item in meter.items(source, 50_000)
            )
            async with BatchRunner(session).stream(items) as stream:
                await anext(stream)
        assert meter.read <= ENOUGH_UNSENT + MAX_UNDELIVERED


async def test_items_of_many_avatars_are_read_ahead_to_the_limit() -> None:
    """20,000 items are read ahead where no avatar has many of them."""
    meter = Meter()
    async with opened(space_of(1.0)) as session:
        source = await avatar(session)
        items = (
            BatchItem(item.key, LookEdit(LookRef(f"avtr_{n}", "look_1") if n else source, "x"))
            for n, item in enumerate(meter.items(source, 50_000))
        )
        async with BatchRunner(session).stream(items) as stream:
            await anext(stream)
            assert MAX_UNSENT <= meter.read <= MAX_UNSENT + MAX_UNDELIVERED


async def test_sending_begins_after_a_second_of_reading() -> None:
    """The first item is sent within 2 s, though the store needs longer to look up all items."""
    space = space_of(1.0)
    async with opened(space) as session:
        source = await avatar(session)
        await asyncio.sleep(60)
        store = runtime_of(session).store
        look_up = store.get

        async def slow(keys: Collection[str]) -> dict[str, Intent]:
            await asyncio.sleep(0.3)
            return await look_up(keys)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "get", slow)
            items = (
                BatchItem(f"{n}", LookEdit(LookRef(f"avtr_{n}", "look_1") if n else source, "x"))
                for n in range(20_000)
            )
            began = now()
            async with BatchRunner(session).stream(items) as stream:
                await anext(stream)
        first = next(r.at for r in space.requests if r.at > began)
    assert first - began < 2.0


@pytest.mark.parametrize("most", [1, 3, 50])
async def test_max_in_flight_bounds_what_is_being_made(most: int) -> None:
    """Never more looks than ``max_in_flight`` are being made, and with a small limit as many are."""
    space = space_of(30.0)
    seen = 0
    async with opened(space) as session:
        source = await avatar(session)

        async def watch() -> None:
            nonlocal seen
            while True:
                seen = max(seen, running(space))
                await asyncio.sleep(0.1)

        watching = asyncio.create_task(watch())
        await BatchRunner(session, max_in_flight=most).run(edits(source, 20 if most < 50 else 120))
        watching.cancel()
    assert 0 < seen <= most
    if most < 50:
        assert seen == most


async def test_a_slow_async_input_is_never_waited_for() -> None:
    """Each item of a slow async input is sent when it comes, and not when a page is full."""
    space = space_of(1.0)

    async def slow() -> AsyncIterator[BatchItem]:
        for item in edits(source, 4):
            yield item
            await asyncio.sleep(600)

    async with opened(space) as session:
        source = await avatar(session)
        began = now()
        got = [(one.key, now() - began) async for one in BatchRunner(session).stream(slow())]
    assert [key for key, _ in got] == ["e0", "e1", "e2", "e3"]
    assert all(at - 600 * n < 30 for n, (_, at) in enumerate(got))


async def test_a_stop_does_not_wait_for_a_slow_async_input() -> None:
    """A stop closes an async generator that is about to wait, and the run ends."""
    closed: list[bool] = []

    async def slow() -> AsyncIterator[BatchItem]:
        try:
            yield edits(source, 1)[0]
            await asyncio.sleep(10**6)
        finally:
            closed.append(True)

    async with opened(space_of(1.0)) as session:
        source = await avatar(session)
        runner = BatchRunner(session)
        asyncio.get_running_loop().call_later(30, runner.stop)
        report = await runner.run(slow())
    assert [str(outcome.state) for outcome in report] == ["ready"]
    assert closed == [True]
    assert now() < 60
