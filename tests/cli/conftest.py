"""A sandbox in a thread, and the command line on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cli_kit import Cli

from hoox_async.sandbox import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A fast sandbox that serves in a thread of its own."""
    with Sandbox(speed=1000) as served:
        yield served


@pytest.fixture
def cli(sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line, with the sandbox's key in the environment."""
    monkeypatch.setenv("HOOX_API_KEY", sandbox.api_key)
    monkeypatch.setenv("COLUMNS", "100")
    return Cli(sandbox, capsys)
