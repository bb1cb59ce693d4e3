"""Pictures with fewer pixels than was paid for, on the command line: shown, counted, and no more bought."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from cli_kit import CAMPAIGN, Cli, RunState, Terminal
from PIL import Image

from hoox_async import (
    BatchItem,
    BatchRunner,
    HooxSession,
    Look,
    LookEdit,
    LookRef,
    LookStatus,
    Outcome,
    OutcomeState,
)
from hoox_async._cli.batch.run import PictureTarget, TerminalRun
from hoox_async._cli.pictures import FourKGuard, SavedPicture
from hoox_async.sandbox import AnswerForms, InProcessTransport, Sandbox, Space

SMALL = "540 \N{MULTIPLICATION SIGN} 960"
LARGE = "2160 \N{MULTIPLICATION SIGN} 3840"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox whose pictures are all small."""
    with Sandbox(speed=1000, forms=AnswerForms(thumbnail="small")) as served:
        yield served


@pytest.fixture
def true_sandbox(sandbox: Sandbox) -> Sandbox:
    """The same one, with pictures in full size."""
    sandbox.space.forms = AnswerForms()
    return sandbox


def campaign(folder: Path, *, in_4k: int, in_2k: int = 0) -> Path:
    """A campaign with so many scenes of one public avatar."""
    head = CAMPAIGN.partition("[[scenes]]")[0].rpartition("[[avatars]]")[0]
    scenes = [f'[[scenes]]\nkey = "four{n}"\nprompt = "Scene {n}"\nresolution = "4K"\n' for n in range(in_4k)]
    scenes += [f'[[scenes]]\nkey = "two{n}"\nprompt = "Scene {n}"\n' for n in range(in_2k)]
    file = folder / "campaign.toml"
    file.write_text(head + "\n".join(scenes) + "\n[matrix]\n")
    return file


def paid_in_4k(sandbox: Sandbox) -> int:
    return sum(charge.request.get("resolution") == "4K" for charge in sandbox.ledger)


