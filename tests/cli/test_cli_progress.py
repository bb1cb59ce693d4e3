"""The lines of the progress display, and the index of saved pictures."""

from __future__ import annotations

import asyncio
import io
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from cli_kit import ProgressDisplay, RunState, Terminal
from rich.console import Console

from hoox_async import (
    Endpoint,
    HooxError,
    Look,
    LookRef,
    LookStatus,
    Outcome,
    OutcomeState,
    Paused,
    Progress,
    PromptAvatar,
    QuotaSnapshot,
    RequestSent,
)
from hoox_async._cli.batch.run import line_pause
from hoox_async._cli.pictures import INDEX_NAME, PictureIndex, PictureSaver, read_picture_index


def _state(*, done: int = 0, in_flight: int = 0, total: int = 10, left: float | None = 65.0) -> RunState:
    state = RunState(total, max_credits=Decimal(40), elsewhere=Decimal(6))
    state.show(Progress(done, in_flight, 0, total, Decimal(6), left))
    return state


def _display(state: RunState) -> ProgressDisplay:
    return ProgressDisplay(Terminal(), state, lambda: QuotaSnapshot(100, 61))


def test_the_line_has_all_figures() -> None:
    """The plain line has all figures: done, in flight, ready, failed, credits of the store, quota, time."""
    state = _state(done=3, in_flight=1)
    state.ended.update({OutcomeState.READY: 2, OutcomeState.UNKNOWN: 1})
    for part in ("3 of 10 done", "in flight 1", "ready 2", "failed 0", "unknown 1", "credits 12 of 40",
                 "requests left 61 of 100", "about 1 min 5 s left"):  # fmt: skip
        assert part in _display(state).line()


def test_no_more_are_ready_than_done() -> None:
    """An outcome that came after the batch's last word on itself counts as done."""
    state = _state(done=3, in_flight=4)
    state.ended.update({OutcomeState.READY: 5})
    assert "5 of 10 done" in _display(state).line()


async def test_while_pictures_are_saved_the_number_that_is_left_goes_down(tmp_path: Path) -> None:
    """A picture is left from when its look is ready until it is saved, or could not be."""
    go_on, saved = asyncio.Event(), []

    class Session:
        async def status(self, look: Look) -> Look:
            return look

        async def download(self, outcome: Outcome, folder: str, *, overwrite: bool) -> Path:
            await go_on.wait()
            if outcome.key == "gone":
                raise HooxError("it is gone")
            path = Path(folder, f"{outcome.key}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"picture")
            saved.append(path)
            return path

    session: Any = Session()
    saver = PictureSaver(session, tmp_path, lambda outcome: PurePosixPath(outcome.key), Terminal())
    for key in ("a", "b", "gone"):
        look = Look(LookRef("avtr_1", f"look_{key}"), LookStatus.READY)
        saver.add(Outcome(key, PromptAvatar(key), OutcomeState.READY, look))
    assert saver.left == 3
    go_on.set()
    await saver.finish()
    assert (saver.left, len(saved), list(saver.missing)) == (0, 2, ["gone"])


@pytest.mark.parametrize("left", [None, 0.0])
def test_no_time_left_is_shown_where_none_is_known(left: float | None) -> None:
    """Where the batch does not know how long it takes, or has ended, the line says nothing of it."""
    assert "left" not in _display(_state(left=left)).line().rpartition(", ")[2].replace("requests left", "")


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
    state = _state(done=3, in_flight=1)
    display = _display(state)
    state(Paused(30.0, "5 paid requests in a row were lost"))
    state(RequestSent(Endpoint.STATUS, 1.0))
    assert "nothing is sent: 5 paid requests in a row were lost" in display.line()
    console = Console(file=io.StringIO(), width=80, color_system=None)
    with console.capture() as shown:
        console.print(display.render())
    assert shown.get().splitlines()[-1] == "nothing is sent: 5 paid requests in a row were lost"
    state(RequestSent(Endpoint.EDIT, 2.0, "a"))
    assert "nothing is sent" not in display.line()
    state(Paused(60.0, "the API answered 429"))
    state.show(Progress(3, 7, 0, 10, Decimal(20), 65.0))
    assert "nothing is sent" not in display.line()


def test_the_bar_fits_80_columns() -> None:
    """On a terminal of 80 columns the bar and its figures take three lines, also with large numbers."""
    state = RunState(200_000, max_credits=Decimal("800000"))
    state.show(Progress(128_098, 12_345, 321, 200_000, Decimal("345678.5"), 65_000.0))
    state.ended.update({OutcomeState.READY: 123_456, OutcomeState.FAILED: 4_321, OutcomeState.UNKNOWN: 321})
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, color_system=None)
    console.print(_display(state).render())
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
    console.print(_display(_state()).render())
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
