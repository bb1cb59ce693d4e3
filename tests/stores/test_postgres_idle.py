"""What an idle process costs, however many workspaces it has open: see benchmarks/processes.py."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark program."""
    benchmarks = Path(__file__).parent.parent.parent / "benchmarks"
    if not benchmarks.is_dir():
        pytest.skip("the benchmarks are not here")
    monkeypatch.syspath_prepend(str(benchmarks))
    return import_module("_idle_processes")


def test_fifty_idle_workspaces_cost_as_much_as_one(
    processes: Any, postgres_database: str, postgres_schema: str
) -> None:
    """A process with 50 open workspaces makes at most 5 statements a second, by at most 6 connections."""
    idle = processes.measure(postgres_database, postgres_schema, processes=1, workspaces=50, seconds=3.0)
    assert 0 < idle.statements_a_second <= 5
    assert 1 <= idle.connections_a_process <= 6
