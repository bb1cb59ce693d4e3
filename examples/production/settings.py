"""What the shop is told from outside, by environment variables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import psycopg

from hoox_async import Timeouts

API = "https://app.hoox.video/api/public/v1"


async def _configure(connection: psycopg.AsyncConnection) -> None:
    await connection.set_autocommit(True)  # a statement alone needs no round trips for BEGIN and COMMIT
    connection.prepare_threshold = None  # behind PgBouncer a prepared statement can be another client's


CONNECTIONS: dict[str, Any] = {
    "min_size": 1, "max_size": 4, "configure": _configure,
    "timeout": 10.0,  # seconds until a request is answered that the database is away
    "reconnect_timeout": 5.0,  # then whoever needs a connection next has one made at once
}  # fmt: skip
"""For each of the two pools of a process: the shop's and the engine's."""


class Settings(NamedTuple):
    """One process's settings. ``HOOX_API_KEY`` and ``HOOX_WEBHOOK_SECRET`` are read by hoox_async itself.

    The seconds of a graceful stop add up: ``drain`` for the orders that are being worked on, ``close`` for
    requests that are paid for and not answered yet. Kubernetes kills after 30.
    """

    database: str
    public_url: str
    hoox_url: str = API
    """The API's address; in tests that of a sandbox."""
    requests_per_minute: int = 100
    customer_credits: int = 1000
    """What one customer may spend, in credits."""
    concurrency: int = 100
    """Orders at a time in one worker: enough to use the quota, as a look takes about 40 s."""
    lease: float = 10.0
    """Seconds without a sign of life after which a process is taken for dead."""
    pictures: str = "pictures"
    """The folder for pictures, of the process that saves them."""
    probe_host: str = "127.0.0.1"
    probe_port: int = 0
    """Of a worker's probes; 0: any free port, which its log names."""
    new_key: bool = False
    """The API key replaces the one that the store was bound to: during a rotation only."""
    drain: float = 10.0
    close: float = 10.0

    @property
    def timeouts(self) -> Timeouts:
        """For how long the session waits for what."""
        return Timeouts(wait=300.0)


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this process."""
    kinds: dict[str, Callable[[str], Any]] = {
        "requests_per_minute": int, "customer_credits": int, "concurrency": int, "lease": float,
        "pictures": str, "probe_host": str, "probe_port": int, "new_key": bool,
    }  # fmt: skip
    given = {name: environment.get(f"SHOP_{name.upper()}") for name in kinds}
    return Settings(
        environment["SHOP_DATABASE"],
        environment["SHOP_PUBLIC_URL"],
        environment.get("SHOP_HOOX_URL", API),
        **{name: kinds[name](text) for name, text in given.items() if text},
    )
