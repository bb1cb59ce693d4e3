"""Webhooks of the sandbox: forms, retries, and what can go wrong with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from internals_kit import WireRequest

from hoox_async import Endpoint
from hoox_async.sandbox import DeliveryOptions, InProcessTransport, Sandbox, Space
from hoox_async.sandbox.received_requests import IncomingRequest
from hoox_async.sandbox.webhook_sender import WebhookSender

HOOK = "https://example.com/hook"
virtual = pytest.mark.virtual_time


class Receiver:
    """Takes deliveries with the answers that it was given, 200 when they are used up."""

    def __init__(self, *answers: int | Exception | None) -> None:
        self.answers = list(answers)
        self.got: list[tuple[float, str, dict[str, Any]]] = []

    async def __call__(self, url: str, body: dict[str, Any]) -> int:
        self.got.append((asyncio.get_running_loop().time(), url, body))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.sleep(3600)
        return answer or 0

    @property
    def words(self) -> list[str]:
        return [body["status"] for _, _, body in self.got]


class Desk:
    """A space with a sender, and one avatar to edit."""

    def __init__(self, space: Space, sender: WebhookSender) -> None:
        self.space = space
        self.sender = sender
        body = {"imageUrls": ["https://example.com/a.jpg"]}
        self.ids = self.post("/avatar/create", **body).json

    def post(self, path: str, **body: Any) -> Any:
        now = asyncio.get_running_loop().time()
        return self.space.respond(
            IncomingRequest("POST", path, {}, body, f"Bearer {self.space.api_key}"), now
        )

    async def edit(self, prompt: str = "x") -> str:
        look: str = self.post("/avatar/edit", **self.ids, prompt=prompt, webhook_url=HOOK).json["look_id"]
        await self.sender.accepted(self.space.looks[look])
        return look


@asynccontextmanager
async def desk(receiver: Receiver, **options: Any) -> AsyncIterator[Desk]:
    space = Space(duration=lambda index, body: 40.0, requests_per_minute=None)
    sender = WebhookSender(space, receiver, DeliveryOptions(**options), Random(0))
    sender.start()
    try:
        yield Desk(space, sender)
    finally:
        await sender.aclose()


@virtual
@pytest.mark.parametrize("form", ["new", "old"])
async def test_a_webhook_has_the_newer_or_the_older_payload_form(form: str) -> None:
    """A success and a failure in each form are delivered at the moment of settling."""
    receiver = Receiver()
    async with desk(receiver, form=form) as at:
        start = asyncio.get_running_loop().time()
        good, bad = await at.edit(), await at.edit("[fail]")
        await asyncio.sleep(50)
        picture = at.space.picture_url(at.space.looks[good])
    names = (
        {"task": "avatar_edit", "avatar_id": at.ids["avatar_id"], "look_id": good}
        if form == "new"
        else {"job_id": good}
    )
    error = {"code": "GENERATION_FAILED", "message": "Edit failed"}
    assert [body for _, _, body in receiver.got] == [
        {**names, "status": "completed", "result": {"thumbnail_url": picture}},
        {key: value.replace(good, bad) for key, value in names.items()}
        | {"status": "failed", "error": error},
    ]
    assert {(when, url) for when, url, _ in receiver.got} == {(start + 40, HOOK)}


@virtual
async def test_a_failed_delivery_is_sent_again_after_1_2_and_4_seconds_then_dropped() -> None:
    """A delivery fails without a 2xx in 10 s: by another status, an exception or silence."""
    receiver = Receiver(500, ConnectionError("refused"), None, 302)
    async with desk(receiver) as at:
        await at.edit()
        await asyncio.sleep(200)
        first = receiver.got[0][0]
        assert [when - first for when, _, _ in receiver.got] == [0.0, 1.0, 3.0, 17.0]
        assert [record.status for record in at.sender.records] == [500, None, None, 302]


@virtual
async def test_a_delivery_that_succeeds_is_sent_once() -> None:
    """A delivery that succeeded is not sent again if its look is settled again on demand."""
    receiver = Receiver(500)
    async with desk(receiver) as at:
        look = await at.edit()
        await asyncio.sleep(60)
        at.space.settle(look, "failed", asyncio.get_running_loop().time())
        at.sender.wake()
        await asyncio.sleep(60)
    assert receiver.words == ["completed", "completed"]


@virtual
async def test_deliveries_can_be_lost_doubled_and_contradicted() -> None:
    """Each share of `DeliveryOptions` has its effect."""
    for options, words in (
        ({"lose": 1.0}, []),
        ({"double": 1.0}, ["completed", "completed"]),
        ({"contradict": 1.0}, ["completed", "failed"]),
    ):
        receiver = Receiver()
        async with desk(receiver, **options) as at:
            await at.edit()
            await asyncio.sleep(60)
        assert receiver.words == words


@virtual
async def test_about_the_share_lose_of_deliveries_is_lost() -> None:
    """Of 500 deliveries about 10 % are lost at `lose=0.1`."""
    receiver = Receiver()
    async with desk(receiver, lose=0.1) as at:
        for _ in range(500):
            await at.edit()
        await asyncio.sleep(60)
    assert 425 < len(receiver.got) < 475


@virtual
async def test_deliveries_can_be_delayed_and_reordered() -> None:
    """All of them arrive, later than usual and not in the order of settling."""
    receiver = Receiver()
    async with desk(receiver, delay=5.0, reorder=30.0) as at:
        start = asyncio.get_running_loop().time()
        looks = [await at.edit() for _ in range(20)]
        await asyncio.sleep(100)
    came = [body["look_id"] for _, _, body in receiver.got]
    assert sorted(came) == sorted(looks)
    assert came != looks
    assert all(start + 45 <= when <= start + 75 for when, _, _ in receiver.got)


@virtual
async def test_an_early_delivery_comes_before_the_response() -> None:
    """An early delivery is sent once, before the response to the POST that made the look."""
    receiver = Receiver()
    space = Space(duration=lambda index, body: 40.0)
    transport = InProcessTransport(space, deliver=receiver, deliveries=DeliveryOptions(early=1.0))
    await transport.start()
    body = {"prompt": "x", "webhook_url": HOOK}
    await transport.send(WireRequest(Endpoint.CREATE, "POST", "avatar/create", body=body))
    answered = asyncio.get_running_loop().time()
    assert [when < answered for when, _, _ in receiver.got] == [True]
    await asyncio.sleep(100)
    await transport.aclose()
    assert receiver.words == ["completed"]
    assert receiver.got[0][2]["task"] == "avatar_create"


@virtual
async def test_held_looks_are_delivered_after_release() -> None:
    """Held looks are delivered after `release`, except those that are settled on demand."""
    receiver = Receiver()
    async with desk(receiver) as at:
        clock = asyncio.get_running_loop().time
        at.space.hold(clock())
        by_hand, _ = await at.edit(), await at.edit()
        await asyncio.sleep(100)
        assert receiver.got == []
        at.space.settle(by_hand, "failed", clock())
        at.sender.wake()
        await asyncio.sleep(1)
        assert receiver.words == ["failed"]
        at.space.release(clock())
        at.sender.wake()
        await asyncio.sleep(1)
        assert receiver.words == ["failed", "completed"]


@virtual
async def test_closing_ends_deliveries_that_hang() -> None:
    """No task of the webhook sender is left after closing."""
    before = asyncio.all_tasks()
    receiver = Receiver(None, None, None)
    async with desk(receiver) as at:
        for _ in range(3):
            await at.edit()
        await asyncio.sleep(41)
        assert len(asyncio.all_tasks()) == len(before) + 4
    assert asyncio.all_tasks() == before


async def test_deliveries_are_posted_over_http_and_one_can_be_forged() -> None:
    """JSON is posted to the request's own webhook URL; `forge` posts to the URL that it is given."""
    got: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def hook(request: web.Request) -> web.Response:
        await got.put((request.path, await request.json()))
        return web.Response(status=404 if "bad" in request.path else 204)

    app = web.Application()
    app.router.add_post("/{name}", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with Sandbox(speed=4000) as sandbox, asyncio.timeout(60):
            headers = {"Authorization": f"Bearer {sandbox.api_key}"}
            body = {"prompt": "x", "webhook_url": f"{receiver}/good"}
            async with aiohttp.request(
                "POST", f"{sandbox.base_url}/avatar/create", json=body, headers=headers
            ) as response:
                ids = await response.json()
            path, delivered = await got.get()
            assert (path, delivered["look_id"], delivered["status"]) == ("/good", ids["look_id"], "completed")
            assert await sandbox.forge(f"{receiver}/bad", {"look_id": "look_x", "status": "failed"}) == 404
            assert (await got.get())[1]["look_id"] == "look_x"
            assert await sandbox.forge("http://127.0.0.1:1/closed", {}) is None
        assert [record.status for record in sandbox.deliveries] == [204, 404, None]
    finally:
        await runner.cleanup()


async def test_the_server_can_deliver_before_it_responds() -> None:
    """`set_deliveries(early=1)` takes effect while it runs; the look is settled when the POST is answered."""
    order: list[str] = []

    async def hook(request: web.Request) -> web.Response:
        order.append((await request.json())["look_id"])
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with Sandbox(speed=1) as sandbox, asyncio.timeout(60):
            sandbox.set_deliveries(DeliveryOptions(early=1.0))
            headers = {"Authorization": f"Bearer {sandbox.api_key}"}
            body = {"prompt": "x", "webhook_url": f"http://127.0.0.1:{runner.addresses[0][1]}/hook"}
            url = f"{sandbox.base_url}/avatar/create"
            async with aiohttp.request("POST", url, json=body, headers=headers) as response:
                assert order == [(await response.json())["look_id"]]
    finally:
        await runner.cleanup()


async def test_forging_works_from_another_loop() -> None:
    """`forge` can be awaited on another loop than the sandbox's own thread."""
    with Sandbox() as sandbox:
        assert await sandbox.forge("http://127.0.0.1:1/closed", {}) is None
