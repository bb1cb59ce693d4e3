"""`store backup` and `store recover`."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from cli_kit import Cli, campaign


@pytest.fixture
def file(cli: Cli, tmp_path: Path) -> Path:
    """A campaign whose four looks are ready."""
    file = campaign(tmp_path)
    assert cli("batch", file, "--yes").code == 0
    return file


@pytest.fixture
def part(cli: Cli, file: Path, tmp_path: Path) -> Path:
    """The campaign's store as it is copied alone while a session has it open."""
    part = tmp_path / "part.db"

    async def hold() -> None:
        async with cli.sandbox.session(store=f"{file}.hoox.db"):
            shutil.copy(f"{file}.hoox.db", part)

    asyncio.run(hold())
    return part


def test_backup(cli: Cli, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`store backup` copies a store that a session has open, by the campaign's name, and needs no key.

    Put in the store's place, the copy knows what was paid: the next run pays nothing.
    """
    codes: list[int] = []

    async def hold() -> None:
        async with cli.sandbox.session(store=f"{file}.hoox.db"):
            done = await asyncio.to_thread(cli.bare, "store", "backup", file, tmp_path / "copy.db")
            codes.append(done.code)
            assert done.out.strip() == str(tmp_path / "copy.db")

    with monkeypatch.context() as without_key:
        without_key.delenv("HOOX_API_KEY")
        asyncio.run(hold())
    assert codes == [0]
    (tmp_path / "copy.db").replace(f"{file}.hoox.db")
    assert cli("batch", file, "--yes").code == 0
    assert len(cli.sandbox.ledger) == 4


@pytest.mark.parametrize("command", ["backup", "recover"])
def test_a_campaign_that_was_never_run_has_no_store(cli: Cli, tmp_path: Path, command: str) -> None:
    """The message names the store that is missing, and does not call the campaign a broken store."""
    target = [tmp_path / "copy.db"] if command == "backup" else []
    done = cli.bare("store", command, campaign(tmp_path), *target)
    assert done.code == 2
    assert "there is no such store" in done.err


def test_backup_replaces_nothing(cli: Cli, file: Path, tmp_path: Path) -> None:
    """An existing target is refused in one line and stays; a missing store is code 2."""
    (tmp_path / "copy.db").write_text("mine")
    done = cli.bare("store", "backup", file, tmp_path / "copy.db", "--json")
    assert (done.code, [record["event"] for record in done.records]) == (2, ["error"])
    assert len(done.err.splitlines()) == 1
    assert "exists already" in done.err
    assert (tmp_path / "copy.db").read_text() == "mine"
    assert cli.bare("store", "backup", tmp_path / "none.db", tmp_path / "other.db").code == 2
    assert cli.bare("store", "backup", file, tmp_path / "other.db", "--json").of("backup") == [
        {"event": "backup", "path": str(tmp_path / "other.db")}
    ]


@pytest.mark.parametrize("command", [["report"], ["store", "backup", "--", "{}", "copy.db"], ["unknowns"]])
def test_a_part_of_a_store_is_refused(cli: Cli, part: Path, command: list[str]) -> None:
    """Each command that opens a store refuses one without its ``-wal`` in one line that says what helps."""
    words = [str(part) if word == "{}" else word for word in command]
    done = (cli if command == ["unknowns"] else cli.bare)(*words, *([] if "{}" in command else [part]))
    assert done.code == 2
    assert "part.db-wal" in done.err
    assert "store recover" in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_recover_asks(cli: Cli, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`store recover` says what is lost and asks; it changes nothing before "yes" is typed."""
    before = part.read_bytes()
    done = cli.bare("store", "recover", part)
    assert done.code == 2
    assert "--yes" in done.err
    answers = iter(["", "yes"])
    monkeypatch.setattr("hoox_async._cli.terminal.Terminal.can_ask", True)
    monkeypatch.setattr("hoox_async._cli.terminal.Terminal.ask", lambda *_: next(answers))
    assert cli.bare("store", "recover", part).code == 4
    assert part.read_bytes() == before
    done = cli.bare("store", "recover", part)
    assert done.code == 0
    assert "pays for them a second time" in done.err
    assert "is recovered; 4 requests found in it" in done.out
    assert cli("unknowns", part).code == 0


def test_recover_without_asking(cli: Cli, part: Path) -> None:
    """With `--yes` nobody is asked; recovering a second time finds nothing missing and ends with code 0."""
    [record] = cli.bare("store", "recover", part, "--yes", "--json").records
    assert record == {"event": "recovered", "path": str(part), "known": 4}
    done = cli.bare("store", "recover", part, "--yes")
    assert (done.code, done.out) == (0, "")
    assert "nothing is missing" in done.err


def test_recover_refuses_a_file_that_is_no_store(cli: Cli, tmp_path: Path) -> None:
    """`store recover` of a file that is not a store is refused in one line."""
    (tmp_path / "other.db").write_text("nothing")
    done = cli.bare("store", "recover", tmp_path / "other.db", "--yes")
    assert done.code in (2, 4)
    assert len(done.err.strip().splitlines()) == 1
