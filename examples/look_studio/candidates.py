"""The looks that a lost request may have made, for the customer to choose from.

They can be anybody's looks of the same avatar, so a real app shows them to its own people only.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import attrs

from hoox_async import HooxError, HooxSession, LookDetails, LookRef, LookStatus, Unknown

from .board import Board
from .cards import Card
from .catalogue import Catalogue, picture_id


@attrs.frozen
class Candidate:
    """A look that may be it. ``seen`` is when this app first saw it, ``made`` what the API says."""

    ref: LookRef
    name: str | None
    status: LookStatus | None
    seen: datetime | None
    made: datetime | None
    details: LookDetails | None

    @property
    def picture(self) -> str | None:
        """The id of its picture, if it has one."""
        has_one = self.details is not None and self.details.thumbnail_url
        return picture_id("look", self.ref) if has_one else None

    def shown(self) -> dict[str, Any]:
        """The candidate as JSON for the page."""
        return {
            "ref": str(self.ref),
            "name": self.name,
            "picture": self.picture,
            "failed": self.status is LookStatus.FAILED,
            "seen": self.seen.isoformat() if self.seen else None,
            "made": self.made.isoformat() if self.made else None,
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
        refs, details = await self._possible(card, unknown)
        self._catalogue.note(refs)
        found = [self._candidate(ref, details.get(ref)) for ref in refs]
        possible = [one for one in found if one.seen is None or one.seen >= card.order.at]
        for candidate in possible:
            if candidate.details is not None and candidate.picture is not None:
                self._shown[card.order.customer, candidate.picture] = candidate.details
        return {
            "sent": unknown.sent_at.isoformat() if unknown.sent_at else None,
            "candidates": [candidate.shown() for candidate in possible],
            "older": len(found) - len(possible),
        }

    def picture(self, customer: str, name: str) -> LookDetails | None:
        """The look of a candidate's picture, if it was listed for this customer."""
        return self._shown.get((customer, name))

    async def _possible(
        self, card: Card, unknown: Unknown
    ) -> tuple[list[LookRef], dict[LookRef, LookDetails]]:
        """The looks that it may have made, of any age, and what is known of them."""
        if card.wish.kind != "edit":
            new = await self._new_avatars(card.wish.name)
            return [look.ref for look in new], {look.ref: look for look in new}
        if not unknown.candidates:
            return [], {}
        refs = list(unknown.candidates)
        try:
            avatar = await self._session.avatar(refs[0].avatar_id)
        except HooxError:  # they can be chosen from without their pictures too
            return refs, {}
        return refs, {look.ref: look for look in avatar.looks}

    async def _new_avatars(self, name: str) -> list[LookDetails]:
        """The looks of avatars that are neither public nor on the board, those of this name first."""
        await self._catalogue.faces()  # which avatars are public
        known = self._board.avatar_ids()
        looks = [look for look in await self._catalogue.workspace() if look.ref.avatar_id not in known]
        new = [look for look in looks if not self._catalogue.is_public(look.ref.avatar_id)]
        return sorted(new, key=lambda look: look.avatar_name != name)

    def _candidate(self, ref: LookRef, details: LookDetails | None) -> Candidate:
        return Candidate(
            ref,
            name=(details.avatar_name or details.name) if details else None,
            status=details.status if details else None,
            seen=self._catalogue.first_seen(ref),
            made=_made(details) if details else None,
            details=details,
        )


def _made(details: LookDetails) -> datetime | None:
    """The look's creation time, where the API says one: its reference does not."""
    for name in ("created_at", "createdAt"):
        with suppress(TypeError, ValueError):
            made = datetime.fromisoformat(details.raw.get(name))  # type: ignore[arg-type]
            return made if made.tzinfo else made.replace(tzinfo=UTC)
    return None
