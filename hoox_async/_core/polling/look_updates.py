"""What an answer adds to what is known of a look. The first settled status stands."""

from __future__ import annotations

from typing import NamedTuple

import attrs

from ..._api.models import Look, LookStatus


class LookUpdate(NamedTuple):
    """A look whose status or picture changed.

    ``complete``: nothing more is to come and the scheduler has let go of it. A settled look that is
    not complete lacks its picture or its reason, which is asked for once.
    """

    look: Look
    complete: bool


def is_complete(look: Look) -> bool:
    """Whether a look is settled and has what its state promises."""
    if look.status is LookStatus.READY:
        return look.thumbnail_url is not None
    return look.status is LookStatus.FAILED and look.error is not None


def filled(known: Look, told: Look) -> Look | None:
    """A settled look with a missing picture or reason filled in; None if this adds nothing to it.

    What contradicts the status that was told first adds nothing.
    """
    if told.status is not known.status:
        return None
    picture = known.thumbnail_url or told.thumbnail_url
    error = known.error or told.error
    if picture == known.thumbnail_url and error == known.error:
        return None
    return attrs.evolve(known, thumbnail_url=picture, error=error, raw=told.raw or known.raw)
