"""Copies of avatars: the API copies a public avatar when it is edited, and answers with a look of the copy.

Which avatars are public is not known without asking. Those that an intent of the store created are not.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, NamedTuple

from ..._api.models import LookRef

CandidatesFrom = Literal["avatar", "copies", "name"]
RECENT = 5000
"""So many intents are looked through for copies: a store may have a hundred thousand, without an index."""
_MOST_COPIES = 5


class KnownAvatar(NamedTuple):
    """What the store's intents tell of an avatar.

    ``created``: one of them created it, as itself or as the copy of another one. Else it may be public.
    ``copies``: the other avatars that looks of its edits are in, if it may be public. A store on disk knows
    those of its last `RECENT` intents.
    """

    created: bool = False
    copies: frozenset[str] = frozenset()


def avatars_of_edits(avatar_id: str, known: KnownAvatar) -> tuple[str, ...]:
    """The avatars in which an edit of this one may have made its look, as far as they are known.

    Many copies show that the API makes a copy each time: then those of other edits do not matter.
    """
    if known.created or len(known.copies) > _MOST_COPIES:
        return (avatar_id,)
    return (avatar_id, *sorted(known.copies))


def where_found(
    candidates: Collection[LookRef], source: LookRef | None, known: KnownAvatar
) -> CandidatesFrom | None:
    """Where an edit's candidates were found: the closest place of any of them."""
    avatars = {ref.avatar_id for ref in candidates}
    if source is None or not avatars:
        return None
    if source.avatar_id in avatars:
        return "avatar"
    return "copies" if avatars & known.copies else "name"
