"""`report`: the contact sheet of a store."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from cli_kit import Cli, campaign


def test_the_sheet(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`report` writes the page beside the campaign and prints its path alone on stdout; it needs no key."""
    file = campaign(tmp_path)
    cli("batch", file, "--yes")
    monkeypatch.delenv("HOOX_API_KEY")
    monkeypatch.setattr("hoox_async._cli.commands.report._LINE_SECONDS", 0.0)
    done = cli.bare("report", f"{file}.hoox.db")
    sheet = tmp_path / "campaign.toml.sheet" / "index.html"
    assert (done.code, done.out.strip()) == (0, str(sheet))
    assert "4 of 4 looks ready" in done.err
    assert "4 of 4 pictures collected" in done.err
    assert "noor/stage" in sheet.read_text(encoding="utf-8")
    assert len(list((sheet.parent / "pictures").iterdir())) == 4


def test_lines_and_saved_pictures(cli: Cli, tmp_path: Path) -> None:
    """`--jsonl` writes the outcomes too; `--pictures` takes what `batch --out` saved and fetches nothing."""
    file, out = campaign(tmp_path), tmp_path / "pictures"
    cli("batch", file, "--yes", "--out", out)
    fetched = len([request for request in cli.sandbox.requests if request.endpoint == "picture"])
    done = cli.bare(
        "report", file, "--out", tmp_path / "page", "--jsonl", tmp_path / "all.jsonl", "--pictures", out,
        "--json",
    )  # fmt: skip
    assert done.code == 0
    [record] = done.records
    assert (record["counts"]["ready"], record["credits"]) == (4, "8")
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert len(lines) == 4
    assert len(list((tmp_path / "page" / "pictures").iterdir())) == 4
    assert len([r for r in cli.sandbox.requests if r.endpoint == "picture"]) == fetched


def test_the_page_has_the_commands_for_its_picks(cli: Cli, tmp_path: Path) -> None:
    """The page of a campaign has whole commands that take its picks, that of a bare store the free one."""
    file = campaign(tmp_path)
    cli("batch", file, "--yes")
    cli.bare("report", file)
    page = (tmp_path / "campaign.toml.sheet" / "index.html").read_text(encoding="utf-8")
    assert f"hoox-async download {file} --only @picks.json --out picked" in page
    assert f"hoox-async batch {file} --only @picks.json --4k --out finals" in page
    cli.bare("report", f"{file}.hoox.db")
    page = (tmp_path / "campaign.toml.sheet" / "index.html").read_text(encoding="utf-8")
    assert "download" in page
    assert "hoox-async batch" not in page


def test_a_finished_batch_tells_how_to_see_all_on_one_page(cli: Cli, tmp_path: Path) -> None:
    """After a run the command for the contact sheet is printed, with the pictures that were saved."""
    done = cli("batch", campaign(tmp_path), "--yes", "--out", tmp_path / "pictures")
    words = shlex.split(done.err.splitlines()[-1])
    assert words[1] == "report"
    assert cli.bare(*words[1:]).code == 0
    assert (tmp_path / "campaign.toml.sheet" / "index.html").exists()
    assert "report" not in cli("batch", tmp_path / "campaign.toml", "--quiet").err


def test_while_a_batch_has_the_store(cli: Cli, tmp_path: Path) -> None:
    """`report` works while a session has the store open."""
    import asyncio

    file = campaign(tmp_path)
    cli("batch", file, "--yes", "--only", "noor/*")
    codes: list[int] = []

    async def hold() -> None:
        async with cli.sandbox.session(store=f"{file}.hoox.db"):
            done = await asyncio.to_thread(cli.bare, "report", file, "--no-download")
            codes.append(done.code)

    asyncio.run(hold())
    assert codes == [0]


def test_a_file_that_is_no_store(cli: Cli, tmp_path: Path) -> None:
    """`report` of a file that is not a store ends with code 2 and one line."""
    other = tmp_path / "other.db"
    other.write_text("nothing")
    done = cli.bare("report", other)
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1


def test_without_the_extra(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Jinja2 `report` says in one line how to install it."""
    file = campaign(tmp_path)
    cli("batch", file, "--yes", "--only", "noor/*")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    done = cli.bare("report", file)
    assert done.code == 2
    assert 'pip install -e ".[report]"' in done.err
