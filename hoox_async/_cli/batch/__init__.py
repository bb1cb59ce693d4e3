"""The command ``batch``: makes the looks of a campaign file and resumes an unfinished run.

It may import the public door (`hoox_async`, `hoox_async.sandbox`) and the rest of the command line.
"""

from __future__ import annotations

from .batch_command import batch

__all__ = ["batch"]
