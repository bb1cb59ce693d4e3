"""Small runs of the programs that measure many processes. See benchmarks/processes.py."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark's programs."""
    benchmarks = Path(__file__).parent.parent / "benchmarks"
    if not benchmarks.is_dir():
        pytest.skip("the benchmarks are not here")
    monkeypatch.syspath_prepend(str(benchmarks))
    return import_module("_many_processes")


async def test_several_processes_keep_to_one_quota(programs: Any, postgres_database: str) -> None:
    """Three real processes send 120 edits at 100 requests in 6 s: never more by the server's count.

    No answer has quota headers, so they know of each other by the store alone. Nothing is refused.
    """
    found = await programs.campaign(
        postgres_database, "safety", processes=3, edits=120, window=6.0, speed=20.0
    )
    assert found.ready == found.posts == 120
    assert found.most <= 100
    assert found.refused == 0


@pytest.mark.parametrize("how", ["closed", "killed", "cut off"])
async def test_a_poller_that_has_ended_is_replaced(programs: Any, postgres_database: str, how: str) -> None:
    """Of two real processes the other one leads once the leader is closed, or its lease is over.

    That is so if it was killed, and if nothing passes between it and the database any more.
    """
    with programs.Sandbox(requests_per_minute=None) as sandbox:
        setups = programs.setups(postgres_database, sandbox, 2, lease=1.0, workspace=how, limit=6000)
        assert await programs.until_replaced(postgres_database, setups, how) > 0


def test_the_most_in_a_period_is_counted(programs: Any) -> None:
    """A moment counts for the period's length, and no longer."""
    assert programs.most_in([0.0, 1.0, 5.9, 6.0, 12.1], 6.0) == 3
    assert programs.most_in([], 6.0) == 0
