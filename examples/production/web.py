"""The web app: ``uvicorn production.web:app --workers 4 --timeout-graceful-shutdown 10``.

It takes orders and receives Hoox's deliveries. It sends nothing itself: what waits for the quota waits in the
queue, where a restart does not lose it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import uuid4

import psycopg
from fastapi import FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from procrastinate.exceptions import ConnectorException
from pydantic import BaseModel

from hoox_async import InvalidRequest, StoreError

from .engine import make_engine, make_look
from .orders import Order, OrderConflict
from .probes import readiness
from .settings import read_settings
from .shop import Shop, open_shop

HOOKS = "/hooks/hoox"
RETRY_AFTER = 5  # seconds
log = logging.getLogger("shop")


class NewOrder(BaseModel):
    """What a customer sends. A real shop knows the customer by the login."""

    customer: str
    source: str
    prompt: str


async def receive(scope: Any, receive: Any, send: Any) -> None:
    """Pass a delivery to the hub of the process, which is made when the app starts."""
    await scope["app"].state.shop.hub.asgi_app(scope, receive, send)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One session for the life of each process."""
    settings = read_settings()
    engine = make_engine(settings.database)
    async with open_shop(settings, poll="awaited") as shop, engine.open_async():
        app.state.shop, app.state.engine = shop, engine
        yield


app = FastAPI(lifespan=lifespan)
app.mount(HOOKS, receive)


@app.exception_handler(
    psycopg.OperationalError
)  # no connection, or one that broke; a pool that has none free
@app.exception_handler(ConnectorException)  # what the engine makes of that
@app.exception_handler(StoreError)
async def away(request: Request, error: Exception) -> JSONResponse:
    """The database can't be reached: the customer tries again, with the same Idempotency-Key."""
    log.warning("%s %s: %s", request.method, request.url.path, error)
    return JSONResponse({"detail": "try again"}, 503, {"Retry-After": str(RETRY_AFTER)})


@app.exception_handler(psycopg.DataError)
async def no_text(_: Request, __: Exception) -> JSONResponse:
    """A NUL, which PostgreSQL stores in no text."""
    return JSONResponse({"detail": "a character that can't be stored"}, 422)


@app.post("/orders", status_code=202)
async def take(
    wanted: NewOrder,
    request: Request,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=100)] = None,
) -> dict[str, Any]:
    """Queue an order and answer at once, with the order's URL. The same Idempotency-Key is the same order."""
    shop: Shop = request.app.state.shop
    with shop.telemetry.ordering() as traceparent:
        order_id = idempotency_key or uuid4().hex
        order = Order(order_id, wanted.customer, wanted.source, wanted.prompt, traceparent)
        try:
            order.edit()
        except InvalidRequest as error:
            raise HTTPException(422, str(error)) from None
        try:
            # one transaction: no order without its job, and no answer of 503 to an order that was taken
            async with shop.pool.connection() as connection, connection.transaction():
                if await shop.orders.add(order, connection):
                    await make_look.configure(connection=connection).defer_async(order_id=order.id)
                queued = await shop.orders.queued(connection)
        except OrderConflict:
            raise HTTPException(409, "this Idempotency-Key was used for another order") from None
    url = str(request.url_for("show", order_id=order.id))
    response.headers["Location"] = url
    wait = shop.session.expected_wait(max(1, queued))
    return {"order": order.id, "url": url, "seconds_until_sent": round(wait, 1)}


@app.get("/orders/{order_id}")
async def show(order_id: str, request: Request) -> dict[str, Any]:
    """The order as it stands."""
    order = await request.app.state.shop.orders.get(order_id)
    if order is None:
        raise HTTPException(404, "no such order")
    shown = order._asdict()
    del shown["traceparent"]
    return dict(shown)


@app.get("/healthz")
async def healthz() -> dict[str, bool]:
    """This process answers."""
    return {"alive": True}


@app.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """Whether this process can take orders, and all gauges."""
    status, shown = await readiness(request.app.state.shop.session)
    return JSONResponse(shown, status)
