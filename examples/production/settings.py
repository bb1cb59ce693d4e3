"""What the shop is told from outside, by environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from hoox_async import Timeouts

API = "https://app.hoox.video/api/public/v1"
CONNECTIONS: dict[str, Any] = {"min_size": 1, "max_size": 4, "kwargs": {"prepare_threshold": None}}
"""For each of the two pools of a process, the shop's and the engine's. PgBouncer loses what is prepared."""


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
    probe_port: int = 8081
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
    numbers = {
        "requests_per_minute": int, "customer_credits": int, "concurrency": int, "lease": float,
        "probe_port": int, "new_key": bool,
    }  # fmt: skip
    given = {name: environment.get(f"SHOP_{name.upper()}") for name in numbers}
    return Settings(
        environment["SHOP_DATABASE"],
        environment["SHOP_PUBLIC_URL"],
        environment.get("SHOP_HOOX_URL", API),
        **{name: numbers[name](text) for name, text in given.items() if text},
    )
