"""The guarantees of the README, as `guarantees.toml` lists them, and the tests that are marked with them."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent
ROOT = TESTS.parent
_MARKED = re.compile(r'^@pytest\.mark\.guarantee\("([^"]+)"\)\n(?:[@ )].*\n)*(?:async )?def (test_\w+)', re.M)


class Guarantee(NamedTuple):
    """A guarantee in the README's words, and a small mutation of the package that breaks it."""

    text: str
    file: str
    old: str
    new: str

    @property
    def path(self) -> Path:
        return ROOT / "hoox_async" / self.file


GUARANTEES = [
    Guarantee(**entry) for entry in tomllib.loads((TESTS / "guarantees.toml").read_text("utf-8"))["guarantee"]
]


def claims_of_the_readme() -> list[str]:
    """What stands in italics in the README's part on the guarantees."""
    readme = (ROOT / "README.md").read_text("utf-8")
    part = re.search(r"^## Guarantees[^\n]*\n(.*?)^## ", readme, re.M | re.S)
    assert part is not None
    return [" ".join(claim.split()).rstrip(".") for claim in re.findall(r"\*([^*]+)\*", part[1])]


def marked_tests() -> dict[str, list[str]]:
    """The node ids of the tests that are marked with each guarantee."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for text, name in _MARKED.findall(path.read_text("utf-8")):
            found[text].append(f"{path}::{name}")
    return dict(found)
