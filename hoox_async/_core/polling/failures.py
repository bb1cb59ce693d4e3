"""The rules for failed status requests: how long an avatar is not polled, and when polling ends."""

from __future__ import annotations

import math

from ..._api.models import LookRef
from ...errors import (
    ApiError,
    AuthenticationError,
    HooxError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerError,
    TransportError,
    UnexpectedResponse,
)
from .avatar_groups import AvatarGroup
from .tracked_looks import PollKind, PollRequest

# All in seconds, unless they are counts.
_BACKOFF, _MAX_BACKOFF = 2.0, 60.0
_LOOK_REFUSED_TIMES, _LOOK_REFUSED_FOR, _LOOK_REFUSED_BACKOFF = 3, 30.0, 10.0
_LONGEST_REST = 86_400.0
_ACCESS_REFUSED_TIMES, _ACCESS_REFUSED_FOR, _ACCESS_REFUSED_BACKOFF = 5, 60.0, 15.0
_ALONE_FOR, _MAX_ALONE_FOR = 180.0, 3600.0


class FailureStreak:
    """Failures of one sort in a row: how many, and since when."""

    __slots__ = ("count", "since")

    def __init__(self) -> None:
        self.count = 0
        self.since = 0.0

    def add(self, now: float) -> None:
        """Count one more failure."""
        if not self.count:
            self.since = now
        self.count += 1

    def has_lasted(self, times: int, seconds: float, now: float) -> bool:
        """Whether there were that many failures, over that many seconds."""
        return self.count >= times and now - self.since >= seconds


class FailureStreaks:
    """The failures that end polling if they persist: a look, an avatar or the API key is refused."""

    def __init__(self) -> None:
        self.paused_until = -math.inf
        self._key = FailureStreak()
        self._avatars: dict[str, FailureStreak] = {}
        self._looks: dict[LookRef, FailureStreak] = {}

    def avatar_answered(self, avatar_id: str) -> None:
        """An answer came: neither the key nor the avatar is refused."""
        self._key.count = 0
        self.paused_until = -math.inf
        self._avatars.pop(avatar_id, None)

    def forget_avatar(self, avatar_id: str) -> None:
        """The avatar is not polled any more."""
        self._avatars.pop(avatar_id, None)

    def forget_look(self, ref: LookRef) -> bool:
        """An answer reported this look, somebody waits for it anew, or it is not polled any more.

        Returns whether it was refused before.
        """
        return bool(self._looks) and self._looks.pop(ref, None) is not None

    def key_refused(self, now: float) -> bool:
        """Count a refusal of the API key, and pause. Whether the refusals have lasted."""
        self._key.add(now)
        self.paused_until = now + _ACCESS_REFUSED_BACKOFF
        return self._key.has_lasted(_ACCESS_REFUSED_TIMES, _ACCESS_REFUSED_FOR, now)

    def avatar_refused(self, group: AvatarGroup, now: float) -> bool:
        """Count a refusal of access to the avatar. Whether the refusals have lasted."""
        streak = self._avatars.setdefault(group.avatar_id, FailureStreak())
        streak.add(now)
        group.backoff_until = now + _ACCESS_REFUSED_BACKOFF
        return streak.has_lasted(_ACCESS_REFUSED_TIMES, _ACCESS_REFUSED_FOR, now)

    def look_refused(self, group: AvatarGroup, ref: LookRef, now: float) -> float | None:
        """Count an answer that refuses this one look, such as 404.

        Once the refusals have lasted, returns until when the look rests unless somebody waits for it: for as
        long as they have lasted, a day at most. None before that.
        """
        streak = self._looks.setdefault(ref, FailureStreak())
        streak.add(now)
        group.backoff_until = now + min(_LOOK_REFUSED_BACKOFF * 2.0 ** min(streak.count - 1, 8), _MAX_BACKOFF)
        if not streak.has_lasted(_LOOK_REFUSED_TIMES, _LOOK_REFUSED_FOR, now):
            return None
        return now + min(now - streak.since, _LONGEST_REST)


def back_off(group: AvatarGroup, error: HooxError, now: float) -> None:
    """Do not poll the avatar for a while: exponential backoff by the number of consecutive failures."""
    if isinstance(error, RateLimited):  # the rate limiter has paused already; a 429 is not about the avatar
        group.backoff_until = now + 1.0
        return
    group.failures_in_a_row += 1
    group.backoff_until = now + min(_BACKOFF * 2.0 ** min(group.failures_in_a_row - 1, 8), _MAX_BACKOFF)


def poll_alone_for_a_while(group: AvatarGroup, now: float) -> None:
    """The avatar's answer failed or lacked a look: request it again later, with doubling delays."""
    group.alone_until = now + min(_ALONE_FOR * 2.0 ** min(group.times_alone, 8), _MAX_ALONE_FOR)
    group.times_alone += 1


def breaks_group(group: AvatarGroup, request: PollRequest, error: HooxError) -> bool:
    """Whether the looks are to be polled one by one for a while.

    A lost answer and a 5xx may be temporary, so they count only as the second failure in a row.
    """
    if request.kind is not PollKind.GROUP or isinstance(error, RateLimited | AuthenticationError):
        return False
    if isinstance(error, ServerError | TransportError):
        return group.failures_in_a_row >= 1
    # InvalidRequest: the avatar's id is not allowed in a path, though it is in a query
    return isinstance(error, ApiError | UnexpectedResponse | InvalidRequest)


def refuses_look(error: HooxError) -> bool:
    """Whether the API refused this one look, and not for a reason that has its own rule."""
    if isinstance(error, NotFound):
        return True
    return isinstance(error, ApiError) and not isinstance(
        error, RateLimited | AuthenticationError | PermissionDenied
    )
