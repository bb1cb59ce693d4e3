"""`BatchReport`: counts, credits, times, words and lines of JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from internals_kit import Accept, FileLedger, Intent, Send, Workspace
from report_kit import NOON, dropped, every_state, ready

from hoox_async import BatchReport, Evidence, LookRef, Outcome, OutcomeState, PromptAvatar
from hoox_async._core.formatting import format_amount, format_duration
from hoox_async._report.jsonl import write_atomically
from hoox_async.errors import StoreError


@pytest.fixture
def outcomes() -> list[Outcome]:
    """Ten outcomes, every state among them."""
    return every_state()


def test_report_keeps_the_order_given(outcomes: list[Outcome]) -> None:
    """Outcomes are in the order in which they were given, and the report iterates over them."""
    report = BatchReport(outcomes)
    assert list(report) == outcomes
    assert report.outcomes == tuple(outcomes)
    assert len(report) == 10


def test_every_state_has_its_property_and_count(outcomes: list[Outcome]) -> None:
    """Each state has a property of its name, and `counts` knows all states."""
    report = BatchReport(outcomes)
    for state in OutcomeState:
        assert getattr(report, state.value) == tuple(o for o in outcomes if o.state is state)
        assert report.counts[state] == len(getattr(report, state.value))
    assert sum(report.counts.values()) == len(outcomes)
    assert BatchReport([]).counts == dict.fromkeys(OutcomeState, 0)


def test_spent_at_risk_and_refused_credits_are_separate(outcomes: list[Outcome]) -> None:
    """Credits spent, at risk and refused are separate decimal sums."""
    report = BatchReport(outcomes)
    assert report.credits_spent == Decimal(14)
    assert report.credits_at_risk == Decimal(4)
    assert report.credits_refused == Decimal(4)


def test_refused_item_that_was_no_request_costs_nothing() -> None:
    """A REJECTED item that is not a valid request has no price."""
    odd = Outcome("odd", "no request", OutcomeState.REJECTED)  # type: ignore[arg-type]
    report = BatchReport([odd])
    assert report.credits_refused == 0
    assert str(report)


@pytest.mark.parametrize(
    "late",
    [{"evidence": Evidence.USER}, {"watched_since": NOON}],
    ids=["a person", "a later session"],
)
def test_times_are_of_looks_whose_making_was_watched(late: dict[str, Any]) -> None:
    """What a person or a later session found is ready, and no time is told of it."""
    watched = ready("watched", 40)
    found = attrs.evolve(ready("found", 7200), **late)
    report = BatchReport([watched, found])
    assert (list(report.seconds), len(report.ready)) == ([40], 2)
    assert "a look took 40 s (median), 40 s at most" in str(report)
    assert "a look took" not in str(BatchReport([found]))


def test_times_are_of_generated_looks_only(outcomes: list[Outcome]) -> None:
    """Durations leave out avatars from images, which are ready at once, and looks that are not ready."""
    report = BatchReport(outcomes)
    assert list(report.seconds) == [30, 50, 90]
    assert report.median_seconds == 50
    assert report.slowest_seconds == 90
    assert BatchReport([]).median_seconds is None
    assert BatchReport([]).slowest_seconds is None


def test_summary_shows_counts_credits_and_times(outcomes: list[Outcome]) -> None:
    """The summary shows the looks that are ready, each other state once, credits and times."""
    text = str(BatchReport(outcomes))
    assert text.splitlines()[0] == "4 of 10 looks ready"
    assert "1 failed: paid for, but could not be made" in text
    assert "1 skipped: its source failed\n" in text
    assert "14 credits spent, 4 at risk" in text
    assert "50 s (median), 1 min 30 s at most" in text
    assert repr(BatchReport(outcomes)).startswith("<BatchReport: 4 ready, 1 failed")
    assert str(BatchReport([])) == "0 of 0 looks ready\n0 credits spent"


async def test_a_dropped_unknown_is_reported_as_at_risk_everywhere(tmp_path: Path) -> None:
    """A dropped unknown is SKIPPED, but summary, sums and JSON lines show its credits as at risk."""
    report = BatchReport([dropped()])
    assert report.credits_spent == 0
    assert report.credits_at_risk == 4
    text = str(report)
    assert "1 skipped: it was dropped and may have been paid for" in text
    assert "0 credits spent, 4 at risk" in text
    row = json.loads((await report.to_jsonl(tmp_path / "report.jsonl")).read_text("utf-8"))
    assert (row["state"], row["charged"], row["at_risk"]) == ("skipped", "maybe", "4")
    assert row["error"]["type"] == "OutcomeUnknown"
    assert "may have been charged" in row["error"]["message"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (0.44, "0.4 s"), (41.2, "41 s"), (59.9, "1 min"), (72, "1 min 12 s"), (7500, "2 h 5 min")],
)
def test_durations_are_formatted_for_people(seconds: float, shown: str) -> None:
    """Seconds are shown in the units that people use."""
    assert format_duration(seconds) == shown


@pytest.mark.parametrize(
    ("credits", "shown"), [("2", "2"), ("3.50", "3.5"), ("1204.0", "1,204"), ("100", "100")]
)
def test_credits_are_formatted_for_people(credits: str, shown: str) -> None:
    """Credits have no needless zeros, and keep those that matter."""
    assert format_amount(Decimal(credits)) == shown


async def test_jsonl_has_one_object_for_each_outcome(outcomes: list[Outcome], tmp_path: Path) -> None:
    """Every line is one JSON object with the fields that a program needs, in the order of the report."""
    path = await BatchReport(outcomes).to_jsonl(tmp_path / "deep" / "report.jsonl")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [row["key"] for row in rows] == [outcome.key for outcome in outcomes]
    by_key = {row["key"]: row for row in rows}
    assert by_key["alex/podcast"]["ref"] == "avtr_1:look_alex_podcast"
    assert by_key["alex/podcast"]["charged"] == "yes"
    assert by_key["alex/failed"]["error"] == {
        "type": "GenerationFailed", "code": "NO_FACE", "message": "No face found [NO_FACE]"
    }  # fmt: skip
    assert by_key["alex/rejected"]["charged"] == "no"
    assert by_key["alex/rejected"]["error"]["code"] == "BAD"
    assert by_key["alex/unknown"]["charged"] == "maybe"
    assert by_key["alex/unknown"]["candidates"] == ["avtr_1:look_8", "avtr_1:look_9"]
    assert by_key["alex/unknown"]["request"]["source"] == "alex"
    assert by_key["alex/unknown"]["metadata"] == {"client": "acme"}
    assert by_key["mara"]["request"]["image_urls"] == ["https://me.test/mara.jpg"]


async def test_jsonl_has_no_webhook_url(outcomes: list[Outcome], tmp_path: Path) -> None:
    """The last part of a webhook URL may be a bearer secret, so none is written."""
    path = await BatchReport(outcomes).to_jsonl(tmp_path / "report.jsonl")
    assert "me.test/secret" not in path.read_text("utf-8")


async def test_jsonl_survives_text_that_utf8_cannot_hold(tmp_path: Path) -> None:
    """A lone surrogate in a prompt harms neither the file nor its other lines."""
    report = BatchReport([ready("a", prompt="broken \ud800 text"), ready("b")])
    path = await report.to_jsonl(tmp_path / "report.jsonl")
    assert [json.loads(line)["key"] for line in path.read_text("utf-8").splitlines()] == ["a", "b"]


def test_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """A write that fails leaves the old file as it was, and no temporary file."""
    path = tmp_path / "page.html"
    path.write_text("old")

    def parts() -> Iterator[str]:
        yield "new"
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        write_atomically(path, parts())
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


async def test_open_reads_a_store_while_it_is_written(tmp_path: Path) -> None:
    """A report can be read from a store that a session has open, in the order in which items were planned."""
    store = FileLedger(tmp_path / "campaign.db")
    await store.open(Workspace("https://api.test", "key"))
    try:
        for key in ("b", "a"):
            await store.plan(Intent(key, True, PromptAvatar(f"avatar {key}"), f"digest {key}", NOON))
        await store.advance(
            "b", Send("attempt", NOON), Accept(LookRef("avtr_1", "look_1"), NOON, Evidence.ANSWER)
        )
        report = await BatchReport.open(tmp_path / "campaign.db")
    finally:
        await store.aclose()
    assert [(outcome.key, outcome.state) for outcome in report] == [
        ("b", OutcomeState.PENDING),
        ("a", OutcomeState.UNSENT),
    ]
    assert report.credits_spent == 2


@pytest.mark.parametrize(
    "use",
    [lambda opening: opening.ready, len, list, lambda opening: opening.write_contact_sheet("sheet")],
    ids=["attribute", "len", "list", "method"],
)
def test_open_without_await_says_so(use: Callable[[Any], object]) -> None:
    """Whatever is done with `BatchReport.open` without awaiting it raises an error that shows the await.

    The store's path is in no message: the URL of a store can hold a password.
    """
    opening = BatchReport.open("secret-path.db")
    with pytest.raises((AttributeError, TypeError), match=r"write: report = await BatchReport\.open"):
        use(opening)
    assert "not awaited yet" in repr(opening)
    assert "secret" not in repr(opening)
    opening.close()


def test_open_without_await_is_reported_by_python() -> None:
    """A call of `BatchReport.open` that is only forgotten is reported as any coroutine of Python is."""
    with pytest.warns(RuntimeWarning, match="BatchReport._open' was never awaited"):
        BatchReport.open("campaign.db")  # type: ignore[unused-coroutine] # pyright: ignore[reportUnusedCoroutine]


async def test_open_gives_a_coroutine(tmp_path: Path) -> None:
    """What `BatchReport.open` returns can be awaited, gathered, given a timeout, made a task, and shown."""
    path = tmp_path / "campaign.db"
    store = FileLedger(path)
    await store.open(Workspace("https://api.test", "key"))
    await store.aclose()
    opening = BatchReport.open(path)
    assert asyncio.iscoroutine(opening)
    assert len(await opening) == 0
    task = asyncio.create_task(BatchReport.open(path))
    assert repr(task).startswith("<Task pending")  # as asyncio's own log lines show it
    reports = await asyncio.gather(
        BatchReport.open(path),
        asyncio.wait_for(BatchReport.open(path), 30),
        task,
    )
    assert [len(report) for report in reports] == [0, 0, 0]


def test_open_can_be_run_outside_async_code(tmp_path: Path) -> None:
    """`asyncio.run(BatchReport.open(path))` gives the report, or raises what opening raises."""
    with pytest.raises(StoreError):
        asyncio.run(BatchReport.open(tmp_path / "none.db"))


async def test_open_without_a_store_raises(tmp_path: Path) -> None:
    """Opening a path without a store raises `StoreError` and creates no file."""
    with pytest.raises(StoreError):
        await BatchReport.open(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []
