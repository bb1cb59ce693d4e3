"""The public avatars to start from, and when each look of the workspace was first seen."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import attrs

from hoox_async import HooxSession, LookDetails, LookRef

_MAX_FACES = 24


@attrs.frozen
class Face:
    """A look of the public catalogue, to start from."""

    id: str
    name: str
    details: LookDetails


class Catalogue:
    """Reads the lists of looks. The API does not say when a look was made, so it notes when it saw each."""

    def __init__(self, session: HooxSession) -> None:
        self._session = session
        self._faces: dict[str, Face] | None = None
        self._public_avatars: frozenset[str] = frozenset()
        self._seen: dict[LookRef, datetime] = {}

    async def faces(self) -> dict[str, Face]:
        """The first look of each avatar of the public catalogue, by ref. It is requested once, and cached.

        Raises `HooxError`.
        """
        if self._faces is None:
            public = await self._session.looks(only_public=True)
            await self.workspace()
            first: dict[str, LookDetails] = {}
            for details in public:
                first.setdefault(details.ref.avatar_id, details)
            self._public_avatars = frozenset(first)
            self._faces = {str(d.ref): _face(d) for d in list(first.values())[:_MAX_FACES]}
        return self._faces

    def face(self, name: str) -> Face | None:
        """The face with this id, if the catalogue was read."""
        return next((face for face in (self._faces or {}).values() if face.id == name), None)

    async def workspace(self) -> list[LookDetails]:
        """The looks of the workspace and of the catalogue now, by one request. Raises `HooxError`."""
        looks = await self._session.looks()
        self.note(look.ref for look in looks)
        return looks

    def is_public(self, avatar_id: str) -> bool:
        """Whether the avatar is one of the catalogue."""
        return avatar_id in self._public_avatars

    def note(self, refs: Iterable[LookRef]) -> None:
        """Note that these looks exist now."""
        now = datetime.now(UTC)
        for ref in refs:
            self._seen.setdefault(ref, now)

    def first_seen(self, ref: LookRef) -> datetime | None:
        """When the look was first noted since the app started: it existed then, perhaps for long."""
        return self._seen.get(ref)


def _face(details: LookDetails) -> Face:
    return Face(picture_id("face", details.ref), details.avatar_name or details.name or "Unnamed", details)


def picture_id(kind: str, ref: LookRef) -> str:
    """A name for the look's picture that is safe in a path and in a URL."""
    name = f"{kind}_{ref.avatar_id}_{ref.look_id}"
    return "".join(letter if letter.isalnum() or letter in "_-" else "-" for letter in name)
