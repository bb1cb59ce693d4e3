"""`demo` and `sandbox`: the commands that need no key."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_kit import Cli


@pytest.mark.slow
def test_the_demo(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`demo` needs no key: 66 looks, some failed, a table, every picture and the contact sheet; code 0."""
    monkeypatch.delenv("HOOX_API_KEY")
    monkeypatch.setattr("hoox_async._cli.commands.demo._SPEED", 200.0)
    monkeypatch.setattr("hoox_async._cli.commands.demo._PER_MINUTE", 12000)
    out = tmp_path / "demo"
    done = cli.bare("demo", "--out", out)
    assert done.code == 0
    rows = [line.split() for line in done.out.splitlines() if line.startswith(("alex", "ines", "all"))]
    assert rows[-1][:4] == ["all", "63", "3", "146"]
    assert [row[0] for row in rows] == ["alex", "ines", "all"]
    assert done.err.count("(the sandbox lets some fail)") == 3
    assert len(list(out.glob("*/*.jpg"))) == 63
    assert (out / "contact-sheet" / "index.html").is_file()


def test_the_demo_again(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second demo replaces the pictures of the first; a folder with other files is refused with code 2."""
    monkeypatch.setattr("hoox_async._cli.commands.demo.LOOKS_EACH", 1)
    monkeypatch.setattr("hoox_async._cli.commands.demo._SPEED", 400.0)
    out = tmp_path / "demo"
    for seed in (1, 2):
        monkeypatch.setattr("hoox_async._cli.commands.demo._SEED", seed)
        monkeypatch.setattr("hoox_async._cli.commands.demo._FAILURES", 0.0)
        assert cli.bare("demo", "--out", out).code == 0
    assert len(list(out.glob("*/*.jpg"))) == 12
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    assert cli.bare("demo", "--out", tmp_path / "mine").code == 2
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]


@pytest.mark.slow
def test_the_sandbox_serves_until_ctrl_c() -> None:
    """`sandbox` prints base URL and key, serves, writes its ledger on request, and ends with 0 at Ctrl-C."""
    options = ["--credits", "7", "--speed", "500", "--json", "--ledger"]
    command = [sys.executable, "-m", "hoox_async", "sandbox", *options]
    served = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert served.stdout is not None
    told = json.loads(served.stdout.readline())
    environment = {**os.environ, "HOOX_API_KEY": told["api_key"]}
    for words in (["check"], ["create", "a chef", "--no-wait"]):
        command = [sys.executable, "-m", "hoox_async", *words, "--base-url", told["base_url"]]
        subprocess.run(command, env=environment, capture_output=True, timeout=60, check=True)
    served.send_signal(signal.SIGINT)
    out, err = served.communicate(timeout=60)
    assert served.returncode == 0, err
    charge = json.loads(out)
    assert (charge["event"], charge["endpoint"], charge["prompt"], charge["credits"]) == (
        "charge", "create", "a chef", "2",
    )  # fmt: skip
    assert "5 left" in err


def test_a_port_that_is_taken(cli: Cli) -> None:
    """A port in use is code 2 in one line."""
    port = cli.sandbox.base_url.split(":")[2].partition("/")[0]
    done = cli.bare("sandbox", "--port", port)
    assert done.code == 2
    assert f"port {port}" in done.err
