"""`--only @picks.json`: versions, pictures and pages of the looks that were picked in the contact sheet."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from cli_kit import AVATARS, CAMPAIGN, Cli, campaign, parse_campaign, read_picks

from hoox_async.sandbox import Fault

PICKED = ("alex/podcast", "noor/stage")


def picks(folder: Path, picked: Sequence[str] = PICKED, name: str = "picks.json") -> str:
    """Write a picks file as the contact sheet saves it; gives the word that ``--only`` takes."""
    file = folder / name
    saved = {"format": "hoox-async picks 1", "picked": list(picked), "rejected": ["alex/stage"]}
    file.write_text(json.dumps(saved))
    return f"@{file}"


def _made(cli: Cli, tmp_path: Path) -> Path:
    file = campaign(tmp_path)
    assert cli("batch", file, "--yes").code == 0
    assert cli.sandbox.credits_spent == 8
    return file


def test_versions_in_4k_are_edits_of_the_picked_looks(cli: Cli, tmp_path: Path) -> None:
    """`--4k` sends one 4K edit of each picked look, from the look itself, and saves its picture."""
    file, out = _made(cli, tmp_path), tmp_path / "finals"
    refs = {str(charge.ref) for charge in cli.sandbox.ledger}
    done = cli("batch", file, "--only", picks(tmp_path), "--4k", "--yes", "--out", out, "--json")
    assert done.code == 0
    assert {record["key"] for record in done.of("outcome")} == {"alex/podcast~4k", "noor/stage~4k"}
    made = cli.sandbox.ledger[4:]
    assert [charge.credits for charge in made] == [Decimal(4)] * 2
    assert {charge.request["resolution"] for charge in made} == {"4K"}
    assert {f"{c.request['avatar_id']}:{c.request['look_id']}" for c in made} < refs
    assert {str(path.relative_to(out)) for path in out.rglob("*.jpg")} == {
        "alex/podcast-4k-1.jpg", "noor/stage-4k-1.jpg",
    }  # fmt: skip


def test_versions_keep_how_the_look_was_made(cli: Cli, tmp_path: Path) -> None:
    """A variant has the prompt, the style and the format of its look; `--prompt` replaces the prompt."""
    file = _made(cli, tmp_path)
    only = picks(tmp_path, ["alex/podcast"])
    assert cli("batch", file, "--only", only, "--variants", "1", "--yes").code == 0
    sent = cli.sandbox.ledger[-1].request
    assert (sent["prompt"], sent["style"], sent["resolution"]) == (
        "Podcast studio, warm light", "podcast", "2K",
    )  # fmt: skip
    words = ("--prompt", "the same at night", "--label", "night")
    done = cli("batch", file, "--only", only, "--variants", "1", *words, "--yes", "--json")
    assert done.of("outcome")[0]["key"] == "alex/podcast~night1"
    assert cli.sandbox.ledger[-1].request["prompt"] == "the same at night"


def test_the_cost_is_shown_before_anything_is_sent(cli: Cli, tmp_path: Path) -> None:
    """The plan of versions shows their number and credits, and without consent nothing is sent."""
    file = _made(cli, tmp_path)
    words = ("batch", file, "--only", picks(tmp_path), "--variants", "3")
    done = cli(*words)
    assert done.code == 2
    assert "to send      6 edits" in done.err
    assert "credits      12 (8 spent before)" in done.err
    assert len(cli.sandbox.ledger) == 4


def test_running_again_pays_for_no_version_twice(cli: Cli, tmp_path: Path) -> None:
    """The same command sends nothing again, also by a pattern; more variants send only those that are new."""
    file = _made(cli, tmp_path)
    words = ("batch", file, "--only", "alex/*", "--yes")
    for _ in range(2):
        assert cli(*words, "--variants", "2").code == 0
        assert len(cli.sandbox.ledger) == 8
    assert cli(*words, "--variants", "3").code == 0
    assert len(cli.sandbox.ledger) == 10


def test_the_originals_are_untouched(cli: Cli, tmp_path: Path) -> None:
    """Versions change no outcome of the campaign's own looks, and a run of the campaign makes no version."""
    file = _made(cli, tmp_path)
    before = cli("batch", file, "--json").of("outcome")
    cli("batch", file, "--only", picks(tmp_path), "--4k", "--yes")
    after = cli("batch", file, "--json")
    assert after.of("outcome") == before
    assert after.of("plan")[0]["to_send"] == 0
    assert len(cli.sandbox.ledger) == 6


def test_no_campaign_file_can_hold_a_versions_key() -> None:
    """The mark in the keys of versions is refused in the keys of campaign files, so they never collide."""
    text = CAMPAIGN + '[[looks]]\nkey = "alex/podcast~4k"\navatar = "alex"\nprompt = "x"\n'
    with pytest.raises(Exception, match=r"looks\[1\].key"):
        parse_campaign(text, "toml")


def test_another_prompt_under_the_same_label_is_refused(cli: Cli, tmp_path: Path) -> None:
    """A version with other content than was paid for is refused, not replaced; nothing is paid."""
    file = _made(cli, tmp_path)
    words = ("batch", file, "--only", picks(tmp_path, ["alex/podcast"]), "--variants", "1", "--yes")
    cli(*words)
    done = cli(*words, "--prompt", "something else")
    assert done.code == 1
    assert "changed      1: alex/podcast~v1" in done.err
    assert len(cli.sandbox.ledger) == 5


def test_versions_of_versions(cli: Cli, tmp_path: Path) -> None:
    """A version can be picked too: its 4K version is an edit of it, under a key that names both."""
    file = _made(cli, tmp_path)
    cli("batch", file, "--only", picks(tmp_path, ["alex/podcast"]), "--variants", "2", "--yes")
    only = picks(tmp_path, ["alex/podcast~v2"])
    done = cli("batch", file, "--only", only, "--4k", "--yes", "--json")
    assert [record["key"] for record in done.of("outcome")] == ["alex/podcast~v2~4k"]
    assert done.of("plan")[0]["credits"] == "4"
    saved = cli("batch", file, "--only", only, "--out", tmp_path / "one", "--json")
    assert [record["key"] for record in saved.of("picture")] == ["alex/podcast~v2"]
    assert saved.of("plan")[0]["to_send"] == 0


def test_a_look_in_4k_stands_for_itself(cli: Cli, tmp_path: Path) -> None:
    """A picked look that is in 4K already costs nothing; its picture is saved with the others."""
    text = CAMPAIGN.replace('style = "podcast"', 'style = "podcast"\nresolution = "4K"')
    file = campaign(tmp_path, text)
    cli("batch", file, "--yes")
    done = cli("batch", file, "--only", picks(tmp_path), "--4k", "--yes", "--out", tmp_path / "out", "--json")
    assert done.of("plan")[0]["notes"] == ["1 look in 4K already: alex/podcast"]
    assert {record["key"] for record in done.of("picture")} == {"alex/podcast", "noor/stage~4k"}
    assert len(cli.sandbox.ledger) == 5


def test_looks_without_a_version_are_named(cli: Cli, tmp_path: Path) -> None:
    """Looks that are not ready, and avatars from images without a prompt, are left out with the reason."""
    file = campaign(tmp_path, AVATARS)
    cli("batch", file, "--yes", "--only", "yuki")
    only = picks(tmp_path, ["yuki", "mara"])
    refused = cli("batch", file, "--only", only, "--variants", "1", "--yes")
    assert refused.code == 2
    assert "not ready: mara" in refused.err
    assert "give --prompt): yuki" in refused.err
    done = cli("batch", file, "--only", only, "--variants", "1", "--prompt", "smiling", "--yes", "--json")
    assert [record["key"] for record in done.of("outcome")] == ["yuki~v1"]
    assert done.of("plan")[0]["notes"] == ["1 look left out, not ready: mara"]


def test_wrong_options_are_code_2(cli: Cli, tmp_path: Path) -> None:
    """Versions of nothing in particular, numbers out of range and files that are missing send nothing."""
    file = _made(cli, tmp_path)
    for words in (
        ("--4k",),
        ("--variants", "0", "--only", "alex/*"),
        ("--prompt", "x"),
        ("--label", "x"),
        ("--4k", "--label", "a~b", "--only", "alex/*"),
        ("--4k", "--prompt", " ", "--only", "alex/*"),
        ("--only", "@nowhere.json"),
        ("--only", "alex/podcast~v9", "--4k"),
    ):
        done = cli("batch", file, "--yes", *words)
        assert done.code == 2, words
        assert len(done.err.strip().splitlines()) == 1, words
        assert len(cli.sandbox.ledger) == 4, words


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": "hoox-async picks 2", "picked": ["a"]}',
        '{"format": "hoox-async picks 1"}',
        '{"format": "hoox-async picks 1", "picked": "a"}',
        '{"format": "hoox-async picks 1", "picked": [1]}',
        '{"format": "hoox-async picks 1", "picked": []}',
    ],
)
def test_a_file_that_is_no_picks_file(tmp_path: Path, text: str) -> None:
    """A picks file of another form, or one that picks nothing, is an error that names the file."""
    file = tmp_path / "picks.json"
    file.write_text(text)
    with pytest.raises(Exception, match=r"--only @.*picks.json"):
        read_picks(file)


def test_a_picked_key_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    """A picked key that neither the file nor the store has is code 2, with the nearest key; none is sent."""
    file = campaign(tmp_path)
    done = cli("batch", file, "--yes", "--only", picks(tmp_path, ["alex/podcst"]))
    assert done.code == 2
    assert "no item has the key 'alex/podcst' (did you mean 'alex/podcast'?)" in done.err
    assert cli.sandbox.ledger == []


