"""The session's clock: the loop's time, and UTC derived from it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, tzinfo

import pytest
from internals_kit import Clock

from hoox_async.testing import VirtualTimeLoop


@pytest.mark.virtual_time
async def test_utc_on_a_virtual_loop_is_computed_from_its_time() -> None:
    """The UTC of a virtual loop is its own epoch plus its time."""
    clock = Clock(asyncio.get_running_loop())
    assert clock.utc() == VirtualTimeLoop.epoch + timedelta(seconds=clock.now())
    before = clock.utc()
    await asyncio.sleep(3600)
    assert clock.utc() - before == timedelta(hours=1)


@pytest.mark.virtual_time
async def test_a_utc_time_can_be_converted_to_loop_time_and_back() -> None:
    """A time converted to loop time and back is the same to the microsecond."""
    clock = Clock(asyncio.get_running_loop())
    moment = datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
    assert clock.to_utc(clock.to_loop(moment)) == moment
    assert clock.to_loop(clock.to_utc(12.5)) == 12.5


async def test_a_real_loop_has_the_utc_of_the_system() -> None:
    """The clock of a real loop gives the system's UTC as an aware datetime."""
    before = datetime.now(UTC)
    utc = Clock(asyncio.get_running_loop()).utc()
    after = datetime.now(UTC)
    slack = timedelta(milliseconds=5)
    assert before - slack <= utc <= after + slack
    assert utc.utcoffset() == timedelta(0)


async def test_utc_is_right_after_the_machine_has_slept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock reads UTC each time, since the loop's time stands still while the machine sleeps."""
    clock = Clock(asyncio.get_running_loop())
    before = clock.utc()

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(hours=1)

    monkeypatch.setattr("hoox_async._io.clock.datetime", Later)
    assert clock.utc() - before >= timedelta(hours=1)
    sent = clock.utc() - timedelta(seconds=30)
    assert clock.now() - clock.to_loop(sent) == pytest.approx(30.0, abs=1.0)
