"""What the check buys where credits may be spent: the order, the prices and the keys. Pure.

Each purchase has a key of its own in the store. So the check can be run again: it goes on where it stopped,
and buys nothing twice. What earlier runs with the store have spent counts, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from hoox_async import LookEdit, LookRef, Outcome, OutcomeState, PromptAvatar

NAME, PLACE = "hoox-async check", "studio"
"""What the avatars are called, so that people find them, and where they are said to be."""
TAGS = ("hoox-async",)
AVATAR, EDIT = "4K avatar", "2K edit"
OTHER_NAME = "create, other name"
PUBLIC_EDITS = ("public edit 1", "public edit 2")
_PROMPT = "A friendly presenter of about forty years, plain shirt, looking at the camera"
FIRST_PRICE = PromptAvatar(_PROMPT, resolution="4K").credits
_EDITED = "At a desk by a window, warm evening light"
_KEYS = "conformance/"
OTHER_NAME_KEY = f"{_KEYS}other name"
"""The key of an avatar from images that are sent under the other name of their field, for 0 credits."""


class Wanted(NamedTuple):
    """One look to buy. ``source``: the look that is edited, or the step that makes it; None for an avatar.

    ``stored`` is what an earlier run has bought under the key, or may have bought.
    """

    step: str
    what: str
    key: str
    credits: Decimal
    source: LookRef | str | None = None
    stored: Outcome | None = None

    @property
    def price(self) -> Decimal:
        """The credits that it costs now."""
        return self.credits if self.stored is None else Decimal(0)

    @property
    def other_name(self) -> bool:
        """Whether its reference picture is sent under the other name."""
        return self.step == PUBLIC_EDITS[1]

    def request(self, source: LookRef | None, images: Sequence[str]) -> PromptAvatar | LookEdit:
        """The request. ``images`` are reference pictures, for an edit that has some.

        What is in the store already is asked for as it was then: the same key has the same content.
        """
        stored = None if self.stored is None else self.stored.request
        if isinstance(stored, PromptAvatar | LookEdit):
            return stored
        if source is None:
            return PromptAvatar(_PROMPT, resolution="4K", name=NAME, place=PLACE)
        if self.step == EDIT:
            return LookEdit(source, _EDITED, images=images, look_name=NAME, place=PLACE, tags=TAGS)
        return LookEdit(source, _EDITED, images=images if self.other_name else ())


def choose(credits: Decimal, public: LookRef | None, stored: Mapping[str, Outcome]) -> tuple[Wanted, ...]:
    """What to buy for so many credits in all, those that earlier runs with the store have spent included.

    ``public`` is the look that is edited to see whether its avatar is copied. Everything that was bought
    before is followed again, at no cost.
    """
    known = [_with(wanted, stored) for wanted in _all(public)]
    before = [one for key, one in stored.items() if key.startswith(_KEYS)]
    spent = sum((one.credits + one.at_risk for one in before), Decimal(0))
    left, chosen = credits - spent, list[Wanted]()
    for wanted in known:
        is_possible = wanted.source != AVATAR or any(one.step == AVATAR for one in chosen)
        if is_possible and wanted.price <= max(left, Decimal(0)):
            chosen.append(wanted)
            left -= wanted.price
    return tuple(chosen)


def _all(public: LookRef | None) -> list[Wanted]:
    edit = LookEdit("any:look", _EDITED).credits
    every = [
        Wanted(AVATAR, "an avatar from a prompt, at 4K", f"{_KEYS}avatar", FIRST_PRICE),
        Wanted(EDIT, "an edit of it, at 2K", f"{_KEYS}edit", edit, AVATAR),
    ]
    for number, step in enumerate(PUBLIC_EDITS, 1) if public is not None else ():
        key = f"{_KEYS}public/{public}/{number}"
        every.append(Wanted(step, f"edit {number} of the look {public}, at 2K", key, edit, public))
    return every


def _with(wanted: Wanted, stored: Mapping[str, Outcome]) -> Wanted:
    found = stored.get(wanted.key)
    is_free = found is None or found.state in (OutcomeState.UNSENT, OutcomeState.REJECTED)
    return wanted if is_free else wanted._replace(stored=found)
