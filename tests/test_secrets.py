"""The API key, the webhook secret and the webhook tokens: nowhere but where they have to be."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web
from secrets_kit import (
    KEY,
    PICTURE,
    SECRET,
    Elsewhere,
    Secrets,
    elsewhere,
    error_texts,
    logged,
    rows,
    shown_objects,
    written,
)

from hoox_async import (
    BatchReport,
    BatchRunner,
    Budget,
    Event,
    HooxError,
    HooxSession,
    LookEdit,
    LookRef,
    PromptAvatar,
    Timeouts,
)
from hoox_async._cli.app import build
from hoox_async._cli.main import run
from hoox_async.sandbox import DeliveryOptions, Fault, Sandbox
from hoox_async.webhooks import WebhookHub

SHORT = Timeouts(connect=2.0, read=2.0, answer=0.6, wait=10.0)
DISTURBED = DeliveryOptions(double=0.3, contradict=0.3, early=0.3, reorder=0.1, lose=0.1)


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All loggers, aiohttp's and asyncio's too, at their most talkative."""
    caplog.set_level(logging.DEBUG)
    for name in (
        "asyncio",
        "aiohttp.access",
        "aiohttp.client",
        "aiohttp.server",
        "aiohttp.web",
        "hoox_async",
    ):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


@asynccontextmanager
async def receiving() -> AsyncIterator[WebhookHub]:
    """A hub behind a real server that logs each request."""
    listener = socket.create_server(("127.0.0.1", 0))
    hub = WebhookHub(f"http://127.0.0.1:{listener.getsockname()[1]}/hooks", secret=SECRET)
    undo = hub.redact_logs()
    app = web.Application()
    app.add_routes(hub.aiohttp_routes())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    try:
        yield hub
    finally:
        await runner.cleanup()
        undo()


def faults(other: Elsewhere) -> list[Fault]:
    """All that can befall a paid request."""
    location = (("Location", f"{other.url}/stolen"),)
    return [
        Fault.DROP_BEFORE, Fault.DROP_AFTER, Fault.ERROR_500_AFTER, Fault.BAD_GATEWAY, Fault.TRUNCATED,
        Fault.DROP_IN_BODY, Fault.TEAPOT, Fault.HUGE, Fault.DEEP_JSON, Fault.NOT_JSON, Fault.HANG,
        Fault("REDIRECT", "answer", False, 302, location, b""),
        Fault("REDIRECT_307", "answer", False, 307, location, b""),
        Fault.rate_limited(retry_after=0.2, resets_in=0.2),
        Fault.status(400), Fault.status(403), Fault.status(409), Fault.status(503),
    ]  # fmt: skip


async def caught_from(*calls: Callable[[], Awaitable[object]]) -> list[HooxError]:
    """What the calls raise; each has to."""
    errors = []
    for call in calls:
        with pytest.raises(HooxError) as caught:
            await call()
        errors.append(caught.value)
    return errors


async def read_errors(
    session: HooxSession, sandbox: Sandbox, ref: LookRef, other: Elsewhere
) -> list[HooxError]:
    """Reads that meet redirects to elsewhere, and answers that make no sense."""
    jobs = (job.wait(timeout=60.0) for job in await session.jobs())
    await asyncio.gather(*jobs, return_exceptions=True)  # else the poller's requests might meet them instead
    redirect = Fault("REDIRECT", "answer", False, 302, (("Location", other.url),), b"")
    for fault in (redirect, Fault.DEEP_JSON, Fault.HUGE):
        for endpoint in ("status", "avatar", "look", "list"):
            sandbox.fail_next(endpoint, fault)
    one = [
        lambda: session.status(ref), lambda: session.avatar(ref.avatar_id), lambda: session.look(ref),
        lambda: session.looks(),
    ]  # fmt: skip
    return await caught_from(*one, *one, one[0], lambda: session.status(LookRef("avtr_none", "look_none")))


