"""Finds the lines of tables and keys in a TOML document, since `tomllib` gives only values."""

from __future__ import annotations

import re
from collections.abc import Iterator

Path = tuple[str | int, ...]
_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_TABLE = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]")
_ASSIGNED = re.compile(rf"\s*({_DOTTED})\s*=")
_SHORT = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'[^']*')""")


class TomlPositions:
    """Line numbers, from 1, of tables and keys. Exact for usual TOML, approximate for unusual forms.

    A path is such as ``("avatars", 1, "style")``, with the index of a table in its array, from 0.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}
        table: Path = ()
        for number, line in _outside_strings(text):
            if head := _TABLE.match(line):
                table = self._resolve(_parts(head[2]), array=head[1] == "[[")
                for length in range(1, len(table) + 1):
                    self._lines.setdefault(table[:length], number)
            elif key := _ASSIGNED.match(line):
                path = table + _parts(key[1])
                for length in range(len(table) + 1, len(path) + 1):
                    self._lines.setdefault(path[:length], number)

    def find(self, *path: str | int) -> int:
        """The line of this key or table; if not found, the line of its parent, else 1."""
        for length in range(len(path), 0, -1):
            if (line := self._lines.get(path[:length])) is not None:
                return line
        return 1

    def _resolve(self, names: tuple[str, ...], *, array: bool) -> Path:
        """The path of a table's header: ``[avatars.metadata]`` belongs to the last of the avatars."""
        path: Path = ()
        for position, name in enumerate(names, 1):
            path += (name,)
            if position == len(names) and array:
                self._counts[path] = self._counts.get(path, -1) + 1
            if path in self._counts:
                path += (self._counts[path],)
        return path


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(key.strip("\"'") for key in re.findall(_KEY, dotted))


def _outside_strings(text: str) -> Iterator[tuple[int, str]]:
    """The numbered lines that don't begin inside a multi-line string."""
    inside = ""
    for number, line in enumerate(text.split("\n"), 1):
        if not inside:
            yield number, line
        inside = _still_inside(line, inside)


def _still_inside(line: str, inside: str) -> str:
    """The quotes of the multi-line string that is open at the end of the line, or an empty text."""
    position = 0
    while position < len(line):
        if inside:
            end = line.find(inside, position)
            if end < 0:
                return inside
            position, inside = end + 3, ""
        elif line.startswith(('"""', "'''"), position):
            inside = line[position : position + 3]
            position += 3
        elif line[position] == "#":
            return ""
        elif short := _SHORT.match(line, position):
            position = short.end()
        else:
            position += 1
    return inside
