"""HTTP by aiohttp: the only package that uses its client sessions, traces and exceptions.

It may import what `_io` may, and nothing of the session.
"""

from .aiohttp_client import map_error
from .http import HttpTransport
from .picture_fetcher import PictureFetcher

__all__ = ["HttpTransport", "PictureFetcher", "map_error"]
