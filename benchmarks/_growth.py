"""What a process holds, sampled over time: memory, tasks, timers, files, sockets, threads. Linux only."""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import threading
import tracemalloc
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from _shared import progress, table


class Sample(NamedTuple):
    """What the process held at one moment."""

    minutes: float
    looks: int
    held: int
    resident: int
    tasks: int
    timers: int
    files: int
    sockets: int
    threads: int


class Tally:
    """How many looks came to which end, and the samples taken meanwhile.

    ``lines``: the numbers of two samples, from 1, between which to compare what each line holds.
    """

    def __init__(self, lines: tuple[int, int] | None) -> None:
        self.states: Counter[str] = Counter()
        self.samples: list[Sample] = []
        self.snapshots: list[tracemalloc.Snapshot] = []
        self._lines = lines or ()
        self._started = asyncio.get_running_loop().time()

    def sample(self) -> None:
        """Look at the process as it is now."""
        gc.collect()
        files = _open_files()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        loop = asyncio.get_running_loop()
        self.samples.append(
            Sample(
                minutes=(loop.time() - self._started) / 60,
                looks=sum(self.states.values()),
                held=tracemalloc.get_traced_memory()[0],
                resident=pages * os.sysconf("SC_PAGE_SIZE"),
                tasks=len(asyncio.all_tasks()),
                timers=len(getattr(loop, "_scheduled", ())),
                files=len(files),
                sockets=sum(name.startswith("socket:") for name in files),
                threads=threading.active_count(),
            )
        )
        if len(self.samples) in self._lines:
            self.snapshots.append(tracemalloc.take_snapshot())
        progress(f"{self.samples[-1].minutes:.0f} min, {self.samples[-1].looks:,} looks")


def _open_files() -> list[str]:
    names = []
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names alone
        with suppress(OSError):  # the listing's own
            names.append(os.readlink(f"/proc/self/fd/{entry}"))  # noqa: PTH115
    return names


def shown(title: str, tally: Tally) -> str:
    """The samples as a table, and what grew."""
    header = (
        "minutes",
        "looks",
        "held KiB",
        "resident MiB",
        "tasks",
        "timers",
        "files",
        "sockets",
        "threads",
    )
    rows = [
        (f"{s.minutes:.0f}", f"{s.looks:,}", f"{s.held / 1024:,.0f}", f"{s.resident / 2**20:,.1f}",
         s.tasks, s.timers, s.files, s.sockets, s.threads)
        for s in tally.samples
    ]  # fmt: skip
    states = ", ".join(f"{count:,} {state}" for state, count in tally.states.most_common())
    return table(title, header, rows, (f"Looks: {states}.", *_growth(tally.samples)))


def _growth(samples: list[Sample]) -> tuple[str, ...]:
    settled = samples[1:]
    third = len(settled) // 3
    if not third:
        return ()
    first, last = settled[:third], settled[-third:]

    def mean(part: list[Sample], name: str) -> float:
        return statistics.fmean(getattr(sample, name) for sample in part)

    def change(name: str) -> float:
        return mean(last, name) - mean(first, name)

    held, resident = change("held"), change("resident") / 2**20
    counts = ", ".join(
        f"{name} {change(name):+.1f}" for name in ("tasks", "timers", "files", "sockets", "threads")
    )
    grown = f"held {held / 1024:+,.0f} KiB ({held / change('looks'):+,.0f} bytes a look)"
    return (
        "From the first third to the last, without the first row:",
        f"{grown}, resident {resident:+,.1f} MiB, {counts}.",
    )


def lines_shown(tally: Tally) -> str:
    """The lines of code whose memory grew most between the two snapshots."""
    if len(tally.snapshots) < 2:
        return ""
    first, last = tally.snapshots
    found = last.compare_to(first, "lineno")[:15]
    rows = []
    for one in found:
        at = one.traceback[0]
        rows.append(
            (
                "/".join(Path(at.filename).parts[-2:]) + f":{at.lineno}",
                f"{one.size_diff:+,}",
                f"{one.count_diff:+,}",
            )
        )
    return table("Grown most, in bytes and blocks", ("line", "bytes", "blocks"), rows)
