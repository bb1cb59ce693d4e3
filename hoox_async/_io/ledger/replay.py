"""Runs functions of the ledger on a database that is a round trip away: one message to ask, one to write.

What a function asks ends its run where the answer is not there yet. The answer is fetched, and the function
runs again from the beginning. So no transaction is open, and no lock is held, while it decides.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from ...errors import StoreError
from .transaction import Question, Rows, Values, Work

_T = TypeVar("_T")

_TRIES = 200  # each fails only because another write has come first
_LONGEST_PAUSE = 0.02  # seconds between two tries

Execute = Callable[[Sequence[Question]], Awaitable[list[Rows]]]
"""Executes statements as one message, which is one transaction. Raises `Outdated`."""


class Outdated(Exception):
    """Another write has come first: a guard has refused what was decided from what was read."""


async def replay(work: Work[_T], execute: Execute, name: str) -> _T:
    """Run a function, again wherever another write has come first. Raises what the function raises."""
    for number in range(_TRIES):
        try:
            return await _try(work, execute, may_guess=number == 0)
        except Outdated:
            pass
        await asyncio.sleep(random.uniform(0, min(number * 0.002, _LONGEST_PAUSE)))  # noqa: S311
    raise StoreError(f"{name}: other writes have come first too often")


async def _try(work: Work[_T], execute: Execute, *, may_guess: bool) -> _T:
    answers: list[list[Rows]] = []
    while True:
        transaction = _Transaction(answers, may_guess=may_guess)
        try:
            result = work(transaction)
        except _Unanswered as unanswered:
            answers.append(await execute(unanswered.questions))
            continue
        except Exception:
            if may_guess and not answers:  # what it has guessed may be why
                may_guess = False
                continue
            raise
        if transaction.writes:
            await execute(transaction.writes)
        return result


class _Unanswered(BaseException):
    """Ends a function that has asked what is not answered yet."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self.questions = questions


class _Transaction:
    """One run of a function, with the answers to what earlier runs have asked."""

    def __init__(self, answers: Sequence[list[Rows]], *, may_guess: bool) -> None:
        self.may_guess = may_guess
        self.writes: list[Question] = []
        self._answers = answers
        self._asked = 0

    def ask(self, *questions: Question) -> list[Rows]:
        self._asked += 1
        if self._asked > len(self._answers):
            raise _Unanswered(questions)
        return self._answers[self._asked - 1]

    def write(self, statement: str, values: Values) -> None:
        self.writes.append((statement, values))
