"""A caller's slots: all within the time that it has."""

from __future__ import annotations

import asyncio

import pytest

from hoox_async._io.clock import Clock
from hoox_async._session.rate_limiter import Gate, OwnSlots
from hoox_async.errors import NotSent

pytestmark = pytest.mark.virtual_time


async def test_without_an_end_it_waits_as_long_as_it_takes() -> None:
    """Also through a pause of a minute."""
    gate = Gate(Clock(asyncio.get_running_loop()), 100)
    take = OwnSlots(gate, None)
    gate.pause(60.0, "a test")
    began = gate.clock.now()
    (await take()).give_back()
    assert gate.clock.now() - began == pytest.approx(60.0, abs=0.1)
    assert take.left() is None


async def test_all_calls_share_one_patience() -> None:
    """What one has waited is missing for the next."""
    gate = Gate(Clock(asyncio.get_running_loop()), 100)
    take = OwnSlots(gate, 5.0)
    gate.pause(3.0, "a test")
    (await take()).give_back()
    assert take.left() == pytest.approx(2.0, abs=0.1)
    gate.pause(3.0, "a test")
    with pytest.raises(NotSent):
        await take()
    await asyncio.sleep(10.0)
    assert take.left() == 0.0
    (await take()).give_back()  # free at once: that needs no patience
