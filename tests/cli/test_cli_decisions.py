"""`resolve STORE @decisions.json`: decisions that were made on a page are carried out, and each only once."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cli_kit import Cli, Terminal, campaign, parse_decisions

from hoox_async import HooxSession, LookRef, Outcome, OutcomeState, OutcomeUnknown, PromptAvatar
from hoox_async._cli.commands import unknowns as command
from hoox_async._cli.commands.unknowns import Decision, plan_decisions
from hoox_async.errors import ConfigurationError
from hoox_async.sandbox import Fault

Write = Callable[..., Path]


@pytest.fixture
def lost(cli: Cli, tmp_path: Path) -> Path:
    """A campaign of which three looks were paid for and their answers lost."""
    file = campaign(tmp_path)
    for _ in range(3):
        cli.sandbox.fail_next("edit", Fault.DROP_AFTER)
    assert cli("batch", file, "--yes", "--limit", "3").code == 4
    assert len(cli.sandbox.ledger) == 3
    return file


@pytest.fixture
def write(cli: Cli, lost: Path) -> Write:
    """Writes a file of decisions, bound to the sendings that `unknowns` lists now."""

    def to_file(**verdicts: str) -> Path:
        sent = {record["key"]: record["attempt"] for record in cli("unknowns", lost, "--json").of("unknown")}
        keys = sorted(sent)
        decisions = [
            {"key": keys[int(name[1:])], "attempt": sent[keys[int(name[1:])]], "verdict": verdict}
            for name, verdict in verdicts.items()
        ]
        return saved(lost.parent, decisions)

    return to_file


def saved(folder: Path, decisions: list[dict[str, Any]]) -> Path:
    """A file of decisions as the page saves it."""
    file = folder / "decisions.json"
    file.write_text(json.dumps({"format": "hoox-async decisions 2", "decisions": decisions}), "utf-8")
    return file


def keys_of(file: Path) -> list[str]:
    """The keys in a file of decisions."""
    return [decision["key"] for decision in json.loads(file.read_text("utf-8"))["decisions"]]


def candidate(cli: Cli, lost: Path, key: str) -> str:
    """A look that this unknown may have made."""
    [record] = [r for r in cli("unknowns", lost, "--json").of("unknown") if r["key"] == key]
    return str(record["candidates"][0])


def test_all_three_decisions_are_carried_out(cli: Cli, lost: Path, write: Write) -> None:
    """One look is named, one request is dropped, one is sent again: exactly that one is paid once more."""
    file = write(k0="resend", k1="drop", k2="resend")
    again, left, found = keys_of(file)
    look = candidate(cli, lost, found)
    decisions = json.loads(file.read_text("utf-8"))["decisions"]
    decisions[2]["verdict"] = look
    saved(lost.parent, decisions)
    done = cli("resolve", lost, f"@{file}", "--yes", "--json")
    assert done.code == 0
    assert [(record["key"], record["verdict"]) for record in done.of("resolved")] == [
        (left, "drop"), (found, look), (again, "resend"),
    ]  # fmt: skip
    assert len(cli.sandbox.ledger) == 4
    assert cli("unknowns", lost).code == 0
    assert "batch" in done.err.splitlines()[-1]


def test_carried_out_twice_it_pays_once(cli: Cli, lost: Path, write: Write) -> None:
    """The same file again finds everything settled, sends nothing and ends with code 0."""
    file = write(k0="resend", k1="drop")
    assert cli("resolve", lost, f"@{file}", "--yes").code == 0
    done = cli("resolve", lost, f"@{file}", "--yes", "--json")
    assert done.code == 0
    assert {record["reason"] for record in done.of("unchanged")} == {"settled"}
    assert len(cli.sandbox.ledger) == 4


def test_a_decision_is_for_one_sending(cli: Cli, lost: Path, write: Write) -> None:
    """Where the second sending is lost as well, the same file does not send a third time: code 4."""
    file = write(k0="resend")
    [key] = keys_of(file)
    cli.sandbox.fail_next("edit", Fault.DROP_AFTER)
    assert cli("resolve", lost, f"@{file}", "--yes").code == 4
    assert len(cli.sandbox.ledger) == 4
    done = cli("resolve", lost, f"@{file}", "--yes")
    assert done.code == 4
    assert f"{key}: it was sent once more after this was decided; look again" in done.err
    assert len(cli.sandbox.ledger) == 4


def test_what_another_person_sent_again_meanwhile_is_not_sent(
    cli: Cli, lost: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another person carries out the same file meanwhile, and that POST is lost: paid once, code 4."""
    carry_out = command._settle

    async def second(session: HooxSession, decision: Decision, terminal: Terminal) -> None:
        cli.sandbox.fail_next("edit", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown):
            await session.resend(decision.key)
        await carry_out(session, decision, terminal)

    monkeypatch.setattr(command, "_settle", second)
    done = cli("resolve", lost, f"@{write(k0='resend')}", "--yes", "--json")
    assert done.code == 4
    assert [record["reason"] for record in done.of("unchanged")] == ["sent_again"]
    assert len(cli.sandbox.ledger) == 4


