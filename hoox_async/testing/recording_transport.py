"""A transport that sends over HTTP, as every session does, and keeps each answer as it came."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

import attrs

from .._api.converter import parse_json
from .._api.endpoints import Endpoint, WireRequest, WireResponse
from .._core.settings import BASE_URL, Timeouts, check_api_key, check_base_url, check_timeouts
from .._io.protocols import BeforeSend, Fetched
from .._io.transport import HttpTransport


@attrs.frozen
class RecordedAnswer:
    """One request and its answer. ``status`` is None if there was none; ``error`` is then the error's class.

    The names of the headers are in lower case. ``body`` is as it came, but for the API key, which a session
    never keeps. ``sent_at`` and ``ended_at`` are in UTC.
    """

    endpoint: Endpoint
    sent_at: datetime
    ended_at: datetime
    status: int | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    error: str | None = None

    @property
    def json(self) -> object:
        """The body, parsed. Raises `ValueError` if it is no JSON."""
        return parse_json(self.body)


class RecordingTransport:
    """Sends a session's requests over HTTP, and keeps each answer in ``answers``, in order.

        transport = RecordingTransport(api_key)
        async with HooxSession(api_key, transport=transport) as session:
            await session.looks()
        print(transport.answers[0].headers)

    Models hold what this library understands of an answer; here is all of it: headers, fields that are not
    known yet, the answers that were refused. ``base_url`` and ``timeouts`` are those of `HooxSession`: give
    both the same. Answers hold names and addresses of pictures: think before you show them to anybody.

    Raises `ConfigurationError` for a key or a base URL that cannot be used.
    """

    def __init__(self, api_key: str, *, base_url: str = BASE_URL, timeouts: Timeouts | None = None) -> None:
        self.answers: list[RecordedAnswer] = []
        self._http = HttpTransport(check_base_url(base_url), check_api_key(api_key), check_timeouts(timeouts))

    async def start(self) -> None:
        """Open the connections' pools. The session calls it."""
        await self._http.start()

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        """Send the request once and keep the answer. Raises what sending over HTTP raises."""
        sent_at = datetime.now(UTC)
        try:
            response = await self._http.send(request, before_send)
        except BaseException as error:
            failed = RecordedAnswer(request.endpoint, sent_at, datetime.now(UTC), error=type(error).__name__)
            self.answers.append(failed)
            raise
        headers = {name.lower(): value for name, value in response.headers.items()}
        self.answers.append(
            RecordedAnswer(
                request.endpoint, sent_at, datetime.now(UTC), response.status, headers, response.body
            )
        )
        return response

    def fetch(self, url: str) -> AbstractAsyncContextManager[Fetched]:
        """Open a picture's URL, without the API key. Pictures are not kept. Raises as `fetch` over HTTP."""
        return self._http.fetch(url)

    async def aclose(self) -> None:
        """Close the connections. The session calls it."""
        await self._http.aclose()
