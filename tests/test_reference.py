"""The API reference can be built from the docstrings."""

from __future__ import annotations

import importlib
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_reference_is_built_without_a_warning(tmp_path: Path) -> None:
    """The README's command ends without a warning, and each public name has its section."""
    [command] = re.findall(r"python (\.docs/\w+\.py)`", (ROOT / "README.md").read_text(encoding="utf-8"))
    pytest.importorskip("pdoc")
    built = subprocess.run(
        [sys.executable, ROOT / command, tmp_path], capture_output=True, text=True, timeout=120, check=False
    )
    assert built.returncode == 0, built.stderr
    for name in runpy.run_path(str(ROOT / command))["MODULES"]:
        module = importlib.import_module(name)
        page = (tmp_path / name.replace(".", "/")).with_suffix(".html").read_text(encoding="utf-8")
        public = {public for public in getattr(module, "__all__", ()) if public != "__version__"}
        assert public - set(re.findall(r'<section id="(\w+)">', page)) == set()
        assert "Alias for field" not in page
