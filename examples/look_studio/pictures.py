"""Pictures, saved the moment a look is ready: their addresses may not live for ever."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path

import anyio.to_thread

from hoox_async import HooxSession, LookDetails
from hoox_async import Look as HooxLook


class Pictures:
    """A folder for each look, with its picture."""

    def __init__(self, folder: Path, session: HooxSession) -> None:
        self._folder = folder
        self._session = session
        self._saving: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, name: str, look: HooxLook | LookDetails) -> Path:
        """The look's picture as a file, fetched if it is not there yet. Raises `HooxError`, `OSError`."""
        folder = self._folder / name
        async with self._saving[name]:
            saved = await anyio.to_thread.run_sync(_only_file, folder)
            return saved or await self._session.download(look, f"{folder}/")


def _only_file(folder: Path) -> Path | None:
    return next(folder.glob("[!.]*"), None)
