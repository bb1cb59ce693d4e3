"""A sandbox in a thread, and the command line on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from cli_kit import Cli

from hoox_async._cli.app import build
from hoox_async.sandbox import Sandbox


@cache
def _application(*terminal: str | None) -> Any:
    return build()


@pytest.fixture(autouse=True)
def _application_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of all tests share an application for each kind of terminal: making one takes long."""
    kinds = ("COLUMNS", "NO_COLOR")
    monkeypatch.setattr("hoox_async._cli.app.build", lambda: _application(*map(os.environ.get, kinds)))


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
