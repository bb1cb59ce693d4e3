"""The ways to name a look."""

from __future__ import annotations

from typing import Any

import pytest

from hoox_async import Look, LookRef, LookStatus
from hoox_async._api.models import HasRef, ref_in, ref_of
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
def test_a_ref_its_text_and_anything_with_a_ref_name_a_look(named: Any) -> None:
    """`ref_of` gives the ref of a LookRef, of its text, of a look and of an object with a `.ref`."""
    assert ref_of(named) == REF


@pytest.mark.parametrize(
    "named", [None, 5, "look_123", "", Named(None), Named("avtr_abc:look_123"), object()]
)
def test_what_names_no_look_is_refused(named: Any) -> None:
    """`ref_of` raises InvalidRequest for anything else, such as a look's id alone."""
    with pytest.raises(InvalidRequest, match="ref"):
        ref_of(named)


def test_the_text_of_a_ref_is_recognized() -> None:
    """`ref_in` gives the ref of a text of the form "avatar_id:look_id" and None for any other text."""
    assert ref_in("avtr_abc:look_123") == REF
    assert [ref_in(text) for text in ("", "look_123", "avtr_abc:", "a:b:c")] == [None] * 4


def test_whether_an_object_has_a_ref_can_be_checked() -> None:
    """isinstance(…, HasRef) is true for a look and false for a text, also one that is a ref's."""
    assert isinstance(Look(REF, LookStatus.PENDING), HasRef)
    assert not isinstance("avtr_abc:look_123", HasRef)
