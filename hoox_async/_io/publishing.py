"""Gives a complete file its name without replacing another one, and errors of writing the file's name."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def publish_new(part: Path, target: Path) -> None:
    """Move the complete file ``part`` to the name ``target``.

    Raises `FileExistsError`, also where a file has taken that name meanwhile, and other `OSError`. Then
    ``part`` is as it was.
    """
    try:
        os.link(part, target)  # unlike a rename, it fails if the name is taken
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        part.rename(target)
        return
    part.unlink()


@contextmanager
def naming(target: Path) -> Iterator[None]:
    """Let an `OSError` that names no file, such as that of a full disk, name this one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(target)
        raise
