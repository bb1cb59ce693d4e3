"""The options of a BatchRunner, checked when it is made."""

from __future__ import annotations

from typing import Any

import pytest
from batch_kit import opened, space_of
from internals_kit import IntentState, retry_states

from hoox_async import BatchRunner, OutcomeState
from hoox_async.errors import ConfigurationError

WRONG: list[dict[str, Any]] = [
    {"max_in_flight": 0}, {"max_in_flight": 1.5}, {"max_in_flight": True}, {"max_failures": 0},
    {"max_failures": "3"}, {"max_credits": -1}, {"max_credits": "many"}, {"max_credits": float("nan")},
    {"budget": 5}, {"look_timeout": 0}, {"look_timeout": float("nan")}, {"look_timeout": True},
    {"look_timeout": None},
    {"on_unknown": "guess"}, {"changed": "maybe"}, {"retry": ["unknown"]}, {"retry": "skipped"}, {"retry": 5},
]  # fmt: skip


@pytest.mark.virtual_time
@pytest.mark.parametrize("options", WRONG, ids=lambda one: next(iter(one)))
async def test_an_option_that_makes_no_sense_is_a_configuration_error_that_names_it(
    options: dict[str, Any],
) -> None:
    """The constructor raises a ConfigurationError that names the invalid option."""
    async with opened(space_of()) as session:
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            BatchRunner(session, **options)


def test_a_runner_takes_nothing_but_a_session() -> None:
    """A runner of anything but a session is a `ConfigurationError`."""
    with pytest.raises(ConfigurationError, match="session"):
        BatchRunner(None)  # type: ignore[arg-type]


def test_retry_takes_words_and_states() -> None:
    """``retry`` takes one word, several words, and members of `OutcomeState`."""
    assert retry_states("failed") == {IntentState.FAILED}
    assert retry_states(["pending", OutcomeState.READY]) == {IntentState.ACCEPTED, IntentState.READY}
    assert retry_states(()) == frozenset()
