"""`unknowns` and `resolve`: requests that may have been paid for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
from cli_kit import AVATARS, Cli, campaign
from internals_kit import FileLock

from hoox_async import BatchReport, OutcomeState
from hoox_async.sandbox import Fault


@pytest.fixture
def lost(cli: Cli, tmp_path: Path) -> Path:
    """A campaign of which `noor/stage` was paid for and its answer lost."""
    file = campaign(tmp_path)
    cli.sandbox.fail_next("edit", Fault.DROP_AFTER)
    done = cli("batch", file, "--yes", "--only", "noor/stage")
    assert done.code == 4
    assert "1 unknown: may have been paid for" in done.out
    return file


def _answers(monkeypatch: pytest.MonkeyPatch, *typed: str) -> None:
    answers: Iterator[str] = iter(typed)
    monkeypatch.setattr("hoox_async._cli.terminal.Terminal.can_ask", True)
    monkeypatch.setattr("hoox_async._cli.terminal.Terminal.ask", lambda *_: next(answers))


def test_unknowns_shows_candidates(cli: Cli, lost: Path) -> None:
    """`unknowns` lists key, cost, prompt and the looks that may be its own, by campaign file or store."""
    candidate = str(cli.sandbox.ledger[-1].ref)
    done = cli("unknowns", lost)
    assert done.code == 4
    assert "noor/stage  (2 credits, sent 20" in done.out
    assert "On a small stage, blue light" in done.out
    assert f"1  {candidate}" in done.out
    [record] = cli("unknowns", f"{lost}.hoox.db", "--json").of("unknown")
    assert (record["key"], record["candidates"]) == ("noor/stage", [candidate])
    assert record["candidates_from"] == "name"  # Bruno is a public avatar, which the API has copied
    assert "avatars of the same name" in done.out


def test_the_page_shows_pictures_and_commands(cli: Cli, lost: Path) -> None:
    """`--page` writes a page with the candidate's picture, its age, and commands that settle the request."""
    candidate, folder = str(cli.sandbox.ledger[-1].ref), lost.parent / "page"
    done = cli("unknowns", lost, "--page", folder)
    assert done.code == 4
    assert done.out.splitlines()[-1] == str(folder / "index.html")
    html = (folder / "index.html").read_text("utf-8")
    assert "On a small stage, blue light" in html
    assert "after it was sent" in html
    assert len(list((folder / "small").iterdir())) == 2  # the candidate, and the look that was edited
    command = f"resolve --base-url {cli.sandbox.base_url} --rpm 6000 {lost} noor/stage {candidate}"
    assert command in html
    assert cli.sandbox.api_key not in html
    done = cli.bare(*command.split())
    assert (done.code, done.out) == (0, f"noor/stage is {candidate}\n")


def test_a_lost_avatar_is_found_by_looking(cli: Cli, tmp_path: Path) -> None:
    """The page shows the avatars of the workspace that no request of the store is about, named as it was."""
    file = campaign(tmp_path, AVATARS.replace('key = "mara"', 'key = "mara"\nname = "Mara"'))
    cli("create", "somebody else", "--name", "other")
    assert cli("batch", file, "--yes", "--only", "yuki").code == 0
    cli.sandbox.fail_next("create", Fault.DROP_AFTER)
    assert cli("batch", file, "--yes", "--only", "mara").code == 4
    other, yuki, mara = (str(charge.ref) for charge in cli.sandbox.ledger)
    cli.sandbox.settle(mara, "ready")  # the list has no look that is being made
    done = cli("unknowns", file, "--page", tmp_path / "page")
    assert "no look was found that could be its result" in done.out  # nothing is attributed by itself
    html = (tmp_path / "page" / "index.html").read_text("utf-8")
    assert f"resolve --base-url {cli.sandbox.base_url} --rpm 6000 {file} mara {mara}" in html
    assert yuki not in html
    assert "look_public" not in html
    assert other not in html
    assert cli("resolve", file, "mara", mara).code == 0
    assert len(cli.sandbox.ledger) == 3


