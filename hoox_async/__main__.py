"""The command ``hoox-async``, also as ``python -m hoox_async``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line on the program's arguments; gives the exit code."""
    from ._cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
