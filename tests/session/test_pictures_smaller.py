"""A picture with fewer pixels than was paid for: kept, reported, and a larger one is looked for."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal

import pytest
from internals_kit import image_size
from session_kit import on_space, sends

from hoox_async import (
    BatchRunner,
    Event,
    HooxSession,
    LookEdit,
    LookRef,
    Picture,
    PictureSmaller,
    PromptAvatar,
)
from hoox_async._io import downloads
from hoox_async.sandbox import AnswerForms, Fault, Sandbox, Space

FOUR_K = PromptAvatar("a friendly host", resolution="4K")
SMALL, LARGE = (540, 960), (2160, 3840)


def space(
    thumbnail: Literal["full", "small"] = "small", preview: Literal["same", "full", "film"] = "same"
) -> Space:
    """A workspace that delivers its pictures in these forms."""
    return Space(
        requests_per_minute=None, median=0.01, forms=AnswerForms(thumbnail=thumbnail, preview=preview)
    )


def world(space: Space, **options: Any) -> AbstractAsyncContextManager[tuple[HooxSession, Space]]:
    """A session on this workspace, which answers at once."""
    return on_space(space, transport={"latency": 0.0, "connect": 0.0}, **options)


def size_of(path: Path) -> object:
    return image_size(path.read_bytes())


def smaller(events: list[Event]) -> list[PictureSmaller]:
    return [event for event in events if isinstance(event, PictureSmaller)]


async def test_a_small_picture_is_kept_and_never_silent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`picture` and `download` keep a picture that is too small, log a warning, and emit PictureSmaller."""
    events: list[Event] = []
    async with world(space(), hooks=[events.append]) as (session, _):
        job = await session.submit(FOUR_K, key="host")
        look = await job
        picture = await session.picture(look)
        path = await session.download(look, tmp_path)
        assert (picture.width, picture.height) == size_of(path) == SMALL
        event = PictureSmaller(look.ref, *SMALL, FOUR_K.resolution, "host", {})
        assert smaller(events) == [event, event]
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == 2
        assert all("540 x 960" in text and "4K" in text and "host" in text for text in warnings)


