"""The README keeps its word: its code runs, its commands and links are there, and CI runs what it says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import unused_port
from readme_kit import PYTHON, README, RUN, Runner, blocks, run_twice

import hoox_async
from hoox_async import OutcomeState
from hoox_async.sandbox import Fault, Sandbox

ROOT = Path(__file__).parents[1]
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
SHELL = [line for _, block in blocks("sh") for line in block.splitlines() if line.startswith("hoox-async")]
INLINE = [shown.replace("\n", " ") for shown in re.findall(r"`(hoox-async [^`]+)`", README)]
CREDITS = {"hoox-async": 6, "Many looks": 4, "One look": 6, "In a web app": 2, "In your tests": 0}


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    """A sandbox in the place of the one in the reader's second terminal, and an empty folder."""
    with Sandbox() as sandbox:
        yield Runner(sandbox, tmp_path, unused_port())


@pytest.mark.slow
@pytest.mark.parametrize("heading", PYTHON)
def test_each_program_runs_twice_as_pasted_and_pays_once(heading: str, runner: Runner) -> None:
    """Each program, pasted into a fresh file, succeeds twice, and the second run pays nothing.

    The first screen's saves the pictures of three avatars, and that of many looks writes its contact sheet.
    """
    if heading == "In a web app":
        pytest.importorskip("fastapi")
        pytest.importorskip("uvicorn")
    first, second = run_twice(runner, heading)
    assert first
    assert second
    assert runner.sandbox.credits_spent == CREDITS[heading]
    if heading == "hoox-async":
        assert len(first.splitlines()) == 3
        pictures = list((runner.folder / "pictures").iterdir())
        assert [path.read_bytes()[:2] for path in pictures] == [b"\xff\xd8"] * 3
    if heading == "Many looks":
        assert first.splitlines()[-1].endswith("index.html")
        assert (runner.folder / "sheet" / "index.html").exists()


@pytest.mark.slow
def test_the_campaign_runs_as_pasted(runner: Runner) -> None:
    """The block of commands, pasted into a clone's folder, makes, shows and saves the campaign's looks."""
    shutil.copytree(ROOT / "examples", runner.folder / "examples")
    [block] = [block for heading, block in blocks("sh") if heading == "A campaign from the command line"]
    address = "--base-url=http://127.0.0.1:8765/api/public/v1"
    assert address in block
    block = block.replace(address, f"'--base-url={runner.sandbox.base_url} --rpm=6000'")
    bash = shutil.which("bash")
    assert bash is not None
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [bash, "-eu"], input=block, cwd=runner.folder, env=runner.environment | {"PATH": path},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert runner.sandbox.credits_spent == 35
    saved = {name: len(list((runner.folder / name).rglob("*.jpg"))) for name in ("looks", "finals", "picked")}
    assert saved == {"looks": 8, "finals": 4, "picked": 4}
    assert (runner.folder / "campaign.toml.sheet" / "index.html").is_file()


@pytest.mark.slow
def test_the_look_whose_answer_is_lost_is_paid_once(runner: Runner) -> None:
    """Where its edit's answer is lost, both runs end with OutcomeUnknown, and the edit is charged once."""
    runner.sandbox.fail_next("edit", Fault.DROP_AFTER)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="OutcomeUnknown"):
            RUN["One look"](runner, "One look")
    assert [charge.credits for charge in runner.sandbox.ledger] == [2, 4]


def test_the_errors_are_listed_by_what_they_cost() -> None:
    """Each error in the table has the class attribute that the table says, and the root class comes last."""
    rows = re.findall(r"^\| `(\w+)` \| (?:`\"(\w+)\"`|see it) \|", README, re.M)
    assert rows[-1] == ("HooxError", "")
    assert dict(rows[:-1]) == {
        name: error.charged
        for name, error in vars(hoox_async).items()
        if isinstance(error, type) and issubclass(error, hoox_async.HooxError) and error.charged != "no"
    }


def test_the_readme_names_all_outcome_states() -> None:
    """Each state in which an item can end is named."""
    [paragraph] = re.findall(r"Each item ends in exactly one state: .*?\n\n", README, re.S)
    assert set(re.findall(r"`([A-Z]+)`", paragraph)) == {state.name for state in OutcomeState}


def test_the_readme_is_short() -> None:
    """It has fewer than 250 lines and about 1,200 words outside its code, and begins with a program."""
    assert len(README.splitlines()) < 250
    text = re.sub(r"^```.*?^```|<[^>]*>|\]\([^)]*\)", "", README, flags=re.M | re.S)
    assert len(re.findall(r"\S*\w\S*", text)) < 1220
    assert README.index("```python") < README.index("```sh")


def test_every_block_is_run() -> None:
    """There is one Python block under a heading, and it is known how to run each."""
    assert [heading for heading, _ in blocks("python")] == list(RUN) == list(CREDITS)


@pytest.mark.parametrize("line", SHELL + [line for line in INLINE if not line.endswith("--help")])
def test_commands_are_known(line: str) -> None:
    """Each `hoox-async …` line of the README is a command with options that there are."""
    from hoox_async._cli.app import build

    words = [word for word in shlex.split(line, comments=True)[1:] if word != "$at"]
    command, _, _ = build().parse_args(words, exit_on_error=False, print_error=False)
    assert command.__name__ in words[:2]


@pytest.mark.slow
def test_the_marked_commands_are_those_of_ci() -> None:
    """`.ci/run` runs the commands marked in the README, each marked once and found as a reader copies it."""
    marked = dict(re.findall(r"^<!-- command: (\w+) -->\n```sh\n(.*?)\n```$", README, re.M | re.S))
    assert sorted(marked) == ["demo", "tests"]
    assert README.count("<!-- command:") == len(marked)
    assert sorted(set(re.findall(r"\$\(readme_command (\w+)\)", CI))) == sorted(marked)
    bash = shutil.which("bash")
    assert bash is not None
    [found] = re.findall(r"^readme_command\(\) .*$", CI, re.M)
    for name, command in marked.items():
        script = f"{found}\nreadme_command {name}"
        told = subprocess.run([bash, "-euc", script], cwd=ROOT, capture_output=True, text=True, check=True)
        assert told.stdout.strip() == command


def test_links_of_the_readme_are_files_of_the_repository() -> None:
    """Each relative link and picture exists."""
    links = re.findall(r"\]\(([^)#:]+)\)|(?:src|srcset)=\"([^\":]+)\"", README)
    links = [link or picture for link, picture in links]
    assert "examples/contact_sheet.png" in links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_picture_is_small() -> None:
    """The contact sheet's picture is small enough for a page, and as wide as the README shows it sharp."""
    from PIL import Image

    path = ROOT / "examples" / "contact_sheet.png"
    assert path.stat().st_size <= 350_000
    with Image.open(path) as image:
        assert image.width == 1280
