"""The counters and lines of the progress display, and the index of saved pictures."""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from hoox_async import (
    Endpoint,
    Evidence,
    Look,
    LookAccepted,
    LookEdit,
    LookRef,
    LookSettled,
    LookStatus,
    Outcome,
    OutcomeLost,
    OutcomeState,
    Paused,
    QuotaSnapshot,
    RequestSent,
)
from hoox_async._cli.batch.run import Progress, RunCounters, line_pause
from hoox_async._cli.pictures import INDEX_NAME, PictureIndex, read_picture_index
from hoox_async._cli.terminal import Terminal

REF = LookRef("avtr_1", "look_1")
REQUEST = LookEdit(REF, "a scene")


def _outcome(key: str, state: OutcomeState, credits: int = 2) -> Outcome:
    return Outcome(key, REQUEST, state, credits=Decimal(credits))


def _counters() -> RunCounters:
    counters = RunCounters(10, 8, interval=0.6, max_credits=Decimal(40))
    known = {
        "old": _outcome("old", OutcomeState.READY),
        "open": _outcome("open", OutcomeState.PENDING),
        "again": _outcome("again", OutcomeState.FAILED),
        "elsewhere": _outcome("elsewhere", OutcomeState.READY, 6),
    }
    counters.count_earlier_runs(known, {"old", "open", "again", "a", "b"}, again={"again"})
    return counters


def test_what_other_machines_have_sent_is_counted_once() -> None:
    """An outcome that this session did not pay for adds its credits, less what was counted already."""
    counters = _counters()
    counters(LookAccepted("a", REF, Decimal(2), Evidence.ANSWER))
    counters(OutcomeLost("lost", "dropped", Decimal(2)))
    before = counters.credits
    counters.count_outcome(_outcome("a", OutcomeState.READY))
    counters.count_outcome(_outcome("old", OutcomeState.READY))
    counters.count_outcome(_outcome("lost", OutcomeState.UNKNOWN))
    assert counters.credits == before
    counters.count_outcome(_outcome("b", OutcomeState.READY))
    counters.count_outcome(_outcome("again", OutcomeState.FAILED, 4))
    assert counters.credits == before + 2 + 2
    assert counters.done == 5


def test_earlier_runs_are_counted() -> None:
    """What earlier runs paid is counted in credits, submitted and in flight.

    What will be paid again is not counted yet.
    """
    counters = _counters()
    assert counters.credits == 12
    assert (counters.submitted, counters.in_flight) == (2, 1)


def test_events_and_outcomes_are_counted() -> None:
    """Accepted looks are in flight until they settle, a lost request counts as spent, an outcome as done."""
    counters = _counters()
    counters(LookAccepted("a", REF, Decimal(4), Evidence.ANSWER))
    counters(LookAccepted("b", REF, Decimal(2), Evidence.ANSWER))
    counters(OutcomeLost("c", "dropped", Decimal(2)))
    assert counters.credits == 20
    assert (counters.submitted, counters.in_flight) == (4, 3)
    counters(LookSettled(Look(REF, LookStatus.READY), "a", 30.0))
    counters.count_outcome(_outcome("a", OutcomeState.READY))
    counters.count_outcome(_outcome("b", OutcomeState.FAILED))
    counters.count_outcome(_outcome("c", OutcomeState.UNKNOWN))
    assert (counters.in_flight, counters.ready, counters.failed, counters.done) == (1, 1, 1, 3)
    assert counters.others == {OutcomeState.UNKNOWN: 1}


def test_the_estimate_of_the_time_left() -> None:
    """The estimate shrinks as looks are accepted, uses observed times of looks, and is None at the end."""
    counters = _counters()
    first = counters.seconds_left()
    counters(LookAccepted("a", REF, Decimal(2), Evidence.ANSWER))
    second = counters.seconds_left()
    counters(LookSettled(Look(REF, LookStatus.READY), "a", 4.0))
    third = counters.seconds_left()
    assert first is not None
    assert second is not None
    assert third is not None
    assert first > second > third
    for number in range(10):
        counters.count_outcome(_outcome(str(number), OutcomeState.READY))
    assert counters.seconds_left() is None


def _progress(counters: RunCounters) -> Progress:
    return Progress(Terminal(), counters, lambda: QuotaSnapshot(100, 61))


def test_the_line_has_all_figures() -> None:
    """The plain line has all figures: done, submitted, in flight, ready, failed, credits, quota, time."""
    line = _progress(_counters()).line()
    for part in ("0 of 10 done", "submitted 2", "in flight 1", "ready 0", "failed 0", "credits 12 of 40",
                 "requests left 61 of 100", "about 1 min 5 s left"):  # fmt: skip
        assert part in line


