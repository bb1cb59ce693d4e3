"""The transport of the check: it keeps the answers, and can send images under their other name."""

from __future__ import annotations

from typing import Any

from hoox_async.testing import RecordingTransport

_OTHER_NAME = {"images": "imageUrls", "imageUrls": "images"}


class SpellingTransport(RecordingTransport):
    """A recording transport that can send the images of a request under the other name.

    It does so while ``other_name`` is True. Each request is sent once, under one name. ``fetched`` counts the
    addresses of pictures that were opened.
    """

    other_name = False
    fetched = 0

    async def send(self, request: Any, before_send: Any = None) -> Any:
        """Send the request once and keep the answer. Raises as `RecordingTransport.send`."""
        if self.other_name and request.body is not None:
            body = {_OTHER_NAME.get(name, name): value for name, value in request.body.items()}
            request = request._replace(body=body)
        return await super().send(request, before_send)

    def fetch(self, url: str) -> Any:
        """Open a picture's address. Raises as `RecordingTransport.fetch`."""
        self.fetched += 1
        return super().fetch(url)
