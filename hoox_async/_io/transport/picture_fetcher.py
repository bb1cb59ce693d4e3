"""Fetches pictures by aiohttp from any URL, without the API key."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
from aiohttp.abc import ResolveResult
from yarl import URL

from ..._core.hosts import is_public, may_redirect
from ..._core.settings import Timeouts
from ...errors import SessionClosed, TransportError, UnexpectedResponse
from ..protocols import Fetched
from .aiohttp_client import INVALID_ADDRESS, host_of, map_error, open_client

_CHUNK = 1 << 16
_MAX_CONCURRENT = 16
_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_READ_TIMEOUTS = 10  # in read timeouts: the time limit for a whole picture, and for its headers


class _PublicOnly(aiohttp.ThreadedResolver):
    """Resolves names of public hosts. Raises `UnexpectedResponse` for others."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        if not all(is_public(result["host"]) for result in found):
            raise UnexpectedResponse(
                f"picture: a redirect to {host}, which is no public host, is not followed"
            )
        return found


class PictureFetcher:
    """Fetches pictures. Use it with ``async with``. At most 16 are fetched at a time.

    At most 3 redirects are followed: to https only, or within this machine, and never from a public host to
    this machine or a private network, by address or by name.
    """

    def __init__(self, timeouts: Timeouts | None = None) -> None:
        self._timeouts = timeouts or Timeouts()
        self._http: aiohttp.ClientSession | None = None
        self._public: aiohttp.ClientSession | None = None  # where a public host redirects to
        # not the connector's limit, because waiting for that would count against the timeout
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT)

    async def __aenter__(self) -> PictureFetcher:
        self._http = self._client(aiohttp.TCPConnector(limit=0))
        self._public = self._client(aiohttp.TCPConnector(limit=0, resolver=_PublicOnly()))
        return self

    def _client(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return open_client(
            connector, {"Accept": "image/*"}, connect=self._timeouts.connect, read=self._timeouts.read
        )

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        clients, self._http, self._public = (self._http, self._public), None, None
        async with AsyncExitStack() as closing:  # it closes the other too if one wait is cancelled
            for client in clients:
                if client is not None:
                    closing.push_async_callback(client.close)

    @asynccontextmanager
    async def fetch(self, url: str) -> AsyncIterator[Fetched]:
        """Open a picture's URL. Raises `TransportError`, `NotSent` or `UnexpectedResponse`.

        What the ``async with`` block raises is passed on as it is.
        """
        longest = _MAX_READ_TIMEOUTS * self._timeouts.read
        async with self._slots, await self._answer_of(url, longest) as response:
            if response.status != 200 or response.headers.get("Content-Encoding", "identity") != "identity":
                raise UnexpectedResponse(
                    f"picture: HTTP {response.status} from {response.url.host}", status=response.status
                )
            yield Fetched(response.content_type, _chunks(response, longest))

    async def _answer_of(self, url: str, longest: float) -> aiohttp.ClientResponse:
        """The answer without its body. Raises `TransportError` if its headers take over ``longest`` s."""
        address = _usable(url)
        try:
            if address is not None:
                async with asyncio.timeout(longest):
                    return await self._follow(address)
        except (*INVALID_ADDRESS, ValueError):
            pass
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise map_error(error, "" if address is None else host_of(address)) from None
        raise UnexpectedResponse("picture: not a usable URL")

    async def _follow(self, address: URL) -> aiohttp.ClientResponse:
        """The first answer that is no redirect. aiohttp's own way of following would ask for any address."""
        http = self._http
        for _ in range(_MAX_REDIRECTS + 1):
            if http is None:
                raise SessionClosed("the picture fetcher is not open")
            response = await http.get(address, allow_redirects=False)
            place = response.headers.get("Location")
            if response.status not in _REDIRECTS or not place:
                return response
            response.release()
            origin, address = address.host or "", address.join(URL(place))
            if not may_redirect(origin, address.scheme, address.host or ""):
                raise UnexpectedResponse(
                    f"picture: a redirect from {origin} to {address.scheme}://{host_of(address)} is not "
                    "followed: only to https, and never from a public host to a private address",
                    status=response.status,
                )
            if is_public(origin):
                http = self._public
        raise TransportError("picture: too many redirects")


def _usable(url: str) -> URL | None:
    try:
        address = URL(url)
    except ValueError:
        return None
    return address if address.scheme in ("http", "https") and address.host else None


async def _chunks(response: aiohttp.ClientResponse, longest: float) -> AsyncIterator[bytes]:
    """The body in chunks. Each has the read timeout; together they have ``longest`` s."""
    time = asyncio.get_running_loop().time
    until = time() + longest
    try:
        async for chunk in response.content.iter_chunked(_CHUNK):
            yield chunk
            if time() > until:
                raise TransportError(f"the picture is incomplete after {longest:g} s")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise map_error(error, host_of(response.url)) from None
