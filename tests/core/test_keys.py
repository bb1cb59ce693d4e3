"""Digests: equal content, equal key, today and in later versions."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import attrs
import pytest
import request_strategies as our
from hypothesis import given
from hypothesis import strategies as st

from hoox_async import ImageAvatar, LookEdit, LookRef, PromptAvatar, Request
from hoox_async._api.requests import _known_as
from hoox_async._core.intents.keys import digest, is_key, ordinal_key
from hoox_async.errors import InvalidRequest

REF = LookRef("avtr_abc", "look_123")

PINNED: list[tuple[Request, str]] = [
    (PromptAvatar("Young entrepreneur"), "0f4189a73be99a92f53f92b2ffa946d4"),
    (
        PromptAvatar(
            "Young entrepreneur",
            style="selfie",
            format="horizontal",
            resolution="4K",
            name="Alex",
            place="office",
            element_images=["https://media.example/logo.png"],
            extra={"seed": 7},
        ),
        "cc3acaaf62af85bd2664bed9fbe7360f",
    ),
    (
        ImageAvatar(["https://media.example/1.jpg", "https://media.example/2.jpg"], name="Jordan"),
        "c1fec32bbef602649e1049294ae30a65",
    ),
    (LookEdit(REF, "podcast scene"), "ec10cc9ce429200ef30c73285246e052"),
    (LookEdit("alex", "podcast scene"), "11e33f10b6d8ffb735368fa9d52c34b7"),
    (
        LookEdit(
            REF,
            "ein Café, draußen",
            style="raw",
            format="vertical",
            resolution="1K",
            images=["https://media.example/x.jpg"],
            upscale=True,
        ),
        "1f9c8571c03027fbb62b838affd0ac79",
    ),
]


@pytest.mark.parametrize(("request_", "pinned"), PINNED)
def test_digests_stay_what_they_are(request_: Request, pinned: str) -> None:
    """Digests of known requests never change: if one did, users would pay for stored looks again."""
    assert digest(request_) == pinned


def test_the_digest_is_a_hash_of_canonical_json() -> None:
    """The hashed text is exactly this JSON, so that another program can compute the same keys."""
    text = '{"kind":"edit","prompt":"podcast scene","resolution":"2K","source_ref":"avtr_abc:look_123"}'
    assert digest(LookEdit(REF, "podcast scene")) == hashlib.sha256(text.encode()).hexdigest()[:32]


@given(our.requests, st.dictionaries(st.text(), st.text(), max_size=2), st.none() | our.urls)
def test_metadata_and_webhook_do_not_count(
    request_: Request, metadata: dict[str, str], webhook_url: str | None
) -> None:
    """Fields that do not change the look, ``webhook_url`` and ``metadata``, do not change the digest."""
    other = attrs.evolve(request_, metadata=metadata, webhook_url=webhook_url)
    assert digest(other) == digest(request_)


@given(our.requests, our.requests)
def test_other_content_gives_another_digest(one: Request, two: Request) -> None:
    """Two requests have the same digest if and only if they ask for the same look."""
    plain = [attrs.evolve(each, metadata={}, webhook_url=None) for each in (one, two)]
    shown = [(repr(attrs.evolve(each, extra={})), json.dumps(each.extra, sort_keys=True)) for each in plain]
    assert (digest(one) == digest(two)) == (shown[0] == shown[1])


FIELDS: list[tuple[Request, dict[str, object]]] = [
    (
        PromptAvatar("a"),
        {
            "prompt": "b",
            "style": "car",
            "format": "horizontal",
            "resolution": "4K",
            "name": "n",
            "place": "p",
            "element_images": ["https://x.example/1"],
            "extra": {"seed": 1},
        },
    ),
    (
        ImageAvatar(["https://x.example/1"]),
        {"image_urls": ["https://x.example/2"], "name": "n", "place": "p", "extra": {"seed": 1}},
    ),
    (
        LookEdit(REF, "a"),
        {
            "source": LookRef("avtr_abc", "look_124"),
            "prompt": "b",
            "style": "car",
            "format": "horizontal",
            "resolution": "4K",
            "images": ["https://x.example/1"],
            "upscale": True,
            "look_name": "n",
            "place": "p",
            "tags": ["t"],
            "extra": {"seed": 1},
        },
    ),
]


@pytest.mark.parametrize(("request_", "changes"), FIELDS)
def test_every_field_of_the_look_counts(request_: Any, changes: dict[str, object]) -> None:
    """Each field that is sent to the API changes the digest, and the test covers all fields of the class."""
    assert {*changes, "webhook_url", "metadata"} == {field.name for field in attrs.fields(type(request_))}
    found = {digest(attrs.evolve(request_, **{name: value})) for name, value in changes.items()}
    assert len(found | {digest(request_)}) == len(changes) + 1


def test_order_of_images_counts_and_order_of_extra_does_not() -> None:
    """The order of images changes the digest; the order of extra fields does not."""
    one, two = "https://x.example/1", "https://x.example/2"
    assert digest(ImageAvatar([one, two])) != digest(ImageAvatar([two, one]))
    assert digest(PromptAvatar("a", extra={"b": 1, "c": {"d": 1, "e": 2}})) == digest(
        PromptAvatar("a", extra={"c": {"e": 2, "d": 1}, "b": 1})
    )


def _check_bool(instance: object, attribute: Any, value: object) -> None:
    if not isinstance(value, bool | None):
        raise InvalidRequest(attribute.name, value, "True or False")


@attrs.frozen
class LaterEdit(LookEdit):
    """An edit of a later version, which knows two more fields."""

    mood: str | None = attrs.field(default=None, kw_only=True, metadata=_known_as("Mood"))
    crowd: bool | None = attrs.field(
        default=None, kw_only=True, validator=_check_bool, metadata=_known_as("Crowd")
    )


@pytest.mark.parametrize(
    "extra", [{"mood": "calm"}, {"crowd": False}, {"crowd": 7}, {"seed": 0}, {"mood": ""}]
)
def test_a_field_that_a_later_version_knows_keeps_its_key(extra: dict[str, Any]) -> None:
    """What was given in `extra` has the same digest once it is an argument, also a value that none takes."""
    assert digest(LaterEdit(REF, "a", extra=extra)) == digest(LookEdit(REF, "a", extra=extra))
    known = {name: value for name, value in extra.items() if name == "mood" or value is False}
    rest = {name: value for name, value in extra.items() if name not in known}
    if "" not in extra.values():
        assert digest(LaterEdit(REF, "a", **known, extra=rest)) == digest(LookEdit(REF, "a", extra=extra))


def test_a_field_named_as_a_part_of_the_digest_is_another_content() -> None:
    """`extra` cannot give an edit another kind or source."""
    extras: tuple[dict[str, str], ...] = (
        {},
        {"kind": "images"},
        {"source_ref": "avtr_b:look_b"},
        {"source_key": "k"},
    )
    assert len({digest(LookEdit(REF, "a", extra=extra)) for extra in extras}) == len(extras)


def test_source_counts_by_the_other_items_key() -> None:
    """Edits of two other items are different content."""
    assert digest(LookEdit("alex", "p")) != digest(LookEdit("alexa", "p"))


def test_a_key_that_reads_like_a_ref_is_another_source() -> None:
    """The item "avtr_abc:look_123" is not the look avtr_abc:look_123."""
    assert digest(LookEdit(str(REF), "p")) != digest(LookEdit(REF, "p"))


def test_plain_text_and_enum_are_the_same_content() -> None:
    """A style given as text has the digest of the style."""
    assert digest(PromptAvatar("a", style="iphone", resolution="2K")) == digest(PromptAvatar("a"))


def test_the_digest_is_short_and_hex() -> None:
    """A digest has 32 hex digits, so it can be a key, a file name or a column's value."""
    found = digest(PromptAvatar("a"))
    assert len(found) == 32
    assert set(found) <= set("0123456789abcdef")


def test_ordinal_keys() -> None:
    """Equal items of one batch get different keys; the first one's key is the digest itself."""
    assert [ordinal_key("d", n) for n in range(3)] == ["d", "d#2", "d#3"]
    with pytest.raises(ValueError):
        ordinal_key("d", -1)


@pytest.mark.parametrize("key", ["k" * 512, "é" * 256, "a\nb", " a "])
def test_a_key_has_at_most_512_bytes(key: str) -> None:
    """Any text of at most 512 bytes of UTF-8 that is not empty can be a key."""
    assert is_key(key)


@pytest.mark.parametrize("key", ["k" * 513, "é" * 257, "a\0b", "\0", "", " ", "\ud800", None, 7, b"k"])
def test_what_some_store_could_not_hold_is_no_key(key: object) -> None:
    """Text that is longer, is blank, has a NUL or is no UTF-8 is refused with every store, as is no text."""
    assert not is_key(key)
