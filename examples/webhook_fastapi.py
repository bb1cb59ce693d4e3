"""A small FastAPI service that submits looks and learns by webhook when each is done.

    pip install fastapi uvicorn
    python examples/webhook_fastapi.py

    curl -X POST localhost:8000/looks -H 'Content-Type: application/json' \\
         -d '{"prompt": "Young entrepreneur, confident smile"}'
    curl 'localhost:8000/looks/avtr_…:look_…?wait=20'

It runs on a sandbox, where nothing costs anything. With ``HOOX_API_KEY`` it uses the real API and spends
credits; then ``PUBLIC_URL`` (where the API reaches this service) and ``HOOX_WEBHOOK_SECRET`` are needed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Header, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

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

STATUS_OF_ERROR: dict[type[HooxError], int] = {
    InvalidRequest: 400,
    InsufficientCredits: 402,
    NotFound: 404,
    KeyConflict: 409,
    NotSent: 503,  # nothing was sent: trying again is safe
    OutcomeUnknown: 502,  # may have been paid: trying again under the same key is safe, it sends nothing
}


class Order(BaseModel):
    """What to make: a new avatar, or with ``source`` (a ref) a new look of an existing one."""

    prompt: str
    source: str | None = None


class Accepted(BaseModel):
    """The look's ref, to ask for it with, and what it costs."""

    ref: str
    credits: str


class State(BaseModel):
    """A look as this service's clients see it."""

    ref: str
    status: str
    thumbnail_url: str | None
    error: str | None


async def start(
    order: Order, request: Request, idempotency_key: Annotated[str | None, Header()] = None
) -> Accepted:
    """Submit, and respond as soon as the API has accepted. The look is made meanwhile."""
    session: HooxSession = request.app.state.session
    look: PromptAvatar | LookEdit
    if order.source is None:
        look = PromptAvatar(order.prompt)
    else:
        look = LookEdit(LookRef.parse(order.source), order.prompt)
    # The same key is the same look, also after a restart: a client may repeat its POST without paying twice.
    job = await session.submit(look, key=idempotency_key, max_wait=20)
    request.app.state.jobs[str(job.ref)] = job
    return Accepted(ref=str(job.ref), credits=str(job.credits))


async def state(ref: str, request: Request, wait: Annotated[float, Query(ge=0, le=60)] = 0) -> State:
    """The look's state, once it is done or ``wait`` seconds are over."""
    job: LookJob | None = request.app.state.jobs.get(ref)
    if job is None:
        raise HTTPException(404)
    with suppress(WaitTimeout, GenerationFailed):  # what is known of the look says which
        await job.wait(timeout=max(wait, 0.01))
    look = job.last
    error = str(look.error) if look.error else None
    return State(ref=str(look.ref), status=look.status.value, thumbnail_url=look.thumbnail_url, error=error)


async def hoox_error(_: Request, error: Exception) -> JSONResponse:
    """The library's errors as HTTP responses."""
    assert isinstance(error, HooxError)
    status = next((code for kind, code in STATUS_OF_ERROR.items() if isinstance(error, kind)), 502)
    return JSONResponse({"error": str(error), "charged": error.charged}, status)


def make_app(public_url: str) -> FastAPI:
    """The service. ``public_url`` is where the API, or the sandbox, reaches it."""
    secret = None if "HOOX_API_KEY" in os.environ else secrets.token_urlsafe()
    hub = WebhookHub(public_url.rstrip("/") + HOOKS, secret)
    hub.redact_logs()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(hub)
            if "HOOX_API_KEY" in os.environ:
                session = HooxSession(store="looks.db", webhooks=hub)
            else:
                sandbox = await stack.enter_async_context(Sandbox(speed=SANDBOX_SPEED))
                session = sandbox.session(webhooks=hub)
            app.state.session = await stack.enter_async_context(session)
            # A job that is referenced keeps its look's state in memory. A real service would keep refs in
            # its database.
            jobs: dict[str, Any] = {str(job.ref): job for job in await session.jobs()}
            app.state.jobs = jobs
            yield

    app = FastAPI(lifespan=lifespan)
    app.add_api_route("/looks", start, methods=["POST"], status_code=202)
    app.add_api_route("/looks/{ref}", state, methods=["GET"])
    app.add_exception_handler(HooxError, hoox_error)
    app.mount(HOOKS, hub.asgi_app)
    return app


if __name__ == "__main__":
    uvicorn.run(make_app(os.environ.get("PUBLIC_URL", "http://127.0.0.1:8000")), host="127.0.0.1", port=8000)
