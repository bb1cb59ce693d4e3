"""The public methods of the session, and what each of them sends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aioresponses import aioresponses
from blockbuster import blockbuster_ctx
from door_kit import BASE, KEY, NEW, REF, sent, session_on
from internals_kit import IntentState, MemoryLedger
from session_kit import made, on_space, prompt, store_of

from hoox_async import HooxSession, ImageAvatar, LookDetails, LookRef, LookStatus, PromptAvatar, Timeouts
from hoox_async.errors import GenerationFailed, InvalidRequest, NotSent, UnexpectedResponse, WaitTimeout
from hoox_async.events import Event, LookAccepted, LookSettled
from hoox_async.sandbox import Sandbox, Space

pytestmark = pytest.mark.both_loops


# --- what each method sends and gives (mocked answers)


async def test_submit_and_its_typed_forms_send_the_same_requests(mocked_api: aioresponses) -> None:
    """Each form of submitting sends one POST, with the names that the API gives the fields."""
    calls: list[tuple[Callable[[HooxSession], Awaitable[Any]], str, dict[str, Any], str]] = [
        (
            lambda s: s.submit(PromptAvatar("a host", style="podcast")),
            "avatar/create",
            {"prompt": "a host", "style": "podcast", "format": "vertical", "resolution": "2K"},
            "2",
        ),
        (
            lambda s: s.create_avatar(
                "a host", format="horizontal", resolution="4K", name="Alex", place="attic",
                element_images=["https://m.example/logo.png"], webhook_url="https://me.example/h",
                metadata={"mine": "never sent"}, extra={"seed": 7},
            ),
            "avatar/create",
            {"prompt": "a host", "style": "iphone", "format": "horizontal", "resolution": "4K",
             "name": "Alex", "place": "attic", "elementImages": ["https://m.example/logo.png"],
             "webhook_url": "https://me.example/h", "seed": 7},
            "4",
        ),
        (
            lambda s: s.create_avatar_from_images(["https://m.example/a.jpg"], name="Alex", place="attic"),
            "avatar/create",
            {"imageUrls": ["https://m.example/a.jpg"], "name": "Alex", "place": "attic"},
            "0",
        ),
        (
            lambda s: s.edit_look(LookRef("avtr_1", "look_1"), "podcast scene", style="raw", upscale=True,
                                  images=["https://m.example/b.jpg"], format="vertical", resolution="4K",
                                  look_name="Calm", place="attic", tags=["a", "b"]),
            "avatar/edit",
            {"avatar_id": "avtr_1", "look_id": "look_1", "prompt": "podcast scene", "style": "raw",
             "upscale": True, "images": ["https://m.example/b.jpg"], "format": "vertical",
             "resolution": "4K", "look_name": "Calm", "place": "attic", "tags": ["a", "b"]},
            "5.5",
        ),
    ]  # fmt: skip
    for call, path, body, credits in calls:
        mocked_api.post(f"{BASE}/{path}", status=201, payload=NEW)
        async with session_on() as session:
            job = await call(session)
            assert (job.ref, job.credits) == (REF, Decimal(credits))
        assert sent(mocked_api, "POST", path) == body
    posts = [sent for (method, _), sent in mocked_api.requests.items() if method == "POST"]
    assert sum(map(len, posts)) == len(calls)


async def test_status_sends_one_request_for_anything_that_names_a_look(mocked_api: aioresponses) -> None:
    """`status` takes a ref, the text of one, or anything with a ``.ref``, and sends one request."""
    payload = {**NEW, "status": "completed", "result": {"thumbnail_url": "https://m.example/a.jpg"}}
    for named in (REF, str(REF), LookDetails(REF)):
        mocked_api.get(f"{BASE}/avatar/status?avatar_id=avtr_1&look_id=look_2", payload=payload)
        async with session_on() as session:
            look = await session.status(named)  # type: ignore[arg-type]
        assert (look.ref, look.status, look.thumbnail_url) == (
            REF,
            LookStatus.READY,
            "https://m.example/a.jpg",
        )
        assert look.raw == payload


async def test_avatar_look_and_looks_send_one_request_each(mocked_api: aioresponses) -> None:
    """`avatar`, `look` and `looks` return what the API says; bad filters and flags are not sent."""
    look = {"id": "look_2", "name": "Alex 2", "status": "ready", "thumbnail": "https://m.example/a.jpg"}
    mocked_api.get(f"{BASE}/avatar/avtr_1", payload={"id": "avtr_1", "name": "Alex", "looks": [look]})
    mocked_api.get(f"{BASE}/avatar/avtr_1/look/look_2", payload={**look, "avatar_id": "avtr_1"})
    mocked_api.get(
        f"{BASE}/avatar/list?gender=female,male&onlyPublic=true&selfie=false",
        payload=[{**look, "avatar_id": "avtr_1"}],
    )
    async with session_on() as session:
        avatar = await session.avatar("avtr_1")
        details = await session.look(REF)
        looks = await session.looks(gender=["female", "male"], only_public=True, selfie=False, place=None)
        with pytest.raises(InvalidRequest, match="gender"):
            await session.looks(gender=3)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="overwrite: 'no' is not usable; expected True or False"):
            await session.download(details, "picture.jpg", overwrite="no")  # type: ignore[arg-type]
    assert (avatar.name, [one.ref for one in avatar.looks]) == ("Alex", [REF])
    assert (details.ref, details.status) == (REF, LookStatus.READY)
    assert [one.ref for one in looks] == [REF]


@pytest.mark.virtual_time
async def test_run_submits_and_waits() -> None:
    """`run` returns the READY look or raises the failure or timeout; the same key gives the same look."""
    async with on_space() as (session, space):
        look = await session.run(prompt(), key="k")
        assert look.status is LookStatus.READY
        assert await session.run(prompt(), key="k", timeout=0) == look
        with pytest.raises(GenerationFailed):
            await session.run(prompt("[fail]"))
        space.hold(asyncio.get_running_loop().time())
        with pytest.raises(WaitTimeout):
            await session.run(prompt(), timeout=20)
        assert len(space.ledger) == 3


@pytest.mark.parametrize(
    "named", [7, None, "no ref", "a:b:c", object(), PromptAvatar("x")], ids=lambda named: type(named).__name__
)
async def test_a_value_that_names_no_look_is_refused(named: Any) -> None:
    """Methods that take a look raise InvalidRequest for a value that names none."""
    async with session_on() as session:
        for call in (session.status, session.look, session.picture, session.wait):
            with pytest.raises(InvalidRequest):
                await call(named)
        with pytest.raises(InvalidRequest):
            session.job(named)


@pytest.mark.parametrize("avatar_id", ["", "..", "a/b", "\n", 7, None])
async def test_a_value_that_is_no_avatar_id_is_refused(avatar_id: Any) -> None:
    """`avatar` refuses an id which in a URL could lead elsewhere on the host."""
    async with session_on() as session:
        with pytest.raises(InvalidRequest, match="avatar_id"):
            await session.avatar(avatar_id)


# --- on the sandbox


async def test_the_first_example_of_the_readme_runs(tmp_path: Path) -> None:
    """The first example of the README makes a look, edits it and saves the picture, over real sockets."""
    events: list[Event] = []
    async with Sandbox() as sandbox, sandbox.session(hooks=[events.append]) as session:
        look = await session.run(PromptAvatar("Young entrepreneur, confident smile", name="Alex"))
        job = await session.edit_look(look, "podcast scene", style="podcast", resolution="4K")
        assert job.credits == 4
        path = await session.download(await job, tmp_path / "podcast.jpg")
        assert path.read_bytes()[:3] == b"\xff\xd8\xff"
        assert sandbox.credits_spent == 6
        assert [event.credits for event in events if isinstance(event, LookAccepted)] == [2, 4]
        assert sum(isinstance(event, LookSettled) for event in events) == 2
        assert not any(record.authorized for record in sandbox.requests if record.endpoint == "picture")


async def test_a_picture_is_downloaded_for_anything_that_names_a_look(tmp_path: Path) -> None:
    """`picture` takes a Look, a job or a ref, and `download` names the file in a folder after the look.

    For a Look no status request is made, and an existing file is replaced only if that is asked for.
    """
    async with Sandbox() as sandbox, sandbox.session() as session:
        job = await session.create_avatar_from_images(["https://example.com/a.jpg"])
        look = await job
        asked = len(sandbox.requests)
        picture = await session.picture(look)
        assert (picture.content_type, len(sandbox.requests)) == ("image/jpeg", asked + 1)
        for named in (job, look.ref, await session.look(look), await session.status(look)):
            assert (await session.picture(named)).data == picture.data
        path = await session.download(look, tmp_path)
        assert path == tmp_path / f"{look.avatar_id}_{look.look_id}.jpg"
        assert path.read_bytes() == picture.data
        with pytest.raises(FileExistsError):
            await session.download(look, path)
        assert await session.download(look, path, overwrite=True) == path


async def test_a_look_that_is_not_done_has_no_picture(tmp_path: Path) -> None:
    """`picture` and `download` raise UnexpectedResponse for a look that is pending, and make no file."""
    async with Sandbox() as sandbox, sandbox.session() as session:
        sandbox.hold()
        job = await session.submit(prompt())
        with pytest.raises(UnexpectedResponse, match="no picture"):
            await session.picture(job)
        with pytest.raises(UnexpectedResponse, match="no picture"):
            await session.download(job, tmp_path / "new" / "a.jpg")
        assert list(tmp_path.iterdir()) == []


async def test_quota_gives_the_limit_what_is_left_and_when_all_is_free() -> None:
    """`quota` has the limit, ``remaining`` decreases with each request, and ``resets_at`` is a UTC datetime.

    While nothing of the limit is used, ``resets_at`` is None.
    """
    async with Sandbox(requests_per_minute=100) as sandbox, sandbox.session() as session:
        assert tuple(session.quota) == (100, 100, None)
        await session.looks()
        assert session.quota.remaining == 99
        resets_at = session.quota.resets_at
        assert resets_at is not None
        assert resets_at.tzinfo is UTC
        assert timedelta(0) < resets_at - datetime.now(UTC) < timedelta(seconds=120)


# --- around


async def test_file_access_does_not_block_the_loop(tmp_path: Path) -> None:
    """No file access blocks the loop while a picture is saved and the store is written."""
    async with Sandbox() as sandbox:
        ref = made(sandbox.space)
        with blockbuster_ctx(scanned_modules=["hoox_async"]):
            async with sandbox.session(store=tmp_path / "campaign.db") as session:
                await session.submit(prompt(), key="k")
                look = await session.status(ref)
                path = await session.download(look, tmp_path / "new")
                await session.download(look, path, overwrite=True)
                with pytest.raises(FileExistsError):
                    await session.download(look, path)


async def test_a_submission_that_is_cancelled_before_it_connects_uses_no_quota() -> None:
    """A submission that is cancelled while the server refuses connections uses up none of the quota."""
    async with Sandbox() as sandbox:
        url = sandbox.base_url
    timeouts = Timeouts(connect=0.2)
    async with HooxSession(KEY, base_url=url, timeouts=timeouts) as session:
        task = asyncio.create_task(session.submit(prompt(), key="k"))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert session.quota.remaining == 100


@pytest.mark.virtual_time
async def test_requests_of_an_earlier_process_count_in_the_quota() -> None:
    """Requests that an earlier session of the store sent use up the quota for a minute."""
    store, space = MemoryLedger(), Space(rng=Random(1), requests_per_minute=None)
    async with on_space(space, store=store, requests_per_minute=3) as (session, _):
        for text in "abc":
            await session.submit(prompt(text))
    async with on_space(space, store=store, requests_per_minute=3) as (session, _):
        assert session.quota.remaining == 0
        with pytest.raises(NotSent):
            await session.submit(prompt("d"), max_wait=5)
        await session.submit(prompt("d"))
        times = [record.at for record in space.requests]
        assert times[3] - times[0] >= 60


async def test_metadata_is_stored_and_extra_is_sent(mocked_api: aioresponses) -> None:
    """Metadata goes to the store and the job and never to the API; extra goes to the API."""
    mocked_api.post(f"{BASE}/avatar/create", status=201, payload=NEW)
    async with session_on() as session:
        request = ImageAvatar(["https://m.example/a.jpg"], metadata={"order": "7"}, extra={"mood": "calm"})
        job = await session.submit(request, key="k")
        assert job.metadata == {"order": "7"}
        stored = (await store_of(session).get(("k",)))["k"]
        assert (stored.request, stored.state) == (request, IntentState.ACCEPTED)
    body = sent(mocked_api, "POST", "avatar/create")
    assert body["mood"] == "calm"
    assert "order" not in json.dumps(body)