def test_unknowns_are_shown_while_a_program_has_the_store_open(
    cli: Cli, lost: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a store that is open elsewhere `unknowns` shows what is recorded, and says who has it.

    What that program is sending right now, and may still be answered, is not unknown.
    """
    candidate = str(cli.sandbox.ledger[-1].ref)
    assert cli("unknowns", lost).code == 4

    async def read_while_sending(_: object) -> BatchReport:
        [*others, last] = (await BatchReport.open(f"{lost}.hoox.db")).outcomes
        soon = datetime.now(UTC) + timedelta(minutes=1)
        sent = attrs.evolve(last, key="sent", state=OutcomeState.UNKNOWN, answer_by=soon)
        return BatchReport([*others, last, sent])

    monkeypatch.setattr("hoox_async._cli.commands.unknowns.read_report", read_while_sending)
    lock = FileLock(str(Path(f"{lost}.hoox.db").resolve()))
    lock.acquire(datetime.now(UTC))
    try:
        done = cli("unknowns", lost, "--page", lost.parent / "page")
        assert cli("resolve", lost, "noor/stage", "drop").code == 2
    finally:
        lock.release()
    assert done.code == 4
    assert "noor/stage  (2 credits, sent 20" in done.out
    assert candidate in done.out
    assert "sent  (" not in done.out
    assert "is open in process" in done.err
    assert (lost.parent / "page" / "index.html").is_file()


def test_the_page_tells_the_command_that_carries_out_its_decisions(cli: Cli, lost: Path) -> None:
    """After the page, the next command is the one for the decisions that are saved on it."""
    done = cli("unknowns", lost, "--page", lost.parent / "page")
    assert f"resolve {lost} @decisions.json --base-url {cli.sandbox.base_url}" in done.err
    assert "it asks" not in done.err


def test_a_missing_key_is_named_as_in_the_usage(cli: Cli, lost: Path) -> None:
    """`resolve` without a key says that KEY is missing, and not that an option has no value."""
    done = cli.bare("resolve", lost)
    assert done.code == 2
    assert "needs KEY" in done.err
    assert "--key" not in done.err


def test_the_page_is_opened(cli: Cli, lost: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--open` writes the page beside the store and opens it; where nothing can open it, it says so."""
    opened: list[str] = []

    def no_browser(url: str) -> bool:
        opened.append(url)
        return False

    monkeypatch.setattr("webbrowser.open", no_browser)
    done = cli("unknowns", lost, "--open", "--json")
    page = lost.with_name("campaign.toml.unknowns") / "index.html"
    assert done.of("page") == [{"event": "page", "page": str(page)}]
    assert opened == [page.as_uri()]
    assert "open the page yourself" in done.err


def test_the_page_is_written_when_nothing_is_unknown_any_more(cli: Cli, lost: Path) -> None:
    """A page of earlier unknowns is replaced by one that says that nothing is unknown."""
    folder = lost.parent / "page"
    cli("unknowns", lost, "--page", folder)
    cli("resolve", lost, "noor/stage", "drop")
    assert cli("unknowns", lost, "--page", folder).code == 0
    assert "Nothing is unknown" in (folder / "index.html").read_text("utf-8")


def test_the_page_is_a_folder(cli: Cli, lost: Path) -> None:
    """The name of a file is refused before anything is asked."""
    done = cli("unknowns", lost, "--page", lost.parent / "unknowns.html")
    assert done.code == 2
    assert "name a folder" in done.err


def test_report_shows_candidates(cli: Cli, lost: Path) -> None:
    """With a key, the contact sheet shows the looks that unknowns may have made, found just now."""
    candidate, folder = str(cli.sandbox.ledger[-1].ref), lost.parent / "sheet"
    assert cli("report", lost, "--out", folder).code == 0
    html = (folder / "index.html").read_text("utf-8")
    assert f'data-verdict="{candidate}"' in html
    assert "after it was sent" in html
    assert f"resolve --base-url {cli.sandbox.base_url} --rpm 6000 {lost} @decisions.json" in html


def test_report_without_a_key(cli: Cli, lost: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the contact sheet is written all the same, and it is said what it lacks."""
    monkeypatch.delenv("HOOX_API_KEY")
    done = cli.bare("report", lost)
    assert done.code == 0
    assert "without pictures: no API key" in done.err
    assert "1 request may have been paid for" in (
        lost.with_name("campaign.toml.sheet") / "index.html"
    ).read_text("utf-8")


def test_the_next_command_is_printed(cli: Cli, lost: Path) -> None:
    """If only unknowns are left, `batch` prints the command `unknowns`, and that prints `resolve`."""
    again = cli("batch", lost, "--yes", "--only", "noor/stage")
    assert again.code == 4
    assert f"unknowns {lost} " in again.err.splitlines()[-1]
    assert "Not finished" not in again.err
    assert f"resolve {lost} noor/stage " in cli("unknowns", lost).err.splitlines()[-1]


def test_nothing_is_unknown(cli: Cli, tmp_path: Path) -> None:
    """`unknowns` of a store without unknowns prints nothing on stdout and ends with code 0."""
    file = campaign(tmp_path)
    cli("batch", file, "--yes", "--only", "noor/stage")
    done = cli("unknowns", file)
    assert (done.code, done.out) == (0, "")


def test_resolve_with_a_look(cli: Cli, lost: Path) -> None:
    """A ref as the verdict makes that look the item's result: the next run pays nothing."""
    paid = cli.sandbox.ledger[-1].ref
    assert cli("resolve", lost, "noor/stage", str(paid)).code == 0
    done = cli("batch", lost, "--only", "noor/stage", "--json")
    assert done.code == 0
    assert str(paid) in {record["ref"] for record in done.of("outcome")}
    assert len(cli.sandbox.ledger) == 1


def test_resolve_asks(cli: Cli, lost: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a verdict `resolve` shows the candidates and asks until the answer is valid."""
    _answers(monkeypatch, "7", "what", "1")
    done = cli("resolve", lost, "noor/stage")
    assert done.code == 0
    assert f"noor/stage is {cli.sandbox.ledger[-1].ref}" in done.out
    assert "verdict 'what': expected" in done.err


def test_an_empty_answer_decides_nothing(cli: Cli, lost: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty answer to `resolve` leaves the request unknown."""
    _answers(monkeypatch, "")
    assert cli("resolve", lost, "noor/stage").code == 4
    assert cli("unknowns", lost).code == 4


def test_resend_pays_once_more(cli: Cli, lost: Path) -> None:
    """`resend` sends the request again, which pays once more, and prints the new ref."""
    done = cli("resolve", lost, "noor/stage", "resend", "--json")
    assert done.code == 0
    assert len(cli.sandbox.ledger) == 2
    assert done.of("resolved")[0]["ref"] == str(cli.sandbox.ledger[-1].ref)


def test_drop(cli: Cli, lost: Path) -> None:
    """`drop` sends nothing and ends the unknown; the next run still says what it may have cost."""
    assert cli("resolve", lost, "noor/stage", "drop").code == 0
    assert cli("unknowns", lost).code == 0
    done = cli("batch", lost, "--only", "noor/stage", "--yes")
    assert done.code == 1
    assert "0 credits spent, 2 at risk" in done.out
    assert "you dropped it, it may have been charged" in done.out
    assert len(cli.sandbox.ledger) == 1


@pytest.mark.parametrize(
    "words",
    [("noor/stage", "perhaps"), ("nobody", "drop"), ("nobody",), ("noor/stage",), ("alex/stage", "drop")],
)
def test_bad_verdicts(cli: Cli, lost: Path, words: tuple[str, ...]) -> None:
    """An invalid verdict, a key that is not unknown, or no verdict where nobody can be asked is code 2."""
    done = cli("resolve", lost, *words)
    assert done.code == 2
    assert ("nothing was done" in done.err) == (words == ("noor/stage",))
    assert len(cli.sandbox.ledger) == 1


@pytest.mark.parametrize("command", ["unknowns", "report"])
def test_no_store(cli: Cli, tmp_path: Path, command: str) -> None:
    """Without a store beside the campaign file the command ends with code 2 and creates no file."""
    done = cli.bare(command, campaign(tmp_path))
    assert done.code == 2
    assert "no such store" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["campaign.toml"]
