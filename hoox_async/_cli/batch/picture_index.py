"""The index of saved pictures: a file ``pictures.jsonl`` in their folder, with one line for each picture.

If a key has several lines, the last one holds.
"""

from __future__ import annotations

import json
from pathlib import Path

INDEX_NAME = "pictures.jsonl"


def read_picture_index(folder: Path) -> dict[str, tuple[str, Path]]:
    """Read the index: the look's ref and the picture's file by key, for files that still exist. Blocks.

    A line that was cut off by a crash or cannot be read is skipped.
    """
    try:
        lines = (folder / INDEX_NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    found: dict[str, tuple[str, Path]] = {}
    for line in lines:
        try:
            entry = json.loads(line)
            key, ref, name = str(entry["key"]), str(entry["ref"]), str(entry["file"])
        except (ValueError, KeyError, TypeError):
            continue
        file = folder / name
        if not Path(name).is_absolute() and ".." not in Path(name).parts and file.is_file():
            found[key] = (ref, file)
    return found


class PictureIndex:
    """The index of one folder, kept up to date while pictures are saved."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = read_picture_index(folder)

    def file_of(self, key: str, ref: str) -> Path | None:
        """The saved picture of this look, or None."""
        known = self._known.get(key)
        return known[1] if known is not None and known[0] == ref else None

    def owner_of(self, file: Path) -> tuple[str, str] | None:
        """Key and ref of the look whose picture this file is, or None."""
        for key, (ref, known) in self._known.items():
            if known == file:
                return key, ref
        return None

    def add(self, key: str, ref: str, file: Path) -> None:
        """Record a saved picture. Blocks; raises `OSError`."""
        path = self._folder / INDEX_NAME
        name = file.relative_to(self._folder).as_posix()
        line = json.dumps({"key": key, "ref": ref, "file": name}) + "\n"
        with path.open("a+b") as lines:
            if lines.tell() and not _ends_with_newline(path):
                line = "\n" + line  # a crash left half a line
            lines.write(line.encode())
        self._known[key] = (ref, file)


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as lines:
        lines.seek(-1, 2)
        return lines.read(1) == b"\n"
