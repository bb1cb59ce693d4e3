"""The count of processes that quick tests start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from process_count_kit import ProcessCount


@pytest.mark.slow
def test_what_a_quick_test_starts_is_counted_and_what_a_slow_one_starts_is_not(tmp_path: Path) -> None:
    """A process that is started in a quick test is noted with the test and the command."""
    program = (
        "import subprocess, sys\n"
        "from pathlib import Path\n"
        "from process_count_kit import ProcessCount\n"
        "count = ProcessCount(Path(sys.argv[1]))\n"
        "count.install()\n"
        "start = lambda *more: subprocess.run([sys.executable, '-c', 'pass', *more], check=True)\n"
        "start('slow')\n"
        "count.quick_test = 'test_quick'\n"
        "start('counted')\n"
        "start('postgres_kit')\n"
    )
    notes = tmp_path / "processes"
    folder = str(Path(__file__).parent)
    subprocess.run([sys.executable, "-c", program, str(notes)], check=True, cwd=folder)
    [line] = ProcessCount(notes).started()
    assert line.startswith("test_quick: subprocess.Popen")
    assert "counted" in line
