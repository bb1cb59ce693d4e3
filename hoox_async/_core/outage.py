"""What is wrong while requests get no usable answer: since when, and why."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import HooxError, NotSent, ServerError, TransportError, UnexpectedResponse

NO_ANSWER = (NotSent, TransportError, ServerError, UnexpectedResponse)
"""The errors of a request that got no answer, or none that can be used."""


class Outage(NamedTuple):
    """Requests that have got no usable answer ``since`` a time of the loop (seconds).

    ``reason`` says why, in words. ``status`` is the HTTP status of the last answer, None where none came.
    """

    since: float
    reason: str
    status: int | None = None

    def text(self, now: float) -> str:
        """``"no answer for 20 s (cannot reach app.hoox.video: the connection was refused)"``."""
        answer = "no answer" if self.status is None else "no usable answer"
        return f"{answer} for {max(0.0, now - self.since):.0f} s ({self.reason})"


def outage_after(error: HooxError, since: float) -> Outage:
    """The outage that this error of a request begins or goes on with."""
    return Outage(since, str(error), getattr(error, "status", None))
