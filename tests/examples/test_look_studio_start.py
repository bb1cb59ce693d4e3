"""How Look Studio starts, and the one line that says why it does not."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from studio_kit import main, serving, settings_for, unused_port

from hoox_async.sandbox import Sandbox

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def started(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """``python -m examples.look_studio``, without a key unless one is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOOX_")}
    command = [sys.executable, "-m", "examples.look_studio", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=ROOT, env={**kept, **environment}, text=True, stdout=pipe, stderr=pipe
    )


def refused(process: subprocess.Popen[str]) -> str:
    """The last line of a start that failed. A traceback fails the test."""
    with process:
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 2, out + err
    assert "Traceback" not in err
    assert out == ""
    return err.strip().splitlines()[-1]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which something listens; on the one before it nothing does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", unused_port() + 1))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_is_one_line(tmp_path: Path, taken: int) -> None:
    """A port that is taken, for the page or for the sandbox, is said in one line that names it."""
    page = started("--port", str(taken), "--data", str(tmp_path / "page"))
    sandbox = started("--port", str(taken - 1), "--data", str(tmp_path / "sandbox"))
    assert refused(page) == (
        f"Look Studio did not start: port {taken} is taken. Is Look Studio running already? Choose another "
        "port with --port"
    )
    assert f"port {taken}" in refused(sandbox)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "0"], "expected a port from 1 to 65534"),
        (["--port", "http"], "expected a port from 1 to 65534"),
        (["--credits", "many"], "expected a number of credits from 0 on"),
        (["--credits", "-1"], "expected a number of credits from 0 on"),
    ],
)
def test_a_wrong_option_is_one_line(
    arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value that cannot be used is refused with what is expected."""
    monkeypatch.setattr(sys, "argv", ["look_studio", *arguments])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.strip().endswith(told)


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    """A file in place of the data folder, and an API key that is none, are said in one line."""
    (tmp_path / "file").write_text("")
    file = started("--port", str(unused_port()), "--data", str(tmp_path / "file"))
    key = started("--port", str(unused_port()), "--data", str(tmp_path), HOOX_API_KEY="")
    assert "file" in refused(file)
    assert "API key" in refused(key)


def test_what_is_not_installed_is_one_line() -> None:
    """Without the extra ``studio`` it says what is missing and the command that installs it."""
    program = (
        "import runpy, sys; sys.modules['fastapi'] = None; sys.argv = ['look_studio']; "
        "runpy.run_module('examples.look_studio', run_name='__main__')"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("Look Studio needs fastapi, ")
    assert 'pip install -e ".[studio]"' in line


def test_it_says_where_it_is_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    """It prints its address once it is open, and ends on Ctrl-C. Another port can have the same data."""
    for _ in range(2):
        port = unused_port()
        with started("--port", str(port), "--data", str(tmp_path)) as process:
            assert process.stdout is not None
            assert "a sandbox" in process.stdout.readline()
            assert f"http://127.0.0.1:{port}" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")


async def test_a_second_app_on_the_same_data_is_refused(tmp_path: Path) -> None:
    """One process has the store: a second one ends with an error, and the first goes on."""
    async with Sandbox() as sandbox:
        settings = settings_for(sandbox, tmp_path, None)
        async with serving(settings, unused_port()) as app:
            with pytest.raises(AssertionError, match="did not start"):
                async with asyncio.timeout(60), serving(settings, unused_port()):
                    pass
            assert (await app.start("a")).status_code == 202
            await app.until("ready")
