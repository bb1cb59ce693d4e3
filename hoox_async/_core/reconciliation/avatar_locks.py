"""One lock for each avatar, so that two edits of an avatar are never outstanding at the same time.

A session with ``exclusive=True`` sends an edit only while it holds the lock of its avatar. When the edit is
lost, the lock stays closed until the search for its look has ended. `elimination` says what this proves.
"""

from __future__ import annotations


class AvatarLocked(RuntimeError):
    """An avatar's lock was acquired while it was not free: a bug in this library."""


class AvatarLocks:
    """The locks: one edit of an avatar outstanding at a time, and none while a lost one is searched for.

    They also record whether an edit of ours was outstanding while the API made an answer to
    ``GET /avatar/{id}``: take a `snapshot` before the request is sent, and call `unchanged_since` when the
    answer was read.
    """

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._lost: dict[str, int] = {}
        self._acquisitions: dict[str, int] = {}

    def can_acquire(self, avatar_id: str) -> bool:
        """Whether an edit of this avatar may be sent now."""
        return avatar_id not in self._held and avatar_id not in self._lost

    def acquire(self, avatar_id: str) -> None:
        """Take the lock for an edit that is about to be sent. Raises `AvatarLocked` where it is not free."""
        if not self.can_acquire(avatar_id):
            why = "an edit is outstanding" if avatar_id in self._held else "a lost edit is searched for"
            raise AvatarLocked(f"avatar {avatar_id!r}: {why}")
        self._held.add(avatar_id)
        self._acquisitions[avatar_id] = self._acquisitions.get(avatar_id, 0) + 1

    def release(self, avatar_id: str) -> None:
        """Release the lock: its edit was accepted and claimed, was refused, or was never sent."""
        self._held.discard(avatar_id)

    def close(self, avatar_id: str) -> None:
        """Close the lock while a lost edit is searched for: the outstanding one, or an earlier process's."""
        self._held.discard(avatar_id)
        self._lost[avatar_id] = self._lost.get(avatar_id, 0) + 1

    def reopen(self, avatar_id: str) -> None:
        """End the search for one lost edit. The lock is free again when no other one is searched for."""
        left = self._lost.pop(avatar_id, 0) - 1
        if left > 0:
            self._lost[avatar_id] = left

    def lost_edits(self, avatar_id: str) -> int:
        """How many lost edits of this avatar are searched for."""
        return self._lost.get(avatar_id, 0)

    def snapshot(self, avatar_id: str) -> int:
        """A value for `unchanged_since`, to be taken before a request for the avatar is sent."""
        return -1 if avatar_id in self._held else self._acquisitions.get(avatar_id, 0)

    def unchanged_since(self, avatar_id: str, snapshot: int) -> bool:
        """Whether no edit of this avatar was outstanding at any time since the snapshot was taken."""
        return avatar_id not in self._held and snapshot == self._acquisitions.get(avatar_id, 0)
