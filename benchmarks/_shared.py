"""What the benchmark programs share: tables for people, medians, and the vendor's client.

Standard library only, so that a program can be started where only this library is installed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

DASH = "—"
"""The table's cell where nothing could be measured; a footnote says why."""


def table(
    title: str, header: Sequence[str], rows: Iterable[Sequence[object]], notes: Iterable[str] = ()
) -> str:
    """A table as text: the first column to the left, the others to the right, the notes below."""
    lines = [[_shown(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in lines) for column in range(len(header))]
    drawn = [_line(row, widths) for row in lines]
    rule = "  ".join("─" * width for width in widths)
    return "\n".join(["", title, "", drawn[0], rule, *drawn[1:], *([""] if notes else []), *notes])


def median(values: Iterable[float]) -> float:
    """The middle of the values; NaN where there is none."""
    kept = list(values)
    return statistics.median(kept) if kept else float("nan")


def ratio(value: float, base: float) -> str:
    """How many times the base a value is, as ``1.23 x``."""
    return f"{value / base:.2f} x" if base else DASH


def version(distribution: str) -> str | None:
    """The installed version of a distribution; None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def progress(text: str) -> None:
    """Write on stderr what is being measured, over the last such line; nothing if that is no terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="" if text else "\r", file=sys.stderr, flush=True)


def vendor_client() -> Any:
    """The class ``HooxClient`` of the vendor's ``hoox-mcp``. Raises `ImportError` where it is not installed.

    Its file is loaded on its own: importing the package starts the MCP server's imports, and
    hoox-mcp 0.1.7 fails there with mcp 2.
    """
    package = importlib.util.find_spec("hoox_mcp")
    if package is None or not package.submodule_search_locations:
        raise ImportError("hoox-mcp is not installed")
    path = Path(package.submodule_search_locations[0]) / "client.py"
    spec = importlib.util.spec_from_file_location("hoox_mcp_client", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"hoox-mcp: {path} can't be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.HooxClient


def _shown(cell: object) -> str:
    if cell is None:
        return DASH
    return f"{cell:,.2f}" if isinstance(cell, float) else str(cell)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.ljust(width) if column == 0 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()
