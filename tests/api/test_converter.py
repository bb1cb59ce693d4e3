"""The strict converter: nothing is coerced, and JSON that cannot be read is told as such."""

from __future__ import annotations

from typing import Any

import pytest

from hoox_async._api.converter import parse_json, read_id, strict_converter


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (str, None),
        (str, 7),
        (str, True),
        (int, "7"),
        (int, True),
        (int, 7.0),
        (float, "1.5"),
        (float, True),
        (bool, "false"),
        (bool, 0),
        (bool, None),
        (tuple[str, ...], "abc"),
        (tuple[str, ...], {"a": 1}),
        (tuple[str, ...], None),
    ],
)
def test_nothing_is_coerced(kind: Any, value: object) -> None:
    """None is no text, "false" is no bool, a text is no list of letters."""
    with pytest.raises(ValueError, match=r"^expected .*, got "):
        strict_converter().structure(value, kind)


def test_what_fits_goes_through() -> None:
    """Values of the right type come out as they are; a whole number is a number."""
    converter = strict_converter()
    assert converter.structure("x", str) == "x"
    assert converter.structure(7, int) == 7
    assert converter.structure(7, float) == 7.0
    assert converter.structure(False, bool) is False
    assert converter.structure(None, str | None) is None  # type: ignore[arg-type]
    assert converter.structure(["a", "b"], tuple[str, ...]) == ("a", "b")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000, b"9" * 5000, b'{"a":' * 100_000])
def test_json_that_can_not_be_read(text: bytes) -> None:
    """However JSON is broken, one kind of error says so."""
    with pytest.raises(ValueError):
        parse_json(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"])
def test_json_in_any_of_its_encodings(encoding: str) -> None:
    """UTF-8, which comes first, and whatever else json reads."""
    assert parse_json('{"name": "Zoë"}'.encode(encoding)) == {"name": "Zoë"}


def test_half_a_character_costs_no_paid_answer() -> None:
    """A lone surrogate in UTF-8 is read as json reads it."""
    assert parse_json(b'{"look_id": "look_1", "name": "\xed\xa0\x80"}')["look_id"] == "look_1"


def test_json_that_is_odd_and_can_be_read() -> None:
    """Duplicate keys and NaN harm nobody."""
    assert parse_json(b'{"a": 1, "a": 2}') == {"a": 2}
    assert parse_json("[NaN]")[0] != parse_json("[NaN]")[0]


@pytest.mark.parametrize("value", [None, 7, "", "  ", "a\nb", "\ud800", "x" * 501])
def test_an_id_can_be_written_down_anywhere(value: object) -> None:
    """What is no text, empty, unprintable or endless is no id; the complaint does not repeat it."""
    assert read_id({"look_id": "look_1"}, "look_id") == "look_1"
    with pytest.raises(ValueError, match=r"^look_id: expected an id, got [a-z ]+$"):
        read_id({"look_id": value}, "look_id")
