"""Runs the programs of `examples/` as their readers do: as programs of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def environment(**more: str) -> dict[str, str]:
    """Without a key, and with warnings shown as errors."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOOX_")}
    shown = {"PYTHONWARNINGS": "error", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **shown, **more}


def run_example(name: str, *arguments: str, folder: Path, **more: str) -> str:
    """Run an example in a folder. Returns what it printed; it must end well."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
