"""A transport that hands requests to a fake workspace in the same process, without sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from .._api.endpoints import WireRequest, WireResponse
from .._checks import option
from .._io.protocols import BeforeSend, Fetched
from ..errors import NotSent, TransportError, UnexpectedResponse
from .answers import HttpResponse
from .fault_injection import Exchange, Fault
from .received_requests import IncomingRequest, RequestRecord
from .space import Space
from .webhook_sender import Deliver, DeliveryOptions, WebhookSender


class InProcessTransport:
    """Hands a session's requests to a `Space` in this process, in the time of the running loop.

        space = Space(requests_per_minute=100)
        session = HooxSession(space.api_key, transport=InProcessTransport(space))

    A request takes ``latency`` seconds, half of it until the workspace receives it. A paid request takes
    ``connect`` seconds more, before it is sent. A response that takes longer than ``answer`` seconds (for a
    paid request) or ``read`` seconds (for others) raises `TransportError`. ``deliver`` posts webhooks:
    ``await deliver(url, body)`` returns an HTTP status. The faults of ``space.faults`` have the same effects
    as on the server, and `Fault.REFUSED` works too.

    Unix time is counted from the loop's ``epoch`` if it has one (as `VirtualTimeLoop` has); else it is the
    real time. Several transports may share one space; only one of them may have ``deliver``. Raises
    `ConfigurationError` for an option that is not usable.
    """

    def __init__(
        self,
        space: Space,
        *,
        latency: float = 0.3,
        connect: float = 0.05,
        answer: float = 120.0,
        read: float = 30.0,
        api_key: str | None = None,
        deliver: Deliver | None = None,
        deliveries: DeliveryOptions | None = None,
        seed: int = 0,
    ) -> None:
        option.instance("space", space, Space, "a Space")
        option.instance("deliveries", deliveries, DeliveryOptions | None, "a DeliveryOptions, or None")
        if deliver is not None:
            option.function("deliver", deliver, "an async function of a URL and a body, or None")
        if api_key is not None:
            option.text("api_key", api_key)
        self.space = space
        self._latency = option.number("latency", latency)
        self._connect = option.number("connect", connect)
        self._timeouts = {
            True: option.seconds("answer", answer, endless=True),
            False: option.seconds("read", read, endless=True),
        }
        self._authorization = f"Bearer {space.api_key if api_key is None else api_key}"
        self._deliver = deliver
        self._options = deliveries or DeliveryOptions()
        self._seed = option.whole("seed", seed, least=0)
        self.webhook_sender: WebhookSender | None = None

    async def start(self) -> None:
        """Set the space's Unix time, and start to send webhooks."""
        loop = asyncio.get_running_loop()
        epoch = getattr(loop, "epoch", None)
        self.space.epoch = epoch.timestamp() if epoch is not None else time.time() - loop.time()
        if self._deliver is not None:
            rng = Random(self._seed)  # noqa: S311 - chances of a fake
            self.webhook_sender = WebhookSender(self.space, self._deliver, self._options, rng)
            self.webhook_sender.start()

    async def aclose(self) -> None:
        """Stop sending webhooks."""
        if self.webhook_sender is not None:
            await self.webhook_sender.aclose()

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        """Send the request once: see `hoox_async._io.protocols.Transport`."""
        fault = self.space.faults.next_fault(request.endpoint)
        if request.endpoint.paid:
            await asyncio.sleep(self._connect)
        if fault is not None and fault.kind == "refuse":
            self._record(request, fault.name)
            raise NotSent("the connection was refused (sandbox)")
        if before_send is not None:
            await before_send()
        try:
            async with asyncio.timeout(self._timeouts[request.endpoint.paid]):
                return await self._exchange(request, fault)
        except TimeoutError:
            raise TransportError("no response in time (sandbox)") from None

    async def _exchange(self, request: WireRequest, fault: Fault | None) -> WireResponse:
        await asyncio.sleep(self._latency / 2)
        call = IncomingRequest(
            request.method, request.path, request.params, request.body, self._authorization
        )
        exchange = self.space.receive(call, _now(), fault)
        if self.webhook_sender is not None:
            for charge in exchange.charges:
                await self.webhook_sender.accepted(self.space.looks[charge.look_id])
        await asyncio.sleep(self._latency / 2)
        return await _receive(exchange, request.max_bytes)

    @asynccontextmanager
    async def fetch(self, url: str) -> AsyncIterator[Fetched]:
        """Open a picture's URL: see `hoox_async._io.protocols.Transport`. Needs Pillow."""
        from .drawing import paint

        await asyncio.sleep(self._latency)
        fault = self.space.faults.next_fault("picture")
        if fault is not None:
            raise TransportError(f"the picture met the fault {fault.name} (sandbox)")
        file = self.space.picture_file(url.rpartition("/")[2])
        if file is None or not url.startswith(self.space.picture_base):
            raise UnexpectedResponse("no such picture", status=404)
        self.space.requests.append(RequestRecord("picture", _now(), 200, path=url))
        data = await asyncio.get_running_loop().run_in_executor(None, paint, file)

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        yield Fetched(file.content_type, chunks())

    def _record(self, request: WireRequest, fault: str) -> None:
        record = RequestRecord(request.endpoint.value, _now(), None, path=request.path, fault=fault)
        self.space.requests.append(record)


async def _receive(exchange: Exchange, max_bytes: int) -> WireResponse:
    match exchange.kind:
        case "drop" | "break":
            raise TransportError("the connection was lost (sandbox)")
        case "hang":
            await asyncio.get_running_loop().create_future()
        case "endless":
            raise UnexpectedResponse(f"the response is larger than {max_bytes} bytes (sandbox)")
        case "drip" | "late":
            await asyncio.sleep(exchange.seconds)
    response = _wire_response(exchange.content)
    if len(response.body) > max_bytes:
        raise UnexpectedResponse(f"the response is larger than {max_bytes} bytes (sandbox)")
    return response


def _wire_response(response: HttpResponse) -> WireResponse:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return WireResponse(response.status, headers, response.body)


def _now() -> float:
    return asyncio.get_running_loop().time()
