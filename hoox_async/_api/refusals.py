"""What a refusal says: its code, message and details, from several forms of JSON or a proxy's HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .converter import parse_json

_MAX_MESSAGE = 300
_MAX_DETAILS = 50
_MAX_CODE = 100
_READ_AS_TEXT = 4096  # bytes of a body that is not JSON: enough for a sentence, cheap to search

_TAG = r"<[^>]*(?:>|$)"
_INVISIBLE = r"(?is)<(script|style|head)\b.*?(?:</\1\s*>|$)"
_HTML = r"<[A-Za-z!/]"
_CODE = r"[A-Za-z0-9]+(?:_[A-Za-z0-9]+)+"


class Refused(NamedTuple):
    """A refusal in the API's own words. ``code`` is in the case of letters in which it came."""

    code: str | None
    message: str
    details: tuple[Any, ...] = ()


def read_refusal(body: bytes) -> Refused:
    """What the body of a refusal says. It never raises: anything but a JSON object is read as text."""
    try:
        answer = parse_json(body)
    except ValueError:
        return Refused(None, body_text(body))
    if not isinstance(answer, dict):
        return Refused(None, body_text(body))
    details = _details(answer)
    inner = answer.get("error")
    if isinstance(inner, Mapping):  # {"error": {"code", "message"}}, as a failed look has it
        answer = {**answer, **inner}
        inner = None
    said = _first_text(inner, answer.get("message"), answer.get("detail"))
    code = _code(answer) or next((code for d in details if (code := _code(d))), None)
    if code is None and re.fullmatch(_CODE, said):
        code = said
    message = ": ".join(part for part in (said, _text_of_details(details)) if part)
    return Refused(code and short_text(code, _MAX_CODE), short_text(message) or "no reason given", details)


def body_text(body: bytes) -> str:
    """A short text for a body of any kind, without markup. Only the beginning of the body is read."""
    text = body[:_READ_AS_TEXT].decode("utf-8", "replace")
    if re.search(_HTML, text):
        title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
        seen = re.sub(_TAG, " ", html.unescape(re.sub(_TAG, " ", re.sub(_INVISIBLE, " ", text))))
        text = seen if seen.strip() or not title else re.sub(_TAG, " ", html.unescape(title[1]))
    if text.count("\ufffd") * 4 > len(text):
        text = ""
    return short_text(text) or ("an empty body" if not body else f"{len(body)} bytes that are no text")


def short_text(text: str, length: int = _MAX_MESSAGE) -> str:
    """The text in one line of at most ``length``, without control characters and lone surrogates."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * length]).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _details(answer: Mapping[str, Any]) -> tuple[Any, ...]:
    details = answer.get("details")
    if details is None:
        return ()
    return tuple(details[:_MAX_DETAILS]) if isinstance(details, list) else (details,)


def _text_of_details(details: tuple[Any, ...]) -> str:
    """The messages of the details, with their fields: ``"prompt: is required; style: unknown"``."""
    said = []
    for detail in details:
        message = detail if isinstance(detail, str) else _first_text(_get(detail, "message"))
        field = _first_text(_get(detail, "field"))
        said.append(": ".join(part for part in (field, message) if part))
    return "; ".join(part for part in said if part)


def _code(part: Any) -> str | None:
    return _first_text(_get(part, "code")) or None


def _get(part: Any, name: str) -> Any:
    return part.get(name) if isinstance(part, Mapping) else None


def _first_text(*values: Any) -> str:
    return next((value for value in values if isinstance(value, str) and value.strip()), "")
