"""Exit codes, and which error leads to which."""

from __future__ import annotations

from enum import IntEnum

from hoox_async import (
    ApiError,
    AuthenticationError,
    BudgetExceeded,
    ConfigurationError,
    GenerationFailed,
    HooxError,
    InsufficientCredits,
    InvalidRequest,
    KeyConflict,
    NotFound,
    PermissionDenied,
    RateLimited,
    StoreIncomplete,
    StoreLocked,
    StoreMismatch,
)


class Exit(IntEnum):
    """What the command's exit code says."""

    READY = 0
    """All is ready, or what was asked for is done."""
    FAILED = 1
    """Some looks failed, were refused, or came to nothing with their source."""
    USE = 2
    """Bad use or input: running it again in this way does not help."""
    ACCESS = 3
    """API key, plan or credits."""
    UNFINISHED = 4
    """Not finished: run it again as printed."""


class NoKey(ConfigurationError):
    """There is no API key to be found."""


_ACCESS = (NoKey, AuthenticationError, InsufficientCredits, PermissionDenied)
_USE = (
    ConfigurationError, InvalidRequest, KeyConflict, StoreIncomplete, StoreMismatch, StoreLocked, OSError,
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
    """Whether key, plan, workspace or credits are the matter."""
    if isinstance(error, NotFound):
        return (error.code or "").upper() == "SPACE_NOT_FOUND"
    return isinstance(error, _ACCESS)


def cap_reached(error: BaseException | None) -> bool:
    """Whether the user's own cap of credits is the matter."""
    return isinstance(error, BudgetExceeded)
