"""How a batch is to be run, checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from .._core.intents.budget import Budget, Credits
from .._core.intents.intent import Intent, IntentState
from ..errors import ConfigurationError

OnUnknown = Literal["hold", "resend"]
Changed = Literal["error", "keep", "redo"]

_RETRY = {
    "ready": IntentState.READY,
    "failed": IntentState.FAILED,
    "rejected": IntentState.REJECTED,
    "pending": IntentState.ACCEPTED,
}


class Options(NamedTuple):
    """The options of a `BatchRunner`."""

    max_in_flight: int
    max_credits: Credits | None
    max_failures: int | None
    look_timeout: float
    on_unknown: OnUnknown
    retry: frozenset[IntentState]
    changed: Changed

    def check(self) -> None:
        """Raises `ConfigurationError` for one that makes no sense."""
        _whole("max_in_flight", self.max_in_flight)
        if self.max_failures is not None:
            _whole("max_failures", self.max_failures)
        if self.max_credits is not None:
            Budget(self.max_credits)
        timeout = self.look_timeout
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
            raise ConfigurationError(f"look_timeout: {timeout!r} is not a number of seconds above 0")
        _one_of("on_unknown", self.on_unknown, ("hold", "resend"))
        _one_of("changed", self.changed, ("error", "keep", "redo"))

    def pays_anew(self, stands: Intent, digest: str) -> bool:
        """Whether an item whose key the store knows is to be paid once more."""
        if stands.state.in_doubt:
            return False
        if stands.digest == digest:
            return stands.state in self.retry
        if self.changed == "keep":  # what was never sent, or was refused, has no look to keep
            return stands.state is IntentState.PLANNED or stands.never_charged
        return self.changed == "redo" or stands.never_charged

    def conflicts(self, stands: Intent, digest: str) -> bool:
        """Whether the key stands for other content, which is not to be kept or redone."""
        return stands.digest != digest and self.changed == "error" and not stands.never_charged


def retry_states(retry: Iterable[Any]) -> frozenset[IntentState]:
    """The states of the ledger that these words (or `OutcomeState`\\ s) stand for."""
    words = [retry] if isinstance(retry, str) else list(retry)
    for word in words:
        _one_of("retry", word, tuple(_RETRY))
    return frozenset(_RETRY[str(word)] for word in words)


def _whole(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name}: {value!r} is not a whole number above 0")


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigurationError(f"{name}: {value!r} is not one of " + ", ".join(allowed))
