"""The session's clock: the loop's time, and UTC derived from it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, tzinfo

import pytest

from hoox_async._io.clock import Clock
from hoox_async.testing import VirtualTimeLoop


@pytest.mark.virtual_time
async def test_utc_goes_with_the_loop() -> None:
    """An hour of the loop is an hour of UTC, counted from the loop's own epoch."""
    clock = Clock(asyncio.get_running_loop())
    assert clock.utc() == VirtualTimeLoop.epoch + timedelta(seconds=clock.now())
    before = clock.utc()
    await asyncio.sleep(3600)
    assert clock.utc() - before == timedelta(hours=1)


@pytest.mark.virtual_time
async def test_a_moment_goes_there_and_back() -> None:
    """To the microsecond, which is what a store keeps."""
    clock = Clock(asyncio.get_running_loop())
    moment = datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
    assert clock.to_utc(clock.to_loop(moment)) == moment
    assert clock.to_loop(clock.to_utc(12.5)) == 12.5


async def test_a_real_loop_has_the_real_time() -> None:
    """Aware, and not away from the system's by more than the time it takes to ask."""
    before = datetime.now(UTC)
    told = Clock(asyncio.get_running_loop()).utc()
    after = datetime.now(UTC)
    slack = timedelta(milliseconds=5)
    assert before - slack <= told <= after + slack
    assert told.utcoffset() == timedelta(0)


async def test_utc_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that slept for an hour, in which the loop's clock stood still, stores the right times."""
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
