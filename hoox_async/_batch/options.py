"""The options of a batch with their checks, and the decisions about items that the store knows already."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args

from .._checks import option
from .._core.intents.budget import Budget, Credits, plain_credits
from .._core.intents.intent import Intent, IntentState
from ..errors import ConfigurationError
from .progress import ProgressCallback

OnUnknown = Literal["hold", "resend"]
Changed = Literal["error", "keep", "redo"]

_RETRY = {
    "ready": IntentState.READY,
    "failed": IntentState.FAILED,
    "rejected": IntentState.REJECTED,
    "pending": IntentState.ACCEPTED,
}


class BatchOptions(NamedTuple):
    """The options of a `BatchRunner`.

    ``began_at``: when the run began, by the clock of the store, where other processes use it too. What was
    sent since then, by whichever process, is a result of this run: it is not paid again.
    """

    max_in_flight: int
    max_credits: Credits | None
    budget: Budget | None
    max_failures: int | None
    look_timeout: float
    on_unknown: OnUnknown
    retry: frozenset[IntentState]
    changed: Changed
    progress: ProgressCallback | None = None
    began_at: datetime | None = None

    def check(self) -> None:
        """Raise `ConfigurationError` for an option that makes no sense."""
        option.whole("max_in_flight", self.max_in_flight, least=1)
        if self.max_failures is not None:
            option.whole("max_failures", self.max_failures, least=1)
        if self.max_credits is not None:
            option.credits("max_credits", self.max_credits)
        option.instance("budget", self.budget, Budget | None, "a Budget, or None")
        option.seconds("look_timeout", self.look_timeout, endless=True)
        if self.progress is not None and (
            not callable(self.progress) or inspect.iscoroutinefunction(self.progress)
        ):
            raise option.error("progress", self.progress, "a plain function, or None")
        option.choice("on_unknown", self.on_unknown, get_args(OnUnknown))
        option.choice("changed", self.changed, get_args(Changed))

    def check_shared(self) -> None:
        """Raise `ConfigurationError` for a cap that would not hold for all processes of a shared store."""
        if self.max_credits is not None:
            cap = plain_credits(option.credits("max_credits", self.max_credits))
            raise ConfigurationError(
                "max_credits: other processes use the same store, and this cap would not count what they "
                f'spend: use budget=Budget({cap}, name="…"), which the store keeps for all of them'
            )
        if self.budget is not None:
            self.budget.require_name()

    def is_earlier(self, stored: Intent) -> bool:
        """Whether the intent was last sent before this run began."""
        return self.began_at is None or stored.sent_at is None or stored.sent_at < self.began_at

    def pays_again(self, stored: Intent, digest: str) -> bool:
        """Whether an item with this content, whose key the store knows, is to be paid once more."""
        if stored.state.in_doubt:
            return False
        if stored.digest == digest:
            return stored.state in self.retry and self.is_earlier(stored)
        if self.changed == "keep":  # what was never sent, or was refused, has no look to keep
            return stored.state is IntentState.PLANNED or stored.never_charged
        return (self.changed == "redo" and self.is_earlier(stored)) or stored.never_charged

    def resends(self, unknown: Intent) -> bool:
        """Whether an unknown may be sent a second time: not one that was surely paid."""
        return self.on_unknown == "resend" and unknown.delivered is None

    def conflicts(self, stored: Intent, digest: str) -> bool:
        """Whether the key belongs to other content, which is neither to be kept nor to be redone."""
        if stored.digest == digest or stored.never_charged or self.changed == "keep":
            return False
        return self.changed == "error" or not self.is_earlier(stored)


def retry_states(retry: Iterable[Any]) -> frozenset[IntentState]:
    """The states of intents that these words (or `OutcomeState`\\ s) mean. Raises `ConfigurationError`."""
    if not isinstance(retry, Iterable):
        raise option.error("retry", retry, "a list of states")
    words = [retry] if isinstance(retry, str) else list(retry)
    return frozenset(_RETRY[option.choice("retry", word, _RETRY)] for word in words)
