"""Refusals: their code and their reason in one line, whatever the body is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_async._api.responses import Refused, body_text, read_refusal, short_text


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        (
            {"error": "No credits", "code": "INSUFFICIENT_CREDITS"},
            Refused("INSUFFICIENT_CREDITS", "No credits"),
        ),
        ({"error": "No key", "code": "invalid_api_key"}, Refused("invalid_api_key", "No key")),
        ({"error": "Avatar not found"}, Refused(None, "Avatar not found")),
        ({"error": "plan_required"}, Refused("plan_required", "plan_required")),
        ({"error": {"code": "X", "message": "y"}}, Refused("X", "y")),
        ({"message": "y", "code": 7}, Refused(None, "y")),
        ({"detail": "y"}, Refused(None, "y")),
        ({"error": None, "code": "X"}, Refused("X", "no reason given")),
        ({"error": "a", "details": "b"}, Refused(None, "a: b", ("b",))),
        ({"error": "a", "details": {"code": "X"}}, Refused("X", "a", ({"code": "X"},))),
        ({"error": "a", "details": [None, 5, []]}, Refused(None, "a", (None, 5, []))),
        ({}, Refused(None, "no reason given")),
        (["Bad"], Refused(None, '["Bad"]')),
    ],
)
def test_every_form_of_a_refusal_is_read(body: Any, refused: Refused) -> None:
    """Both forms of the API's pages and forms like them are read; a code keeps its case of letters."""
    assert read_refusal(json.dumps(body).encode()) == refused


def test_a_validation_error_says_which_fields() -> None:
    """The messages of the details are in the refusal's message, and the first code of theirs is its code."""
    details = [
        {"code": "MISSING_PROMPT", "message": "is required", "field": "prompt"},
        {"code": "INVALID_VALUE", "message": "Unknown style"},
    ]
    body = json.dumps({"error": "Validation failed", "details": details}).encode()
    expected = "Validation failed: prompt: is required; Unknown style"
    assert read_refusal(body) == Refused("MISSING_PROMPT", expected, tuple(details))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "an empty body"),
        (b"  Bad \n Gateway ", "Bad Gateway"),
        (b"<html><head><title>T</title><style>b{}</style></head><body><b>502</b> Bad</body>", "502 Bad"),
        (b"<html><head><title>Just a title</title></head><body></body></html>", "Just a title"),
        (b"<p>Fish &amp; chips &lt;script&gt;</p>", "Fish & chips"),
        (b"<script>alert(1)", "16 bytes that are no text"),
        (b"<p>cut <a href='", "cut"),
        (b"1 < 2", "1 < 2"),
        (b"\xff\xfe\x80\x81", "4 bytes that are no text"),
        (b"\x00" * 5000, "5000 bytes that are no text"),
    ],
)
def test_the_text_of_a_body(body: bytes, text: str) -> None:
    """Of a proxy's page the visible words are given; of a body without words the number of its bytes."""
    assert body_text(body) == text


def test_a_huge_body_is_never_echoed() -> None:
    """The message of a refusal is one short line, also where its body has a megabyte."""
    for body in (
        b"x" * (1 << 20),
        b"<p>" * (1 << 18),
        b"<script" * (1 << 17),
        b'{"error":"' + b"x" * (1 << 20) + b'"}',
    ):
        assert len(read_refusal(body).message) <= 300


def test_many_details_are_cut() -> None:
    """Of a refusal with ten thousand details, fifty are kept."""
    body = json.dumps({"error": "x", "details": [{"message": "m"}] * 10_000}).encode()
    refused = read_refusal(body)
    assert len(refused.details) == 50
    assert len(refused.message) <= 300


@given(
    st.binary(max_size=300) | st.text(alphabet="<>/&;ltgscriptheadbody ='\"x", max_size=200).map(str.encode)
)
def test_any_body_becomes_one_clean_line(body: bytes) -> None:
    """The text of any body is one printable, short line, never empty and without tags."""
    text = body_text(body)
    assert text
    assert text.isprintable()
    assert len(text) <= 300
    if b"<p" in body or b"</" in body:
        assert "<" not in text


def test_short_text_cuts_and_cleans() -> None:
    """Long texts end in an ellipsis, and lone surrogates, which no terminal can print, are removed."""
    assert short_text("x" * 400) == "x" * 299 + "…"
    assert short_text("a\ud800b") == "a b"
    assert short_text("abc", 2) == "a…"
