"""What a command is to write is refused before anything is sent if it could not be written."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_kit import Cli, campaign


@pytest.mark.parametrize(
    ("flag", "command"),
    [
        ("--out", ("batch", "FILE", "--yes", "--only", "noor*")),
        ("--out", ("create", "a chef")),
        ("--out", ("check", "--conformance", "--yes")),
        ("--out", ("download", "FILE")),
        ("--out", ("report", "FILE")),
        ("--jsonl", ("report", "FILE")),
        ("--page", ("unknowns", "FILE")),
    ],
)
def test_a_place_where_nothing_can_be_written(
    cli: Cli, tmp_path: Path, flag: str, command: tuple[str, ...]
) -> None:
    """A folder below a file can't be made: the message names the flag and the file, and nothing is sent."""
    file = campaign(tmp_path)
    assert cli("batch", file, "--yes").code == 0
    sent = len(cli.sandbox.requests)
    below = tmp_path / "a file" / "folder" / "page"
    (tmp_path / "a file").touch()
    words = [file if word == "FILE" else word for word in command]
    talks = command[0] in ("batch", "create", "check")
    done = (cli if talks else cli.bare)(*words, flag, below)
    assert done.code == 2
    folder = below.parent if flag == "--jsonl" else below  # an earlier file may be there
    assert done.err == f"hoox-async: {flag} {folder}: nothing can be written in {tmp_path / 'a file'}\n"
    assert len(cli.sandbox.requests) == sent
