"""HTTP by aiohttp: the one place that knows its exceptions, connectors and traces."""

from .failures import mapped
from .http import HttpTransport
from .picture_fetcher import PictureFetcher

__all__ = ["HttpTransport", "PictureFetcher", "mapped"]
