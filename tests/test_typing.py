"""The public door, type-checked from outside: ``typing/door.py`` under mypy and pyright, both strict."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hoox_async

DOOR = Path(__file__).parent / "typing" / "door.py"


def _run(*command: str, folder: Path, seconds: float = 240.0) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # pyright asks its python
    environment = {**os.environ, "PATH": path, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@pytest.mark.slow
def test_mypy_accepts_the_door(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    """A user's program passes `mypy --strict`, and the mistakes in it are seen."""
    kept = getattr(pytestconfig, "cache", None)  # none with -p no:cacheprovider
    cache = kept.mkdir("typing-mypy") if kept else tmp_path
    done = _run("mypy", "--strict", "--config-file=", f"--cache-dir={cache}", str(DOOR), folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_pyright_accepts_the_door(tmp_path: Path) -> None:
    """A user's program passes pyright in strict mode, and the mistakes in it are seen."""
    _has_pyright(tmp_path)
    shutil.copy(DOOR, tmp_path)  # pyright takes relative paths only
    settings = {
        "include": [DOOR.name],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "reportUnnecessaryTypeIgnoreComment": "error",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    done = _run("pyright", "--pythonpath", sys.executable, "--outputjson", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["summary"]["filesAnalyzed"] == 1


def _has_pyright(folder: Path) -> None:
    probe = _run("pyright", "--version", folder=folder)
    if probe.returncode != 0:
        pytest.skip(f"pyright needs node and its own package: {probe.stderr.strip()[-200:]}")


@pytest.mark.slow
def test_the_types_of_the_door_are_complete(tmp_path: Path) -> None:
    """No type that users see has to be guessed: 100 % by pyright's count, other packages' types apart."""
    _has_pyright(tmp_path)
    verify = ("--verifytypes", "hoox_async", "--ignoreexternal", "--outputjson")
    found = json.loads(_run("pyright", *verify, folder=tmp_path).stdout)["typeCompleteness"]
    unknown = [symbol["name"] for symbol in found["symbols"] if not symbol["isTypeKnown"]]
    assert unknown == []
    assert found["completenessScore"] == 1


def test_the_typed_program_uses_every_name() -> None:
    """No name of the door is left out of the check."""
    tree = ast.parse(DOOR.read_text(encoding="utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "hx"
    }
    assert set(hoox_async.__all__) - used == set()


def test_the_package_says_that_it_is_typed() -> None:
    """`py.typed` is shipped: without it a user's checker sees nothing."""
    assert (Path(hoox_async.__file__).parent / "py.typed").is_file()
