"""Refs, looks and statuses."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import request_strategies as our
from hypothesis import given, settings

from hoox_async._api.models import Look, LookFailure, LookRef, LookStatus, Picture
from hoox_async.errors import InvalidRequest

REF = LookRef("avtr_abc", "look_123")


@settings(deadline=None, max_examples=50)
@given(our.refs)
def test_a_ref_is_what_its_text_says(ref: LookRef) -> None:
    """str and parse are each other's inverse."""
    assert LookRef.parse(str(ref)) == ref


def test_the_text_of_a_ref() -> None:
    """The form that users put into files and command lines; spaces around its parts don't count."""
    assert str(REF) == "avtr_abc:look_123"
    assert LookRef.parse(" avtr_abc : look_123 ") == REF


@pytest.mark.parametrize("text", ["", ":", "avtr_abc", "avtr_abc:", ":look_123", " : ", "a:b:c"])
def test_a_text_that_is_no_ref(text: str) -> None:
    """Anything but avatar_id:look_id is an InvalidRequest that says the form."""
    with pytest.raises(InvalidRequest) as caught:
        LookRef.parse(text)
    assert (caught.value.field, caught.value.value) == ("ref", text)
    assert "avatar_id:look_id" in caught.value.expected


@pytest.mark.parametrize("bad", ["", "  ", None, 7, b"look"])
@pytest.mark.parametrize("field", ["avatar_id", "look_id"])
def test_ids_are_text(field: str, bad: Any) -> None:
    """An id that can be none is named when the ref is made."""
    with pytest.raises(InvalidRequest) as caught:
        attrs.evolve(REF, **{field: bad})
    assert (caught.value.field, caught.value.value) == (field, bad)


def test_refs_are_values() -> None:
    """Equal refs are one key of a dict, refs have an order, and a ref is its own ref."""
    assert {REF: 1}[LookRef("avtr_abc", "look_123")] == 1
    assert sorted([LookRef("b", "a"), LookRef("a", "z")])[0] == LookRef("a", "z")
    assert REF.ref is REF
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        REF.look_id = "x"  # type: ignore[misc]


def test_which_statuses_are_final() -> None:
    """READY and FAILED will not change; an unknown word may."""
    assert {status for status in LookStatus if status.settled} == {LookStatus.READY, LookStatus.FAILED}


def test_a_look_speaks_for_its_ref() -> None:
    """The ids are at hand, and the raw answer counts neither for equality nor in the repr."""
    look = Look(REF, LookStatus.READY, raw={"secret": 1})
    assert (look.avatar_id, look.look_id) == ("avtr_abc", "look_123")
    assert look == Look(REF, LookStatus.READY)
    assert "secret" not in repr(look)
    assert {look} == {Look(REF, LookStatus.READY)}


def test_the_text_of_a_failure() -> None:
    """Message and code, or the message alone."""
    assert str(LookFailure("GENERATION_FAILED", "Edit failed")) == "Edit failed [GENERATION_FAILED]"
    assert str(LookFailure(None, "Edit failed")) == "Edit failed"


def test_a_picture_does_not_print_its_bytes() -> None:
    """Megabytes stay out of logs."""
    assert "data" not in repr(Picture(b"data", "image/jpeg"))


URL, REASON = "https://media.example/a.jpg", LookFailure("NO_FACE", "no face")


def test_a_look_that_is_not_settled_is_replaced_when_it_is_merged() -> None:
    """Whatever is reported later counts; an equal report gives the same object."""
    pending = Look(REF, LookStatus.PENDING)
    for status in LookStatus:
        later = Look(REF, status)
        assert pending.merged_with(later) is (pending if status is LookStatus.PENDING else later)


@pytest.mark.parametrize("other", LookStatus)
def test_the_first_settled_status_is_final_when_looks_are_merged(other: LookStatus) -> None:
    """A report with another status changes nothing of a READY look, not even its picture or error."""
    ready = Look(REF, LookStatus.READY)
    merged = ready.merged_with(Look(REF, other, URL))
    assert merged.status is LookStatus.READY
    assert merged.thumbnail_url == (URL if other is LookStatus.READY else None)


@pytest.mark.parametrize(
    ("known", "later"),
    [
        (Look(REF, LookStatus.READY), Look(REF, LookStatus.READY, URL, raw={"a": 1})),
        (Look(REF, LookStatus.FAILED), Look(REF, LookStatus.FAILED, None, REASON, raw={"a": 1})),
    ],
    ids=["picture", "reason"],
)
def test_a_missing_detail_is_filled_in_when_looks_are_merged(known: Look, later: Look) -> None:
    """A picture or a reason that is there already stays, and then the same object is given."""
    merged = known.merged_with(later)
    assert merged == later
    assert merged.raw == {"a": 1}
    assert merged.merged_with(known) is merged
    assert merged.merged_with(attrs.evolve(later, raw={"b": 2})) is merged
