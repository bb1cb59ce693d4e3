"""What a failed status request means: for how long to leave an avatar alone, and when a wait ends."""

from __future__ import annotations

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

_BACKOFF, _LONGEST = 2.0, 60.0  # seconds
_REFUSED_TIMES, _REFUSED_FOR = 3, 30.0
_REFUSED_BACKOFF = 10.0
_DENIED_TIMES, _DENIED_FOR = 5, 60.0
_DENIED_BACKOFF = 15.0
_LONE_FOR, _LONE_LONGEST = 180.0, 3600.0


class FailureStreak:
    """A row of failures of one sort: how many, and since when."""

    __slots__ = ("count", "since")

    def __init__(self) -> None:
        self.count = 0
        self.since = 0.0

    def add(self, now: float) -> None:
        """One more."""
        if not self.count:
            self.since = now
        self.count += 1

    def last(self, times: int, seconds: float, now: float) -> bool:
        """Whether the row is that long and has gone on for that many seconds."""
        return self.count >= times and now - self.since >= seconds


class Failures:
    """The rows of failures that end a wait: a look refused, an avatar denied, the key refused."""

    def __init__(self) -> None:
        self.paused = float("-inf")
        self._key = FailureStreak()
        self._avatars: dict[str, FailureStreak] = {}
        self._looks: dict[LookRef, FailureStreak] = {}

    def answered(self, avatar_id: str) -> None:
        """An answer came: the key is good, and so is the avatar."""
        self._key.count = 0
        self.paused = float("-inf")
        self._avatars.pop(avatar_id, None)

    def told(self, ref: LookRef) -> None:
        """An answer told of this look, or nobody waits for it any more."""
        if self._looks:
            self._looks.pop(ref, None)

    def forget(self, avatar_id: str) -> None:
        """Nobody waits for this avatar any more."""
        self._avatars.pop(avatar_id, None)

    def key_refused(self, now: float) -> bool:
        """The API key was refused. Whether that lasts, and no wait can come to an end."""
        self._key.add(now)
        self.paused = now + _DENIED_BACKOFF
        return self._key.last(_DENIED_TIMES, _DENIED_FOR, now)

    def avatar_denied(self, group: AvatarGroup, now: float) -> bool:
        """The avatar is not ours to see. Whether that lasts."""
        strikes = self._avatars.setdefault(group.avatar_id, FailureStreak())
        strikes.add(now)
        group.hushed = now + _DENIED_BACKOFF
        return strikes.last(_DENIED_TIMES, _DENIED_FOR, now)

    def look_refused(self, group: AvatarGroup, ref: LookRef, now: float) -> bool:
        """The API knows no such look, or says no to asking for it. Whether that lasts."""
        strikes = self._looks.setdefault(ref, FailureStreak())
        strikes.add(now)
        group.hushed = now + min(_REFUSED_BACKOFF * 2.0 ** min(strikes.count - 1, 8), _LONGEST)
        return strikes.last(_REFUSED_TIMES, _REFUSED_FOR, now)


def back_off(group: AvatarGroup, error: HooxError, now: float) -> None:
    """Leave the avatar alone for a while, the longer the more requests failed in a row."""
    if isinstance(error, RateLimited):  # whoever sends has paused already; it says nothing of the avatar
        group.hushed = now + 1.0
        return
    group.failures += 1
    group.hushed = now + min(_BACKOFF * 2.0 ** min(group.failures - 1, 8), _LONGEST)


def go_alone(group: AvatarGroup, now: float) -> None:
    """Asking for the group failed or lacked a look: try again later, each time twice as late."""
    group.lone_until = now + min(_LONE_FOR * 2.0 ** min(group.lone_times, 8), _LONE_LONGEST)
    group.lone_times += 1


def breaks_group(group: AvatarGroup, ask: PollRequest, error: HooxError) -> bool:
    """Whether asking for the group is given up for a while. A lost answer or a 5xx may pass: twice, then."""
    if ask.kind is not PollKind.GROUP or isinstance(error, RateLimited | AuthenticationError):
        return False
    if isinstance(error, ServerError | TransportError):
        return group.failures >= 1
    # InvalidRequest: the avatar's id can't stand in a path, though it can in a query
    return isinstance(error, ApiError | UnexpectedResponse | InvalidRequest)


def refuses_look(error: HooxError) -> bool:
    """Whether the API said no to this one look, and not for a reason that has its own rule."""
    if isinstance(error, NotFound):
        return True
    return isinstance(error, ApiError) and not isinstance(
        error, RateLimited | AuthenticationError | PermissionDenied
    )
