"""Does steps one after the other, and notes how each went: the failure of one does not end the others."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Literal, TypeVar

from hoox_async import (
    ApiError,
    HooxError,
    InsufficientCredits,
    NotSent,
    OutcomeUnknown,
    ServerError,
    TransportError,
    UnexpectedResponse,
    WaitTimeout,
)
from hoox_async._api.responses import refuses_access
from hoox_async.testing import RecordingTransport

from .observations import Observations, Outcome, Step
from .shapes import error_code

_OTHER_NAME = {"images": "imageUrls", "imageUrls": "images"}


class SpellingTransport(RecordingTransport):
    """A recording transport that can send the images of a request under the other name.

    It does so while ``other_name`` is True. Each request is sent once, under one name. ``fetched`` counts the
    addresses of pictures that were opened.
    """

    other_name = False
    fetched = 0

    async def send(self, request: Any, before_send: Any = None) -> Any:
        """Send the request once and keep the answer. Raises as `RecordingTransport.send`."""
        if self.other_name and request.body is not None:
            body = {_OTHER_NAME.get(name, name): value for name, value in request.body.items()}
            request = request._replace(body=body)
        return await super().send(request, before_send)

    def fetch(self, url: str) -> Any:
        """Open a picture's address. Raises as `RecordingTransport.fetch`."""
        self.fetched += 1
        return super().fetch(url)


_T = TypeVar("_T")


_COMPLAINT = r"expected [a-z ]+, got [a-z ]+( @ \$[a-zA-Z_.\[\]]*)?"  # kinds of values, and names of fields


_MAX_SILENT = 2  # steps in a row without any answer, after which no others are tried


Ended = Literal["done", "refused", "silent"]


class StepRunner:
    """Does the steps of one check, with the answers that the transport keeps of each."""

    def __init__(self, transport: RecordingTransport, seen: Observations) -> None:
        self._transport = transport
        self._seen = seen
        self._stopped = ""
        self._silent = 0
        self.step = ""
        """The name of the step that is being done."""
        self.ended: Ended = "done"
        """"refused" if the API refused the key or the plan, "silent" if it gave no answer any more."""

    async def run(
        self,
        name: str,
        work: Callable[[], Awaitable[_T]],
        *,
        expected: type[HooxError] | None = None,
    ) -> _T | None:
        """Do a step and note how it went. Returns None where it failed, also where that was expected."""
        if self._stopped:
            self.skip(name, self._stopped)
            return None
        self.step = name
        before, began = len(self._transport.answers), monotonic()
        outcome: Outcome = "done"
        detail, result = "", None
        try:
            result = await work()
            if expected is not None:
                outcome, detail = "failed", f"expected {expected.__name__}, and got an answer"
        except asyncio.CancelledError:
            self._note(name, before, began, "failed", "interrupted")
            raise
        except Exception as error:
            if expected is None or not isinstance(error, expected) or refuses_access(error):
                outcome, detail = "failed", explain(error)
                self._consider_stopping(error)
        else:
            self._silent = 0
        self._note(name, before, began, outcome, detail)
        return result

    def _note(self, name: str, before: int, began: float, outcome: Outcome, detail: str) -> None:
        answers = self._transport.answers[before:]
        self._seen.answers[name] = answers
        status = next((one.status for one in reversed(answers) if one.status is not None), None)
        if name == "wrong key" and self._seen.wrong_key is not None:
            status = self._seen.wrong_key[0]
        requests = len(answers) or int(name == "wrong key")
        self._seen.steps.append(Step(name, outcome, requests, status, monotonic() - began, detail))

    def skip(self, name: str, why: str) -> None:
        self._seen.steps.append(Step(name, "skipped", detail=why))

    def _consider_stopping(self, error: Exception) -> None:
        if refuses_access(error) and not isinstance(error, InsufficientCredits):  # reads need no credits
            self._stopped, self.ended = "the API refused the key or the plan", "refused"
        self._silent = self._silent + 1 if isinstance(error, TransportError | NotSent) else 0
        if self._silent >= _MAX_SILENT:
            self._stopped, self.ended = f"no answer in the {_MAX_SILENT} steps before", "silent"


class StepFailed(Exception):
    """A step failed for a reason that is described in words of ours."""


def explain(error: Exception) -> str:
    """Why a step failed, in words that hold no text of the API: that could name the account."""
    match error:
        case StepFailed():
            return str(error)
        case ApiError():
            return f"refused with HTTP {error.status}, " + (
                f"code {error_code(error.code)}" if error.code else "no code"
            )
        case ServerError():
            return f"HTTP {error.status}, also when it was repeated"
        case OutcomeUnknown():
            return "no usable answer: whether it was made is not known"
        case UnexpectedResponse():
            shown = f"HTTP {error.status} with " if error.status else ""
            complaint = re.search(_COMPLAINT, str(error))
            return f"{shown}an answer that this library cannot understand" + (
                f": {complaint[0]}" if complaint else ""
            )
        case WaitTimeout():
            return f"not ready after {error.seconds:g} s"
        case NotSent():
            return "no connection was made, or the quota left no room"
        case TransportError():
            return "no answer, also when it was repeated"
        case HooxError():
            return type(error).__name__
    return f"unexpected {type(error).__name__}: this is a bug in hoox-async"
