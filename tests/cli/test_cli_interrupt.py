"""Ctrl-C in the middle of a batch, in a real process, and what is left to resume."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cli_kit import campaign

from hoox_async._cli.signals import stop_on_signals
from hoox_async.sandbox import Fault, Sandbox

pytestmark = pytest.mark.slow


@pytest.fixture
def slow() -> Iterator[Sandbox]:
    """A sandbox on which a batch takes long enough to be interrupted."""
    with Sandbox(speed=20, requests_per_minute=600) as served:
        yield served


def _text(scenes: dict[str, str]) -> str:
    avatars = "".join(
        f'[[avatars]]\nkey = "{key}"\navatar_id = "avtr_public_{key}"\nlook_id = "look_public_{key}"\n'
        for key in ("ada", "bruno", "celeste", "dario")
    )
    rows = "".join(f'[[scenes]]\nkey = "{key}"\nprompt = "{prompt}"\n' for key, prompt in scenes.items())
    return f"{avatars}{rows}[matrix]\n"


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(slow: Sandbox) -> Iterator[Start]:
    """Starts the command in a process of its own, which does not outlive the test."""
    with ExitStack() as stack:

        def begin(*words: str | Path) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", "hoox_async", *map(str, words)],
                env={**os.environ, "HOOX_API_KEY": slow.api_key},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield begin


def _wait_for(sandbox: Sandbox, count: int) -> None:
    ends = time.monotonic() + 120
    while len(sandbox.ledger) < count:
        assert time.monotonic() < ends, "the batch makes no progress"
        time.sleep(0.02)


def _done(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in out + err
    return process.returncode, out, err


def test_ctrl_c_and_resume(slow: Sandbox, start: Start, tmp_path: Path) -> None:
    """After Ctrl-C the credits spent, the looks in flight and the command that resumes are printed, and the
    exit code is 4. That command, with scenes added and prompts corrected meanwhile, pays for each look once.
    """
    scenes = {f"s{n:02}": f"scene {n}" for n in range(12)}
    file = campaign(tmp_path, _text(scenes))
    words = ["batch", str(file), "--yes", "--base-url", slow.base_url, "--rpm", "600", "--json"]
    words += ["--out", str(tmp_path / "pictures")]
    process = start(*words)
    _wait_for(slow, 4)  # avatar by avatar: of none is the last scene sent yet
    process.send_signal(signal.SIGINT)
    code, out, err = _done(process)
    paid = len(slow.ledger)
    assert code == 4
    [stopped] = [r for r in map(json.loads, out.splitlines()) if r["event"] == "stopped"]
    assert stopped["spent"] == str(slow.credits_spent)
    assert stopped["ready"] + stopped["in_flight"] == paid
    assert stopped["not_sent"] == 48 - paid > 0
    assert (stopped["failed"], stopped["unknown"]) == (0, 0)
    assert f"stopped: {slow.credits_spent} credits spent" in err
    assert stopped["resume"] in err

    campaign(tmp_path, _text({**scenes, "s11": "scene 11, corrected", "s12": "scene 12, new"}))
    resume = shlex.split(stopped["resume"])
    assert resume[:3] == [sys.executable, "-m", "hoox_async"]
    code, out, err = _done(start(*resume[3:]))
    assert code == 0, err
    assert len(slow.ledger) == 4 * 13
    sent = Counter((charge.request["avatar_id"], charge.request["prompt"]) for charge in slow.ledger)
    assert set(sent.values()) == {1}
    assert ("avtr_public_ada", "scene 11, corrected") in sent
    assert len(list((tmp_path / "pictures").glob("*/*.jpg"))) == 52


def test_an_outstanding_post_is_awaited_at_ctrl_c(slow: Sandbox, start: Start, tmp_path: Path) -> None:
    """A POST that is outstanding at Ctrl-C is awaited and recorded, so it is not unknown afterwards."""
    file = campaign(tmp_path, _text({"one": "scene one"}))
    slow.fail_next("edit", Fault.late(1.0), times=4)
    process = start("batch", file, "--yes", "--base-url", slow.base_url, "--rpm", "600")
    _wait_for(slow, 1)
    process.send_signal(signal.SIGINT)
    code, out, _ = _done(process)
    paid = len(slow.ledger)
    assert code == 4
    assert f"stopped: {2 * paid} credits spent" in out
    assert f"{paid} in flight (paid; nothing is lost), {4 - paid} not sent" in out


def test_a_second_ctrl_c_leaves_at_once(slow: Sandbox, start: Start, tmp_path: Path) -> None:
    """A second Ctrl-C does not wait for answers; outstanding POSTs are reported as maybe paid, code 4."""
    file = campaign(tmp_path, _text({"one": "scene one"}))
    slow.fail_next("edit", Fault.HANG, times=4)
    process = start("batch", file, "--yes", "--base-url", slow.base_url, "--rpm", "600")
    _wait_for(slow, 1)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "stopping" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    code, out, _ = _done(process)
    assert code == 4
    assert "at risk" in out
    assert f"may have been paid for; see: {sys.executable} -m hoox_async unknowns" in out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_sighup_stop_as_ctrl_c_does(
    slow: Sandbox, start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    """SIGTERM from a service manager and SIGHUP from a closed terminal stop a batch in good order."""
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("the tests themselves run with nohup, which their child processes inherit")
    file = campaign(tmp_path, _text({f"s{n}": f"scene {n}" for n in range(12)}))
    process = start("batch", file, "--yes", "--base-url", slow.base_url, "--rpm", "600")
    _wait_for(slow, 3)
    process.send_signal(number)
    code, out, _ = _done(process)
    assert code == 4
    assert "Go on with:" in out


async def test_an_ignored_sighup_stays_ignored() -> None:
    """A program that was started with nohup goes on after its terminal was closed."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.05)
            assert not stop.requested.is_set()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_ctrl_c_ends_this_machines_part_of_a_shared_campaign(
    slow: Sandbox, start: Start, tmp_path: Path, postgres_database: str
) -> None:
    """Two machines run one campaign with one budget. After Ctrl-C on one the other makes the rest.

    Nothing is paid twice, and the interrupted one prints the command that goes on with the same budget.
    """
    file = tmp_path / "campaign.toml"
    file.write_text(_text({f"s{n}": f"scene {n}" for n in range(10)}))
    words = ["batch", file, "--yes", "--base-url", slow.base_url, "--rpm", "600", "--json"]
    words += ["--store", postgres_database, "--budget", "spring:500"]
    interrupted = start(*words)
    _wait_for(slow, 2)
    other = start(*words)
    _wait_for(slow, 16)
    interrupted.send_signal(signal.SIGINT)
    code, out, _ = _done(interrupted)
    assert code == 4
    stopped = next(record for record in map(json.loads, out.splitlines()) if record["event"] == "stopped")
    assert "--budget spring:500" in stopped["resume"]
    code, out, err = _done(other)
    assert code == 0, err
    summary = next(record for record in map(json.loads, out.splitlines()) if record["event"] == "summary")
    assert summary["counts"]["ready"] == 40
    prompts = Counter((charge.avatar_id, charge.request["prompt"]) for charge in slow.ledger)
    assert len(prompts) == 40
    assert set(prompts.values()) == {1}
