"""A small aiohttp service that submits looks and learns by webhook when each is done.

    python examples/webhook_aiohttp.py

    curl -X POST localhost:8080/looks -d '{"prompt": "Young entrepreneur, confident smile"}'
    curl -X POST localhost:8080/looks -H 'Idempotency-Key: order-17' \\
         -d '{"source": "avtr_…:look_…", "prompt": "podcast scene, warm light"}'
    curl 'localhost:8080/looks/avtr_…:look_…?wait=20'

It runs on a sandbox, where nothing costs anything. With ``HOOX_API_KEY`` it uses the real API and spends
credits; then ``PUBLIC_URL`` (where the API reaches this service) and ``HOOX_WEBHOOK_SECRET`` are needed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

from aiohttp import web

from hoox_async import (
    GenerationFailed,
    HooxError,
    HooxSession,
    InsufficientCredits,
    InvalidRequest,
    KeyConflict,
    LookEdit,
    LookJob,
    LookRef,
    NotFound,
    NotSent,
    OutcomeUnknown,
    PromptAvatar,
    WaitTimeout,
)
from hoox_async.sandbox import Sandbox
from hoox_async.webhooks import WebhookHub

HOOKS = "/hooks/hoox"
SANDBOX_SPEED = 10.0  # a look takes about 4 seconds

HUB = web.AppKey("hub", WebhookHub)
SESSION = web.AppKey("session", HooxSession)
# A job that is referenced keeps its look's state in memory. A real service would keep refs in its database.
JOBS = web.AppKey("jobs", dict[str, LookJob])

STATUS_OF_ERROR: dict[type[HooxError], int] = {
    InvalidRequest: 400,
    InsufficientCredits: 402,
    NotFound: 404,
    KeyConflict: 409,
    NotSent: 503,  # nothing was sent: trying again is safe
    OutcomeUnknown: 502,  # may have been paid: trying again under the same key is safe, it sends nothing
}


async def start(request: web.Request) -> web.Response:
    """POST /looks: submit, and respond as soon as the API has accepted. The look is made meanwhile."""
    order = await request.json()
    if not isinstance(order, dict):
        raise web.HTTPBadRequest(text="expected a JSON object")
    prompt, source = order.get("prompt", ""), order.get("source")
    look = PromptAvatar(prompt) if source is None else LookEdit(LookRef.parse(str(source)), prompt)
    # The same key is the same look, also after a restart: a client may repeat its POST without paying twice.
    job = await request.app[SESSION].submit(look, key=request.headers.get("Idempotency-Key"), max_wait=20)
    request.app[JOBS][str(job.ref)] = job
    return web.json_response({"ref": str(job.ref), "credits": str(job.credits)}, status=202)


async def state(request: web.Request) -> web.Response:
    """GET /looks/{ref}?wait=seconds: the look's state, once it is done or the wait is over."""
    job = request.app[JOBS].get(request.match_info["ref"])
    if job is None:
        raise web.HTTPNotFound
    seconds = max(0.01, min(60.0, float(request.query.get("wait", 0))))
    with suppress(WaitTimeout, GenerationFailed):  # what is known of the look says which
        await job.wait(timeout=seconds)
    return web.json_response(shown(job))


def shown(job: LookJob) -> dict[str, Any]:
    """A job as this service's clients see it. Costs no request of the API."""
    look = job.last
    return {
        "ref": str(look.ref),
        "status": look.status.value,
        "thumbnail_url": look.thumbnail_url,
        "error": str(look.error) if look.error else None,
    }


@web.middleware
async def errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """The library's errors as HTTP responses."""
    try:
        return await handler(request)
    except HooxError as error:
        status = next((code for kind, code in STATUS_OF_ERROR.items() if isinstance(error, kind)), 502)
        return web.json_response({"error": str(error), "charged": error.charged}, status=status)
    except ValueError:
        return web.json_response({"error": "expected JSON, and a number of seconds to wait"}, status=400)


async def lifespan(app: web.Application) -> AsyncIterator[None]:
    """One hub and one session for as long as the service runs."""
    hub = app[HUB]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(hub)
        if "HOOX_API_KEY" in os.environ:
            session = HooxSession(store="looks.db", webhooks=hub)
        else:
            sandbox = await stack.enter_async_context(Sandbox(speed=SANDBOX_SPEED))
            session = sandbox.session(webhooks=hub)
        app[SESSION] = await stack.enter_async_context(session)
        app[JOBS] = {str(job.ref): job for job in await session.jobs()}
        yield


def make_app(public_url: str) -> web.Application:
    """The service. ``public_url`` is where the API, or the sandbox, reaches it."""
    secret = None if "HOOX_API_KEY" in os.environ else secrets.token_urlsafe()
    hub = WebhookHub(public_url.rstrip("/") + HOOKS, secret)
    hub.redact_logs()
    app = web.Application(middlewares=[errors])
    app[HUB] = hub
    app.cleanup_ctx.append(lifespan)
    app.add_routes([web.post("/looks", start), web.get("/looks/{ref}", state)])
    app.add_routes(hub.aiohttp_routes(HOOKS))
    return app


if __name__ == "__main__":
    web.run_app(make_app(os.environ.get("PUBLIC_URL", "http://127.0.0.1:8080")), host="127.0.0.1", port=8080)
