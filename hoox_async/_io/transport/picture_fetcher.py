"""Fetches pictures by aiohttp from any URL, without the API key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from ..._core.settings import Timeouts
from ...errors import SessionClosed, TransportError, UnexpectedResponse
from ..protocols import Fetched
from .aiohttp_client import INVALID_ADDRESS, host_of, map_error, open_client

_CHUNK = 1 << 16
_MAX_CONCURRENT = 16
_MAX_READ_TIMEOUTS = 10  # in read timeouts: the time limit for a whole picture, and for its headers


class PictureFetcher:
    """Fetches pictures. Use it with ``async with``. At most 16 are fetched at a time."""

    def __init__(self, timeouts: Timeouts | None = None) -> None:
        self._timeouts = timeouts or Timeouts()
        self._http: aiohttp.ClientSession | None = None
        # not the connector's limit, because waiting for that would count against the timeout
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT)

    async def __aenter__(self) -> PictureFetcher:
        self._http = open_client(
            aiohttp.TCPConnector(limit=0),
            {"Accept": "image/*"},
            connect=self._timeouts.connect,
            read=self._timeouts.read,
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
        """Open a picture's URL. Raises `TransportError`, `NotSent` or `UnexpectedResponse`.

        What the ``async with`` block raises is passed on as it is.
        """
        if self._http is None:
            raise SessionClosed("the picture fetcher is not open")
        longest = _MAX_READ_TIMEOUTS * self._timeouts.read
        async with self._slots, await _answer_of(self._http, url, longest) as response:
            if response.status != 200 or response.headers.get("Content-Encoding", "identity") != "identity":
                raise UnexpectedResponse(
                    f"picture: HTTP {response.status} from {response.url.host}", status=response.status
                )
            modified = _moment(response.headers.get("Last-Modified"))
            yield Fetched(response.content_type, _chunks(response, longest), modified)


def _moment(header: str | None) -> datetime | None:
    """The time in a header of a server, which may be missing, wrong or without a zone."""
    try:
        at = parsedate_to_datetime(header or "")
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


async def _answer_of(http: aiohttp.ClientSession, url: str, longest: float) -> aiohttp.ClientResponse:
    """The answer without its body. Raises `TransportError` if its headers take over ``longest`` seconds."""
    address = _usable(url)
    try:
        if address is not None:
            async with asyncio.timeout(longest):
                return await http.get(address, max_redirects=3)
    except (*INVALID_ADDRESS, ValueError):
        pass
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise map_error(error, "" if address is None else host_of(address)) from None
    raise UnexpectedResponse("picture: not a usable URL")


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
