"""Gives a complete file its name, and never replaces another one."""

from __future__ import annotations

import errno
import os
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
