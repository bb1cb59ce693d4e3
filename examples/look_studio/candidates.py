"""The looks that a lost request may have made, for the customer to choose from.

They can be anybody's looks of the same avatar, so a real app shows them to its own people only.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

import attrs

from hoox_async import HooxError, HooxSession, LookDetails, LookRef, LookStatus, Unknown

from .board import Board
from .cards import Card
from .catalogue import Catalogue, picture_id

_MOST_AVATARS = 8


@attrs.frozen
class Candidate:
    """A look that may be it. ``seen`` is when this app first saw it.

    ``made`` is when the API says that its avatar was made. Of an edit's look it does not say that.
    """

    ref: LookRef
    details: LookDetails | None
    seen: datetime | None = None
    made: str | None = None

    @property
    def picture(self) -> str | None:
        """The id of its picture, if it has one."""
        has_one = self.details is not None and self.details.thumbnail_url
        return picture_id("look", self.ref) if has_one else None

    def shown(self) -> dict[str, Any]:
        """The candidate as JSON for the page."""
        details = self.details
        return {
            "ref": str(self.ref),
            "name": (details.avatar_name or details.name) if details else None,
            "picture": self.picture,
            "failed": details is not None and details.status is LookStatus.FAILED,
            "seen": self.seen.isoformat() if self.seen else None,
            "made": self.made,
        }


class Candidates:
    """Finds the candidates of a card, and remembers whom their pictures may be shown to."""

    def __init__(self, session: HooxSession, catalogue: Catalogue, board: Board) -> None:
        self._session = session
        self._catalogue = catalogue
        self._board = board
        self._shown: dict[tuple[str, str], LookDetails] = {}

    async def of(self, card: Card) -> dict[str, Any]:
        """When the card's request was sent, and what it may have made. Takes about two requests.

        ``older`` counts the looks that are left out because they were there before it was ordered: not before
        it was last sent, since an earlier sending may have made one. Raises `HooxError`.
        """
        unknowns = await self._session.unknowns()
        unknown = next((unknown for unknown in unknowns if unknown.key == card.key), None)
        if unknown is None:
            return {"sent": None, "candidates": [], "older": 0}
        edited = card.wish.kind == "edit"
        found = await (self._looks_of(unknown) if edited else self._new_avatars(card.wish.name))
        self._catalogue.note(candidate.ref for candidate in found)
        found = [attrs.evolve(one, seen=self._catalogue.first_seen(one.ref)) for one in found]
        possible = [one for one in found if one.seen is None or one.seen >= card.order.at]
        for candidate in possible:
            if candidate.details is not None and candidate.picture is not None:
                self._shown[card.order.customer, candidate.picture] = candidate.details
        return {
            "sent": unknown.sent_at.isoformat() if unknown.sent_at else None,
            "candidates": [candidate.shown() for candidate in possible],
            "older": len(unknown.older) + len(found) - len(possible),
        }

    def picture(self, customer: str, name: str) -> LookDetails | None:
        """The look of a candidate's picture, if it was listed for this customer."""
        return self._shown.get((customer, name))

    async def _looks_of(self, unknown: Unknown) -> list[Candidate]:
        """The looks that a lost edit may have made."""
        details: dict[LookRef, LookDetails] = {}
        if unknown.candidates:
            with suppress(HooxError):  # they can be chosen from without their pictures too
                avatar = await self._session.avatar(unknown.candidates[0].avatar_id)
                details = {look.ref: look for look in avatar.looks}
        return [Candidate(ref, details.get(ref)) for ref in unknown.candidates]

    async def _new_avatars(self, name: str) -> list[Candidate]:
        """The looks of avatars that are neither public nor on the board, those of this name first.

        The first few are read one by one, since the list does not say when an avatar was made.
        """
        await self._catalogue.faces()  # which avatars are public
        known = self._board.avatar_ids()
        looks = [look for look in await self._catalogue.workspace() if look.ref.avatar_id not in known]
        new = [look for look in looks if not self._catalogue.is_public(look.ref.avatar_id)]
        new.sort(key=lambda look: look.avatar_name != name)
        created: dict[str, str | None] = {}
        for avatar_id in list(dict.fromkeys(look.ref.avatar_id for look in new))[:_MOST_AVATARS]:
            with suppress(HooxError):
                created[avatar_id] = (await self._session.avatar(avatar_id)).created_at
        return [Candidate(look.ref, look, made=created.get(look.ref.avatar_id)) for look in new]
