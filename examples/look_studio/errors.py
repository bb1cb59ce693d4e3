"""Errors as HTTP responses, in sentences for people."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from hoox_async import (
    ApiError,
    BudgetExceeded,
    HooxError,
    InsufficientCredits,
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
FIELDS = {
    "name": "The name",
    "prompt": "The description",
    "image_urls": "The addresses of pictures",
    "scenes": "The scenes",
    "style": "The style",
    "format": "The format",
    "resolution": "The resolution",
}
UNREADABLE = "The page sent something that this app cannot read. Nothing was started. Reload the page."


class Refused(Exception):
    """The app does not do what the page asks for. The message is a sentence for people."""

    def __init__(self, message: str, *, status: int = 400, field: str | None = None) -> None:
        self.status = status
        self.field = field
        super().__init__(message)


async def refused(_: Request, error: Exception) -> JSONResponse:
    """What the app itself refuses."""
    assert isinstance(error, Refused)
    return _answer(str(error), error.field, error.status)


async def hoox_error(_: Request, error: Exception) -> JSONResponse:
    """The library's errors. Those without a status of their own went wrong between us and the API: 502."""
    status = next((code for kind, code in STATUS_OF_ERROR.items() if isinstance(error, kind)), 502)
    if isinstance(error, InvalidRequest):
        name = error.field.partition("[")[0]  # image_urls[0]
        words = f"{FIELDS.get(name, name)}: {error.value!r:.80} cannot be used. Expected: {error.expected}."
        return _answer(words, error.field, status)
    return _answer(told(error), None, status)


async def bad_form(_: Request, error: Exception) -> JSONResponse:
    """What the form's own checks found first."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    return _answer(words_of(first), field, 422)


def words_of(found: dict[str, Any]) -> str:
    """A sentence for what pydantic found. Its own messages name types and regular expressions."""
    context = found.get("ctx", {})
    name = FIELDS.get(str(found["loc"][1]) if len(found["loc"]) > 1 else "")
    if found["type"] == "value_error":
        return str(context["error"])
    if found["type"] == "string_too_long" and name is not None:
        return f"{name}: too long, at most {context['max_length']} characters. Nothing was started."
    return UNREADABLE


def told(error: Exception) -> str:
    """An error as text for a page. A refusal of the API is in the API's own words."""
    if isinstance(error, InsufficientCredits):  # the page shows credits of its own, which may be left
        return f"{error.message}: the Hoox workspace has too few. Add some there, then try again."
    return error.message if isinstance(error, ApiError) else str(error)


def _answer(detail: str, field: str | None, status: int) -> JSONResponse:
    return JSONResponse({"detail": detail, "field": field}, status)


def add_handlers(app: FastAPI) -> None:
    """Answer errors in one shape: ``{"detail": text, "field": name or null}``."""
    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(HooxError, hoox_error)
    app.add_exception_handler(RequestValidationError, bad_form)