@pytest.mark.slow
async def test_a_faulty_batch_shows_no_secret(
    tmp_path: Path, everything_logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After all faults, deliveries, reports and pictures, no secret is in logs, reprs, errors or files."""
    secrets, events, errors = Secrets(), list[Event](), list[BaseException]()
    monkeypatch.setattr("hoox_async._session.key_check._DELAYS", (0.01, 0.01))
    store = tmp_path / "store" / "batch.db"
    store.parent.mkdir()
    async with (
        elsewhere() as other,
        Sandbox(api_key=KEY, failures=0.1, deliveries=DISTURBED) as sandbox,
        receiving() as hub,
    ):
        sandbox.space.picture_base = other.url
        async with sandbox.session(
            store=store, webhooks=hub, hooks=[events.append], timeouts=SHORT
        ) as session:
            source = (await session.create_avatar("a friendly host")).ref
            await asyncio.sleep(0.3)
            await session.status(source)  # its delivery may be lost, and edits wait for a source
            for fault in faults(other):
                sandbox.fail_next("edit", fault)
            edits = [session.edit_look(source, f"scene {number}") for number in range(30)]
            ends = await asyncio.gather(*edits, return_exceptions=True)
            errors += [error for error in ends if isinstance(error, HooxError)]
            requests = [LookEdit(source, f"item {number}") for number in range(5)]
            report = await BatchRunner(session, look_timeout=0.5, max_in_flight=30).run(requests)
            errors += [outcome.error for outcome in report if outcome.error is not None]
            errors += await read_errors(session, sandbox, source, other)
            sandbox.fail_next("create", Fault.status(401))
            sandbox.fail_next("status", Fault.status(401), times=2)  # the key is checked
            sandbox.fail_next("create", Fault.status(402))
            refused = PromptAvatar("refused")
            errors += await caught_from(*[lambda: session.submit(refused)] * 2)
            errors += await caught_from(lambda: session.submit(refused, budget=Budget(0)))
            await session.unknowns()
            picture = await session.picture(source)
            await session.download(source, tmp_path / "pictures/")
            job = session.job(source)
            assert secrets.add_tokens(sandbox.requests) > 25
            searched = secrets.absent(shown_objects())
            secrets.absent(written(tmp_path))  # with the log that SQLite writes ahead
        await report.write_contact_sheet(tmp_path / "sheet")
        await report.to_jsonl(tmp_path / "report.jsonl")
        kept = await BatchReport.open(store)
        secrets.absent([("the report", repr(kept)), ("the report", str(kept)), ("a picture", repr(picture))])
        secrets.absent([("a job", repr(job)), ("a closed session", repr(session)), ("the hub", repr(hub))])

    assert {type(error).__name__ for error in errors} >= {
        "OutcomeUnknown",
        "BadRequest",
        "UnexpectedResponse",
    }
    assert secrets.absent(error_texts(errors)) > 4 * len(errors)
    assert searched > 100
    assert len(events) > 60
    secrets.absent(("an event", repr(event)) for event in events)
    assert any(record.name == "aiohttp.access" for record in everything_logged.records)
    secrets.absent(logged(everything_logged.records))
    assert rows(store) >= 30
    assert secrets.absent(written(tmp_path)) > 20
    assert other.connections
    assert b"/stolen" not in other.received
    assert b"uthorization" not in other.received
    secrets.absent([("what went elsewhere", bytes(other.received))])


async def test_an_error_page_that_repeats_the_request_leaks_no_secret(tmp_path: Path) -> None:
    """Neither the error nor the store shows the headers and the body that the server repeats."""
    secrets = Secrets()

    async def repeat(request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        secrets.add_tokens([SimpleNamespace(body=body)])
        said = f"{(body or {}).get('webhook_url')} is not for {request.headers['Authorization']}"
        if "page" in str(body):
            return web.Response(status=502, text=f"<html>{said}</html>", content_type="text/html")
        return web.json_response({"error": said, "details": [dict(request.headers)]}, status=400)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", repeat)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hub = WebhookHub("https://example.com/hooks", secret=SECRET)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with HooxSession(
        KEY, base_url=url, store=tmp_path / "echo.db", webhooks=hub, timeouts=SHORT
    ) as session:
        errors = await caught_from(
            lambda: session.submit(PromptAvatar("a json answer"), key="one"),
            lambda: session.submit(PromptAvatar("an error page"), key="two"),
            lambda: session.status(LookRef("avtr_a", "look_a")),
        )
        [unknown] = await session.unknowns()
    await runner.cleanup()
    assert [type(error).__name__ for error in errors] == ["BadRequest", "OutcomeUnknown", "BadRequest"]
    assert str(errors[0]) == "HTTP 400: https://example.com/hooks/[token] is not for Bearer [API key]"
    assert len(secrets.needles) == 4
    secrets.absent([*error_texts(errors), ("the unknown", repr(unknown)), *written(tmp_path)])


CAMPAIGN = """
[[avatars]]
key = "host"
prompt = "A friendly host"

[[scenes]]
key = "studio"
prompt = "In a studio"

[[scenes]]
key = "street"
prompt = "In a street [fail]"

[[scenes]]
key = "boat"
prompt = "On a boat"

[matrix]
"""
OTHER_KEY = KEY[::-1]


class Typed:
    """Runs commands in this process, and keeps all that they wrote."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *options: str) -> None:
        self._capsys = capsys
        self._options = options
        self.wrote: list[tuple[str, str]] = []
        self.commands: set[str] = set()

    def __call__(self, *argv: str | Path, code: int | None = 0, json: bool = True) -> str:
        """Run it with the shared options, for people and for programs; gives what stands on stdout."""
        return self.bare(*argv, *self._options, *(["--json"] if json else []), code=code)

    def bare(self, *argv: str | Path, code: int | None = 0) -> str:
        """Run it as it is typed."""
        words = [str(word) for word in argv]
        ended = run(words)
        out, err = self._capsys.readouterr()
        self.commands.add(words[0])
        self.wrote += [(f"stdout of {words[0]}", out), (f"stderr of {words[0]}", err)]
        assert code is None or ended == code, (words, ended, err)
        return out


@pytest.mark.slow
def test_no_command_shows_a_secret(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    everything_logged: pytest.LogCaptureFixture,
) -> None:
    """No command, used well or badly, shows a secret on screen, in logs or in files."""
    monkeypatch.setenv("HOOX_API_KEY", KEY)
    monkeypatch.setenv("HOOX_WEBHOOK_SECRET", SECRET)
    monkeypatch.chdir(tmp_path)
    campaign = tmp_path / "campaign.toml"
    campaign.write_text(CAMPAIGN)
    key_folder = tmp_path.parent / f"{tmp_path.name}-key"
    key_folder.mkdir()
    key_file = key_folder / "key"
    key_file.write_text(OTHER_KEY)
    secrets = Secrets()
    secrets.needles["the other API key"] = OTHER_KEY
    with Sandbox(api_key=KEY, speed=100_000) as sandbox:
        typed = Typed(capsys, "--base-url", sandbox.base_url, "--rpm", "6000")
        well_used(typed, sandbox, campaign)
        badly_used(typed, sandbox, campaign, key_file)
        monkeypatch.setattr("hoox_async._cli.commands.demo._SPEED", 2000.0)
        monkeypatch.setattr("hoox_async._cli.commands.demo._PER_MINUTE", 60_000)
        monkeypatch.setattr("hoox_async.sandbox.http_server.paint", lambda look: PICTURE)
        typed.bare("demo", "--out", tmp_path / "demo")
        monkeypatch.setattr("hoox_async._cli.commands.sandbox.stop_on_signals", stopping_at_once)
        typed.bare("sandbox")
    assert typed.commands >= commands()
    assert secrets.absent(typed.wrote) > 30
    secrets.absent(shown_objects())
    secrets.absent(logged(everything_logged.records))
    assert secrets.absent(written(tmp_path)) > 10


@contextmanager
def stopping_at_once() -> Iterator[SimpleNamespace]:
    """Ctrl-C, as soon as the command waits for it."""
    requested = asyncio.Event()
    requested.set()
    yield SimpleNamespace(requested=requested)


def commands() -> set[str]:
    """The names of all commands."""
    return {name for name in build() if not name.startswith("-")}


def well_used(typed: Typed, sandbox: Sandbox, campaign: Path) -> None:
    """Each command as it is meant to be used, with a look that fails and one that gets lost."""
    typed("check")
    typed("check", json=False)
    typed("create", "a friendly host", "--no-wait")
    ref = str(sandbox.ledger[0].ref)
    typed("status", ref, code=None)
    typed("wait", ref, "--out", "saved/")
    typed("edit", ref, "in a studio", "--no-wait", json=False)
    typed("looks", "--mine", code=None)
    typed("looks", json=False)
    sandbox.fail_next("edit", Fault.DROP_AFTER)
    typed("batch", campaign, "--dry-run", "--list")
    typed("batch", campaign, "--yes", "--out", "pictures", code=None)
    typed("batch", campaign, "--yes", json=False, code=None)
    found = typed("unknowns", campaign, code=None)
    [key] = [json.loads(line)["key"] for line in found.splitlines()]
    typed("resolve", campaign, key, "drop")
    typed.bare("report", campaign, "--jsonl", "outcomes.jsonl")
    typed("download", campaign, "--out", "saved-again", "-vv", code=None)
    typed.bare("costs", campaign)
    typed.bare("store", "backup", f"{campaign}.hoox.db", "copy.db")


def badly_used(typed: Typed, sandbox: Sandbox, campaign: Path, key_file: Path) -> None:
    """Wrong keys, wrong hosts, wrong words, and a server that fails."""
    typed("check", "--key-file", key_file, code=3)
    typed("batch", campaign, "--yes", "--key-file", key_file, code=None)
    typed.bare("check", "--base-url", "http://example.com", code=2)
    typed.bare("check", "--base-url", f"http://{KEY}@127.0.0.1", code=2)
    typed.bare("status", "nonsense", code=2)
    typed.bare("nonsense", code=2)
    sandbox.fail_next("create", Fault.HUGE)
    typed("create", "lost", code=4)
    sandbox.fail_next("status", Fault.DEEP_JSON)
    typed("status", str(sandbox.ledger[0].ref), code=None)
