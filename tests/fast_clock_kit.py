"""A loop whose clock is faster than real time: for tests over sockets that wait for a pause of seconds.

`VirtualTimeLoop` cannot run them: its clock would jump ahead of the peer's answer.
"""

from __future__ import annotations

import asyncio
import selectors

SPEED = 20
"""Seconds of the loop in a second. A time-out of the library (10 s to connect) stays long enough."""


class _FastSelector(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(timeout if timeout is None else timeout / SPEED)


class FastLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on which a pause of 20 seconds takes one."""

    def __init__(self) -> None:
        super().__init__(_FastSelector())

    def time(self) -> float:
        return super().time() * SPEED
