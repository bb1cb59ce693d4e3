"""Campaigns in rows: CSV (one look a row, a header first) and JSONL (one object a line)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from . import fields
from .builder import Builder
from .campaign import ITEM_KEY, PART_KEY, Campaign, is_key
from .fields import Raw
from .problems import Faults
from .toml_file import place_of

_SOURCE_FIELDS = ("avatar", "avatar_id", "look_id")
_CREATE = tuple(dict.fromkeys(("key", *fields.PROMPT_FIELDS, *fields.IMAGE_FIELDS)))
_EDIT = ("key", *_SOURCE_FIELDS, *fields.EDIT_FIELDS)
_ALL = tuple(dict.fromkeys((*_CREATE, *_EDIT)))
_COLUMNS = tuple(name for name in _ALL if name not in ("metadata", "extra"))
_META = "metadata."
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")


def read_csv(text: str, faults: Faults) -> Campaign:
    """The campaign that these rows describe; what is wrong is noted in ``faults``."""
    return _campaign(_csv_rows(text, faults), faults)


def read_jsonl(text: str, faults: Faults) -> Campaign:
    """The campaign that these lines describe; what is wrong is noted in ``faults``."""
    return _campaign(_json_rows(text, faults), faults)


def _campaign(rows: Iterator[Raw], faults: Faults) -> Campaign:
    builder = Builder(faults)
    for raw in rows:
        fields.check_names(raw, _ALL, faults)
        if any(name in raw.values for name in _SOURCE_FIELDS):
            _look(raw, builder)
        elif _is_of_a_look(raw.values.get("key")):
            _sourceless(raw, builder)
        else:
            builder.avatar(raw)
    campaign = builder.campaign()
    if not faults.found and not campaign.items:
        faults.add(1, "file", None, "at least one row")
    return campaign


def _look(raw: Raw, builder: Builder) -> None:
    fields.check_names(raw, _EDIT, builder.faults)
    key = builder.claim(raw, raw.values.get("key"), ITEM_KEY)
    by_ids = "avatar_id" in raw.values or "look_id" in raw.values
    if by_ids and "avatar" in raw.values:
        expected = "either avatar, or avatar_id and look_id"
        builder.faults.add(raw.line_of("avatar"), raw.field("avatar"), raw.values["avatar"], expected)
    source = builder.ref(raw) if by_ids else builder.source(raw, "avatar")
    builder.look(raw, key, source, place_of(key or "", raw))


def _is_of_a_look(key: object) -> bool:
    return is_key(key, ITEM_KEY) and not is_key(key, PART_KEY)


def _sourceless(raw: Raw, builder: Builder) -> None:
    """A row whose key is a look's and that names no source: that is what is wrong, not the key."""
    key = builder.claim(raw, raw.values["key"], ITEM_KEY)
    expected = f"what {raw.values['key']} is made from (only a key without a slash is an avatar's)"
    builder.faults.add(raw.line, "avatar", None, expected)
    builder.look(raw, key, None, place_of(key or "", raw))


def _csv_rows(text: str, faults: Faults) -> Iterator[Raw]:
    head = text.lstrip("\r\n").partition("\n")[0]
    # spreadsheets of half of Europe write semicolons
    delimiter = next((mark for mark in (",", ";", "\t") if mark in head), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            start, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if columns is None:
                columns = _columns(cells, start, faults)
                continue
            if len(cells) > len(columns):
                expected = f"at most {len(columns)} cells, as the header has"
                faults.add(start, "row", f"{len(cells)} cells", expected)
                continue
            yield _csv_raw(columns, cells, start)
    except csv.Error as error:
        faults.add(reader.line_num or 1, "syntax", None, f"CSV ({error})")
    else:
        if columns is None:
            faults.add(1, "file", None, "a header line, then one look a row")


def _columns(cells: list[str], line: int, faults: Faults) -> list[str]:
    columns = [cell.strip() for cell in cells]
    for position, name in enumerate(columns):
        if name in columns[:position]:
            faults.add(line, "header", name, "each column once")
        elif not (name in _COLUMNS or (name.startswith(_META) and name != _META)):
            faults.add_unknown(line, name or f"column {position + 1}", (*_COLUMNS, "metadata.NAME"))
    return columns


def _csv_raw(columns: list[str], cells: list[str], line: int) -> Raw:
    values: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    for name, cell in zip(columns, cells, strict=False):
        text = cell.strip()
        if not text or (name not in _COLUMNS and not name.startswith(_META)):
            continue
        if name.startswith(_META):
            metadata[name.removeprefix(_META)] = text
        elif name in fields.LISTS:
            values[name] = text.split()
        elif name == "upscale":
            values[name] = _bool(text)
        else:
            values[name] = text
    if metadata:
        values["metadata"] = metadata
    return Raw("", values, line, lambda _: line)


def _bool(text: str) -> bool | str:
    lower = text.lower()
    return True if lower in _YES else False if lower in _NO else text


def _json_rows(text: str, faults: Faults) -> Iterator[Raw]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line, object_pairs_hook=_once, parse_constant=_no_constant)
        except json.JSONDecodeError as error:
            faults.add(number, "syntax", None, f"JSON ({error.msg}, column {error.colno})")
        except RecursionError:
            faults.add(number, "syntax", None, "JSON that is not nested this deeply")
        except ValueError as error:
            faults.add(number, "syntax", None, f"JSON ({error})")
        else:
            if isinstance(values, dict):
                # null is how programs write "not given"
                given = {name: value for name, value in values.items() if value is not None}
                yield Raw("", given, number, lambda _, line=number: line)  # type: ignore[misc]
            else:
                faults.add(number, "row", values, "a JSON object")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} stands twice")
    return values


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
