"""Pictures by aiohttp, from wherever the API keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from ..._core.settings import Timeouts
from ...errors import SessionClosed, TransportError, UnexpectedResponse
from ..protocols import Fetched
from .failures import NO_ADDRESS, mapped
from .user_agent import USER_AGENT

_CHUNK = 1 << 16
_AT_ONCE = 16
_LONGEST = 10  # a picture may take this many read timeouts as a whole, and so may its headers


class PictureFetcher:
    """Fetches pictures from wherever the API keeps them. It has no API key that it could send."""

    def __init__(self, timeouts: Timeouts | None = None) -> None:
        self._timeouts = timeouts or Timeouts()
        self._http: aiohttp.ClientSession | None = None
        self._room = asyncio.Semaphore(_AT_ONCE)  # not the connector's limit: waiting is not in the time-out

    async def __aenter__(self) -> PictureFetcher:
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=self._timeouts.connect, sock_read=self._timeouts.read
        )
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=limits,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": USER_AGENT},
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    @asynccontextmanager
    async def fetch(self, url: str) -> AsyncIterator[Fetched]:
        """Open a picture's URL. Raises `TransportError`, `NotSent` or `UnexpectedResponse`."""
        if self._http is None:
            raise SessionClosed("the picture fetcher is not open")
        longest = _LONGEST * self._timeouts.read
        # what the block raises is its own, and not to be taken for a failure of the connection
        async with self._room, await _answer_of(self._http, url, longest) as response:
            if response.status != 200 or response.headers.get("Content-Encoding", "identity") != "identity":
                raise UnexpectedResponse(
                    f"picture: HTTP {response.status} from {response.url.host}", status=response.status
                )
            yield Fetched(response.content_type, _chunks(response, longest))


async def _answer_of(http: aiohttp.ClientSession, url: str, longest: float) -> aiohttp.ClientResponse:
    """The answer without its body. Headers that come in a drip end after ``longest`` seconds."""
    try:
        address = URL(url)
        if address.scheme in ("http", "https") and address.host:
            async with asyncio.timeout(longest):
                return await http.get(address, max_redirects=3)
    except (*NO_ADDRESS, ValueError):
        pass
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise mapped(error) from None
    raise UnexpectedResponse("picture: not a usable URL")


async def _chunks(response: aiohttp.ClientResponse, longest: float) -> AsyncIterator[bytes]:
    """The body as it comes. Each piece has the read timeout, and a drip of them ends after ``longest`` s."""
    time = asyncio.get_running_loop().time
    until = time() + longest
    try:
        async for chunk in response.content.iter_chunked(_CHUNK):
            yield chunk
            if time() > until:
                raise TransportError(f"the picture is not whole after {longest:g} s")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise mapped(error) from None
