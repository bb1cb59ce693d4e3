"""`batch`: plan, consent, run, pictures, resume."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import shlex
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import get_args

import attrs
import pytest
from cli_kit import AVATARS, CAMPAIGN, ITEMS, BatchOptions, Cli, Done, Terminal, campaign

from hoox_async import BatchItem, BatchRunner, Estimate, HooxSession, LookEdit, Outcome, OutcomeState
from hoox_async._batch.estimate import _would_send
from hoox_async._batch.items import Item
from hoox_async._batch.options import BatchOptions as RunnerOptions
from hoox_async._batch.options import retry_states
from hoox_async._cli.batch.options import Changed, Retry
from hoox_async._cli.batch.plan import Plan, make_plan, show_items, show_plan
from hoox_async._core.intents.intent import Intent, IntentState
from hoox_async._core.intents.keys import digest
from hoox_async._core.intents.outcomes import outcome_of
from hoox_async._io import downloads
from hoox_async.sandbox import Fault, Sandbox

CHANGED: tuple[Changed, ...] = get_args(Changed)
RETRIES: tuple[tuple[Retry, ...], ...] = ((), *((state,) for state in get_args(Retry)), get_args(Retry))


def _pictures(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*.jpg")}


def test_a_campaign_is_made(cli: Cli, tmp_path: Path) -> None:
    """All looks of a campaign are made: code 0, each look paid for once, the store beside the file."""
    file = campaign(tmp_path, AVATARS)
    done = cli("batch", file, "--yes")
    assert done.code == 0
    assert "to send      1 avatar from a prompt, 1 avatar from images, 2 edits" in done.err
    assert "4 of 4 looks ready" in done.out
    assert "6 credits spent" in done.out
    assert len(cli.sandbox.ledger) == 4
    assert cli.sandbox.credits_spent == 6
    assert (tmp_path / "campaign.toml.hoox.db").is_file()


def test_running_again_pays_nothing(cli: Cli, tmp_path: Path) -> None:
    """A second run of the same file sends nothing, needs no consent, and ends with code 0."""
    file = campaign(tmp_path)
    cli("batch", file, "--yes")
    done = cli("batch", file)
    assert (done.code, len(cli.sandbox.ledger)) == (0, 4)
    assert "to send      nothing" in done.err


def test_json_lines(cli: Cli, tmp_path: Path) -> None:
    """With `--json` stdout is lines of JSON only: the plan, each outcome, the summary; people read stderr."""
    done = cli("batch", campaign(tmp_path), "--yes", "--json")
    [plan], [summary] = done.of("plan"), done.of("summary")
    assert (plan["to_send"], plan["credits"], plan["by_kind"]) == (
        4, "8", {"edit": 4},
    )  # fmt: skip
    assert {record["key"] for record in done.of("outcome")} == ITEMS
    assert all(record["state"] == "ready" and record["ref"] for record in done.of("outcome"))
    assert (summary["counts"]["ready"], summary["credits"], summary["exit"]) == (4, "8", 0)
    assert "4 of 4 looks ready" in done.err


def test_a_dry_run_sends_nothing(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--dry-run` shows counts, credits and time; it needs no key, asks nobody and leaves no file."""
    monkeypatch.delenv("HOOX_API_KEY")
    done = cli("batch", campaign(tmp_path), "--dry-run")
    assert done.code == 0
    assert "to send      4 edits" in done.out
    assert "credits      8" in done.out
    assert "takes        about" in done.out
    assert "sources      2 existing looks, not checked: that needs an API key" in done.out
    assert cli.sandbox.requests == []
    assert [file.name for file in tmp_path.iterdir()] == ["campaign.toml"]


