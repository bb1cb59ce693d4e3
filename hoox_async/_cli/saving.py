"""Saves the picture of one look under the name that was typed, with the suffix that fits the picture."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from filecmp import cmp
from pathlib import Path

from hoox_async import ConfigurationError, HooxSession, Look, Request

from .small_pictures import measure
from .terminal import Terminal

_SAME = {".jpeg": ".jpg", ".jpe": ".jpg"}
_KNOWN = {".jpg", ".png", ".webp", ".gif", ".avif"}


async def save(
    session: HooxSession, look: Look, out: str, terminal: Terminal, request: Request | None = None
) -> None:
    """Save a look's picture, and print its path and size, and whether it is too small for the request.

    ``out`` is the text that was typed: a `Path` would lose the slash that makes it a folder. A file's suffix
    is corrected if the picture is of another type. Raises `ConfigurationError` if another file is there.
    """
    folder, wanted = _folder_of(out)
    incoming = Path(tempfile.mkdtemp(prefix=".hoox-", dir=folder))
    try:
        # in a folder the library names the file by the picture's type
        downloaded = await session.download(look, f"{incoming}/")
        named = folder / downloaded.name if wanted is None else corrected(wanted, downloaded.suffix)
        _publish(downloaded, named, out)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    if wanted is not None and named != wanted:
        terminal.notice(f"it is a {named.suffix} picture, so its name is {named.name}, not {wanted.name}")
    picture = measure(named, request)
    terminal.record("picture", ref=str(look.ref), **picture.record())
    terminal.result(f"saved {named}" + (f" ({picture.size})" if picture.size else ""))
    if picture.is_too_small:
        terminal.notice(f"{named} has only {picture.size} pixels, fewer than was paid for")


def _folder_of(out: str) -> tuple[Path, Path | None]:
    """The folder, which is made if it is missing, and the file in it; None if a folder was typed."""
    target = Path(out)
    is_folder = out.endswith(("/", os.sep)) or target.is_dir()
    folder = target if is_folder else target.parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder, None if is_folder else target


def corrected(wanted: Path, suffix: str) -> Path:
    """The path with this suffix, if its own is that of another type of picture."""
    own = wanted.suffix.lower()
    own = _SAME.get(own, own)
    return wanted.with_suffix(suffix) if own in _KNOWN and suffix in _KNOWN and own != suffix else wanted


def in_the_way(wanted: Path) -> Path | None:
    """The file that has the name which the picture would get, as typed or with its suffix corrected."""
    names = (wanted, *(corrected(wanted, suffix) for suffix in sorted(_KNOWN)))
    return next((name for name in names if name.exists()), None)


def free_name(out: str) -> str:
    """What was typed as a file, or the first numbered name beside it that is free; a folder as it is."""
    if out.endswith(("/", os.sep)) or Path(out).is_dir() or in_the_way(Path(out)) is None:
        return out
    path, number = Path(out), 2
    while in_the_way(free := path.with_name(f"{path.stem}-{number}{path.suffix}")) is not None:
        number += 1
    return str(free)


def _publish(downloaded: Path, target: Path, out: str) -> None:
    """Move the picture to its name, unless it is there already. Never replaces another file."""
    if target.exists() and target.is_file() and cmp(downloaded, target, shallow=False):
        return
    try:
        with suppress(NotImplementedError):
            os.link(downloaded, target)  # unlike a rename, it fails if the file exists
            return
    except FileExistsError:
        raise _exists(target, out) from None
    except OSError:  # a file system without hard links
        pass
    if target.exists():
        raise _exists(target, out)
    downloaded.rename(target)


def _exists(target: Path, out: str) -> ConfigurationError:
    return ConfigurationError(f"--out {out}: the file {target} exists already; choose another name")
