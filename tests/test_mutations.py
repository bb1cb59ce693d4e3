"""For each guarantee, a small mutation of the package turns its quick tests red."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from guarantees_kit import GUARANTEES, ROOT, Guarantee, marked_tests

pytestmark = pytest.mark.slow


def failures(folder: Path, nodes: list[str]) -> dict[str, str]:
    """Run these tests on the copy of the package in the folder. Returns what failed, and why.

    Raises `AssertionError` where the tests could not be run.
    """
    report = folder / "report.xml"
    options = ["-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), f"--junitxml={report}"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *nodes],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), ran.stdout + ran.stderr
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert cases
    assert not [case for case in cases if case.find("error") is not None], ran.stdout
    ends = ((str(case.get("name")), case.find("failure")) for case in cases)
    return {name: str(failure.get("message")) for name, failure in ends if failure is not None}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a copy of the package."""
    shutil.copytree(
        ROOT / "hoox_async", tmp_path / "hoox_async", ignore=shutil.ignore_patterns("__pycache__")
    )
    return tmp_path


def test_all_pass_on_a_copy_of_the_package(copy: Path) -> None:
    """Without a mutation, the tests of the guarantees pass on a copy."""
    assert failures(copy, [node for nodes in marked_tests().values() for node in nodes]) == {}


@pytest.mark.parametrize("guarantee", GUARANTEES, ids=lambda guarantee: guarantee.text)
def test_a_mutation_turns_its_tests_red(copy: Path, guarantee: Guarantee) -> None:
    """With its mutation, a test of the guarantee fails by an assertion, and none by anything else."""
    mutated = copy / "hoox_async" / guarantee.file
    text = mutated.read_text("utf-8")
    assert text.count(guarantee.old) == 1
    mutated.write_text(text.replace(guarantee.old, guarantee.new), "utf-8")
    found = failures(copy, marked_tests()[guarantee.text])
    assert found
    assert [
        why for why in found.values() if not why.startswith(("AssertionError", "assert ", "Failed: DID NOT"))
    ] == []
