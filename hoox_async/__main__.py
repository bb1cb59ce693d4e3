"""The command ``hoox-async``, also as ``python -m hoox_async``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line on the program's arguments; gives the exit code."""
    try:
        from ._cli import run

        return run(sys.argv[1:])
    except KeyboardInterrupt:  # so early that nothing was begun
        return 4


if __name__ == "__main__":
    sys.exit(main())
