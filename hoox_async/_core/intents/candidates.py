"""Which looks a lost POST may have made: in which avatars they can be, and which are older than the POST.

**Avatars.** The API copies a public avatar when it is edited, and answers with a look of the copy. Which
avatars are public is not known without asking. Those that an intent of the store created are not.

**Ages.** A ledger gives each look that an answer lists, and that no intent claims, a place in its own order,
once. With the SENDING of a round it writes the last place of that moment. So no clock is compared with
another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..._api.models import LookRef

if TYPE_CHECKING:
    from .intent import Intent

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


class CandidateAges(NamedTuple):
    """Looks that a lost POST may have made, apart from those that were listed before it was sent: ``older``.

    ``unlisted`` are the avatars of candidates that were not listed before, whose looks may be of any age.
    """

    candidates: tuple[LookRef, ...] = ()
    older: tuple[LookRef, ...] = ()
    unlisted: tuple[str, ...] = ()


def keeps_age(sent: Intent) -> bool:
    """Whether this sending is not the first of its round that may have cost something.

    Then the first one counts: its look is a candidate too, and may have been listed before this sending.
    """
    return sent.previous is not None and sent.previous.state.in_doubt


def by_age(refs: Iterable[LookRef], listed: Mapping[str, Collection[str]]) -> CandidateAges:
    """The looks by their ages. ``listed``: the looks that were listed before, of each avatar that was."""
    found = tuple(dict.fromkeys(refs))
    older = tuple(ref for ref in found if ref.look_id in listed.get(ref.avatar_id, ()))
    candidates = tuple(ref for ref in found if ref not in older)
    avatars = dict.fromkeys(ref.avatar_id for ref in candidates)
    return CandidateAges(candidates, older, tuple(each for each in avatars if each not in listed))
