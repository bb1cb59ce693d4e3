"""Formats counts and durations for people.

The command line has its own copies of the small functions in its `text`, because it imports nothing but
the public door; a test keeps the two equal.
"""

from __future__ import annotations

from .._core.intents.outcomes import OutcomeState

STATE_EXPLANATIONS: dict[OutcomeState, str] = {
    OutcomeState.READY: "the picture is ready",
    OutcomeState.FAILED: "paid for, but could not be made",
    OutcomeState.REJECTED: "refused, nothing was charged",
    OutcomeState.SKIPPED: "its source failed, or it was dropped and may have been paid for",
    OutcomeState.UNSENT: "was not sent: run again",
    OutcomeState.PENDING: "paid for, not ready yet",
    OutcomeState.UNKNOWN: "may have been paid for",
}


def format_count(count: int, noun: str, plural: str | None = None) -> str:
    """``1 look``, ``1,200 looks``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def format_duration(seconds: float) -> str:
    """Seconds as ``0.4 s``, ``41 s``, ``1 min 12 s`` or ``2 h 5 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def format_pixels(width: int, height: int) -> str:
    """A picture's size, as ``540 x 960`` with a multiplication sign."""
    return f"{width} \N{MULTIPLICATION SIGN} {height}"
