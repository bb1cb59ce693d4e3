"""``hoox-async costs``: what a store's requests have cost, as a table and as JSON."""

from __future__ import annotations

from pathlib import Path

from cli_kit import CAMPAIGN, Cli, campaign


def test_costs_of_a_campaign(cli: Cli, tmp_path: Path) -> None:
    """After a batch the command shows each group with its requests, states and credits, and the sum."""
    file = campaign(tmp_path)
    assert cli("batch", file, "--yes").code == 0
    done = cli.bare("costs", file, "--by", "avatar")
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["avatar", "requests", "ready", "spent", "at", "risk"]
    assert ["avtr_public_ada", "2", "2", "4", "0"] in lines
    assert lines[-1] == ["all", "4", "4", "8", "0"]


def test_what_failed_looks_cost_is_named_in_every_sum(cli: Cli, tmp_path: Path) -> None:
    """The summary of a batch, `report`, its sheet and `costs` name the credits of looks that failed."""
    file = campaign(tmp_path, CAMPAIGN.replace("On a small stage", "[fail] On a small stage"))
    said = "8 credits spent, of which 4 for failed looks (whether they are refunded is not known)"
    done = cli("batch", file, "--yes")
    assert done.code == 1
    assert said in done.out
    assert said in cli.bare("costs", file).out
    [total] = cli.bare("costs", file, "--json").of("costs")
    assert (total["spent"], total["credits_failed"]) == ("8", "4")
    sheet = cli.bare("report", file)
    assert said in sheet.err
    assert said in Path(sheet.out.strip()).read_text("utf-8")


def test_costs_as_json(cli: Cli, tmp_path: Path) -> None:
    """With --json each group is a line, credits as text. Without that metadata the group is null."""
    file = campaign(tmp_path)
    cli("batch", file, "--yes")
    [line] = cli.bare("costs", "--store", f"{file}.hoox.db", "--by", "metadata.customer", "--json").of(
        "costs"
    )
    assert line["group"] is None
    assert (line["requests"], line["spent"], line["at_risk"], line["pruned"]) == (4, "8", "0", False)
    assert line["counts"]["ready"] == 4


def test_costs_of_a_database(cli: Cli, postgres_database: str, tmp_path: Path) -> None:
    """A database's workspace is read without a key."""
    file = campaign(tmp_path)
    where = ("--store", postgres_database, "--workspace", "shop")
    cli("batch", file, "--yes", *where)
    [line] = cli.bare("costs", *where, "--json").of("costs")
    assert (line["by"], line["group"], line["spent"]) == ("kind", "edit", "8")


def test_costs_by_something_else(cli: Cli, tmp_path: Path) -> None:
    """Another property is wrong usage, and the message says what there is."""
    file = campaign(tmp_path)
    cli("batch", file, "--yes")
    done = cli.bare("costs", file, "--by", "customer")
    assert done.code == 2
    assert "--by: 'customer' is not usable; expected metadata.NAME" in done.err
