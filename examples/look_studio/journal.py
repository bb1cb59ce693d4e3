"""A file of all orders, one JSON line each.

The session's store knows what was submitted. Only this file knows the looks that a customer has ordered and
that are not submitted yet, so an order is written here before the page gets its response.
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
    """Appends orders and reads them. Raises `OSError` if the file cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def append(self, order: Order) -> None:
        """Return when the order is safely on disk."""
        await anyio.to_thread.run_sync(self._append, order)

    def _append(self, order: Order) -> None:
        with self._path.open("ab+") as file:
            if file.tell() and self._is_cut():
                file.write(b"\n")
            file.write(order.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _is_cut(self) -> bool:
        """Whether the last line is incomplete, since the process died while writing it."""
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"

    async def read(self) -> list[Order]:
        """All orders, oldest first. A line that a crash cut is skipped: its page got no response."""
        return await anyio.to_thread.run_sync(self._read)

    def _read(self) -> list[Order]:
        if not self._path.exists():
            return []
        orders = []
        for number, line in enumerate(self._path.read_bytes().splitlines(), 1):
            try:
                orders.append(Order.model_validate_json(line))
            except ValidationError:
                log.warning("%s, line %d: not a complete order, skipped", self._path.name, number)
        return orders
