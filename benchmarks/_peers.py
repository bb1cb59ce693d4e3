"""How such batches are run today: a semaphore, and a timer for each look. For `quota.py`.

They share the library's wire format and transport, so that what differs is the strategy alone. Answered
429, they wait until the server's reset and try again, as the API's pages advise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count

from _worlds import World

from hoox_async import LookEdit, LookRef
from hoox_async._api.endpoints import WireRequest, WireResponse, status_request, submit_request
from hoox_async._api.responses import read_accepted, read_status, server_quota
from hoox_async.sandbox import InProcessTransport

IN_FLIGHT = 50


class FixedInterval:
    """At most 50 looks at a time; each is asked for every so many seconds (the vendor's advice: 10)."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def pauses(self) -> Iterator[float]:
        """How long to wait before each status request."""
        return (self.seconds for _ in count())

    async def __call__(self, world: World, avatars: list[LookRef]) -> None:
        transport = world.transport()
        await transport.start()
        room = asyncio.Semaphore(IN_FLIGHT)
        async with asyncio.TaskGroup() as tasks:
            for item in range(world.scenario.edits):
                await room.acquire()
                source = avatars[item % len(avatars)]
                task = tasks.create_task(self._look(world, transport, item, source))
                task.add_done_callback(lambda _: room.release())

    async def _look(self, world: World, transport: InProcessTransport, item: int, source: LookRef) -> None:
        edit = LookEdit(source, f"item {item}")
        ref = read_accepted(await _send(transport, submit_request(edit, source, None)), source)
        for pause in self.pauses():
            await asyncio.sleep(pause)
            look = read_status(await _send(transport, status_request(ref)), ref)
            if look.status.settled:
                world.saw(item, ref)
                return


class Backoff(FixedInterval):
    """The same, asking after 1 s, 2 s, 4 s … up to every 60 s."""

    def __init__(self) -> None:
        super().__init__(60.0)

    def pauses(self) -> Iterator[float]:
        """How long to wait before each status request."""
        return (min(2.0**n, self.seconds) for n in count())


async def _send(transport: InProcessTransport, request: WireRequest) -> WireResponse:
    while True:
        response = await transport.send(request)
        if response.status != 429:
            return response
        quota = server_quota(response.headers)
        await asyncio.sleep((quota and quota.resets_in) or 1.0)