def test_it_asks_before_it_pays(cli: Cli, lost: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question names the cost; without a yes nothing at all is done."""
    file = write(k0="resend", k1="drop", k2="resend")
    asked: list[str] = []
    answers = iter(["n", "y"])

    def answer(_: object, question: str) -> str:
        asked.append(question)
        return next(answers)

    monkeypatch.setattr("hoox_async._cli.terminal.Terminal.can_ask", True)
    monkeypatch.setattr("hoox_async._cli.terminal.Terminal.ask", answer)
    refused = cli("resolve", lost, f"@{file}")
    assert refused.code == 4
    assert "nothing was done" in refused.err
    assert len(cli("unknowns", lost, "--json").of("unknown")) == 3
    assert cli("resolve", lost, f"@{file}").code == 0
    assert asked == ["Spend 4 credits? [y/N]"] * 2
    assert len(cli.sandbox.ledger) == 5


def test_nobody_to_ask_is_no_consent(cli: Cli, lost: Path, write: Write) -> None:
    """Without a terminal a file that pays needs --yes, and one that pays nothing does not."""
    refused = cli("resolve", lost, f"@{write(k0='resend', k1='drop')}")
    assert refused.code == 2
    assert (
        "nothing was done: making them again costs 2 credits, and nobody can be asked; add --yes"
        in refused.err
    )
    assert len(cli("unknowns", lost, "--json").of("unknown")) == 3
    assert cli("resolve", lost, f"@{write(k1='drop')}").code == 0


def test_it_stops_where_the_next_would_be_lost_too(cli: Cli, lost: Path, write: Write) -> None:
    """After a sending whose outcome is unknown nothing more is sent; the same command goes on."""
    file = write(k0="resend", k1="resend", k2="drop")
    cli.sandbox.fail_next("edit", Fault.DROP_AFTER)
    done = cli("resolve", lost, f"@{file}", "--yes")
    assert done.code == 4
    assert "1 decision not carried out: run this again" in done.err
    assert len(cli.sandbox.ledger) == 4
    assert cli("resolve", lost, f"@{file}", "--yes").code == 4  # one is to be looked at again
    assert len(cli.sandbox.ledger) == 5


def test_a_refused_decision_does_not_stop_the_others(cli: Cli, lost: Path, write: Write) -> None:
    """A look that does not exist is an error of its own decision; the others are carried out."""
    done = cli("resolve", lost, f"@{write(k0='avtr_public_ada:look_none', k1='drop')}", "--json")
    assert done.code == 2
    assert len(done.of("error")) == len(done.of("resolved")) == 1


def test_a_file_of_another_store_is_refused(cli: Cli, lost: Path) -> None:
    """A key that the store does not have is code 2, and nothing is done."""
    file = saved(lost.parent, [{"key": "other", "attempt": "att_1", "verdict": "drop"}])
    done = cli("resolve", lost, f"@{file}")
    assert done.code == 2
    assert "the store has no such request" in done.err


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "[]",
        '{"format": "hoox-async picks 1", "decisions": []}',
        '{"format": "hoox-async decisions 2"}',
        '{"format": "hoox-async decisions 2", "decisions": [1]}',
        '{"format": "hoox-async decisions 2", "decisions": [{"key": "a", "verdict": "drop"}]}',
        '{"format": "hoox-async decisions 2", "decisions": [{"key": "a", "attempt": "", "verdict": "drop"}]}',
        '{"format": "hoox-async decisions 2", "decisions": [{"key": "a", "attempt": "x", "verdict": "?"}]}',
        '{"format": "hoox-async decisions 2", "decisions": [{"key": "a", "attempt": "x", "verdict": ":"}]}',
    ],
)
def test_no_file_of_decisions(text: str, cli: Cli, tmp_path: Path) -> None:
    """Anything else than a file of decisions is refused before the store is looked at: code 2."""
    with pytest.raises(ConfigurationError):
        parse_decisions(text)
    file = tmp_path / "decisions.json"
    file.write_text(text, "utf-8")
    store = tmp_path / "s.hoox.db"
    store.touch()
    done = cli("resolve", store, f"@{file}")
    assert done.code == 2
    assert str(file) in done.err


def test_a_wrong_decision_is_named_by_its_number_its_key_and_its_value() -> None:
    """The error names the decision of the file, its field and the value, or its key and the verdict."""
    good = {"key": "one", "attempt": "x", "verdict": "drop"}

    def text(**wrong: object) -> str:
        return json.dumps(
            {"format": "hoox-async decisions 2", "decisions": [good, {**good, "key": "two", **wrong}]}
        )

    with pytest.raises(ConfigurationError, match=r"decision 2: attempt 7: expected a text"):
        parse_decisions(text(attempt=7))
    with pytest.raises(ConfigurationError, match=r"decision 2, two: verdict 'maybe': expected"):
        parse_decisions(text(verdict="maybe"))


@pytest.mark.parametrize("verdicts", [("drop", "drop"), ("a:b", "a:b")])
def test_doubles_are_refused(verdicts: tuple[str, str]) -> None:
    """A key that is decided twice, and a look that is named for two requests, are refused."""
    keys = ("same", "same") if verdicts[0] == "drop" else ("one", "two")
    decisions = [
        {"key": key, "attempt": "x", "verdict": verdict} for key, verdict in zip(keys, verdicts, strict=True)
    ]
    with pytest.raises(ConfigurationError, match="occurs twice"):
        parse_decisions(json.dumps({"format": "hoox-async decisions 2", "decisions": decisions}))


def test_the_plan_pays_last_and_counts_what_it_pays() -> None:
    """What is sent again comes last, and only what is still to be done is counted."""
    outcomes = {
        key: Outcome(key, PromptAvatar("x"), state, attempt="now")
        for key, state in zip("abcd", (*[OutcomeState.UNKNOWN] * 3, OutcomeState.READY), strict=True)
    }
    again, named = Decision("a", "now", "resend"), Decision("b", "now", LookRef("x", "y"))
    outdated, settled = Decision("c", "before", "resend"), Decision("d", "now", "resend")
    plan = plan_decisions([again, named, outdated, settled], outcomes)
    assert plan == ((named, again), (settled,), (outdated,), Decimal(2))
