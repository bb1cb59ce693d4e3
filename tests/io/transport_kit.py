"""What the tests of the aiohttp transport share: requests, short timeouts, an open transport."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hoox_async import Endpoint, LookRef, Timeouts
from hoox_async._api.endpoints import WireRequest, status_request
from hoox_async._io.transport import HttpTransport

KEY = "hx_live_marked"
POST = WireRequest(Endpoint.CREATE, "POST", "avatar/create", body={"prompt": "x"})
GET = status_request(LookRef("avtr_1", "look_1"))
STATUS = b'{"avatar_id": "avtr_1", "look_id": "look_1", "status": "pending"}'
SHORT = Timeouts(connect=0.5, read=0.4, answer=0.4)


@asynccontextmanager
async def transport_to(url: str, timeouts: Timeouts = SHORT) -> AsyncIterator[HttpTransport]:
    transport = HttpTransport(url, KEY, timeouts)
    await transport.start()
    try:
        yield transport
    finally:
        await transport.aclose()
