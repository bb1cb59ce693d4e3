"""What ``import hoox_async`` costs beside importing its own dependencies.

Both are imported in fresh interpreters, in turn, many times; the medians' difference is what this
library adds (its own modules, and the parts of its dependencies that only it asks for). Aimed at:
25 ms at most.

    python benchmarks/imports.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from _shared import median, progress, table

DEPENDENCIES = ("aiohttp", "attrs", "cattrs", "anyio", "itsdangerous")
LIBRARY = ("hoox_async",)
AIM = 25.0  # milliseconds

TIMED = """
import time
wall, cpu = time.perf_counter(), time.process_time()
import {modules}
print((time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3)
"""


def timed(modules: tuple[str, ...]) -> tuple[float, float]:
    """Import the modules in a fresh interpreter; its wall and CPU time in milliseconds."""
    program = TIMED.format(modules=", ".join(modules))
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    wall, cpu = done.stdout.split()
    return float(wall), float(cpu)


def slowest(count: int) -> list[tuple[str, float]]:
    """The modules that only this library brings, with their own time (ms), the slowest first."""
    program = f"import {', '.join(DEPENDENCIES)}, sys; sys.stderr.write('----\\n'); import {LIBRARY[0]}"
    command = [sys.executable, "-X", "importtime", "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = done.stderr.partition("----\n")[2].splitlines()
    fields = (line.removeprefix("import time:").split("|") for line in lines if line.count("|") == 2)
    own = [(name.strip(), int(itself) / 1e3) for itself, _, name in fields]
    return sorted(own, key=lambda module: -module[1])[:count]


def measure(repeats: int) -> dict[tuple[str, ...], list[tuple[float, float]]]:
    """Both imports, in turn, so many times; a first round warms the file cache and is not kept."""
    times: dict[tuple[str, ...], list[tuple[float, float]]] = {DEPENDENCIES: [], LIBRARY: []}
    for repeat in range(repeats + 1):
        progress(f"import {repeat} of {repeats}")
        for modules, kept in times.items():
            once = timed(modules)
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
    times = measure(options.repeats)
    dependencies, library = (_figures(kept) for kept in times.values())
    added = [ours - theirs for ours, theirs in zip(library, dependencies, strict=True)]
    rows = [[", ".join(DEPENDENCIES), *dependencies], [LIBRARY[0], *library], ["difference", *added]]
    header = ["import", "ms, median", "CPU ms, median", "ms, least"]
    print(table(f"Imports in fresh interpreters, {options.repeats} of each", header, rows))
    print(f"\nhoox_async adds {added[0]:.1f} ms; aimed at: {AIM:g} ms at most")
    if options.slowest:
        print(table("What it brings, own time", ["module", "ms"], slowest(options.slowest)))


if __name__ == "__main__":
    main()