@pytest.mark.parametrize("request_", [FOUR_K, PromptAvatar("a"), PromptAvatar("a", resolution="1K")])
async def test_a_picture_of_the_size_that_was_paid_for_costs_no_further_request(
    request_: PromptAvatar, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A picture of full size, and any at 1K, is fetched once, and nothing is said or asked."""
    events: list[Event] = []
    async with world(space("full"), hooks=[events.append]) as (session, at):
        look = await session.run(request_)
        asked = sends(at, "avatar", "look", "list", "status")
        await session.download(look, tmp_path)
        assert sends(at, "picture") == 1
        assert sends(at, "avatar", "look", "list", "status") == asked
        assert smaller(events) == []
        assert not caplog.records


@pytest.mark.parametrize("named_by", ["look", "ref", "outcome"])
async def test_a_larger_picture_is_taken_from_the_preview(named_by: str, tmp_path: Path) -> None:
    """Where the preview is the picture in full size, `picture` and `download` give that one."""
    events: list[Event] = []
    async with world(space(preview="full"), hooks=[events.append]) as (session, _):
        report = await BatchRunner(session).run([FOUR_K])
        outcome = report.ready[0]
        look = {"look": outcome.look, "ref": outcome.ref, "outcome": outcome}[named_by]
        assert look is not None
        picture = await session.picture(look)
        assert (picture.width, picture.height) == LARGE
        path = await session.download(look, tmp_path / "a.jpg")
        assert size_of(path) == LARGE
        assert [file.name for file in tmp_path.iterdir()] == ["a.jpg"]
        assert smaller(events) == []


async def test_a_preview_that_was_received_costs_no_request() -> None:
    """A look from an answer about its avatar has its preview with it: no request of the API is needed."""
    async with world(space(preview="full")) as (session, at):
        job = await session.submit(FOUR_K, key="host")
        await job
        details = (await session.avatar(job.avatar_id)).looks[0]
        asked = sends(at, "avatar", "look", "status")
        picture = await session.picture(details)
        assert (picture.width, sends(at, "avatar", "look", "status")) == (LARGE[0], asked)


@pytest.mark.parametrize("preview", ["same", "full", "film"])
async def test_an_avatar_is_asked_about_once_however_many_looks_are_small(
    preview: Literal["same", "full", "film"],
) -> None:
    """For ten small looks of an avatar one request is sent, not one a look; a film is let go.

    The looks come from ``/avatar/status``, which says nothing of previews.
    """
    sandbox = Sandbox(forms=AnswerForms(thumbnail="small", preview=preview))
    async with sandbox, sandbox.session(poll="awaited") as session:
        host = await session.run(PromptAvatar("a friendly host"))
        edits = [LookEdit(host, f"scene {n}", resolution="4K") for n in range(10)]
        refs = [(await session.submit(edit, key=edit.prompt)).ref for edit in edits]
        for ref in refs:
            sandbox.settle(ref, "ready")
        looks = [await session.status(ref) for ref in refs]
        before = len(sandbox.requests)
        pictures = await asyncio.gather(*(session.picture(look) for look in looks))
        asked = Counter(record.endpoint for record in sandbox.requests[before:])
    assert asked == {"avatar": 1, "picture": {"same": 10, "film": 20, "full": 30}[preview]}
    assert {picture.width for picture in pictures} == {LARGE[0] if preview == "full" else SMALL[0]}


async def test_looks_without_key_or_store_are_judged_too(tmp_path: Path) -> None:
    """A look that was made without a key is judged also after other submissions, when the store forgot it."""
    events: list[Event] = []
    async with world(space(), hooks=[events.append]) as (session, _):
        looks = [await session.run(FOUR_K) for _ in range(3)]
        for number, look in enumerate(looks):
            await session.download(look, tmp_path / f"{number}.jpg")
        assert [event.ref for event in smaller(events)] == [look.ref for look in looks]


async def test_looks_that_nobody_here_paid_for_are_not_judged() -> None:
    """A small picture of the public catalogue is no surprise: nothing is asked or said."""
    events: list[Event] = []
    async with world(space(), hooks=[events.append]) as (session, at):
        picture: Picture = await session.picture(LookRef("avtr_public_ada", "look_public_ada"))
        assert picture.width == SMALL[0]
        assert (smaller(events), sends(at, "avatar")) == ([], 0)


async def test_trouble_while_a_larger_picture_is_looked_for_keeps_the_small_one(tmp_path: Path) -> None:
    """Whatever fails after the small picture was fetched, the small one is saved, and reported."""
    events: list[Event] = []
    sandbox = Sandbox(forms=AnswerForms(thumbnail="small", preview="full"))
    async with sandbox, sandbox.session(hooks=[events.append]) as session:
        look = await session.run(FOUR_K, key="host")
        sandbox.fail_next("picture", Fault.ERROR_500_BEFORE, times=20, after=1)
        path = await session.download(look.ref, tmp_path)
    assert size_of(path) == SMALL
    assert [event.key for event in smaller(events)] == ["host"]


async def test_a_larger_picture_that_does_not_fit_on_the_disk_leaves_the_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk is full when the larger picture is written, the small one is saved, and reported."""
    events: list[Event] = []
    write, written = downloads._write, []

    async def fill(path: Path, chunks: AsyncIterator[bytes]) -> None:
        written.append(path)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        await write(path, chunks)

    monkeypatch.setattr(downloads, "_write", fill)
    async with world(space(preview="full"), hooks=[events.append]) as (session, _):
        look = await session.run(FOUR_K, key="host")
        path = await session.download(look, tmp_path)
    assert size_of(path) == SMALL
    assert [event.key for event in smaller(events)] == ["host"]
    assert list(tmp_path.iterdir()) == [path]
