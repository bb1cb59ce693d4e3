"""Which candidates of an unknown are older than its POST: what full answers about avatars had listed before.

A ledger gives each look that an answer lists, and that no intent claims, a place in its own order, once. With
the SENDING of a round it writes the last place of that moment. So no clock is compared with another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from ..._api.models import LookRef
from .intent import Intent


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
