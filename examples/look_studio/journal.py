"""The orders, in a file of one JSON line each.

The session's store remembers what was paid for. What a customer has started and the session has not come
to yet stands here alone, so an order is written down before it is answered.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import anyio.to_thread
from pydantic import ValidationError

from .wishes import Order

log = logging.getLogger(__name__)


class Journal:
    """Appends orders and reads them again. Raises `OSError` where the file can't be written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def append(self, order: Order) -> None:
        """Return when the order is safely on disk."""
        await anyio.to_thread.run_sync(self._append, order)

    def _append(self, order: Order) -> None:
        with self._path.open("ab+") as file:
            if file.tell() and self._torn():
                file.write(b"\n")
            file.write(order.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _torn(self) -> bool:
        """Whether the process died in the middle of the last line."""
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"

    async def read(self) -> list[Order]:
        """Every order, oldest first. A line that a crash tore is passed over: it was never answered."""
        return await anyio.to_thread.run_sync(self._read)

    def _read(self) -> list[Order]:
        if not self._path.exists():
            return []
        orders = []
        for number, line in enumerate(self._path.read_bytes().splitlines(), 1):
            try:
                orders.append(Order.model_validate_json(line))
            except ValidationError:
                log.warning("%s, line %d: not a whole order, passed over", self._path.name, number)
        return orders
