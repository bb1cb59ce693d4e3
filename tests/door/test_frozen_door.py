"""The public door is what ``frozen_door.txt`` says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from frozen_door_kit import (
    campaigns,
    commands,
    frozen,
    is_inner,
    lines_of_reports,
    names,
    recorded_events,
    surroundings,
)

import hoox_async

TESTS = Path(__file__).parents[1]
_HOW = (
    "The public door is not what tests/door/frozen_door.txt says. Lines with a plus are new, or a new form:\n"
    "add them there by hand. One with a minus breaks programs of users: see Stability in the changelog."
)


def _compare(now: Iterable[str], *kinds: str) -> None:
    promised = [line for line in now if not is_inner(line)]
    gone, new = Counter(frozen(*kinds)) - Counter(promised), Counter(promised) - Counter(frozen(*kinds))
    different = sorted([*((line, "-") for line in gone), *((line, "+") for line in new)])
    if different:
        pytest.fail("\n".join([_HOW, *(f"  {sign} {line}" for line, sign in different)]), pytrace=False)


def test_names_signatures_errors_and_events_are_frozen() -> None:
    """What can be imported, with its methods, defaults, members and fields, and what each error cost."""
    _compare(names(), "name", "call", "read", "enum", "error")


def test_commands_flags_and_exit_codes_are_frozen() -> None:
    """Each command with its arguments, flags and defaults, and each exit code."""
    _compare(commands(), "command", "flag", "exit")


def test_the_fields_of_campaign_files_are_frozen() -> None:
    """The fields of each table of TOML, the columns of CSV, the names of JSON lines; the files of pages."""
    _compare(campaigns(), "toml", "csv", "jsonl", "format")


def test_json_lines_are_frozen() -> None:
    """The lines of a report, and the events of ``--json``; the tests of commands compare their fields."""
    _compare(lines_of_reports(), "line")
    written = {line.removeprefix("json ").partition(":")[0] for line in frozen("json")}
    assert written == recorded_events()


def test_the_plugin_the_environment_and_the_schema_are_frozen(pytestconfig: pytest.Config) -> None:
    """The fixtures, the marker and the option for pytest, the variables, and the number of the schema."""
    _compare(surroundings(pytestconfig), "fixture", "marker", "option", "variable", "schema")


def test_every_line_is_compared() -> None:
    """No line is of a kind that no test knows, and none stands twice."""
    kinds = (
        "name call read enum error command flag exit toml csv jsonl line format json fixture marker option "
        "variable schema inner"
    )
    assert {line.partition(" ")[0] for line in frozen()} == set(kinds.split())
    assert [line for line, count in Counter(frozen()).items() if count > 1] == []


def test_the_changelog_says_what_this_version_promises() -> None:
    """Its newest release is this version, under one number everywhere, and begins with what is frozen."""
    text = (TESTS.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    newest, *_ = re.findall(r"^## \[(\d[^]]*)\]", text, re.MULTILINE)
    assert newest == hoox_async.__version__ == metadata.version("hoox-async")
    stability = re.findall(r"^### Stability\n.*?^### ", text, re.MULTILINE | re.DOTALL)[0]
    named = ["__all__", ".charged", "fields of events", "exit codes", "flags", "JSON lines", "fixtures"]
    named += ["campaigns", "schema 1", "wording", "0.x minor"]
    assert [words for words in named if words not in " ".join(stability.split())] == []
    assert (TESTS / "golden" / newest.rpartition(".")[0]).is_dir()