def test_a_dry_run_checks_that_the_avatars_exist(cli: Cli, tmp_path: Path) -> None:
    """With a key `--dry-run` asks for the edited looks, for free: a missing one is named, and is code 2.

    Nothing is asked about looks that are made already. Without an answer it says so, and the plan is shown.
    """
    file = campaign(tmp_path)
    done = cli("batch", file, "--dry-run")
    assert done.code == 0
    assert "sources      2 existing looks, found" in done.out
    assert [request.endpoint for request in cli.sandbox.requests] == ["list"]
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(
        CAMPAIGN.replace("look_public_bruno", "look_typo").replace("avtr_public_ada", "avtr_typo")
    )
    done = cli("batch", wrong, "--dry-run", "--json")
    assert (done.code, len(done.of("plan"))) == (2, 1)
    assert {one["ref"]: one["keys"] for one in done.of("missing")} == {
        "avtr_typo:look_public_ada": ["alex/podcast", "alex/stage"],
        "avtr_public_bruno:look_typo": ["noor/podcast", "noor/stage"],
    }
    assert "avtr_public_bruno:look_typo: there is no such look in this workspace; edited by noor/" in done.err
    assert cli.sandbox.ledger == []
    cli("batch", file, "--yes")
    asked = len(cli.sandbox.requests)
    assert cli("batch", file, "--dry-run").code == 0
    assert len(cli.sandbox.requests) == asked
    cli.sandbox.fail_next("list", Fault.TEAPOT)
    done = cli("batch", wrong, "--dry-run")
    assert done.code == 0
    assert "whether the avatars exist could not be checked" in done.err


def test_without_consent_nothing_is_sent(cli: Cli, tmp_path: Path) -> None:
    """If nobody can be asked, a run without `--yes` and `--max-credits` is code 2 and sends nothing."""
    done = cli("batch", campaign(tmp_path))
    assert done.code == 2
    assert "--yes or --max-credits" in done.err
    assert cli.sandbox.requests == []