def test_picks_choose_a_part_of_the_campaign(cli: Cli, tmp_path: Path) -> None:
    """Without `--4k` and `--variants` the picked looks themselves are made, with their sources."""
    file = campaign(tmp_path, AVATARS)
    done = cli("batch", file, "--yes", "--only", picks(tmp_path, ["mara/car"]), "--json")
    assert {record["key"] for record in done.of("outcome")} == {"mara", "mara/car"}


def test_a_picked_look_that_the_file_has_no_more(cli: Cli, tmp_path: Path) -> None:
    """A picked look whose scene was taken out of the file is found in the store and costs nothing."""
    file = _made(cli, tmp_path)
    campaign(tmp_path, CAMPAIGN.replace('key = "podcast"', 'key = "studio"'))
    done = cli("batch", file, "--only", picks(tmp_path), "--out", tmp_path / "out", "--json")
    assert (done.code, done.of("plan")[0]["to_send"]) == (0, 0)
    assert {record["key"] for record in done.of("picture")} == set(PICKED)


def test_the_printed_command_resumes_versions(cli: Cli, tmp_path: Path) -> None:
    """A run of versions that did not finish prints a command that makes the rest, and pays for none twice."""
    file = _made(cli, tmp_path)
    only = picks(tmp_path)
    done = cli(
        "batch", file, "--only", only, "--variants", "2", "--prompt", "at night", "--max-credits", "12"
    )
    assert done.code == 4
    assert len(cli.sandbox.ledger) == 6
    assert cli.bare(*shlex.split(done.err.splitlines()[-1])[1:]).code == 0
    assert len(cli.sandbox.ledger) == 8
    assert {charge.request["prompt"] for charge in cli.sandbox.ledger[4:]} == {"at night"}


def test_versions_are_rehearsed(cli: Cli, tmp_path: Path) -> None:
    """`--rehearse` makes the versions on a sandbox of its own: nothing is sent, nothing is recorded."""
    file = _made(cli, tmp_path)
    requests = len(cli.sandbox.requests)
    done = cli("batch", file, "--only", picks(tmp_path), "--4k", "--rehearse", "--speed", "400")
    assert done.code == 0
    assert "2 of 2 looks ready" in done.out
    assert len(cli.sandbox.requests) == requests


def test_download_saves_the_picked_pictures(cli: Cli, tmp_path: Path) -> None:
    """`download --only` saves the picked pictures in one folder, pays nothing, and fetches each once."""
    file, out = _made(cli, tmp_path), tmp_path / "picked"
    words = ("download", file, "--only", picks(tmp_path), "--out", out)
    done = cli(*words, "--json")
    assert (done.code, done.of("download")[0]["pictures"]) == (0, 2)
    assert {path.name for path in out.iterdir()} == {"alex-podcast.jpg", "noor-stage.jpg", "pictures.jsonl"}
    assert cli(*words, "--json").of("picture") == []
    assert len(cli.sandbox.ledger) == 4


def test_download_leaves_out_what_is_not_ready(cli: Cli, tmp_path: Path) -> None:
    """`download` says how many looks it leaves out, and what it could not save is code 4 with the command."""
    file, out = campaign(tmp_path), tmp_path / "all"
    cli("batch", file, "--yes", "--only", "*/podcast")
    cli.sandbox.hold()
    cli("batch", file, "--yes", "--only", "alex/stage", "--look-timeout", "0.2")
    cli.sandbox.fail_next("picture", Fault.BAD_GATEWAY, times=4)
    done = cli("download", file, "--out", out, "--names", "{scene}/{avatar}")
    assert done.code == 4
    assert "1 look left out: not ready" in done.err
    assert cli.bare(*shlex.split(done.err.splitlines()[-1])[1:]).code == 0
    assert {str(path.relative_to(out)) for path in out.rglob("*.jpg")} == {
        "podcast/alex.jpg", "podcast/noor.jpg",
    }  # fmt: skip


def test_report_of_the_picked_looks(cli: Cli, tmp_path: Path) -> None:
    """`report --only` writes a page of its own with the picked looks; the page of all stays as it is."""
    file = _made(cli, tmp_path)
    cli.bare("report", file, "--no-download")
    whole = (tmp_path / "campaign.toml.sheet" / "index.html").read_bytes()
    done = cli.bare("report", file, "--only", picks(tmp_path), "--no-download", "--json")
    assert done.code == 0
    assert done.of("report")[0]["counts"]["ready"] == 2
    page = Path(done.of("report")[0]["sheet"])
    assert page == tmp_path / "campaign.toml.selection.sheet" / "index.html"
    assert "alex/stage" not in page.read_text(encoding="utf-8")
    assert (tmp_path / "campaign.toml.sheet" / "index.html").read_bytes() == whole
