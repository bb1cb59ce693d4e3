"""Writes the output of commands: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hoox_async import ConfigurationError

from .text import sanitize

if TYPE_CHECKING:
    from rich.console import Console


class Terminal:
    """The two output streams and the questions.

    With ``as_json`` stdout holds only lines of JSON. With ``quiet`` stderr holds only notices: what went
    wrong, and how to go on.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        from rich.console import Console

        self.as_json = as_json
        self.quiet = quiet
        self.err: Console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._out = Console(highlight=False, markup=False, emoji=False)

    @property
    def live(self) -> bool:
        """Whether stderr is a terminal that can redraw a progress bar, and is to have one."""
        return not self.quiet and self.err.is_terminal and not self.err.is_dumb_terminal

    @property
    def can_ask(self) -> bool:
        """Whether a person can be asked: stdin and stderr are a terminal."""
        return self.err.is_terminal and sys.stdin is not None and sys.stdin.isatty()

    def say(self, text: str = "") -> None:
        """Write a message to stderr, unless it is to be quiet."""
        if not self.quiet:
            _print(self.err, text)

    def notice(self, text: str = "") -> None:
        """Write to stderr what has to be read: a failure, or how to go on."""
        _print(self.err, text)

    def result(self, text: str = "") -> None:
        """Write a result for people: to stdout, or to stderr if JSON goes to stdout."""
        _print(self.err if self.as_json else self._out, text)

    def record(self, event: str, **values: Any) -> None:
        """Write a result for programs, as one line of JSON. Writes nothing without ``as_json``."""
        if self.as_json:
            sys.stdout.write(json.dumps({"event": event, **values}, default=str) + "\n")
            sys.stdout.flush()

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        numbers: Sequence[str] = (),
        whole: Sequence[str] = (),
        total: bool = False,
    ) -> None:
        """Write a table for people. Columns in ``numbers`` are aligned right, those in ``whole`` are not
        wrapped; with ``total`` the last row is set apart as a sum.

        On a terminal that is too narrow each row becomes two lines: its first cell, then the others.
        """
        console = self.err if self.as_json else self._out
        if _table_width(columns, rows, whole) > console.width:
            for first, *others in rows:
                named = zip(columns[1:], others, strict=True)
                texts = [f"{name} {cell}" if name in numbers else cell for name, cell in named if cell]
                _print(console, f"{first}\n  {', '.join(texts)}" if texts else first)
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
        for name in columns:
            side: Literal["left", "right"] = "right" if name in numbers else "left"
            table.add_column(name, justify=side, overflow="fold", no_wrap=name in whole)
        for position, row in enumerate(rows):
            last = total and position == len(rows) - 2
            table.add_row(*(Text(sanitize(cell)) for cell in row), end_section=last)
        console.print(table)

    def ask(self, question: str) -> str:
        """Ask a question; return the answer without surrounding spaces, empty at the end of the input."""
        self.err.print(sanitize(question), end=" ", soft_wrap=True)
        try:
            return input().strip()
        except EOFError:
            self.notice()
            return ""

    def agrees(self, question: str, *, if_nobody: str) -> bool:
        """Ask whether to do something. Only ``y`` and ``yes`` are consent.

        Raises `ConfigurationError` with the text ``if_nobody`` where nobody can be asked.
        """
        if not self.can_ask:
            raise ConfigurationError(if_nobody)
        return self.ask(f"{question} [y/N]").lower() in ("y", "yes")


def _table_width(columns: Sequence[str], rows: Sequence[Sequence[str]], whole: Sequence[str]) -> int:
    """The columns that a table needs at least: all of a cell that is not wrapped, the heads of the others."""
    needed = 2 * (len(columns) - 1)
    for position, name in enumerate(columns):
        cells = [row[position] for row in rows] if name in whole else []
        needed += max(map(len, (name, *cells)))
    return needed


def _print(console: Console, text: str) -> None:
    console.print(sanitize(text), soft_wrap=True)


def require_modules(extra: str, modules: Mapping[str, str], what: str) -> None:
    """Raise `ConfigurationError` if a module is not installed. ``modules`` maps modules to project names."""
    from importlib import import_module

    for module, name in modules.items():
        try:
            import_module(module)
        except ImportError:
            raise ConfigurationError(
                f'{what} needs {name}: in your clone of hoox-async, pip install -e ".[{extra}]"'
            ) from None


def shown_path(path: Path) -> str:
    """A path as people type it: a folder ends in a slash."""
    return f"{path}/" if path.is_dir() else str(path)
