"""Whatever names a look."""

from __future__ import annotations

from typing import Any

import pytest

from hoox_async._api.models import Look, LookRef, LookStatus
from hoox_async._api.refs import HasRef, ref_of
from hoox_async.errors import InvalidRequest

REF = LookRef("avtr_abc", "look_123")


class Named:
    """Something of the user's own that knows its look."""

    def __init__(self, ref: Any) -> None:
        self.ref = ref


@pytest.mark.parametrize(
    "named",
    [REF, "avtr_abc:look_123", Look(REF, LookStatus.PENDING), Named(REF)],
    ids=lambda v: type(v).__name__,
)
def test_what_names_a_look(named: Any) -> None:
    """A ref, its text, and anything with a ref."""
    assert ref_of(named) == REF


@pytest.mark.parametrize(
    "named", [None, 5, "look_123", "", Named(None), Named("avtr_abc:look_123"), object()]
)
def test_what_names_none(named: Any) -> None:
    """An error that says what would be right, before anything is sent."""
    with pytest.raises(InvalidRequest, match="ref"):
        ref_of(named)


def test_having_a_ref_can_be_seen() -> None:
    assert isinstance(Look(REF, LookStatus.PENDING), HasRef)
    assert not isinstance("avtr_abc:look_123", HasRef)
