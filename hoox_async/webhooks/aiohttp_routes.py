"""The hub as routes of an aiohttp application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from .hub import WebhookHub


def routes(hub: WebhookHub, path: str) -> list[web.RouteDef]:
    """Routes for POST at ``path`` and a token, with or without a slash at its end.

    aiohttp answers other paths with 404 and other methods with 405.
    """

    async def receive(request: web.Request) -> web.Response:
        status = await hub.handle_stream(request.match_info["token"], request.content.iter_any())
        return web.Response(status=status)

    return [web.post(path + "/{token}", receive), web.post(path + "/{token}/", receive)]
