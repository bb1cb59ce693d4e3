"""The README's web app under uvicorn with several workers and one store. See benchmarks/processes.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def web_workers(monkeypatch: pytest.MonkeyPatch) -> Any:
    benchmarks = Path(__file__).parent.parent / "benchmarks"
    if not benchmarks.is_dir():
        pytest.skip("the benchmarks are not here")
    for name in ("fastapi", "uvicorn", "uvloop"):
        pytest.importorskip(name)
    monkeypatch.syspath_prepend(str(benchmarks))
    import _web_workers

    return _web_workers


async def test_orders_are_paid_once_while_workers_are_killed(
    web_workers: Any, postgres_database: str, tmp_path: Path
) -> None:
    """Under `uvicorn --workers 3`, 20 orders are posted three times each while a worker is killed.

    None is paid twice, and each is answered with its one look.
    """
    async with web_workers.world(postgres_database, tmp_path, workers=3) as shop:
        result = await web_workers.run(shop, orders=20, kills=1)
    assert result.kills == 1
    assert (result.charged_twice, result.unanswered) == ([], []), result.errors
    assert len({look for order in result.orders for look in order.looks}) == sum(result.charged.values())


async def test_a_deploy_that_overlaps_refuses_nothing(
    web_workers: Any, postgres_database: str, tmp_path: Path
) -> None:
    """While new workers start beside the old ones, each post is answered with success.

    Each order is paid once.
    """
    async with web_workers.world(postgres_database, tmp_path, workers=2) as shop:
        result = await web_workers.run(shop, orders=20, deploys=1, pause=0.2)
    assert (result.charged_twice, result.unanswered) == ([], []), result.errors
    assert not result.refused, result.errors
    assert set(result.charged.values()) == {1}