def test_a_first_run_without_a_key(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run without an API key ends with code 3 before anything else is done."""
    monkeypatch.delenv("HOOX_API_KEY")
    assert cli("batch", campaign(tmp_path), "--yes").code == 3


@pytest.mark.parametrize(
    ("answer", "cap", "question", "code", "sent"),
    [
        ("y", (), "Spend 8 credits? [y/N]", 0, 4),
        ("", (), "Spend 8 credits? [y/N]", 4, 0),
        ("no", (), "Spend 8 credits? [y/N]", 4, 0),
        ("y", ("--max-credits", "5"), "Spend up to 5 credits? [y/N]", 4, 2),
    ],
)
def test_consent_is_asked_for(
    cli: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    cap: tuple[str, ...],
    question: str,
    code: int,
    sent: int,
) -> None:
    """On a terminal what the run may cost is shown with a question, and only yes sends anything."""
    asked: list[str] = []

    def ask(_: object, question: str) -> str:
        asked.append(question)
        return answer

    monkeypatch.setattr("hoox_async._cli.terminal.Terminal.can_ask", True)
    monkeypatch.setattr("hoox_async._cli.terminal.Terminal.ask", ask)
    done = cli("batch", campaign(tmp_path), *cap)
    assert (done.code, len(cli.sandbox.ledger)) == (code, sent)
    assert asked == [question]


def test_all_problems_are_reported_at_once(cli: Cli, tmp_path: Path) -> None:
    """Every problem of a file is reported with line, field, value and expectation; code 2, nothing sent."""
    wrong = CAMPAIGN.replace('style = "podcast"', 'style = "podcst"').replace('"look_public_bruno"', '""')
    done = cli("batch", campaign(tmp_path, wrong), "--yes", "--json")
    assert done.code == 2
    assert "campaign.toml: 2 problems" in done.err
    assert "line 9: avatars[2].look_id" in done.err
    assert [fault["line"] for fault in done.of("fault")] == [9, 14]
    assert "iphone, selfie, podcast" in done.of("fault")[1]["expected"]
    assert cli.sandbox.requests == []


@pytest.mark.parametrize(
    "words",
    [
        ("--only", "nobody/*"),
        ("--limit", "0"),
        ("--out", "pictures", "--names", "{nobody}"),
        ("--out", "pictures", "--names", "{avatar}"),
        ("--max-credits", "-1"),
        ("--max-failures", "0"),
        ("--dry-run", "--rehearse"),
        ("--rehearse", "--speed", "0"),
        ("--look-timeout", "0"),
    ],
)
def test_bad_options(cli: Cli, tmp_path: Path, words: tuple[str, ...]) -> None:
    """An option that makes no sense for this campaign is code 2 before anything is sent."""
    assert cli("batch", campaign(tmp_path), "--yes", *words).code == 2
    assert cli.sandbox.requests == []


def test_only_and_limit_select_a_part(cli: Cli, tmp_path: Path) -> None:
    """`--only` and `--limit` make a part with its sources; a later run makes the rest."""
    file = campaign(tmp_path)
    cli("batch", file, "--yes", "--only", "*/stage", "--limit", "1")
    assert [charge.request["avatar_id"] for charge in cli.sandbox.ledger] == ["avtr_public_ada"]
    assert cli("batch", file, "--yes").code == 0
    assert len(cli.sandbox.ledger) == 4


def test_the_cap_counts_all_runs(cli: Cli, tmp_path: Path) -> None:
    """`--max-credits` limits what all runs with the store spend, runs of other parts included."""
    file = campaign(tmp_path)
    assert cli("batch", file, "--max-credits", "2", "--only", "alex*").code == 4
    assert cli.sandbox.credits_spent == 2
    done = cli("batch", file, "--max-credits", "5", "--only", "noor*")
    assert done.code == 4
    assert cli.sandbox.credits_spent == 4
    assert "the cap is too low for all of them" in done.err
    assert "With a cap that is enough for all of them:" in done.err
    assert "--max-credits 6 " in done.err.splitlines()[-1]
    assert cli("batch", file, "--max-credits", "8").code == 0
    assert cli.sandbox.credits_spent == 8


def test_a_suggested_cap_counts_what_was_paid_for_other_content(cli: Cli, tmp_path: Path) -> None:
    """What was paid for an item that was changed since counts in the summary and in the cap for all."""
    file = campaign(tmp_path)
    cli("batch", file, "--yes", "--only", "*/stage")
    campaign(tmp_path, CAMPAIGN.replace("blue light", "red light"))
    done = cli("batch", file, "--max-credits", "6")
    assert done.code == 4
    assert cli.sandbox.credits_spent == 6
    assert "6 credits spent" in done.out
    assert "--max-credits 8 " in done.err.splitlines()[-1]


def test_failed_looks_are_code_1_and_can_be_retried(cli: Cli, tmp_path: Path) -> None:
    """A failed look is reported with its reason; only `--retry` pays for it again, at the cost shown."""
    file = campaign(tmp_path)
    cli.sandbox.hold()
    cli("batch", file, "--yes", "--only", "noor/*", "--look-timeout", "0.2")
    for charge in cli.sandbox.ledger:
        cli.sandbox.settle(charge.ref, "failed")
    done = cli("batch", file, "--yes", "--only", "noor/*")
    assert done.code == 1
    assert "2 failed: paid for, but could not be made" in done.out
    assert "failed: noor/podcast, noor/stage: Edit failed" in done.out
    cli.sandbox.release()
    again = cli("batch", file, "--only", "noor/*", "--dry-run")
    assert "--retry failed would pay for the failed ones again: 4 credits" in again.out
    assert cli("batch", file, "--yes", "--only", "noor/*", "--retry", "failed").code == 0
    assert cli.sandbox.credits_spent == 8


def test_a_look_that_takes_long_is_code_4_and_resumed(cli: Cli, tmp_path: Path) -> None:
    """A look that takes longer than `--look-timeout` is code 4, and the printed command resumes the run."""
    file = campaign(tmp_path)
    cli.sandbox.hold()
    words = ("batch", file, "--yes", "--only", "noor/stage", "--look-timeout", "0.2")
    done = cli(*words)
    assert done.code == 4
    assert "1 pending: paid for, not ready yet" in done.out
    assert f"hoox-async batch {file} --only noor/stage --look-timeout 0.2 --yes" in done.err
    cli.sandbox.release()
    assert cli("batch", file, "--yes", "--only", "noor/stage").code == 0
    assert len(cli.sandbox.ledger) == 1


def test_max_failures_stops(cli: Cli, tmp_path: Path) -> None:
    """After `--max-failures` nothing more is sent; the rest is left for the next run."""
    refused = "".join(f'[[looks]]\nkey = "x{n}"\navatar = "avtr_x:look_x"\nprompt = "x"\n' for n in range(80))
    done = cli("batch", campaign(tmp_path, refused), "--yes", "--max-failures", "1", "--json", rpm=600)
    assert done.code == 4
    counts = done.of("summary")[0]["counts"]
    assert counts["rejected"] >= 1
    assert counts["unsent"] >= 40
    assert "(--max-failures)" in done.err


def test_what_another_machine_is_sending_is_not_counted_as_unknown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An item that was sent and may still be answered is told apart; after that time it is unknown."""
    now = datetime.now(UTC)
    items = [BatchItem(key, LookEdit(f"avtr_1:look_{key}", "rain")) for key in ("ready", "sent", "late")]
    stored = {
        "ready": Outcome("ready", items[0].request, OutcomeState.READY),
        "sent": Outcome("sent", items[1].request, OutcomeState.UNKNOWN, answer_by=now + timedelta(hours=1)),
        "late": Outcome("late", items[2].request, OutcomeState.UNKNOWN, answer_by=now - timedelta(seconds=1)),
    }
    plan = Plan(tuple(items), stored, Estimate(Decimal(0), {}, 0.0))
    lines = show_plan(plan, "campaign", BatchOptions(), Terminal())
    assert "  from before  1 ready, 1 sent, not answered yet, 1 unknown" in lines
    show_items(plan, BatchOptions(), Terminal())
    assert "(sent, not answered yet)" in capsys.readouterr().out
    show_plan(plan, "campaign", BatchOptions(), Terminal(as_json=True))
    show_items(plan, BatchOptions(), Terminal(as_json=True))
    shown, *listed = map(json.loads, capsys.readouterr().out.splitlines())
    assert shown["standing"] == {"ready": 1, "sending": 1, "unknown": 1}
    assert [item["standing"] for item in listed] == ["ready", "sending", "unknown"]


@pytest.mark.parametrize("state", IntentState)
@pytest.mark.parametrize("content", ["same", "other"])
@pytest.mark.parametrize("before", [Decimal(0), Decimal(2)], ids=["never charged", "charged before"])
async def test_the_plan_lists_what_the_run_would_send(
    state: IntentState, content: str, before: Decimal, tmp_path: Path
) -> None:
    """Whatever the store has under a key, the plan's list and the batch's estimate agree on sending it."""
    request = LookEdit("avtr_1:look_1", "rain")
    stored = Intent("a", True, request, digest(request), datetime.now(UTC), state, past_spent=before)
    item = BatchItem("a", request if content == "same" else attrs.evolve(request, prompt="snow"))
    plan = Plan((item,), {"a": outcome_of(stored)}, Estimate(Decimal(0), {}, 0.0))
    for changed, retry in product(CHANGED, RETRIES):
        options = BatchOptions(changed=changed, retry=retry)
        runner = RunnerOptions(1, None, None, None, 900.0, "hold", retry_states(retry), changed)
        expected = _would_send(Item(0, "a", item.request, digest(item.request)), stored, runner)
        assert bool(plan.to_send(options)) is expected, options


def test_what_a_plan_says_of_alternatives_is_of_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `--retry failed` and `--changed redo` cost does not depend on what others send meanwhile."""
    items = [BatchItem(key, LookEdit(f"avtr_1:look_{key}", "rain")) for key in ("failed", "done", "new")]
    other = LookEdit("avtr_1:look_done", "snow", resolution="4K")
    stored = {
        "failed": Outcome("failed", items[0].request, OutcomeState.FAILED, credits=Decimal(2)),
        "done": Outcome("done", other, OutcomeState.READY, credits=Decimal(4)),
    }
    left = iter((90, 70, 40, 0))

    async def estimate(_: BatchRunner, __: object) -> Estimate:
        return Estimate(Decimal(next(left)), {}, 0.0)

    monkeypatch.setattr(BatchRunner, "estimate", estimate)
    plan = asyncio.run(make_plan(HooxSession("key"), items, stored, BatchOptions()))
    lines = show_plan(plan, "campaign", BatchOptions(), Terminal())
    assert "               --retry failed would pay for the failed ones again: 2 credits" in lines
    assert "               an error; --changed redo costs 2 credits, keep none" in lines


def test_changed_content(cli: Cli, tmp_path: Path) -> None:
    """A key with other content is refused, kept or paid again, as `--changed` says; its cost is shown."""
    file = campaign(tmp_path)
    cli("batch", file, "--yes")
    campaign(tmp_path, CAMPAIGN.replace("blue light", "red light"))
    refused = cli("batch", file, "--yes")
    assert refused.code == 1
    assert "changed      2: alex/stage, noor/stage" in refused.err
    assert "an error; --changed redo costs 4 credits, keep none" in refused.err
    assert "rejected: alex/stage, noor/stage" in refused.out
    assert "kept by --changed keep, and paid for anew by --changed redo" in refused.out
    assert cli("batch", file, "--yes", "--changed", "keep").code == 0
    assert cli.sandbox.credits_spent == 8
    redone = cli("batch", file, "--yes", "--changed", "redo")
    assert redone.code == 0
    assert cli.sandbox.credits_spent == 12
    assert "paid for again: 4 credits" in redone.err


def test_an_item_that_was_refused_free_of_charge_can_be_corrected(cli: Cli, tmp_path: Path) -> None:
    """An item that was refused free of charge may be changed without `--changed`; else it is not resent."""
    file = campaign(tmp_path)
    refusal = Fault.status(400, '{"error": "bad", "code": "INVALID_VALUE"}')
    cli.sandbox.fail_next("edit", refusal, times=4)
    refused = cli("batch", file, "--yes")
    assert refused.code == 1
    assert cli("batch", file, "--yes").code == 1
    assert cli.sandbox.ledger == []
    campaign(tmp_path, CAMPAIGN.replace("blue light", "red light"))
    corrected = cli("batch", file, "--yes")
    assert "changed" not in corrected.err
    assert "to send      2 edits" in corrected.err
    assert {charge.request["prompt"] for charge in cli.sandbox.ledger} == {"On a small stage, red light"}
    assert cli("batch", file, "--yes", "--retry", "rejected").code == 0
    assert cli.sandbox.credits_spent == 8


def test_an_outage_stops_after_max_failures(cli: Cli, tmp_path: Path) -> None:
    """Requests with an unknown outcome count as failures, so an outage puts few credits at risk."""
    cli.sandbox.fail_next("edit", Fault.BAD_GATEWAY, times=100)
    done = cli("batch", campaign(tmp_path), "--yes", "--max-failures", "2", "--json")
    assert done.code == 4
    counts = done.of("summary")[0]["counts"]
    assert {state: count for state, count in counts.items() if count} == {"unsent": 2, "unknown": 2}


def test_pictures_are_saved(cli: Cli, tmp_path: Path) -> None:
    """`--out` saves each picture under its name; a later run saves only those that are missing."""
    file, out = campaign(tmp_path), tmp_path / "pictures"
    cli("batch", file, "--yes", "--only", "alex/*")
    done = cli("batch", file, "--yes", "--out", out, "--names", "{scene}/{avatar}-{n:02}", "--json")
    names = {f"{scene}/{who}-01.jpg" for scene in ("podcast", "stage") for who in ("alex", "noor")}
    assert _pictures(out) == names
    assert {record["key"] for record in done.of("picture")} == ITEMS
    (out / "stage" / "noor-01.jpg").unlink()
    again = cli("batch", file, "--out", out, "--names", "{scene}/{avatar}-{n:02}", "--json")
    assert [record["key"] for record in again.of("picture")] == ["noor/stage"]
    assert again.of("summary")[0]["pictures"] == 4
    assert not (out / ".incoming").exists()


def test_existing_files_are_not_overwritten(cli: Cli, tmp_path: Path) -> None:
    """Another program's file is left alone; the old picture of a redone look is kept under another name."""
    file, out = campaign(tmp_path), tmp_path / "pictures"
    (out / "alex").mkdir(parents=True)
    (out / "alex" / "podcast-1.jpg").write_text("mine")
    cli("batch", file, "--yes", "--out", out)
    assert (out / "alex" / "podcast-1.jpg").read_text() == "mine"
    assert len(list((out / "alex").glob("podcast-1-2.jpg"))) == 1
    old = (out / "noor" / "stage-1.jpg").read_bytes()
    campaign(tmp_path, CAMPAIGN.replace("blue light", "red light"))
    cli("batch", file, "--yes", "--out", out, "--changed", "redo")
    assert (out / "noor" / "stage-1.old.jpg").read_bytes() == old
    assert (out / "noor" / "stage-1.jpg").read_bytes() != old


def test_a_picture_that_cannot_be_downloaded(cli: Cli, tmp_path: Path) -> None:
    """A download that fails is tried again with a new URL. If it fails again, the exit code is 4, and the
    next run saves the picture."""
    file, out = campaign(tmp_path), tmp_path / "pictures"
    cli.sandbox.fail_next("picture", Fault.BAD_GATEWAY, times=2)
    done = cli("batch", file, "--yes", "--only", "noor/stage", "--out", out)
    assert done.code == 4
    assert "noor/stage: the picture could not be saved" in done.err
    assert "0 pictures in" in done.out
    assert cli("batch", file, "--yes", "--only", "noor/stage", "--out", out).code == 0
    assert _pictures(out) == {"noor/stage-1.jpg"}


def test_pictures_on_a_full_disk(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a disk is full the looks are made all the same: code 4, the folder, the credits, and the command
    that saves the missing pictures once there is room, which pays nothing."""
    file, out = campaign(tmp_path), tmp_path / "pictures"
    written: list[Path] = []
    write = downloads._write

    async def write_two(path: Path, chunks: AsyncIterator[bytes]) -> None:
        written.append(path)
        if len(written) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        await write(path, chunks)

    monkeypatch.setattr(downloads, "_write", write_two)
    done = cli("batch", file, "--yes", "--out", out)
    assert done.code == 4
    assert "8 credits spent" in done.out
    assert f"2 pictures in {out}/; 2 could not be saved" in done.out
    assert f"the picture could not be saved: {out}: No space left on device" in done.err
    monkeypatch.undo()
    again = cli.bare(*shlex.split(done.err.splitlines()[-1])[1:], "--key-file", _key_file(cli, tmp_path))
    assert (again.code, len(_pictures(out)), len(cli.sandbox.ledger)) == (0, 4, 4)


def test_keys_and_ids_that_make_one_file_name_are_numbered(cli: Cli, tmp_path: Path) -> None:
    """Looks whose keys make one file name are all saved, and the next run finds all of them."""
    row = '{{"key": "{}", "prompt": "x", "avatar_id": "avtr_public_ada", "look_id": "look_public_ada"}}\n'
    file = campaign(tmp_path, "".join(map(row.format, ("a/b", "a-b"))), "campaign.jsonl")
    for _ in range(2):
        done = cli("batch", file, "--yes", "--out", tmp_path / "out", "--names", "{key}")
        assert (done.code, _pictures(tmp_path / "out")) == (0, {"a-b.jpg", "a-b-2.jpg"})


def _key_file(cli: Cli, folder: Path) -> Path:
    file = folder / "key"
    file.write_text(cli.sandbox.api_key)
    return file


def test_a_rehearsal(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--rehearse` runs all of it without a key on a sandbox of its own; nothing reaches the API, no store
    stays, and its pictures go to a folder of their own."""
    monkeypatch.delenv("HOOX_API_KEY")
    hook = '[[looks]]\nkey = "hooked"\navatar = "noor"\nprompt = "x"\nwebhook_url = "http://127.0.0.1:9/x"\n'
    file = campaign(tmp_path, CAMPAIGN + hook)
    done = cli.bare("batch", file, "--rehearse", "--speed", "400", "--out", tmp_path / "pictures")
    assert done.code == 0
    assert "5 of 5 looks ready" in done.out
    assert "credits      10" in done.err
    assert "rehearsed at 400 times the speed" in done.err
    assert cli.sandbox.requests == []
    assert {path.name for path in tmp_path.iterdir()} == {"campaign.toml", "pictures-rehearsal"}


def test_no_credits_is_code_3(cli: Cli, sandbox: Sandbox, tmp_path: Path) -> None:
    """A workspace without credits stops the batch with code 3; what was not sent is sent next time."""
    sandbox.space.balance = Decimal(4)
    file = campaign(tmp_path)
    done = cli("batch", file, "--yes")
    assert done.code == 3
    assert cli.sandbox.credits_spent == 4
    assert "HTTP 402" in done.out
    assert "Not finished. Go on with:" in done.err
    sandbox.space.balance = Decimal(100)
    assert cli("batch", file, "--yes").code == 0
    assert cli.sandbox.credits_spent == 8


def test_csv_and_jsonl(cli: Cli, tmp_path: Path) -> None:
    """CSV and JSONL files run as well, each with a store of its own."""
    rows = (
        'key,image_urls,avatar,prompt\nnoor,https://images.test/n.jpg,,\nnoor/x,,noor,"a street, at night"\n'
    )
    line = json.dumps({"key": "noor", "image_urls": ["https://images.test/n.jpg"]})
    assert cli("batch", campaign(tmp_path, rows, "c.csv"), "--yes").code == 0
    assert cli("batch", campaign(tmp_path, line + "\n", "c.jsonl"), "--yes").code == 0
    assert {file.name for file in tmp_path.glob("*.hoox.db")} == {"c.csv.hoox.db", "c.jsonl.hoox.db"}


def test_a_store_of_another_workspace(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of another key is refused with code 2, and the line names the option for a new key."""
    file = campaign(tmp_path)
    cli("batch", file, "--yes", "--only", "noor/*")
    monkeypatch.setenv("HOOX_API_KEY", "hx_live_other")
    done = cli("batch", file, "--yes")
    assert done.code == 2
    assert "add --new-key once" in done.err


def test_the_csv_example_is_made(cli: Cli) -> None:
    """``examples/campaign.csv`` is a whole campaign: it is rehearsed to the end, for the credits it costs."""
    example = Path(__file__).parents[2] / "examples" / "campaign.csv"
    done = cli.bare("batch", example, "--rehearse", "--speed", "400", "--json")
    assert done.code == 0
    assert done.of("plan")[0]["credits"] == "11.5"
    assert {record["key"] for record in done.of("outcome")} == {
        "alex", "alex/podcast", "alex/stage", "mara/rain",
    }  # fmt: skip
    listed = cli.bare("batch", example, "--dry-run", "--list").out
    assert "Spring campaign, natural light. Podcast studio, a brass desk lamp on the table" in listed


def test_help_documents_csv(cli: Cli) -> None:
    """`batch --help` names every column that a CSV file can have."""
    from hoox_async._cli.campaign.rows import _COLUMNS

    words = cli.bare("batch", "--help").out.replace(",", " ").replace(".", " ").split()
    assert [column for column in (*_COLUMNS, "metadata", "variables") if column not in words] == []


def test_a_dry_run_lists_each_item(cli: Cli, tmp_path: Path) -> None:
    """`--dry-run --list` writes key, source, prompt and credits of each item; the credits add up to the
    plan's, and what was paid for before costs nothing."""
    file = campaign(tmp_path, AVATARS)
    first = cli.bare("batch", file, "--dry-run", "--list")
    assert "mara: a new avatar, 2 credits\n  Physiotherapist, calm and friendly\n" in first.out
    assert "yuki/car: from yuki, 2 credits\n  In the driver's seat at a red light\n" in first.out
    assert "credits      6" in first.out
    cli("batch", file, "--yes", "--only", "mara/*")
    campaign(tmp_path, AVATARS.replace("at a red light", "at a green light"))
    for words in ((), ("--changed", "redo"), ("--retry", "ready")):
        listed = cli("batch", file, "--dry-run", "--list", "--json", *words)
        items, [plan] = listed.of("item"), listed.of("plan")
        assert [item["key"] for item in items] == ["mara", "yuki", "mara/car", "yuki/car"]
        assert sum(Decimal(item["credits"]) for item in items) == Decimal(plan["credits"])
    by_key = {item["key"]: item for item in cli("batch", file, "--dry-run", "--list", "--json").of("item")}
    assert by_key["mara/car"] == {
        "event": "item", "key": "mara/car", "kind": "edit", "source": "mara",
        "prompt": "In the driver's seat at a green light", "image_urls": [], "fields": {},
        "credits": "0", "price": "2", "standing": "ready",
    }  # fmt: skip
    assert by_key["yuki"]["image_urls"] == ["https://images.test/yuki.jpg"]
    assert cli("batch", file, "--yes", "--list").code == 2


def test_a_campaign_from_stdin(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`batch -` reads the campaign from stdin and needs `--store`; run again, it pays nothing."""
    store = tmp_path / "looks.db"

    def run(*words: str) -> Done:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(CAMPAIGN.encode())))
        return cli("batch", "-", *words)

    assert "to send      4 edits" in run("--dry-run").out
    refused = run("--yes")
    assert refused.code == 2
    assert "--store" in refused.err
    assert cli.sandbox.ledger == []
    cut = run("--store", str(store), "--max-credits", "4")
    assert cut.code == 4
    assert f"batch - --max-credits 8 --store {store}" in cut.err
    assert "from stdin again" in cut.err
    for _ in range(2):
        assert run("--store", str(store), "--yes").code == 0
        assert len(cli.sandbox.ledger) == 4
    assert [file.name for file in tmp_path.glob("*.db")] == ["looks.db"]


def test_a_store_of_ones_own_name(cli: Cli, tmp_path: Path) -> None:
    """`batch --store` records in that file, and the commands that read a store take it."""
    file, store = campaign(tmp_path), tmp_path / "spring.sqlite"
    assert cli("batch", file, "--yes", "--store", store).code == 0
    assert not (tmp_path / "campaign.toml.hoox.db").exists()
    assert cli("batch", file, "--store", store).code == 0
    assert cli("unknowns", store).code == 0
    assert cli.bare("report", store, "--no-download").code == 0
    assert len(cli.sandbox.ledger) == 4


def test_avatars_are_named_by_their_key(cli: Cli, tmp_path: Path) -> None:
    """An avatar of a campaign has its key as its name in the workspace, unless the file names it."""
    named = AVATARS.replace('key = "yuki"', 'key = "yuki"\nname = "Yuki K."')
    assert cli("batch", campaign(tmp_path, named), "--yes").code == 0
    made = [charge.request for charge in cli.sandbox.ledger if charge.request["endpoint"] == "create"]
    assert {request["name"] for request in made} == {"mara", "Yuki K."}


def test_variables_are_set_on_the_command_line(cli: Cli, tmp_path: Path) -> None:
    """`--set` gives a variable its value, for the printed command too; without it nothing is sent."""
    file = campaign(tmp_path, CAMPAIGN.replace("warm light", "{light}"))
    undefined = cli("batch", file, "--yes")
    assert undefined.code == 2
    assert "campaign.toml: 1 problem" in undefined.err
    assert "line 13: scenes[1].prompt: '{light}'" in undefined.err
    assert cli.sandbox.requests == []
    done = cli("batch", file, "--only", "*/podcast", "--set", "light=blue light", "--max-credits", "2")
    assert done.code == 4
    assert cli.bare(*shlex.split(done.err.splitlines()[-1])[1:]).code == 0
    prompts = {charge.request["prompt"] for charge in cli.sandbox.ledger}
    assert prompts == {"Podcast studio, blue light"}


def test_quiet_leaves_out_plan_and_progress(cli: Cli, tmp_path: Path) -> None:
    """`-q` writes the summary on stdout, and on stderr nothing but failures and how to go on."""
    file = campaign(tmp_path)
    done = cli("batch", file, "--max-credits", "4", "-q")
    assert done.code == 4
    assert done.err.startswith("The cap of credits is reached.")
    assert "reserved" not in done.out
    finished = cli("batch", file, "--yes", "-q")
    assert (finished.code, finished.err) == (0, "")


def test_a_damaged_store_is_code_2(cli: Cli, tmp_path: Path) -> None:
    """Every command that meets a damaged store ends with code 2 and one line, and sends nothing."""
    file = campaign(tmp_path)
    Path(f"{file}.hoox.db").write_bytes(b"SQLite format 3\x00" + b"\x01" * 5000)
    commands = (
        ("batch", file, "--yes"), ("batch", file, "--dry-run"), ("report", file), ("unknowns", file),
        ("resolve", file, "x", "drop"), ("download", file, "--out", tmp_path / "out"),
        ("create", "a host", "--key", "a", "--store", f"{file}.hoox.db"), ("store", "recover", file),
    )  # fmt: skip
    for command in commands:
        run = cli.bare if command[0] in ("report", "store") else cli
        done = run(*command)
        assert (done.code, len(done.err.strip().splitlines())) == (2, 1), command
    assert cli.sandbox.requests == []
