"""Decides which unclaimed look a lost POST has made: by elimination, or not at all.

An edit whose answer was lost may have made a look. With ``exclusive=True`` the user states that nobody else
makes looks of the avatar meanwhile, and `AvatarLocks` serialize our own edits: one of an avatar at a time is
outstanding. So a look that is neither in the avatar's baseline nor claimed by an intent can only be the lost
edit's, provided that it is the only one. Two such looks mean that somebody else makes looks after all; then
nothing is inferred. Without ``exclusive`` only `candidates` are listed, for people.

A search ends some time after the deadline of its POST, but an API that queued the POST can show its look
later than that. Such a look must not be taken for the next lost edit's. So nothing is inferred for an avatar
that has an unknown without a search (`prevents_inference`), until that unknown is resolved. Where the user
dropped an unknown, or had it sent again, nothing is inferred before a day has passed (`attempts_in_doubt`,
`may_still_appear`). Both are read from the stored intents, so they hold in a later session too.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import NamedTuple

from ..._api.models import Avatar, LookDetails, LookRef
from ..._api.requests import Format
from ..intents.intent import Attempt, Intent, IntentState

_FORMATS_BY_RATIO = {"9:16": Format.VERTICAL.value, "16:9": Format.HORIZONTAL.value}


class LostEdit(NamedTuple):
    """A `LookEdit` whose POST was lost. ``format`` is None where none was sent."""

    avatar_id: str
    format: Format | None = None


class Found(NamedTuple):
    """This look can only be the lost edit's."""

    ref: LookRef


class SearchAgain(NamedTuple):
    """Nothing is proved yet; the search is repeated later."""


class Inconclusive(NamedTuple):
    """The last search proved nothing: the edit stays unknown. The candidates join the avatar's baseline."""

    candidates: tuple[LookRef, ...]


Conclusion = Found | SearchAgain | Inconclusive


def conclude(
    lost: LostEdit,
    known_looks: AbstractSet[str],
    avatar: Avatar,
    *,
    no_edit_meanwhile: bool,
    last: bool,
    competing_edits: int = 0,
) -> Conclusion:
    """What one answer to ``GET /avatar/{id}`` proves about a lost edit.

    ``known_looks`` are the ids of the looks that are in the avatar's baseline or claimed by an intent.
    ``competing_edits`` is the number of other edits of the avatar whose looks may appear too, because they
    are searched for or were lost without an avatar lock: if there are any, nothing is inferred.
    ``no_edit_meanwhile`` says that none of our edits was outstanding while the answer was made
    (`AvatarLocks.unchanged_since`): else nothing is inferred either. ``last`` says that no other search
    follows.
    """
    found = candidates(known_looks, avatar)
    alone = len(found) == 1 and competing_edits == 0 and avatar.id == lost.avatar_id
    if alone and no_edit_meanwhile and _format_matches(lost.format, found[0], avatar.looks):
        return Found(found[0])
    return Inconclusive(found) if last else SearchAgain()


def candidates(known_looks: AbstractSet[str], avatar: Avatar) -> tuple[LookRef, ...]:
    """The avatar's looks that are neither in its baseline nor claimed, in the order of the answer."""
    return tuple(dict.fromkeys(look.ref for look in avatar.looks if look.ref.look_id not in known_looks))


def _format_matches(sent: Format | None, ref: LookRef, looks: Sequence[LookDetails]) -> bool:
    """Whether the look has the format that was sent. A look whose format is not known matches too."""
    if sent is None:
        return True
    formats = {look.format.strip().lower() for look in looks if look.ref == ref and look.format}
    return {_FORMATS_BY_RATIO.get(name, name) for name in formats} <= {"", sent.value}


def search_times(lost_at: float, sent_at: float, answer: float, search: Sequence[float]) -> tuple[float, ...]:
    """When to search for a lost edit, in seconds after its loss, ascending; there is always one time.

    These are the times of ``search`` (`Timeouts.search`) and one more: the last of ``search`` after the
    deadline of the POST (``sent_at + answer``), since the server may still be at work on a POST whose
    connection broke early. ``lost_at`` and ``sent_at`` are on one clock, in seconds.
    """
    after = max(search, default=0.0)
    deadline = sent_at + answer + after - lost_at
    return tuple(sorted({*search, max(deadline, after)}))


def attempts_in_doubt(intent: Intent) -> tuple[Attempt, ...]:
    """The attempts of an intent that may have made a look which is not known to be the intent's."""
    if intent.past_at_risk:
        return intent.attempts  # it was lost and sent again: which attempt was lost is not recorded
    return intent.attempts[-1:] if intent.state.in_doubt else ()


def prevents_inference(intent: Intent, *, searched: bool) -> bool:
    """Whether the intent's look may appear and be attributed to another: an unknown edit without a search."""
    return intent.state is IntentState.UNKNOWN and intent.source is not None and not searched


LATEST_APPEARANCE = timedelta(days=1)
"""How long after its POST an unclaimed look may still appear. That is far longer than any observed duration,
since an API that has problems can keep a request in its queue for hours."""


def may_still_appear(attempts: Sequence[Attempt], now: datetime) -> bool:
    """Whether the look of one of these attempts may appear later than ``now``."""
    return any(now - attempt.sent_at < LATEST_APPEARANCE for attempt in attempts)
