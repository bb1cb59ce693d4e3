"""Which picture of a folder is whose: ``pictures.jsonl``, one line a picture, the last one counts."""

from __future__ import annotations

import json
from pathlib import Path

MANIFEST = "pictures.jsonl"


def read_manifest(folder: Path) -> dict[str, tuple[str, Path]]:
    """For each key the ref of the look and the file of its picture, of those that are still there. Blocks.

    A line that was cut off by a crash, or that somebody spoiled, is passed over.
    """
    try:
        lines = (folder / MANIFEST).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    found: dict[str, tuple[str, Path]] = {}
    for line in lines:
        try:
            noted = json.loads(line)
            key, ref, name = str(noted["key"]), str(noted["ref"]), str(noted["file"])
        except (ValueError, KeyError, TypeError):
            continue
        file = folder / name
        if not Path(name).is_absolute() and ".." not in Path(name).parts and file.is_file():
            found[key] = (ref, file)
    return found


class Manifest:
    """The folder's list of pictures, kept up to date."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = read_manifest(folder)

    def file_of(self, key: str, ref: str) -> Path | None:
        """The picture of this look, if it is saved."""
        known = self._known.get(key)
        return known[1] if known is not None and known[0] == ref else None

    def owner_of(self, file: Path) -> tuple[str, str] | None:
        """Key and ref of the look that this file is the picture of."""
        for key, (ref, known) in self._known.items():
            if known == file:
                return key, ref
        return None

    def note(self, key: str, ref: str, file: Path) -> None:
        """The picture is saved. Blocks; raises `OSError`."""
        self._known[key] = (ref, file)
        path = self._folder / MANIFEST
        name = file.relative_to(self._folder).as_posix()
        line = json.dumps({"key": key, "ref": ref, "file": name}) + "\n"
        with path.open("a+b") as lines:
            if lines.tell() and not _ends_well(path):
                line = "\n" + line  # a crash left half a line
            lines.write(line.encode())


def _ends_well(path: Path) -> bool:
    with path.open("rb") as lines:
        lines.seek(-1, 2)
        return lines.read(1) == b"\n"
