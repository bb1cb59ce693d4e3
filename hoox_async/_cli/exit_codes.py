"""Exit codes, and which error leads to which."""

from __future__ import annotations

from enum import IntEnum

from hoox_async import (
    ApiError,
    ConfigurationError,
    GenerationFailed,
    HooxError,
    InvalidRequest,
    KeyConflict,
    RateLimited,
    StoreError,
)
from hoox_async._api.responses import refuses_access


class Exit(IntEnum):
    """The exit codes of every command."""

    READY = 0
    """All looks are ready, or the command did what it was asked to."""
    FAILED = 1
    """Some looks failed, were refused, or were skipped because their source failed."""
    USE = 2
    """Bad usage or input: running the same command again does not help."""
    ACCESS = 3
    """A problem with the API key, the plan or the credits."""
    UNFINISHED = 4
    """Not finished: run the printed command to go on."""


class NoKey(ConfigurationError):
    """No API key was given."""


_USE = (
    ConfigurationError, InvalidRequest, KeyConflict, StoreError, OSError,
)  # fmt: skip


def code_of(error: BaseException) -> Exit:
    """The exit code for an error that ended the command."""
    if is_access(error):
        return Exit.ACCESS
    if isinstance(error, GenerationFailed):
        return Exit.FAILED
    if isinstance(error, _USE):
        return Exit.USE
    if isinstance(error, ApiError) and not isinstance(error, RateLimited) and error.status < 500:
        return Exit.USE
    if isinstance(error, HooxError | KeyboardInterrupt):
        return Exit.UNFINISHED
    return Exit.USE


def is_access(error: BaseException | None) -> bool:
    """Whether the error is about the API key, the plan, the workspace or missing credits."""
    return isinstance(error, NoKey) or refuses_access(error)
