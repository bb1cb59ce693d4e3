"""The sandbox over real sockets: the API's answers, closing, and the thread of its own."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest

from hoox_async.errors import ConfigurationError
from hoox_async.sandbox import Fault, Sandbox

PICTURE = "https://example.com/face.jpg"


@asynccontextmanager
async def client(sandbox: Sandbox) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {sandbox.api_key}"}
    async with aiohttp.ClientSession(sandbox.base_url + "/", headers=headers) as http:
        yield http


async def from_images(http: aiohttp.ClientSession) -> dict[str, str]:
    async with http.post("avatar/create", json={"imageUrls": [PICTURE]}) as response:
        ids: dict[str, str] = await response.json()
        return ids


async def status(http: aiohttp.ClientSession, ids: dict[str, str]) -> Any:
    async with http.get("avatar/status", params=ids) as response:
        return await response.json()


def vendors_client() -> ModuleType:
    """The vendor's client module alone: its package also wants an older MCP."""
    found = importlib.util.find_spec("hoox_mcp")
    if found is None or found.origin is None:
        pytest.skip("hoox-mcp is not installed")
    spec = importlib.util.spec_from_file_location("vendors_client", Path(found.origin).with_name("client.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_the_vendors_own_client_works_with_the_sandbox() -> None:
    """Create from prompt and images, edit, status until completed, get, look and list."""
    vendor = vendors_client()
    async with Sandbox(speed=4000) as sandbox:
        hoox = vendor.HooxClient(sandbox.api_key, sandbox.base_url)
        made = await hoox.create_avatar(prompt="Young entrepreneur", style="podcast", name="Alex")
        ready = await hoox.create_avatar(imageUrls=[PICTURE], name="Jordan")
        edit = await hoox.edit_avatar(**ready, prompt="x", imageUrls=[PICTURE], upscale=True)
        for ids in (made, edit):
            while (await hoox.get_avatar_status(**ids))["status"] != "completed":
                await asyncio.sleep(0.005)
        avatar = await hoox.get_avatar(ready["avatar_id"])
        assert [look["status"] for look in avatar["looks"]] == ["ready", "ready"]
        assert (await hoox.get_avatar_look(**edit))["status"] == "ready"
        assert made["look_id"] in {look["id"] for look in await hoox.list_avatars(selfie=False)}
        with pytest.raises(vendor.HooxClientError, match="MISSING_PROMPT"):
            await hoox.create_avatar(name="nobody")
        assert str(sandbox.credits_spent) == "5.5"
        await hoox.close()


async def test_a_look_takes_a_fraction_of_a_second_by_default() -> None:
    """The default speed settles it after about 0.1 s (the median of the log-normal time)."""
    async with Sandbox() as sandbox, client(sandbox) as http:
        ids = await from_images(http)
        async with http.post("avatar/edit", json={**ids, "prompt": "x"}) as response:
            assert response.status == 201
            edit = await response.json()
        done_at = sandbox.done_at(f"{edit['avatar_id']}:{edit['look_id']}")
        now = asyncio.get_running_loop().time()
        assert done_at is not None
        assert now - 0.5 < done_at < now + 1.5
        assert (await status(http, edit))["status"] in ("pending", "processing", "completed")


async def test_held_looks_settle_by_settle_or_after_release() -> None:
    """No look settles by the passing of time between `hold` and `release`."""
    async with Sandbox(speed=1e6) as sandbox, client(sandbox) as http:
        ids = await from_images(http)
        sandbox.hold()
        looks = []
        for text in ("a", "b"):
            async with http.post("avatar/edit", json={**ids, "prompt": text}) as response:
                looks.append(await response.json())
        sandbox.settle(looks[0]["look_id"], "failed")
        words = [(await status(http, look))["status"] for look in looks]
        assert words == ["failed", "processing"]
        sandbox.release()
        assert (await status(http, looks[1]))["status"] == "completed"


async def test_requests_are_recorded() -> None:
    """The record has endpoint, status, query, body, and whether an Authorization header came."""
    async with Sandbox() as sandbox, client(sandbox) as http:
        ids = await from_images(http)
        await status(http, ids)
        async with aiohttp.request("GET", f"{sandbox.base_url}/avatar/list") as response:
            assert response.status == 401
        made, asked, strange = sandbox.requests
        assert (made.endpoint, made.status, made.body) == ("create", 201, {"imageUrls": [PICTURE]})
        assert (asked.endpoint, asked.params, asked.path) == ("status", ids, "/avatar/status")
        assert (asked.authorized, strange.authorized, strange.status) == (True, False, 401)
        assert made.at <= asked.at <= strange.at


@pytest.mark.parametrize("data", [b"{", b"\xff\xfe", b"", b"null"])
async def test_a_body_that_is_no_json_is_400(data: bytes) -> None:
    """A body that is no JSON, or no text, is 400."""
    async with (
        Sandbox() as sandbox,
        client(sandbox) as http,
        http.post("avatar/create", data=data) as response,
    ):
        assert response.status == 400


async def test_the_quota_headers_and_date_are_sent() -> None:
    """The three quota headers and the date arrive at the client, in Unix time."""
    async with (
        Sandbox(requests_per_minute=1) as sandbox,
        client(sandbox) as http,
        http.get("avatar/list") as first,
        http.get("avatar/list") as second,
    ):
        assert (first.status, second.status) == (200, 429)
        assert first.headers["X-RateLimit-Remaining"] == "0"
        reset = int(second.headers["X-RateLimit-Reset"])
        assert "Date" in second.headers
        assert sandbox.space.epoch + asyncio.get_running_loop().time() < reset


async def test_closing_drops_requests_that_hang() -> None:
    """A request without a response does not delay the end, and no task is left."""
    before = asyncio.all_tasks()
    async with asyncio.timeout(60):
        async with Sandbox() as sandbox, client(sandbox) as http:
            sandbox.fail_next("list", Fault.HANG)
            hung = asyncio.ensure_future(http.get("avatar/list"))
            while not sandbox.requests:
                await asyncio.sleep(0.001)
            await sandbox.__aexit__(None, None, None)
            with pytest.raises(aiohttp.ClientError):
                await hung
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_port_that_is_not_free_is_a_configuration_error() -> None:
    """Everything that was opened before is closed again."""
    async with Sandbox() as first:
        port = int(first.base_url.split(":")[2].split("/")[0])
        with pytest.raises(ConfigurationError, match=str(port)):
            await Sandbox(port=port).__aenter__()


async def test_a_sandbox_cannot_be_entered_twice_at_once_but_again_later() -> None:
    """A sandbox can be entered again after it was left, with the same looks and records."""
    sandbox = Sandbox()
    async with sandbox, client(sandbox) as http:
        await from_images(http)
        with pytest.raises(ConfigurationError, match="already"):
            sandbox.__enter__()
    with pytest.raises(ConfigurationError, match="not running"):
        _ = sandbox.base_url
    async with sandbox, client(sandbox) as http:
        ids = {"avatar_id": sandbox.ledger[0].avatar_id, "look_id": sandbox.ledger[0].look_id}
        assert (await status(http, ids))["status"] == "completed"


async def test_latency_passes_before_the_response() -> None:
    """A request takes at least `latency` seconds."""
    async with Sandbox(latency=0.05) as sandbox, client(sandbox) as http:
        start = asyncio.get_running_loop().time()
        await from_images(http)
        assert asyncio.get_running_loop().time() - start >= 0.05


def test_with_serves_from_a_thread_of_its_own() -> None:
    """The methods work from the caller's thread, and the sandbox's thread is gone at the end."""
    before = set(threading.enumerate())
    with Sandbox(speed=1e6) as sandbox:
        started = set(threading.enumerate()) - before

        async def edit_in_another_loop() -> dict[str, str]:
            async with client(sandbox) as http:
                ids = await from_images(http)
                async with http.post("avatar/edit", json={**ids, "prompt": "x"}) as response:
                    looks: dict[str, str] = await response.json()
                    return looks

        sandbox.hold()
        edit = asyncio.run(edit_in_another_loop())
        sandbox.settle(edit["look_id"], "ready")
        assert [charge.look_id for charge in sandbox.ledger][1:] == [edit["look_id"]]
        assert [thread.is_alive() for thread in started] == [True]
    assert not any(thread.is_alive() for thread in started)
    assert sandbox.credits_spent == 2


def test_with_raises_the_error_of_the_start() -> None:
    """An error in the sandbox's thread is raised to the caller of `with`."""
    with Sandbox() as first:
        port = int(first.base_url.split(":")[2].split("/")[0])
        with pytest.raises(ConfigurationError), Sandbox(port=port):
            pass


def test_errors_of_calls_from_another_thread_are_raised_there() -> None:
    """An unknown look is a KeyError in the thread that called, and it names the look."""
    with Sandbox() as sandbox, pytest.raises(KeyError, match="the sandbox has no look avtr_x:look_x"):
        sandbox.settle("avtr_x:look_x", "ready")


def test_the_text_of_a_sandbox_has_what_was_spent_and_no_key() -> None:
    """In a failed test's output a sandbox shows its address and its costs."""
    with Sandbox() as sandbox:
        address = sandbox.base_url.partition("/api/")[0]
        assert repr(sandbox) == f"<Sandbox {address}, 0 accepted, 0 credits spent>"
        assert sandbox.api_key not in repr(sandbox)
    assert repr(sandbox) == "<Sandbox not running, 0 accepted, 0 credits spent>"


def test_a_sandbox_that_is_not_running_makes_no_session() -> None:
    """There is no base URL yet, so it is a ConfigurationError."""
    with pytest.raises(ConfigurationError, match="not running"):
        Sandbox().session()


def test_the_key_looks_like_a_real_one_and_follows_from_the_seed() -> None:
    """The sandbox's key is hx_live_ and 64 hexadecimal digits, which follow from the seed."""
    key = Sandbox(seed=5).api_key
    assert key.startswith("hx_live_")
    assert len(bytes.fromhex(key.removeprefix("hx_live_"))) == 32
    assert key == Sandbox(seed=5).api_key != Sandbox(seed=6).api_key


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("", b"[" * 100_000 + b"]" * 100_000),
        ("", b'{"prompt":' * 100_000),
        ("", b"\xff\xfe\x00"),
        ("gzip", b"not packed at all"),
        ("GZIP", b"not packed at all"),
        ("deflate", b"\xff\xff"),
    ],
)
async def test_a_body_that_cannot_be_read_is_a_bad_request(encoding: str, body: bytes) -> None:
    """JSON nested too deeply, no text, or a wrong encoding: 400, recorded as a request, and not charged."""
    async with Sandbox() as sandbox, client(sandbox) as http:
        headers = {"Content-Type": "application/json", **({"Content-Encoding": encoding} if encoding else {})}
        async with http.post("avatar/create", data=body, headers=headers) as response:
            assert response.status == 400
            assert (await response.json())["details"][0]["code"] == "INVALID_VALUE"
        assert [record.status for record in sandbox.requests] == [400]
        assert sandbox.ledger == []
