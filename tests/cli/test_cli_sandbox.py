"""``sandbox``: what its options do to the server that it starts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import unused_port
from cli_kit import run

from hoox_async import StoreMismatch
from hoox_async.sandbox import Fault, Sandbox


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Sandbox]:
    """The sandboxes that the command would serve; none of them is started."""
    served: list[Sandbox] = []

    async def serve(sandbox: Sandbox, *_: Any, **options: Any) -> None:
        served.append(sandbox)

    monkeypatch.setattr("hoox_async._cli.commands.sandbox._serve", serve)
    return served


def test_faults_latency_and_vocabulary_can_be_given(made: list[Sandbox]) -> None:
    """Each `--fault` affects the call that it names and no other; latency and vocabulary are passed on."""
    argv = "--latency 0.3 --failures 0.05 --fault edit:drop_after:3 --fault create:rate-limited"
    assert run(["sandbox", *argv.split(), "--vocabulary", "ready"]) == 0
    [sandbox] = made
    assert (sandbox._latency, sandbox.space.vocabulary) == (0.3, "ready")
    take = sandbox.space.faults.next_fault
    assert [take("edit") for _ in range(4)] == [None, None, Fault.DROP_AFTER, None]
    assert [take("create") for _ in range(2)] == [Fault.RATE_LIMITED, None]


def test_a_store_of_an_earlier_sandbox_is_refused(made: list[Sandbox], tmp_path: Path) -> None:
    """Each sandbox has a key of its own, unless a seed or a key is given: an old store is refused by name."""
    port, store = str(unused_port()), tmp_path / "looks.db"
    for words in ([], [], ["--seed", "7"], ["--seed", "7"], ["--api-key", "hx_mine"]):
        assert run(["sandbox", "--port", port, *words]) == 0
    first, second, seeded, again, own = made
    assert (seeded.api_key, own.api_key) == (again.api_key, "hx_mine")

    async def make(sandbox: Sandbox) -> None:
        async with sandbox, sandbox.session(store=store) as session:
            await session.create_avatar_from_images(["https://images.test/mara.jpg"])

    asyncio.run(make(first))
    with pytest.raises(StoreMismatch, match=r"looks\.db belongs to another API key"):
        asyncio.run(make(second))


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--fault", "edit:drop_it:3"], "drop_it is not a fault; expected one of bad_gateway, deep_json,"),
        (["--fault", "edit:refused"], "refused is not a fault"),
        (["--fault", "edit"], "nothing is not a fault"),
        (["--fault", "make:hang"], "make is not an endpoint; expected one of create, edit,"),
        (["--fault", "edit:hang:0"], "expected the number of a call, 1 or more"),
        (["--fault", "edit:hang:x"], "expected the number of a call, 1 or more"),
        (["--latency", "-1"], "--latency: -1.0 is not usable; expected a number of 0 or more"),
        (["--latency", "nan"], "--latency: nan is not usable; expected a number of 0 or more"),
        (["--credits", "many"], "--credits: 'many' is not a number"),
        (["--credits", "-1"], "--credits: -1 is not usable; expected a number of credits, 0 or more"),
        (["--seed", "-1"], "--seed: -1 is not usable; expected a whole number of 0 or more"),
        (["--vocabulary", "english"], "english"),
    ],
)
def test_an_invalid_option_is_refused(
    made: list[Sandbox], argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An invalid option is refused in one line with exit code 2, and nothing is started."""
    assert run(["sandbox", *argv]) == 2
    assert said in capsys.readouterr().err
    assert made == []
