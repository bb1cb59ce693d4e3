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

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import NamedTuple

from ..._api.models import Avatar, LookDetails, LookRef
from ..._api.requests import Format
from ..intents.intent import Attempt, Intent, IntentState

_SHAPES = {"9:16": Format.VERTICAL.value, "16:9": Format.HORIZONTAL.value}


class LostEdit(NamedTuple):
    """A `LookEdit` that was sent and whose fate is not known. ``format`` is None where none was sent."""

    avatar_id: str
    format: Format | None = None


class Adopt(NamedTuple):
    """This look can only be the lost edit's."""

    ref: LookRef


class KeepLooking(NamedTuple):
    """Nothing is proved yet: search again at the next time."""


class Abandon(NamedTuple):
    """The last search proved nothing: it stays unknown. The candidates join the avatar's baseline."""

    candidates: tuple[LookRef, ...]


Verdict = Adopt | KeepLooking | Abandon


def judge(
    lost: LostEdit,
    seen: AbstractSet[str],
    answer: Avatar,
    *,
    answer_is_clean: bool,
    last: bool,
    rivals: int = 0,
) -> Verdict:
    """What one ``GET /avatar/{id}`` proves of a lost edit.

    ``seen`` are the ids of looks in the avatar's baseline or claimed by an intent, and ``rivals`` the
    number of other edits of the avatar whose looks may show up too, because they are searched for or were
    lost outside of avatar locks: with any, nothing is adopted.
    An answer that is not clean (see `AvatarLocks.clean`) adopts nothing either. ``last`` says that no search
    follows: what is not adopted is then retired.
    """
    found = candidates(seen, answer)
    alone = len(found) == 1 and rivals == 0 and answer.id == lost.avatar_id
    if alone and answer_is_clean and _fits(lost.format, found[0], answer.looks):
        return Adopt(found[0])
    return Abandon(found) if last else KeepLooking()


def candidates(seen: AbstractSet[str], avatar: Avatar) -> tuple[LookRef, ...]:
    """The avatar's looks that are neither in its baseline nor claimed, in the order of the answer."""
    return tuple(dict.fromkeys(look.ref for look in avatar.looks if look.ref.look_id not in seen))


def _fits(sent: Format | None, ref: LookRef, looks: Sequence[LookDetails]) -> bool:
    """Whether the look has the format that was sent. One that tells no format is not held against it."""
    if sent is None:
        return True
    told = {look.format.strip().lower() for look in looks if look.ref == ref and look.format}
    return {_SHAPES.get(word, word) for word in told} <= {"", sent.value}


def search_times(lost_at: float, sent_at: float, answer: float, search: Sequence[float]) -> tuple[float, ...]:
    """When to search for a lost edit, in seconds after its loss, ascending; there is always one.

    These are the times of ``search`` and once more, the last of ``search`` after the deadline of the
    POST (``sent_at + answer``): the server may still be at work on a POST whose connection broke early.
    ``lost_at`` and ``sent_at`` are on one clock, in seconds.
    """
    after = max(search, default=0.0)
    deadline = sent_at + answer + after - lost_at
    return tuple(sorted({*search, max(deadline, after)}))


def doubtful(intent: Intent) -> tuple[Attempt, ...]:
    """The attempts of an intent that may have made a look which is not known to be its own."""
    if intent.past_at_risk:
        return intent.attempts  # it was lost and sent again: which of them was lost is not on record
    return intent.attempts[-1:] if intent.state.in_doubt else ()


def ends_inference(intent: Intent, *, searched: bool) -> bool:
    """Whether its look may show up and be taken for another's: an unknown edit that is not searched for."""
    return intent.state is IntentState.UNKNOWN and intent.source is not None and not searched


LATEST_SHOW = timedelta(days=1)
"""How long after its POST a look may show up that is known to nobody. Far longer than any look was seen to
take: an API that is in trouble can keep a request in its queue for hours."""


def may_still_show(attempts: Sequence[Attempt], now: datetime) -> bool:
    """Whether the look of one of these may come later than ``now``."""
    return any(now - attempt.sent_at < LATEST_SHOW for attempt in attempts)
