"""What every request says of who sends it."""

from __future__ import annotations

from aiohttp.http import SERVER_SOFTWARE

from ..._version import __version__

USER_AGENT = f"hoox-async/{__version__} {SERVER_SOFTWARE}"
