"""Where the app runs and with what."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import attrs

from hoox_async import ConfigurationError

HOOKS = "/hooks/hoox"


@attrs.frozen(kw_only=True)
class Settings:
    """How the app is set up.

    ``public_url`` is where the API, or the sandbox, reaches it; None: no webhooks, the session asks.
    ``data`` is the folder for orders, store and pictures. ``credits`` is each customer's cap.
    Without ``api_key`` the app runs a sandbox, on ``sandbox_port`` when it is first run with this ``data``.
    ``base_url`` is for tests that bring a sandbox of their own.
    """

    data: Path
    public_url: str | None
    credits: Decimal = Decimal(100)
    api_key: str | None = attrs.field(default=None, repr=False)
    base_url: str | None = None
    webhook_secret: str | None = attrs.field(default=None, repr=False)
    sandbox_port: int = 0
    sandbox_speed: float = 8.0

    @property
    def sandbox(self) -> bool:
        """Whether nothing costs anything."""
        return self.api_key is None

    @classmethod
    def from_environment(cls, *, port: int, data: Path, credits: Decimal) -> Settings:
        """The real API with HOOX_API_KEY, else a sandbox. Raises `ConfigurationError`.

        With the real API, PUBLIC_URL is where it reaches this app, and HOOX_WEBHOOK_SECRET signs the
        webhooks' addresses.
        """
        local = f"http://127.0.0.1:{port}"
        if "HOOX_API_KEY" not in os.environ:
            return cls(data=data / "sandbox", public_url=local, credits=credits, sandbox_port=port + 1)
        secret = os.environ.get("HOOX_WEBHOOK_SECRET")
        public_url = os.environ.get("PUBLIC_URL")
        if public_url and not secret:
            raise ConfigurationError("PUBLIC_URL is set and HOOX_WEBHOOK_SECRET is not")
        return cls(
            data=data / "live",
            public_url=public_url,
            credits=credits,
            api_key=os.environ["HOOX_API_KEY"],
            webhook_secret=secret,
        )
