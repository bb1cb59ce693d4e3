"""The README keeps its word: its code runs, its commands and links are there, and CI runs what it says."""

from __future__ import annotations

import ast
import asyncio
import functools
import inspect
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hoox_async
from hoox_async import BatchItem, HooxSession, OutcomeState, PromptAvatar
from hoox_async.sandbox import DeliveryOptions, Sandbox

ROOT = Path(__file__).parents[1]
HOOKS = "https://shop.example.com/hooks/hoox"
README = (ROOT / "README.md").read_text(encoding="utf-8")
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def blocks(language: str) -> list[tuple[str, str]]:
    """The README's blocks of code in a language, each with the heading that it stands under."""
    found, heading = [], ""
    for part in re.finditer(rf"^## ([^\n]+)$|^```{language}\n(.*?)^```$", README, re.M | re.S):
        if part[1]:
            heading = part[1]
        else:
            found.append((heading, part[2]))
    return found


PYTHON = blocks("python")
SHELL = [line for _, block in blocks("sh") for line in block.splitlines() if line.startswith("hoox-async")]


def block(heading: str, number: int = 0) -> str:
    """The Python code under a heading."""
    return [code for under, code in PYTHON if under == heading][number]


def execute(code: str, **names: Any) -> dict[str, Any]:
    """Run a block as it stands, with all of the library's names there, as a reader would import them."""
    space = {name: getattr(hoox_async, name) for name in hoox_async.__all__} | names
    compiled = compile(code, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(compiled, space)
    if inspect.iscoroutine(result):
        asyncio.run(result)
    return space


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox in the API's place: what the README's programs make, they make there, in an empty folder.

    It sends no webhooks: the host that the README gives them is not ours.
    """
    monkeypatch.chdir(tmp_path)
    with Sandbox(requests_per_minute=6000, deliveries=DeliveryOptions(lose=1.0)) as served:
        monkeypatch.setenv("HOOX_API_KEY", served.api_key)
        at_sandbox = functools.partial(HooxSession, base_url=served.base_url, requests_per_minute=6000)
        monkeypatch.setattr("hoox_async.HooxSession", at_sandbox)
        yield served


def test_the_readmes_first_program_makes_a_look_and_saves_its_picture(
    sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first program makes an avatar and an edit at 4K, prints the cost, and saves the picture."""
    execute(block("A first program"))
    assert [charge.credits for charge in sandbox.ledger] == [2, 4]
    assert capsys.readouterr().out == f"{sandbox.ledger[1].ref} 4\n"
    assert (tmp_path / "podcast.jpg").read_bytes().startswith(b"\xff\xd8")


def test_the_readmes_errors_are_listed_by_what_they_cost(sandbox: Sandbox) -> None:
    """The block of errors catches each class that may have cost something before the root class."""

    async def made() -> None:
        async with hoox_async.HooxSession() as session:
            alex = await session.run(PromptAvatar("Alex"))
            names = {"session": session, "alex": alex, "__name__": "readme"}
            space = {name: getattr(hoox_async, name) for name in hoox_async.__all__} | names
            code = compile(
                block("A first program", 1), "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            )
            await eval(code, space)
            assert space["look"].status is hoox_async.LookStatus.READY

    asyncio.run(made())
    caught = re.findall(r"^except (\w+)", block("A first program", 1), re.M)
    assert caught[-1] == "HooxError"
    charged = [getattr(hoox_async, name).charged for name in caught[:-1]]
    assert charged == re.findall(r"# (maybe|yes):", block("A first program", 1))


def test_the_readmes_batch_pays_each_look_once_and_writes_the_sheet(sandbox: Sandbox, tmp_path: Path) -> None:
    """The two blocks of the batch make and save each look once, and write the contact sheet."""
    space = execute(block("Many looks", 0))
    items = space["requests"]
    assert [type(item) for item in items] == [BatchItem, BatchItem]
    report = execute(block("Many looks", 1), requests=items)["report"]
    assert [outcome.state for outcome in report.outcomes] == [OutcomeState.READY] * 2
    assert len(sandbox.ledger) == 2
    assert {path.name for path in (tmp_path / "looks").rglob("*.jpg")} == {"alex.jpg", "car.jpg"}
    assert (tmp_path / "sheet" / "index.html").exists()


def test_the_readme_names_all_outcome_states() -> None:
    """Each state in which an item can end is named."""
    [paragraph] = re.findall(r"^Each item ends in exactly one state: .*?\n\n", README, re.M | re.S)
    assert set(re.findall(r"`([A-Z]+)`", paragraph)) == {state.name for state in OutcomeState}


def test_the_readmes_web_app_pays_an_order_once(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The web app that gets an order twice under one key pays once, and settles it by its webhook."""
    pytest.importorskip("fastapi")
    httpx = pytest.importorskip("httpx")
    monkeypatch.setenv("HOOX_WEBHOOK_SECRET", "a secret of at least 16 characters")
    app = execute(block("In a web app"))["app"]

    async def ordered() -> str:
        async with app.router.lifespan_context(app):
            alex = await app.state.session.create_avatar_from_images(["https://shop.example.com/alex.jpg"])
            order = {"source": str(alex.ref), "prompt": "in a car, evening"}
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="https://shop.example.com") as client:
                answers = [await client.post("/orders/17", params=order) for _ in range(2)]
                made = sandbox.ledger[1]
                told = {
                    "task": "avatar_edit", "avatar_id": made.avatar_id, "look_id": made.look_id,
                    "status": "completed", "result": {"thumbnail_url": "https://cdn.example.com/17.jpg"},
                }  # fmt: skip
                assert (await client.post(f"{HOOKS}/no-token", json=told)).status_code == 404
                assert (await client.post(made.request["webhook_url"], json=told)).status_code == 200
                assert [answer.json() for answer in answers] == [str(made.ref)] * 2
                await app.state.session.job(made.ref)
        return "17 ready https://cdn.example.com/17.jpg"

    assert asyncio.run(ordered()) in capsys.readouterr().out.splitlines()
    assert [charge.credits for charge in sandbox.ledger] == [0, 2]


def test_the_readmes_test_passes() -> None:
    """The README's example of a test passes, and uses the fixtures that the README names."""
    test = execute(block("In your tests"))["test_a_lost_answer_is_not_paid_twice"]
    assert list(inspect.signature(test).parameters) == ["hoox_sandbox", "hoox_session"]

    async def run() -> None:
        async with Sandbox() as sandbox, sandbox.session() as session:
            await test(sandbox, session)

    asyncio.run(run())


def test_every_block_is_run() -> None:
    """No Python block is in the README that the tests above don't run."""
    assert [heading for heading, _ in PYTHON] == [
        "A first program", "A first program", "Many looks", "Many looks", "In a web app", "In your tests",
    ]  # fmt: skip


@pytest.mark.parametrize("line", SHELL)
def test_commands_are_known(line: str) -> None:
    """Each `hoox-async …` line of the README is a command with options that there are."""
    from hoox_async._cli.app import build

    words = shlex.split(line, comments=True)[1:]
    command, _, _ = build().parse_args(words, exit_on_error=False, print_error=False)
    assert command.__name__ == words[0]


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
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert "examples/contact_sheet.png" in links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_paths_in_the_contributors_table_exist() -> None:
    """Each path is a file or a folder."""
    rows = re.findall(r"^\| .*? \| (.*`.*) \|$", README, re.M)
    paths = [path for row in rows for path in re.findall(r"`([\w/]+(?:\.py|/))`", row)]
    assert len(paths) > 8
    bases = (ROOT, ROOT / "hoox_async", ROOT / "hoox_async" / "sandbox")
    assert [path for path in paths if not any((base / path).exists() for base in bases)] == []


def test_the_picture_is_small() -> None:
    """The contact sheet's picture is small enough for a page, and as wide as the README shows it sharp."""
    from PIL import Image

    path = ROOT / "examples" / "contact_sheet.png"
    assert path.stat().st_size <= 350_000
    with Image.open(path) as image:
        assert image.width == 1280
