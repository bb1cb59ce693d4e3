"""Refs, looks and statuses."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import request_strategies as our
from hypothesis import given

from hoox_async import Look, LookRef, LookStatus, Picture
from hoox_async._api.models import LookFailure
from hoox_async.errors import InvalidRequest

REF = LookRef("avtr_abc", "look_123")


@given(our.refs)
def test_a_ref_is_read_back_from_its_text(ref: LookRef) -> None:
    """LookRef.parse is the inverse of str, for any ref."""
    assert LookRef.parse(str(ref)) == ref


def test_the_text_of_a_ref() -> None:
    """A ref's text is "avatar_id:look_id"; spaces around the two parts are ignored."""
    assert str(REF) == "avtr_abc:look_123"
    assert LookRef.parse(" avtr_abc : look_123 ") == REF


@pytest.mark.parametrize(
    "text", ["", ":", "avtr_abc", "avtr_abc:", ":look_123", " : ", "a:b:c", 5, None, REF]
)
def test_a_text_that_is_no_ref_is_refused(text: Any) -> None:
    """LookRef.parse raises InvalidRequest for anything else and says which form is expected."""
    with pytest.raises(InvalidRequest) as caught:
        LookRef.parse(text)
    assert (caught.value.field, caught.value.value) == ("ref", text)
    assert "avatar_id:look_id" in caught.value.expected


@pytest.mark.parametrize("bad", ["", "  ", None, 7, b"look"])
@pytest.mark.parametrize("field", ["avatar_id", "look_id"])
def test_the_ids_of_a_ref_must_be_text(field: str, bad: Any) -> None:
    """An id that is empty or no text is an error when the ref is made, with the field's name."""
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


def test_only_ready_and_failed_are_settled() -> None:
    """A look with any other status may still change, an UNRECOGNIZED one too."""
    assert {status for status in LookStatus if status.settled} == {LookStatus.READY, LookStatus.FAILED}


def test_a_look_has_the_ids_of_its_ref() -> None:
    """A look has its two ids as attributes; `raw` is part of neither its equality nor its repr."""
    look = Look(REF, LookStatus.READY, raw={"secret": 1})
    assert (look.avatar_id, look.look_id) == ("avtr_abc", "look_123")
    assert look == Look(REF, LookStatus.READY)
    assert "secret" not in repr(look)
    assert {look} == {Look(REF, LookStatus.READY)}


def test_the_text_of_a_failure() -> None:
    """str of a failure is its message, followed by the code in brackets where there is one."""
    assert str(LookFailure("GENERATION_FAILED", "Edit failed")) == "Edit failed [GENERATION_FAILED]"
    assert str(LookFailure(None, "Edit failed")) == "Edit failed"


def test_a_picture_does_not_print_its_bytes() -> None:
    """The repr of a picture does not contain its bytes, which can be megabytes."""
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
