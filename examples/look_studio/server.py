"""Serves the app on this machine. What keeps it from starting is an error with one line, not a traceback."""

from __future__ import annotations

import errno
import socket
from contextlib import AsyncExitStack

import uvicorn
from fastapi import FastAPI

from hoox_async import ConfigurationError, HooxError

HOST = "127.0.0.1"


class Server(uvicorn.Server):
    """Opens and closes the app itself, because uvicorn would log an error of the app with its traceback.

    ``failure`` is the error that kept the app from opening. ``greeting`` is printed when it is open.
    """

    def __init__(self, app: FastAPI, config: uvicorn.Config, greeting: str = "") -> None:
        config.lifespan = "off"
        super().__init__(config)
        self.failure: Exception | None = None
        self._app = app
        self._greeting = greeting
        self._opened = AsyncExitStack()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the app, then see uvicorn."""
        try:
            await self._opened.enter_async_context(self._app.router.lifespan_context(self._app))
        except (HooxError, OSError) as error:
            self.failure, self.should_exit = error, True
            return
        await super().startup(sockets)
        if self._greeting:
            print(self._greeting, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the pages' event streams, which uvicorn would wait for; see uvicorn; close the app."""
        self._app.state.feed.close()
        await super().shutdown(sockets)
        if not self.force_exit:
            await self._opened.aclose()


def listen(port: int) -> socket.socket:
    """A socket that listens on this port. Raises `ConfigurationError` if it is not free."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"port {port} is taken. Is Look Studio running already? Choose another port with --port"
            ) from None
        raise ConfigurationError(f"port {port} cannot be opened: {error.strerror}") from None
    return listener
