"""``python -m examples.look_studio``: serve the app on this machine until Ctrl-C."""

from __future__ import annotations

import argparse
import socket
import sys
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from hoox_async import HooxError

from .app import create_app
from .settings import Settings


class Server(uvicorn.Server):
    """Ends the pages' event streams when it shuts down; else it would wait for the pages to be closed."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._feed = app.state.feed

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        self._feed.close()
        await super().shutdown(sockets)


def make_server(settings: Settings, port: int) -> Server:
    """The app and a server for it, on the loopback."""
    app = create_app(settings)
    return Server(app, uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))


def main() -> int:
    """Run it. 2 where it can't be set up."""
    parser = argparse.ArgumentParser(prog="python -m examples.look_studio", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=8000, help="port of the page; the sandbox has the next one"
    )
    parser.add_argument(
        "--data", type=Path, default=Path("look-studio-data"), help="orders, looks and pictures"
    )
    parser.add_argument("--credits", type=Decimal, default=Decimal(100), help="cap of each customer")
    given = parser.parse_args()
    try:
        settings = Settings.from_environment(port=given.port, data=given.data, credits=given.credits)
        server = make_server(settings, given.port)
    except HooxError as error:
        print(error, file=sys.stderr)
        return 2
    where = (
        "a sandbox, where nothing costs anything" if settings.sandbox else "the real API: looks cost credits"
    )
    print(f"Look Studio on {where}\nhttp://127.0.0.1:{given.port}   (Ctrl-C ends it)", flush=True)
    with suppress(KeyboardInterrupt):  # uvicorn has shut down by then, and passes Ctrl-C on
        server.run()
    return 0 if server.started else 2


if __name__ == "__main__":
    sys.exit(main())
