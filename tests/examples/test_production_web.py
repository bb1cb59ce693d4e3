"""The web app of `examples/production` while its database is away."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from postgres_kit import USER, Proxy, Server

EXAMPLES = Path(__file__).parents[2] / "examples"
if str(EXAMPLES) not in sys.path:
    sys.path.insert(0, str(EXAMPLES))

for name in ("fastapi", "httpx", "procrastinate", "opentelemetry"):
    pytest.importorskip(name)

import httpx  # noqa: E402
from production.migrate import migrate  # noqa: E402
from production.settings import CONNECTIONS  # noqa: E402
from production.web import app, lifespan  # noqa: E402

ORDER = {"customer": "ada", "source": "avtr_public_ada:look_public_ada", "prompt": "on stage"}


async def test_a_database_that_is_away_is_503_with_retry_after(
    postgres: Server, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders are taken again once it is back, and connections that broke meanwhile are not used."""
    await migrate(postgres_database)
    monkeypatch.setitem(CONNECTIONS, "timeout", 1.0)
    async with Proxy(postgres.socket) as proxy:
        url = f"postgresql://{USER}@127.0.0.1:{proxy.port}{urlsplit(postgres_database).path}"
        for variable, value in {
            "SHOP_DATABASE": url, "SHOP_PUBLIC_URL": "http://127.0.0.1:9/hooks/hoox",
            "SHOP_HOOX_URL": "http://127.0.0.1:9", "HOOX_API_KEY": "hx_live_key",
            "HOOX_WEBHOOK_SECRET": "a secret of at least 16 characters",
        }.items():  # fmt: skip
            monkeypatch.setenv(variable, value)
        transport = httpx.ASGITransport(app=app)
        async with lifespan(app), httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            placed = (await client.post("/orders", json=ORDER)).json()["url"]
            proxy.cut()
            assert (await client.get(placed)).status_code == 200
            proxy.refuse = True
            proxy.cut()
            for answer in (await client.get(placed), await client.post("/orders", json=ORDER)):
                assert answer.status_code == 503
                assert int(answer.headers["Retry-After"]) > 0
            proxy.refuse = False
            while (answer := await client.post("/orders", json=ORDER)).status_code == 503:
                pass
            assert answer.status_code == 202