@pytest.mark.virtual_time
async def test_after_three_small_pictures_no_more_looks_are_bought_at_4k(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent before the third one is ready is paid; the rest at 4K is unsent, and 2K is made.

    It says why, and what the three cost.
    """
    picture = io.BytesIO()
    Image.new("RGB", (540, 960)).save(picture, "JPEG")
    monkeypatch.setattr("hoox_async.sandbox.drawing.paint", lambda _: picture.getvalue())
    space = Space(duration=lambda index, body: 10.0)
    source = LookRef("avtr_public_ada", "look_public_ada")
    four = [BatchItem(f"four{n}", LookEdit(source, f"{n}", resolution="4K")) for n in range(120)]
    two = [BatchItem(f"two{n}", LookEdit(source, f"{n}")) for n in range(20)]
    state = RunState(140, max_credits=None)
    session = HooxSession(space.api_key, transport=InProcessTransport(space), hooks=[state])
    target = PictureTarget(tmp_path, lambda outcome: PurePosixPath(outcome.key))
    run = TerminalRun(session, BatchRunner(session), [*four, *two], state, Terminal(), target)
    result = await run.run()
    states = Counter((outcome.key[:3], str(outcome.state)) for outcome in result.outcomes)
    assert result.held_4k
    assert states["two", "ready"] == 20
    assert 3 <= states["fou", "ready"] < 80
    assert states["fou", "unsent"] == 120 - states["fou", "ready"]
    assert set(result.smaller.values()) == {SMALL}
    assert "the last 3 pictures at 4K are too small for that and cost 12 credits" in capsys.readouterr().err


def test_a_run_after_three_small_pictures_buys_none_at_4k(cli: Cli, tmp_path: Path) -> None:
    """Where the last three pictures at 4K are small, the next run buys none, and prints how to go on.

    Looks at 2K are made all the same, and with the printed option all are.
    """
    out = tmp_path / "out"
    assert cli("batch", campaign(tmp_path, in_4k=3), "--yes", "--out", out).code == 0
    file = campaign(tmp_path, in_4k=10, in_2k=2)
    done = cli("batch", file, "--yes", "--out", out)
    assert (done.code, paid_in_4k(cli.sandbox), len(cli.sandbox.ledger)) == (4, 3, 5)
    assert "5 pictures are smaller than was paid for (16 credits)" in done.out
    assert f"({SMALL})" in done.out
    assert "No more looks are made at 4K" in done.err
    assert "--accept-small" in done.err.splitlines()[-1]
    last = cli("batch", file, "--yes", "--out", out, "--accept-small", "--json")
    assert (last.code, paid_in_4k(cli.sandbox)) == (0, 10)
    assert last.of("summary")[0]["pictures_smaller"] == 12
    assert {(one["width"], one["height"], one["smaller"]) for one in last.of("picture")} == {(540, 960, True)}


def test_a_picture_in_full_size_begins_the_row_anew(tmp_path: Path) -> None:
    """One in full size begins the row anew; pictures at 2K, and one that is seen again, do not count."""
    held: list[tuple[Outcome, ...]] = []
    guard = FourKGuard(held.append)
    small, full = (SavedPicture(tmp_path, *size) for size in ((540, 960, True), (2160, 3840, False)))
    unreadable = SavedPicture(tmp_path, None, None, is_too_small=False)
    order = [small, small, full, small, unreadable, small, "2K", "again", small, small, small]
    for number, picture in enumerate(order):
        in_4k = picture != "2K"
        ref = LookRef("a", f"look_{5 if picture == 'again' else number}")
        request = LookEdit(LookRef("a", "b"), "p", resolution="4K" if in_4k else "2K")
        outcome = Outcome(f"{number}", request, OutcomeState.READY, look=Look(ref, LookStatus.READY))
        guard.count(outcome, picture if isinstance(picture, SavedPicture) else small)
    assert [[outcome.key for outcome in outcomes] for outcomes in held] == [["3", "5", "8"]]


def test_pictures_in_full_size_change_nothing(cli: Cli, true_sandbox: Sandbox, tmp_path: Path) -> None:
    """Pictures with the pixels that were paid for are not called small, and all looks are made."""
    done = cli("batch", campaign(tmp_path, in_4k=4), "--yes", "--out", tmp_path / "out", "--json")
    assert (done.code, len(true_sandbox.ledger)) == (0, 4)
    assert done.of("summary")[0]["pictures_smaller"] == 0
    assert {(one["width"], one["height"], one["smaller"]) for one in done.of("picture")} == {
        (2160, 3840, False)
    }


def test_download_counts_small_pictures_and_takes_larger_ones(cli: Cli, tmp_path: Path) -> None:
    """`download`, which opens no store, measures what it saves, and takes the larger picture of a preview."""
    file = campaign(tmp_path, in_4k=2)
    assert cli("batch", file, "--yes").code == 0
    done = cli("download", file, "--out", tmp_path / "small")
    assert "2 pictures are smaller than was paid for (8 credits)" in done.out
    assert f"alex/four0 ({SMALL})" in done.out
    cli.sandbox.space.forms = AnswerForms(thumbnail="small", preview="full")
    for look in cli.sandbox.space.looks.values():
        look.rendered = None
    done = cli("download", file, "--out", tmp_path / "large", "--json")
    assert done.of("download")[0]["pictures_smaller"] == 0
    assert {one["width"] for one in done.of("picture")} == {2160}


def test_edit_and_wait_show_the_size(cli: Cli, tmp_path: Path) -> None:
    """`edit --out` shows the size, and says if it is less than was paid for; `wait` shows the size."""
    source = "avtr_public_ada:look_public_ada"
    done = cli("edit", source, "at the sea", "--resolution", "4K", "--out", tmp_path / "a.jpg")
    assert f"saved {tmp_path / 'a.jpg'} ({SMALL})" in done.out.replace("\n", "")
    assert f"only {SMALL} pixels, fewer than was paid for" in done.err.replace("\n", " ")
    assert done.err.count("pixels") == 1
    cli.sandbox.space.forms = AnswerForms()
    ref = str(cli.sandbox.ledger[0].ref)
    done = cli("wait", ref, "--out", tmp_path / "b.jpg")
    assert f"({LARGE})" in done.out
    assert "fewer" not in done.err
