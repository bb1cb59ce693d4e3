"""`batch --budget NAME:CREDITS`, and `store budget NAME`, which shows a budget and changes its cap."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from cli_kit import Cli, campaign


@pytest.mark.parametrize("kind", ["file", "database"])
def test_a_campaign_with_a_budget(
    cli: Cli, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """The budget caps the run, is shown, and after its cap was raised the printed command finishes it."""
    file = campaign(tmp_path)
    url = [] if kind == "file" else ["--store", request.getfixturevalue("postgres_database")]
    where = url or ["--store", file]
    first = cli("batch", file, "--yes", "--budget", "spring:4", *url)
    assert first.code == 4
    spent = cli.sandbox.credits_spent
    assert 0 < spent <= 4
    shown = cli.bare("store", "budget", "spring", *where)
    assert shown.code == 0, shown.err
    assert shown.out.startswith(f"spring: cap 4 credits, {spent:g} charged")
    assert cli.bare("store", "budget", "spring", "--json", *where).records[0]["charged"] == f"{spent:f}"
    other = cli("batch", file, "--yes", "--budget", "spring:100", *url)
    assert other.code == 2
    assert "hoox-async store budget spring --cap 100" in other.err
    command = re.search(r"^ *hoox-async (store budget .*) && hoox-async (batch .*)$", first.err, re.MULTILINE)
    assert command is not None, first.err
    change, again = (shlex.split(part) for part in command.groups())
    raised = cli.bare(*change)
    assert raised.code == 0, raised.err
    assert cli.bare(*again).code == 0
    assert len(cli.sandbox.ledger) == 4


def test_a_budget_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    """A name that was never used is bad usage; nothing is created, not even with a cap."""
    file = campaign(tmp_path)
    assert cli("batch", file, "--yes").code == 0
    for words in ([], ["--cap", "5"]):
        done = cli.bare("store", "budget", "spring", *words, "--store", file)
        assert done.code == 2
        assert "no budget 'spring'" in done.err


@pytest.mark.parametrize("word", ["spring", "spring:", ":5", "spring:-1", "spring:many"])
def test_a_budget_needs_a_name_and_credits(cli: Cli, tmp_path: Path, word: str) -> None:
    """Anything but NAME:CREDITS is bad usage, and nothing is sent."""
    done = cli("batch", campaign(tmp_path), "--yes", f"--budget={word}")
    assert done.code == 2
    assert "NAME:CREDITS" in done.err
    assert not cli.sandbox.ledger


def test_a_cap_of_this_machine_is_refused_on_a_database(
    cli: Cli, tmp_path: Path, postgres_database: str
) -> None:
    """``--max-credits`` does not hold for other machines; the message says what does."""
    done = cli("batch", campaign(tmp_path), "--yes", "--max-credits", "5", "--store", postgres_database)
    assert done.code == 2
    assert "--budget NAME:5" in done.err
    assert not cli.sandbox.ledger


def test_the_plan_shows_the_budget(cli: Cli, tmp_path: Path) -> None:
    """A dry run names the budget and its cap, for people and in JSON."""
    file = campaign(tmp_path)
    assert "spring: never more than 5 credits" in cli("batch", file, "--dry-run", "--budget", "spring:5").out
    done = cli("batch", file, "--dry-run", "--budget", "spring:5", "--json")
    assert done.of("plan")[0]["budget"] == "spring:5"
