"""What ``import hoox_async`` costs beside importing its own dependencies.

All is imported in fresh interpreters, in turn, many times; the medians' difference is what this
library adds (its own modules, and the parts of its dependencies that only it asks for). Aimed at:
50 ms at most. What only an open session and a running batch need is imported with the first of them:
that is told too. All read compiled files, from a folder of the program's own, whatever the environment
says of them: as after an installation.

    python benchmarks/imports.py
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile

from _shared import median, progress, table

DEPENDENCIES = ("aiohttp", "attrs", "cattrs", "anyio", "itsdangerous")
LIBRARY = ("hoox_async",)
RUNNING = (
    "hoox_async",
    "hoox_async._session.runtime",
    "hoox_async._io.ledger.local_ledger",
    "hoox_async._batch.input_run",
)
AIM = 50.0  # milliseconds

TIMED = """
import time
wall, cpu = time.perf_counter(), time.process_time()
import {modules}
print((time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3)
"""


def fresh(folder: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a fresh interpreter that keeps its compiled files in the folder."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment | {"PYTHONPYCACHEPREFIX": folder},
        check=True,
        capture_output=True,
        text=True,
    )


def timed(folder: str, modules: tuple[str, ...]) -> tuple[float, float]:
    """Import the modules in a fresh interpreter; its wall and CPU time in milliseconds."""
    wall, cpu = fresh(folder, "-c", TIMED.format(modules=", ".join(modules))).stdout.split()
    return float(wall), float(cpu)


def slowest(folder: str, count: int) -> list[tuple[str, float]]:
    """The modules that only this library brings, with their own time (ms), the slowest first."""
    program = f"import {', '.join(DEPENDENCIES)}, sys; sys.stderr.write('----\\n'); import {LIBRARY[0]}"
    printed = fresh(folder, "-X", "importtime", "-c", program).stderr
    lines = printed.partition("----\n")[2].splitlines()
    fields = (line.removeprefix("import time:").split("|") for line in lines if line.count("|") == 2)
    own = [(name.strip(), int(itself) / 1e3) for itself, _, name in fields]
    return sorted(own, key=lambda module: -module[1])[:count]


def measure(folder: str, repeats: int) -> dict[tuple[str, ...], list[tuple[float, float]]]:
    """The imports, in turn, so many times; a first round compiles and is not kept."""
    times: dict[tuple[str, ...], list[tuple[float, float]]] = {
        DEPENDENCIES: [],
        LIBRARY: [],
        RUNNING: [],
    }
    for repeat in range(repeats + 1):
        progress(f"import {repeat} of {repeats}")
        for modules, kept in times.items():
            once = timed(folder, modules)
            if repeat:
                kept.append(once)
    progress("")
    return times


def _figures(kept: list[tuple[float, float]]) -> list[float]:
    walls, cpus = zip(*kept, strict=True)
    return [median(walls), median(cpus), min(walls)]


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=31, help="interpreters started for each")
    parser.add_argument("--slowest", type=int, default=0, metavar="N", help="also list the N slowest modules")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times = measure(folder, options.repeats)
        slow = slowest(folder, options.slowest)
    dependencies, library, running = (_figures(kept) for kept in times.values())
    added = [ours - theirs for ours, theirs in zip(library, dependencies, strict=True)]
    later = [all_of_it - ours for all_of_it, ours in zip(running, library, strict=True)]
    rows = [
        [", ".join(DEPENDENCIES), *dependencies],
        [LIBRARY[0], *library],
        ["difference", *added],
        ["more with the first session and batch", *later],
    ]
    header = ["import", "ms, median", "CPU ms, median", "ms, least"]
    print(table(f"Imports in fresh interpreters, {options.repeats} of each", header, rows))
    print(f"\nhoox_async adds {added[0]:.1f} ms; aimed at: {AIM:g} ms at most")
    if slow:
        print(table("What it brings, own time", ["module", "ms"], slow))


if __name__ == "__main__":
    main()
