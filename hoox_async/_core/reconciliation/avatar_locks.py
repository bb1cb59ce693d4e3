"""Which unclaimed look is which lost POST's: decided by elimination, or not at all.

An edit whose answer was lost may have made a look. Under ``exclusive=True`` the user's word is that
nobody else makes looks of the avatar meanwhile, and `AvatarLocks` keep our own edits apart: one of an avatar
outstanding at a time. So a look that is neither in the avatar's baseline nor claimed by an intent can
only be the lost one's, provided that it is the only one. Two such looks mean that somebody else is at
work after all; then nothing is adopted. Without ``exclusive`` only `candidates` are listed, for people.

A search ends some time after the deadline of its POST, but an API that queued the POST can show its look
later than that. Such a look must not be taken for the next lost edit's. So nothing is inferred for an avatar
that has an unknown which nobody searches for (`ends_inference`), until that unknown is resolved; and where
the user's word dropped one or had it sent again, not before a day has passed (`doubtful`, `may_still_show`).
Both are read from the intents that are stored, so they hold in a later session too.
"""

from __future__ import annotations

from enum import StrEnum


class AvatarLockState(StrEnum):
    """Whether an avatar may get an edit now: OPEN yes, BUSY one is outstanding, SHUT one is searched for."""

    OPEN = "open"
    BUSY = "busy"
    SHUT = "shut"


class AvatarLocked(RuntimeError):
    """An edit was let into an avatar lock that is not open: a mistake of this library, never of its user."""


class AvatarLocks:
    """One edit of an avatar outstanding at a time, and none while a lost one is searched for.

    It also says whether an answer of ``GET /avatar/{id}`` is clean: take a `mark` before the request
    is sent, and ask `clean` with it when the answer was read.
    """

    def __init__(self) -> None:
        self._busy: set[str] = set()
        self._shut: dict[str, int] = {}
        self._entries: dict[str, int] = {}

    def state(self, avatar_id: str) -> AvatarLockState:
        """The avatar lock's state. BUSY comes before SHUT, where it is both."""
        if avatar_id in self._busy:
            return AvatarLockState.BUSY
        return AvatarLockState.SHUT if avatar_id in self._shut else AvatarLockState.OPEN

    def free(self, avatar_id: str) -> bool:
        """Whether an edit of this avatar may be sent now."""
        return avatar_id not in self._busy and avatar_id not in self._shut

    def enter(self, avatar_id: str) -> None:
        """An edit of this avatar goes out. Raises `AvatarLocked` unless the avatar lock is open."""
        if not self.free(avatar_id):
            raise AvatarLocked(f"avatar {avatar_id!r}: its avatar's lock is {self.state(avatar_id)}")
        self._busy.add(avatar_id)
        self._entries[avatar_id] = self._entries.get(avatar_id, 0) + 1

    def leave(self, avatar_id: str) -> None:
        """The edit outstanding is over: accepted and claimed, refused, or never sent."""
        self._busy.discard(avatar_id)

    def shut(self, avatar_id: str) -> None:
        """An edit of this avatar was lost, the one outstanding or one of an earlier process."""
        self._busy.discard(avatar_id)
        self._shut[avatar_id] = self._shut.get(avatar_id, 0) + 1

    def reopen(self, avatar_id: str) -> None:
        """The search for one lost edit ended. The avatar lock opens when none is searched for any more."""
        left = self._shut.pop(avatar_id, 0) - 1
        if left > 0:
            self._shut[avatar_id] = left

    def lost(self, avatar_id: str) -> int:
        """How many lost edits of this avatar are searched for. ``rivals`` of each is one less."""
        return self._shut.get(avatar_id, 0)

    def mark(self, avatar_id: str) -> int:
        """To be taken before a request for the avatar is sent."""
        return -1 if avatar_id in self._busy else self._entries.get(avatar_id, 0)

    def clean(self, avatar_id: str, mark: int) -> bool:
        """Whether no edit of this avatar was outstanding at any time since the mark was taken."""
        return avatar_id not in self._busy and mark == self._entries.get(avatar_id, 0)
