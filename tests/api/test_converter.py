"""The strict converter: no value is coerced, and JSON that cannot be read is a ValueError."""

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
    """A value of another type is an error: None is no text, "false" is no bool, a text is no list."""
    with pytest.raises(ValueError, match=r"^expected .*, got "):
        strict_converter().structure(value, kind)


def test_values_of_the_right_type_are_accepted() -> None:
    """Values of the right type stay as they are, and a whole number is accepted as a float."""
    converter = strict_converter()
    assert converter.structure("x", str) == "x"
    assert converter.structure(7, int) == 7
    assert converter.structure(7, float) == 7.0
    assert converter.structure(False, bool) is False
    assert converter.structure(None, str | None) is None  # type: ignore[arg-type]
    assert converter.structure(["a", "b"], tuple[str, ...]) == ("a", "b")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000, b"9" * 5000, b'{"a":' * 100_000])
def test_json_that_cannot_be_read_is_a_value_error(text: bytes) -> None:
    """Whatever is wrong with JSON, parse_json raises ValueError and nothing else."""
    with pytest.raises(ValueError):
        parse_json(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"])
def test_json_in_any_of_its_encodings(encoding: str) -> None:
    """JSON in UTF-8, UTF-16 and UTF-32 is read, with and without a byte order mark."""
    assert parse_json('{"name": "Zoë"}'.encode(encoding)) == {"name": "Zoë"}


def test_a_lone_surrogate_does_not_make_an_answer_unreadable() -> None:
    """An answer with a lone surrogate in its UTF-8 is read: it may be one to a paid request."""
    assert parse_json(b'{"look_id": "look_1", "name": "\xed\xa0\x80"}')["look_id"] == "look_1"


def test_duplicate_names_and_nan_are_read() -> None:
    """JSON with a name twice, or with NaN, is read as Python's json reads it."""
    assert parse_json(b'{"a": 1, "a": 2}') == {"a": 2}
    assert parse_json("[NaN]")[0] != parse_json("[NaN]")[0]


@pytest.mark.parametrize("value", [None, 7, "", "  ", "a\nb", "\ud800", "x" * 513, "日" * 171])
def test_an_id_must_be_short_printable_text(value: object) -> None:
    """Anything that is no text, or is empty, unprintable or too long, is no id, and is not shown."""
    assert read_id({"look_id": "look_1"}, "look_id") == "look_1"
    with pytest.raises(ValueError, match=r"^look_id: expected an id, got [a-z ]+$"):
        read_id({"look_id": value}, "look_id")
