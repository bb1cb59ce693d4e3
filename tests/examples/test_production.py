"""`examples/production`, run whole: web app, workers, PostgreSQL, kills. See benchmarks/processes.py."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from hoox_async.sandbox import Fault


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> Any:
    benchmarks = Path(__file__).parents[2] / "benchmarks"
    if not benchmarks.is_dir():
        pytest.skip("the benchmarks are not here")
    for name in ("fastapi", "uvicorn", "procrastinate", "opentelemetry.sdk"):
        pytest.importorskip(name)
    monkeypatch.syspath_prepend(str(benchmarks))
    import _production

    return _production


async def test_orders_are_paid_once_though_a_worker_is_killed(
    production: Any, postgres_database: str, tmp_path: Path
) -> None:
    """40 orders, each posted twice, three workers, one killed in the middle and not replaced.

    The posts are answered 202, no order is charged twice, each look that was charged belongs to its order,
    and each order comes to an end. The workers that are left end within 25 s after SIGTERM, as the web app
    does.
    """
    async with production.world(postgres_database, tmp_path) as made:
        result = await production.run(made, orders=40, kill_when_accepted=12)
        gauges = await made.ready(made.workers[0])
        stopped = [await process.stop() for process in made.processes]
    assert result.kills == 1
    assert set(result.answers) == {202}, result.logs
    assert (result.charged_twice, result.lost, result.unsettled) == (0, 0, 0), f"{result}\n{result.logs}"
    assert result.states["ready"] >= 40 - result.states["unknown"]
    assert gauges["store_reachable"]
    assert max(stopped) < 25
    assert "still running after graceful timeout" not in made.workers_log, result.logs


async def test_an_order_has_a_page_and_probes_answer(
    production: Any, postgres_database: str, tmp_path: Path
) -> None:
    """The answer to an order is 202 with its URL, where it is shown; one that can't be one is 422.

    ``/healthz`` and ``/readyz`` answer at the web app and at the worker.
    """
    async with (
        production.world(postgres_database, tmp_path, workers=1, web_workers=1) as made,
        aiohttp.ClientSession(f"http://127.0.0.1:{made.web_port}") as client,
    ):
        wanted = {"customer": "ada", "source": production.SOURCES[0], "prompt": "on stage"}
        async with client.post("/orders", json=wanted) as response:
            assert response.status == 202
            url = response.headers["Location"]
        while True:
            async with client.get(url) as response:
                shown = await response.json()
            if shown["state"] == "ready":
                break
            await asyncio.sleep(0.1)
        assert (shown["customer"], shown["credits"]) == ("ada", "2")
        assert shown["picture"].startswith("http")
        async with client.post("/orders", json={**wanted, "source": "Alex"}) as response:
            assert response.status == 422
        async with client.get("/orders/none") as response:
            assert response.status == 404
        for port in (made.web_port, made.workers[0].port):
            for path, key in (("healthz", "alive"), ("readyz", "ready")):
                async with client.get(f"http://127.0.0.1:{port}/{path}") as response:
                    assert (response.status, (await response.json())[key]) == (200, True)


async def test_an_unknown_order_is_not_sent_again(
    production: Any, postgres_database: str, tmp_path: Path
) -> None:
    """An order whose answer is lost is unknown, is not run again by the engine, and its delivery settles it.

    It is charged once.
    """
    async with (
        production.world(postgres_database, tmp_path, workers=1, web_workers=1, speed=4.0) as made,
        aiohttp.ClientSession(f"http://127.0.0.1:{made.web_port}") as client,
    ):
        made.sandbox.fail_next("edit", Fault.DROP_AFTER)
        wanted = {"customer": "ada", "source": production.SOURCES[0], "prompt": "on stage"}
        async with client.post("/orders", json=wanted) as response:
            url = response.headers["Location"]
        seen: list[str] = []
        while seen[-1:] != ["ready"]:
            async with client.get(url) as response:
                state = (await response.json())["state"]
            if [state] != seen[-1:]:
                seen.append(state)
            await asyncio.sleep(0.05)
        async with await psycopg.AsyncConnection.connect(made.database) as connection:
            jobs = await connection.execute("SELECT status, attempts FROM procrastinate_jobs")
            assert await jobs.fetchall() == [("succeeded", 1)]
    assert "unknown" in seen, seen
    assert len(made.sandbox.ledger) == 1


async def test_a_customer_cannot_spend_more_than_the_cap(
    production: Any, postgres_database: str, tmp_path: Path
) -> None:
    """Of ten orders of one customer with six credits, two workers make three; the others are refused.

    Nothing was charged for those. Other customers are not touched by that.
    """
    async with (
        production.world(postgres_database, tmp_path, workers=2, web_workers=1, customer_credits=6) as made,
        aiohttp.ClientSession(f"http://127.0.0.1:{made.web_port}") as client,
    ):
        for number in range(11):
            customer = "bo" if number == 0 else "ada"
            wanted = {"customer": customer, "source": production.SOURCES[0], "prompt": f"scene {number}"}
            async with client.post("/orders", json=wanted) as response:
                assert response.status == 202
        while sum((states := await made.states()).values()) - states["ready"] - states["refused"]:
            await asyncio.sleep(0.2)
    assert (states["ready"], states["refused"]) == (4, 7)
    assert len(made.sandbox.ledger) == 4
