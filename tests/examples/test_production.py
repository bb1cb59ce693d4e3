"""`examples/production`, run whole: web app, workers, PostgreSQL, kills. See benchmarks/processes.py."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from hoox_async.sandbox import Fault

pytestmark = pytest.mark.slow

SOURCE = "avtr_public_ada:look_public_ada"
NO_SOURCE = "avtr_public_ada:look_of_nobody"


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


async def test_what_the_shop_answers(production: Any, postgres_database: str, tmp_path: Path) -> None:
    """An order is answered with its page; one that can't be one is 422; the probes of both processes answer.

    An order whose answer is lost is unknown; the engine does not run it again, its delivery settles it, and
    it is charged once. Orders that exceed their customer's cap are refused and not charged; those of other
    customers are made.
    """
    async with (
        production.world(
            postgres_database, tmp_path, workers=1, web_workers=1, speed=10.0, customer_credits=6
        ) as made,
        aiohttp.ClientSession(f"http://127.0.0.1:{made.web_port}") as client,
    ):
        await check_probes(made, client)
        await check_pages(client)
        made.sandbox.fail_next("edit", Fault.DROP_AFTER)
        seen = await states_until_ready(client, await order(client, "bo"))
        assert "unknown" in seen, seen
        async with await psycopg.AsyncConnection.connect(made.database) as connection:
            jobs = await connection.execute("SELECT status, attempts FROM procrastinate_jobs")
            assert await jobs.fetchall() == [("succeeded", 1)] * 3
        assert len(made.sandbox.ledger) == 2
        for customer in ("bo", "ada", "ada", "ada", "ada", "ada"):
            await order(client, customer)
        while sum((states := await made.states()).values()) - states["ready"] - states["refused"]:
            await asyncio.sleep(0.1)
    assert (states["ready"], states["refused"]) == (5, 4)
    assert len(made.sandbox.ledger) == 5


async def order(client: aiohttp.ClientSession, customer: str) -> str:
    """Post an order. Returns its URL."""
    wanted = {"customer": customer, "source": SOURCE, "prompt": "on stage"}
    async with client.post("/orders", json=wanted) as response:
        assert response.status == 202
        return response.headers["Location"]


async def states_until_ready(client: aiohttp.ClientSession, url: str) -> list[str]:
    """The states that the order's page shows until it is ready."""
    seen: list[str] = []
    while seen[-1:] != ["ready"]:
        async with client.get(url) as response:
            state: str = (await response.json())["state"]
        if [state] != seen[-1:]:
            seen.append(state)
        await asyncio.sleep(0.05)
    return seen


async def ended(client: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    """The order's page once it is settled."""
    while True:
        async with client.get(url) as response:
            shown: dict[str, Any] = await response.json()
        if shown["state"] in ("ready", "failed", "refused"):
            return shown
        await asyncio.sleep(0.05)


async def check_pages(client: aiohttp.ClientSession) -> None:
    """An order's page shows what has become of it.

    One whose source does not exist ends with that reason. The same Idempotency-Key is the same order, and
    with another body it is 409.
    """
    url = await order(client, "ada")
    assert (await states_until_ready(client, url))[-1] == "ready"
    async with client.get(url) as response:
        shown = await response.json()
    assert (shown["customer"], shown["credits"]) == ("ada", "2")
    assert shown["picture"].startswith("http")
    async with client.post("/orders", json={"customer": "ada", "source": "Alex", "prompt": "a"}) as response:
        assert response.status == 422
    wanted, key = {"customer": "ada", "source": NO_SOURCE, "prompt": "on stage"}, {"Idempotency-Key": "1"}
    for changed, status in (({}, 202), ({}, 202), ({"prompt": "at sea"}, 409), ({"customer": "bo"}, 409)):
        async with client.post("/orders", json={**wanted, **changed}, headers=key) as response:
            assert response.status == status, changed
    shown = await ended(client, "/orders/1")
    assert shown["state"] == "refused"
    assert "not found" in shown["reason"].lower()
    async with client.get("/orders/none") as response:
        assert response.status == 404


async def check_probes(made: Any, client: aiohttp.ClientSession) -> None:
    """Web app and worker say that they live and are ready, and show their gauges."""
    for port in (made.web_port, made.workers[0].port):
        async with client.get(f"http://127.0.0.1:{port}/healthz") as response:
            assert (response.status, await response.json()) == (200, {"alive": True})
        async with client.get(f"http://127.0.0.1:{port}/readyz") as response:
            shown = await response.json()
        assert (response.status, shown["ready"], shown["unknowns"]) == (200, True, 0)
