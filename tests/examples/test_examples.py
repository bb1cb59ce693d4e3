"""Every example is run as its reader would run it: as a program of its own, on the sandbox, without a key."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp.test_utils import unused_port
from examples_kit import EXAMPLES, environment

pytestmark = pytest.mark.slow

ARGUMENTS = {
    "quickstart.py": ["pictures/"],
    "many_looks.py": ["--avatars", "2", "--scenes", "3", "--out", "out"],
    "logging_hook.py": [],
    "opentelemetry_hook.py": [],
}


class Run(NamedTuple):
    """An example that ended well."""

    folder: Path
    out: str
    err: str


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """All of them, run at the same time: they mostly wait for their looks."""
    started: dict[str, tuple[Path, subprocess.Popen[str]]] = {}
    for name, arguments in ARGUMENTS.items():
        folder = tmp_path_factory.mktemp(name.removesuffix(".py"))
        command = [sys.executable, str(EXAMPLES / name), *arguments]
        started[name] = (
            folder,
            subprocess.Popen(
                command,
                cwd=folder,
                env=environment(),
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ),
        )
    try:
        yield {name: ended(*one) for name, one in started.items()}
    finally:
        for _, process in started.values():
            if process.poll() is None:
                process.kill()
                process.communicate()


def ended(folder: Path, process: subprocess.Popen[str]) -> Run:
    """What the program said. It must end well."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    return Run(folder, out, err)


def test_quickstart_ends_with_a_picture(runs: dict[str, Run]) -> None:
    """The quickstart prints both looks, the price of the second, and where its picture is."""
    folder, told, _ = runs["quickstart.py"]
    assert len(re.findall(r"avtr_\w+:look_\w+ is ready", told)) == 2
    assert "4 credits" in told
    (picture,) = (folder / "pictures").iterdir()
    assert picture.read_bytes()[:3] == b"\xff\xd8\xff"
    assert picture.name in told


def test_quickstart_is_ten_lines() -> None:
    """The body of its main stays at ten lines at most."""
    source = (EXAMPLES / "quickstart.py").read_text()
    body = source.partition('costs 4."""\n')[2].partition("\n\n\n")[0]
    assert 5 <= len(body.splitlines()) <= 10


def test_many_looks_makes_and_saves_them_all(runs: dict[str, Run]) -> None:
    """The example makes and saves eight looks of two avatars, and prints a line for each."""
    folder, told, _ = runs["many_looks.py"]
    assert "8 of 8 looks to make, 16 credits" in told
    assert len(re.findall(r"^ *\d/8 .* ready ", told, re.MULTILINE)) == 8
    assert re.search(r"^alex +4 +0 +8 ", told, re.MULTILINE)
    assert "16 credits spent, 0 at risk" in told
    pictures = {str(path.relative_to(folder / "out")) for path in (folder / "out").rglob("*.jpg")}
    scenes = ("podcast", "car", "stage")
    assert pictures == {"alex.jpg", "mara.jpg"} | {f"{n}/{s}.jpg" for n in ("alex", "mara") for s in scenes}


def test_logging_hook_logs_every_look(runs: dict[str, Run]) -> None:
    """The hook logs a look that succeeds and one that fails, each at its level, and no secret."""
    log = runs["logging_hook.py"].err
    assert len(re.findall(r"INFO +studio\.hoox \S+ accepted \(answer\)", log)) == 2
    assert re.search(r"INFO +studio\.hoox \S+ ready after", log)
    assert re.search(r"WARNING +studio\.hoox \S+ failed after .*: \S+", log)
    assert "DEBUG" not in log
    assert "hx_live_" not in log


def test_opentelemetry_hook_records_spans_and_metrics(runs: dict[str, Run]) -> None:
    """The hook records a span for each POST and each look, and what they cost."""
    told = runs["opentelemetry_hook.py"].out
    assert len(re.findall(r"^hoox create .*'http.response.status_code': 201", told, re.MULTILINE)) == 2
    assert len(re.findall(r"^hoox look .*'hoox.status': 'ready'", told, re.MULTILINE)) == 2
    assert re.search(r"^hoox\.credits +4\.00", told, re.MULTILINE)
    assert re.search(r"^hoox\.requests +2\.00 +\{'endpoint': 'create'\}", told, re.MULTILINE)


def test_look_studio_runs_from_its_module(tmp_path: Path) -> None:
    """``python -m examples.look_studio`` serves its page, writes only into its folder, and ends on Ctrl-C."""
    port = free_pair()
    command = [sys.executable, "-m", "examples.look_studio", "--port", str(port), "--data", "data"]
    # uvicorn imports websockets' legacy part, which warns
    env = {**environment(), "PYTHONWARNINGS": "default"}
    app = subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        page = fetched(f"http://127.0.0.1:{port}/", app)
        assert b"<title>Look Studio</title>" in page
        assert b"avtr_public_ada" in fetched(f"http://127.0.0.1:{port}/api/faces", app)
        # a page that is open does not keep it from ending
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/events", timeout=60) as stream:
            assert stream.readline() == b"retry: 1000\n"
            app.send_signal(signal.SIGINT)
            output, _ = app.communicate(timeout=60)
    finally:
        if app.poll() is None:
            app.kill()
            app.wait()
    assert "Traceback" not in output
    assert "sandbox" in output
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


def free_pair() -> int:
    """A port that is free, as is the next one."""
    for _ in range(50):
        port = unused_port()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise AssertionError("no two free ports")


def fetched(url: str, app: subprocess.Popen[str]) -> bytes:
    """What is there, once the app is up."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return bytes(answer.read())
        except OSError:
            if app.poll() is not None:
                break
            time.sleep(0.05)
    pytest.fail(f"{url} was not served: {app.communicate()[0] if app.poll() is not None else ''}")
