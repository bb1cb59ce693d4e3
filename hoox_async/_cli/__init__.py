"""The command line ``hoox-async``.

It uses the library as any program would: it may import the public doors (`hoox_async`,
`hoox_async.sandbox`), cyclopts and rich, and nothing else of the library.
"""

from __future__ import annotations

from .main import run

__all__ = ["run"]