def test_the_lines_get_rarer_as_a_campaign_gets_longer() -> None:
    """One each 5 s in the first minute, then each 30 s, after ten minutes each minute."""
    at: list[float] = []
    elapsed = 0.0
    while elapsed < 7200:
        elapsed += line_pause(elapsed)
        at.append(elapsed)
    assert at[:14] == [5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 90, 120]
    assert at[29:32] == [600, 660, 720]
    assert len(at) == 140


def test_a_pause_is_shown_until_a_paid_request_goes_again() -> None:
    """A pause is shown until a paid request is sent; status requests don't end it. With nothing left to send
    no pause is shown."""
    counters = _counters()
    progress = _progress(counters)
    counters(Paused(30.0, "5 paid requests in a row were lost"))
    counters(RequestSent(Endpoint.STATUS, 1.0))
    assert "nothing is sent: 5 paid requests in a row were lost" in progress.line()
    console = Console(file=io.StringIO(), width=80, color_system=None)
    with console.capture() as shown:
        console.print(progress.render())
    assert shown.get().splitlines()[-1] == "nothing is sent: 5 paid requests in a row were lost"
    counters(RequestSent(Endpoint.EDIT, 2.0, "a"))
    assert "nothing is sent" not in progress.line()
    counters(Paused(60.0, "the API answered 429"))
    for number in range(8):
        counters(LookAccepted(str(number), REF, Decimal(2), Evidence.ANSWER))
    assert "nothing is sent" not in progress.line()


def test_the_bar_fits_80_columns() -> None:
    """On a terminal of 80 columns the bar and its figures take three lines, also with large numbers."""
    counters = RunCounters(200_000, 200_000, interval=0.6, max_credits=Decimal("800000"))
    counters.ready, counters.failed, counters.credits = 123_456, 4_321, Decimal("345678.5")
    counters.others[OutcomeState.UNKNOWN] = 321
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, color_system=None)
    console.print(_progress(counters).render())
    lines = [line for line in file.getvalue().splitlines() if line.strip()]
    assert len(lines) == 3
    assert max(map(len, lines)) <= 80
    assert "ready 123,456" in lines[1]
    assert "unknown 321" in lines[1]


def _picture(folder: Path, name: str) -> Path:
    (folder / name).write_bytes(b"x")
    return folder / name


def test_the_bar_fits_40_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 40 columns the time left has a line of its own, so that the first line is not wrapped."""
    monkeypatch.setenv("COLUMNS", "40")
    output = io.StringIO()
    console = Console(file=output, width=40, force_terminal=True, color_system=None)
    console.print(_progress(_counters()).render())
    lines = output.getvalue().splitlines()
    assert lines[0].rstrip().endswith("0 of 10 done")
    assert lines[1].startswith("about ")


def test_the_index_finds_recorded_pictures(tmp_path: Path) -> None:
    """A recorded picture is found by key and ref, unless its file was deleted."""
    manifest = PictureIndex(tmp_path)
    file = _picture(tmp_path, "a.jpg")
    manifest.add("alex/a", "avtr_1:look_1", file)
    again = PictureIndex(tmp_path)
    assert again.file_of("alex/a", "avtr_1:look_1") == file
    assert again.file_of("alex/a", "avtr_1:look_2") is None
    assert again.owner_of(file) == ("alex/a", "avtr_1:look_1")
    file.unlink()
    assert read_picture_index(tmp_path) == {}


def test_a_torn_line_of_the_index_is_skipped(tmp_path: Path) -> None:
    """A line that a crash cut off is skipped, and the next one is written on a line of its own."""
    first = _picture(tmp_path, "a.jpg")
    PictureIndex(tmp_path).add("a", "r:1", first)
    with (tmp_path / INDEX_NAME).open("a") as lines:
        lines.write('{"key": "b", "re')
    PictureIndex(tmp_path).add("c", "r:3", _picture(tmp_path, "c.jpg"))
    assert set(read_picture_index(tmp_path)) == {"a", "c"}


@pytest.mark.parametrize("name", ["../outside.jpg", "/etc/hostname"])
def test_the_index_cannot_point_outside_its_folder(tmp_path: Path, name: str) -> None:
    """A line that names a file outside the folder is skipped."""
    inner = tmp_path / "inner"
    inner.mkdir()
    _picture(tmp_path, "outside.jpg")
    (inner / INDEX_NAME).write_text(f'{{"key": "a", "ref": "r:1", "file": "{name}"}}\n[]\n7\n')
    assert read_picture_index(inner) == {}
