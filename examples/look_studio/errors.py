"""The library's errors as HTTP responses."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from hoox_async import (
    BudgetExceeded,
    HooxError,
    InvalidRequest,
    KeyConflict,
    NotSent,
    SessionClosed,
    StoreError,
)

STATUS_OF_ERROR: dict[type[HooxError], int] = {
    InvalidRequest: 400,
    BudgetExceeded: 402,
    KeyConflict: 409,
    NotSent: 503,
    SessionClosed: 503,
    StoreError: 503,
}


async def hoox_error(_: Request, error: Exception) -> JSONResponse:
    """Anything else went wrong between us and the API: 502."""
    status = next((code for kind, code in STATUS_OF_ERROR.items() if isinstance(error, kind)), 502)
    field = error.field if isinstance(error, InvalidRequest) else None
    return JSONResponse({"detail": str(error), "field": field}, status)


async def bad_form(_: Request, error: Exception) -> JSONResponse:
    """What the form's own checks found, as one sentence."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    return JSONResponse({"detail": f"{field}: {first['msg']}", "field": field}, 422)


def add_handlers(app: FastAPI) -> None:
    """Answer errors in one shape: ``{"detail": text, "field": name or null}``."""
    app.add_exception_handler(HooxError, hoox_error)
    app.add_exception_handler(RequestValidationError, bad_form)
