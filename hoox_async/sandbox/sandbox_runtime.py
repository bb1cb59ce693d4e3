"""What a running sandbox owns on its event loop: the server, the webhook sender and the drawing thread."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import aiohttp

from .._io.clock import running_loop
from .drawing.picture import paint
from .server import Server
from .webhook_sender import DeliveryOptions, DeliveryRecord, WebhookSender
from .workspace import Space
from .workspace_records import PictureFile

_KEPT_PICTURES = 64


class SandboxRuntime:
    """The server, webhook sender and drawing thread of one sandbox, on the loop that it is made on."""

    def __init__(
        self,
        space: Space,
        port: int,
        latency: float,
        options: DeliveryOptions,
        rng: Random,
        delivered: list[DeliveryRecord],
    ) -> None:
        self.loop: asyncio.AbstractEventLoop = running_loop()
        self.thread_id: int = threading.get_ident()
        self.webhook_sender: WebhookSender = WebhookSender(space, self._deliver, options, rng, delivered)
        self._server = Server(
            space, port=port, latency=latency, draw_picture=self._draw, webhook_sender=self.webhook_sender
        )
        self._drawing_thread = ThreadPoolExecutor(1, thread_name_prefix="hoox sandbox drawing")
        self._pictures: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._http: aiohttp.ClientSession | None = None

    async def start(self) -> str:
        """Start, and return the server's address. Raises `ConfigurationError` if the port is not free."""
        address = await self._server.start()
        self.webhook_sender.start()
        return address

    async def aclose(self) -> None:
        """Stop all of them. Requests that are still unanswered lose their connection."""
        await self._server.aclose()
        await self.webhook_sender.aclose()
        if self._http is not None:
            await self._http.close()
        self._drawing_thread.shutdown(wait=False, cancel_futures=True)

    async def _deliver(self, url: str, body: dict[str, Any]) -> int:
        if self._http is None:
            self._http = aiohttp.ClientSession()
        async with self._http.post(url, json=body, allow_redirects=False) as response:
            return response.status

    async def _draw(self, file: PictureFile) -> bytes:
        """The picture, drawn in a thread. The latest pictures are kept in memory."""
        name = (file.look.id, file.form)
        if name in self._pictures:
            self._pictures.move_to_end(name)
            return self._pictures[name]
        data = await self.loop.run_in_executor(self._drawing_thread, paint, file)
        self._pictures[name] = data
        while len(self._pictures) > _KEPT_PICTURES:
            self._pictures.popitem(last=False)
        return data
