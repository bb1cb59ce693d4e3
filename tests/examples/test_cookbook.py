"""Each recipe of the cookbook does what it says, and the index names each."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from examples_kit import EXAMPLES, run_example

from hoox_async.sandbox import Sandbox

INDEX = EXAMPLES / "README.md"
slow = pytest.mark.slow


def recipes() -> list[Path]:
    """The files that a reader copies from."""
    files = [*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*.ipynb")]
    return sorted(path for path in files if not path.name.startswith("_"))


def test_the_index_names_every_recipe_and_app() -> None:
    """Each recipe, campaign file and app is linked under a question, and each link leads somewhere."""
    links = set(re.findall(r"\]\(([^)#:]+)\)", INDEX.read_text(encoding="utf-8")))
    apps = {f"{path.parent.name}/README.md" for path in EXAMPLES.glob("*/README.md")}
    assert {path.name for path in recipes()} | apps | {"campaign.toml", "campaign.csv"} <= links
    assert [link for link in links if not (EXAMPLES / link).exists()] == []


def test_each_recipe_is_run_by_a_test() -> None:
    """A test names it, here or beside."""
    folders = [Path(__file__).parent, Path(__file__).parents[1] / "webhooks"]
    tests = "".join(
        test.read_text(encoding="utf-8") for folder in folders for test in folder.glob("test_*.py")
    )
    named = set(re.findall(r'"([\w.]+)"', tests))
    assert [path.name for path in recipes() if not named & {path.name, path.stem}] == []


def test_each_recipe_says_on_top_what_it_shows() -> None:
    """Its docstring has a few sentences, and the command that runs it."""
    for path in (path for path in recipes() if path.suffix == ".py"):
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert path.stem in said, path
        assert len(said.splitlines()) >= 4, path


@slow
def test_deadlines(tmp_path: Path) -> None:
    """What is not sent in time costs nothing; a look that is not done in time is waited for again."""
    told = run_example("deadlines.py", folder=tmp_path)
    assert re.search(r"alex: not sent: .*\nalex: paid, and not done yet: .*\nalex: ready\n", told)
    assert re.search(r"(mara: not in time\n)+mara: ready\n", told)


@slow
def test_downloads(tmp_path: Path) -> None:
    """A download that fails is tried again, and an expired URL is asked for anew."""
    told = run_example("downloads.py", "pictures", folder=tmp_path)
    assert "HTTP 503" in told
    assert "HTTP 403" in told
    [picture] = (tmp_path / "pictures").iterdir()
    assert picture.read_bytes()[:2] == b"\xff\xd8"


@slow
def test_unknowns(tmp_path: Path) -> None:
    """Three unknowns: one is named, one sent again, one given up."""
    told = run_example("unknowns.py", folder=tmp_path)
    said = re.findall(r"^  (it is|sent again|given up)", told, re.M)
    assert said == ["it is", "sent again", "given up"]
    assert told.endswith("0 unknowns left\n")


@slow
def test_trouble(tmp_path: Path) -> None:
    """What is wrong is told when it begins and when it is over."""
    told = run_example("trouble.py", folder=tmp_path)
    assert re.search(r"trouble: no_credits\n(over: no_credits\nalex: ready|alex: ready\nover)", told)


@slow
def test_rotate_key(tmp_path: Path) -> None:
    """The new key is refused until the program says that it is one, and the avatar is paid for once."""
    told = run_example("rotate_key.py", folder=tmp_path)
    assert re.findall(r"^(\w+):", told, re.M) == ["hx_old", "refused", "hx_new", "hx_new"]
    assert len(set(re.findall(r"^hx_\w+: (\S+)$", told, re.M))) == 1
    assert told.endswith("\n2 credits\n")


@slow
def test_several_machines(tmp_path: Path, postgres_database: str) -> None:
    """Both machines get all eight looks, and each look was sent by one of them."""
    told = run_example("several_machines.py", folder=tmp_path, DATABASE_URL=postgres_database)
    sent = re.findall(r"machine \d: 8 looks are ready, (\d) of them were sent here", told)
    assert len(sent) == 2
    assert sum(map(int, sent)) == 8


@slow
def test_many_workspaces(tmp_path: Path, postgres_database: str) -> None:
    """The same key of two workspaces is two looks, each paid once."""
    told = run_example("many_workspaces.py", folder=tmp_path, DATABASE_URL=postgres_database).splitlines()
    said = [re.fullmatch(r"(\w+): (\S+) (\S+), 2 credits", line) for line in told]
    assert [one and one[1] for one in said] == ["ada", "bo"]
    assert all(one and one[2] == one[3] for one in said)
    assert len({one and one[2] for one in said}) == 2


@slow
def test_session_per_task(tmp_path: Path, postgres_database: str) -> None:
    """Each order has the same look each time that it is submitted, and is collected by another session."""
    first, again, *collected = run_example(
        "session_per_task.py", folder=tmp_path, DATABASE_URL=postgres_database
    ).splitlines()
    assert first == again
    assert [line.partition(": http")[0] for line in collected] == ["17", "18"]


@slow
def test_grants(tmp_path: Path, postgres_database: str) -> None:
    """The program's role is refused before the statements were run, and works afterwards."""
    told = run_example("grants.py", folder=tmp_path, DATABASE_URL=postgres_database)
    assert re.search(r"^refused: .*(?s:.*)^GRANT USAGE(?s:.*) is ready$", told, re.M)


@slow
def test_testing_my_program(pytester: pytest.Pytester) -> None:
    """The tests that the recipe shows pass."""
    source = (EXAMPLES / "testing_my_program.py").read_text(encoding="utf-8")
    pytester.makepyfile(test_my_program=source)
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    done.assert_outcomes(passed=4)


async def test_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cells run one after the other in one loop, as a kernel runs them; the cell of many looks twice."""
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    space: dict[str, Any] = {}
    for cell in [*cells[:-1], cells[-2], cells[-1]]:
        coroutine = eval(compile(cell, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), space)
        if coroutine is not None:
            await coroutine
    told = capsys.readouterr().out
    assert "2 pending" in told
    assert told.count("alex/podcast ready") == 2
    assert (tmp_path / "alex.jpg").read_bytes()[:2] == b"\xff\xd8"
    sandbox: Sandbox = space["sandbox"]
    assert sandbox.credits_spent == 2 + 2 * 2


@slow
def test_progress(tmp_path: Path) -> None:
    """The estimate, then how far it is, at the end once with all that is done and paid."""
    told = run_example("progress.py", folder=tmp_path).splitlines()
    assert told[0].startswith("1 avatar from a prompt, 7 edits: 16 credits, about ")
    assert told[1].startswith("0 of 8 done, 0 in flight, 0 unknown, 0 credits, ")
    assert told[-2:] == ["8 of 8 done, 0 in flight, 0 unknown, 16 credits, 0 s left", "16 credits spent"]
