"""The skill in the package: its programs run, pay what they say, and take the right ways out."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

import hoox_async
from hoox_async import HooxSession, LookEdit, OutcomeState, PromptAvatar
from hoox_async.sandbox import Fault, InProcessTransport, Sandbox, Space

SKILL = Path(hoox_async.__file__).parent / ".agents" / "skills" / "hoox-async" / "SKILL.md"
PAGE = SKILL.read_text(encoding="utf-8")
PROGRAMS = dict(re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```python\n(.*?)^```$", PAGE, re.M | re.S))


def run(heading: str) -> dict[str, Any]:
    """What the program under a heading defines."""
    names: dict[str, Any] = {"__name__": "program"}
    exec(compile(PROGRAMS[heading], heading, "exec"), names)
    return names


def test_it_is_one_page_with_a_front_matter_and_every_program_is_run() -> None:
    """The front matter has a name and a description; the page is short; each program has its test below."""
    head = re.match(r"---\nname: hoox-async\ndescription: ([^\n]+)\n---\n", PAGE)
    assert head
    assert len(head[1]) <= 1024
    assert len(PAGE.splitlines()) <= 160
    assert len(PROGRAMS) == PAGE.count("```python")
    tests = Path(__file__).read_text(encoding="utf-8")
    assert [heading for heading in PROGRAMS if f'run("{heading}")' not in tests] == []


def test_a_look(
    hoox_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run twice, it saves the picture both times and pays once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOOX_API_KEY", hoox_sandbox.api_key)
    monkeypatch.setattr(hoox_async, "HooxSession", partial(HooxSession, base_url=hoox_sandbox.base_url))
    for _ in range(2):
        run("A look")
    assert [charge.credits for charge in hoox_sandbox.ledger] == [2, 4]
    assert (tmp_path / "podcast.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert capsys.readouterr().out.splitlines()[0].endswith(" 4")


async def test_errors_are_classed_by_money(hoox_sandbox: Sandbox, hoox_session: HooxSession) -> None:
    """Each way out is taken for its error, and none of them pays a second time."""
    make = run("Errors are classed by money")["make"]
    alex = await hoox_session.run(PromptAvatar("Alex"), key="alex")
    look = await make(hoox_session, "17", LookEdit(alex, "at the sea"))
    assert look == await make(hoox_session, "17", LookEdit(alex, "at the sea"))
    assert "failed: " in await make(hoox_session, "18", LookEdit(alex, "[fail] no such place"))
    hoox_sandbox.fail_next("edit", Fault.DROP_AFTER)
    for _ in range(2):
        assert await make(hoox_session, "19", LookEdit(alex, "in a car")) == "a person has to decide"
    assert await make(hoox_session, "17", LookEdit(alex, "on a train")) == "try later"  # KeyConflict
    assert len(hoox_sandbox.ledger) == 4


async def test_many_looks(
    hoox_sandbox: Sandbox, hoox_session: HooxSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both items become ready and are saved; run again, the same is given and nothing is paid."""
    monkeypatch.chdir(tmp_path)
    make_all = run("Many looks")["make_all"]
    for _ in range(2):
        states = await make_all(hoox_session)
        assert states == {"mara": OutcomeState.READY, "mara/car": OutcomeState.READY}
    assert hoox_sandbox.credits_spent == 4
    assert len(list((tmp_path / "pictures").iterdir())) == 2


async def test_unknowns(hoox_sandbox: Sandbox, hoox_session: HooxSession) -> None:
    """Each word settles an unknown; only "resend" pays, and said twice it pays once."""
    decide = run("Unknowns")["decide"]
    alex = await hoox_session.run(PromptAvatar("Alex"), key="alex")
    for key in ("named", "resend", "drop"):
        hoox_sandbox.fail_next("edit", Fault.DROP_AFTER)
        with pytest.raises(hoox_async.OutcomeUnknown):
            await hoox_session.submit(LookEdit(alex, f"in a {key}"), key=key)
        [unknown] = await hoox_session.unknowns()
        word = str(unknown.candidates[0]) if key == "named" else key
        await decide(hoox_session, key, unknown.attempt, word)
        if key == "resend":
            with pytest.raises(hoox_async.InvalidRequest):
                await decide(hoox_session, key, unknown.attempt, word)
    assert await hoox_session.unknowns() == []
    assert len(hoox_sandbox.ledger) == 1 + 3 + 1


async def test_webhooks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A delivery to the mounted hub settles the look, and the hook is told."""
    pytest.importorskip("fastapi")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOOX_WEBHOOK_SECRET", "always the same one")
    space = Space(speed=100)
    apps: list[Any] = []

    async def deliver(url: str, body: dict[str, Any]) -> int:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(apps[0]), base_url="https://example.com"
        ) as client:
            answer = await client.post(urlsplit(url).path, json=body)
        return answer.status_code

    transport = InProcessTransport(space, deliver=deliver)
    monkeypatch.setattr(
        hoox_async, "HooxSession", partial(HooxSession, space.api_key, transport=transport, poll="awaited")
    )
    program = run("Webhooks")
    apps.append(program["app"])
    async with program["lifespan"](program["app"]):
        session = program["app"].state.session
        job = await session.submit(PromptAvatar("Alex"), key="alex")
        async for look in job.updates():
            last = look
    assert last.status == "ready"
    assert "alex ready" in capsys.readouterr().out


async def test_tests(hoox_sandbox: Sandbox, hoox_session: HooxSession) -> None:
    """The test that the page shows passes."""
    await run("Tests")["test_a_lost_answer_is_not_paid_twice"](hoox_sandbox, hoox_session)
