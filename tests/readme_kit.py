"""Runs the README's programs as a reader does: each pasted into a fresh file, twice.

    python tests/readme_kit.py      # all of them, on the ports that the README names

It uses the standard library and the sandbox alone, so that a fresh environment, made by the README's own
command, can run it; the web app also needs fastapi and uvicorn, the test pytest and pytest-asyncio.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hoox_async.sandbox import Sandbox

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SANDBOX_PORT, APP_PORT = 8765, 8000
PATIENCE = 120.0


def blocks(language: str) -> list[tuple[str, str]]:
    """The README's blocks of code in a language, each with the heading that it stands under."""
    found, heading = [], ""
    for part in re.finditer(rf"^##? ([^\n]+)$|^```{language}\n(.*?)^```$", README, re.M | re.S):
        if part[1]:
            heading = part[1]
        else:
            found.append((heading, part[2]))
    return found


PYTHON = dict(blocks("python"))


class Runner(NamedTuple):
    """A sandbox, a folder for the program's file, and the port of its web app."""

    sandbox: Sandbox
    folder: Path
    app_port: int = APP_PORT

    def write(self, heading: str, name: str) -> Path:
        """The program under a heading as a file, with the ports of this runner."""
        port = self.sandbox.base_url.split(":")[2].split("/")[0]
        code = PYTHON[heading].replace(f":{SANDBOX_PORT}/", f":{port}/")
        path = self.folder / name
        path.write_text(code.replace(f":{APP_PORT}/", f":{self.app_port}/"), encoding="utf-8")
        return path

    @property
    def environment(self) -> dict[str, str]:
        """What a reader has exported, and nothing of the tests that run this."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
        return kept | {"HOOX_API_KEY": self.sandbox.api_key, "HOOX_WEBHOOK_SECRET": "always the same one"}

    def run(self, *words: str) -> str:
        """Run Python with these words. Returns what it printed; raises if it failed."""
        ran = subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=self.environment, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
        if ran.returncode:
            raise RuntimeError(f"{' '.join(words)}: exit code {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran.stdout


def run_program(runner: Runner, heading: str) -> str:
    """Run a program once. Returns what it printed."""
    return runner.run(runner.write(heading, "program.py").name)


def run_test(runner: Runner, heading: str) -> str:
    """Run a test once, by pytest without any configuration."""
    name = runner.write(heading, "test_readme_example.py").name
    return runner.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", name)


def run_app(runner: Runner, heading: str) -> str:
    """Serve the web app by uvicorn, place the README's order, and return its answer once it is ready."""
    runner.write(heading, "shop.py")
    [url] = re.findall(r'^curl -X POST "([^"]+)"$', README, re.M)
    command = [sys.executable, "-m", "uvicorn", "shop:app", "--port", str(runner.app_port)]
    log = runner.folder / "shop.log"
    with log.open("w") as written:
        app = subprocess.Popen(
            command, cwd=runner.folder, env=runner.environment, stdout=written, stderr=written
        )
    try:
        _wait_until(lambda: "Uvicorn running on" in log.read_text(), app, log)
        url = url.replace(f":{APP_PORT}/", f":{runner.app_port}/")
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=PATIENCE) as answer:
            ref = json.load(answer)
        told = runner.folder / "told"  # of a look that an earlier run has settled, nobody is told again
        _wait_until(lambda: told.exists() or "17 ready " in log.read_text(), app, log)
        told.touch()
    finally:
        app.send_signal(signal.SIGTERM)
        app.wait(PATIENCE)
    if "Traceback" in log.read_text():
        raise RuntimeError(log.read_text())
    return str(ref)


def _wait_until(is_true: Callable[[], bool], app: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not is_true():
        if app.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the web app did not get there:\n{log.read_text()}")
        time.sleep(0.05)


RUN: dict[str, Callable[[Runner, str], str]] = {
    "hoox-async": run_program,
    "Many looks": run_program,
    "One look": run_program,
    "In a web app": run_app,
    "In your tests": run_test,
}
"""How the program under each heading is run."""


def run_twice(runner: Runner, heading: str) -> tuple[str, str]:
    """Run the program twice. Returns what both printed; raises if the second run paid for anything."""
    first = RUN[heading](runner, heading)
    paid = len(runner.sandbox.ledger)
    second = RUN[heading](runner, heading)
    if len(runner.sandbox.ledger) != paid:
        raise RuntimeError(f"{heading}: the second run paid for {runner.sandbox.ledger[paid:]}")
    return first, second


def main() -> None:
    """Run all of them in one folder, in the order of the page, as a reader who keeps the store does."""
    missing = PYTHON.keys() - RUN.keys()
    if missing:
        raise SystemExit(f"not known how to run: {', '.join(missing)}")
    with Sandbox(port=SANDBOX_PORT, speed=100) as sandbox, tempfile.TemporaryDirectory() as folder:
        for heading in PYTHON:
            before = sandbox.credits_spent
            run_twice(Runner(sandbox, Path(folder)), heading)
            print(f"{heading}: ran twice, paid {sandbox.credits_spent - before} credits", flush=True)


if __name__ == "__main__":
    main()
