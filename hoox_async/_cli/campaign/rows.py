"""Reads campaigns of rows, in CSV and in JSON lines: each row is an avatar or a look."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

from ..request_fields import FIELDS
from . import fields
from .builder import ITEM_KEY, PART_KEY, Campaign, CampaignBuilder, is_key
from .fields import RawFields
from .problems import ProblemList
from .variables import PREFIX, VARIABLES, Templates

_SOURCE_FIELDS = ("avatar", "avatar_id", "look_id")
_CREATE = tuple(dict.fromkeys(("key", *fields.PROMPT.fields, *fields.IMAGES.fields)))
_EDIT = ("key", *_SOURCE_FIELDS, *fields.EDIT.fields)
NAMES = tuple(dict.fromkeys((*_CREATE, *_EDIT)))
_COLUMNS = (*(name for name in NAMES if name not in FIELDS or FIELDS[name].column), PREFIX)
_NAMED = ("metadata", VARIABLES)
"""Tables of names and texts, which have a column for each name, such as ``metadata.client``."""
_JOINED = re.compile(r"[,;|]https?://")
_SEPARATE = "spaces between URLs (inside one, write %2C for a comma and %3B for a semicolon)"
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")


def read_csv(text: str, problems: ProblemList, templates: Templates) -> Campaign:
    """Read a campaign in CSV. Problems are recorded in ``problems``."""
    return _campaign_of(_csv_rows(text, problems), problems, templates)


def read_jsonl(text: str, problems: ProblemList, templates: Templates) -> Campaign:
    """Read a campaign in JSONL. Problems are recorded in ``problems``."""
    return _campaign_of(_json_rows(text, problems), problems, templates)


def _campaign_of(rows: Iterator[RawFields], problems: ProblemList, templates: Templates) -> Campaign:
    """The campaign of these rows. Problems are recorded in ``problems``."""
    builder = CampaignBuilder(problems)
    for raw in map(templates.fill, rows):
        fields.check_names(raw, NAMES, problems)
        if any(name in raw.values for name in _SOURCE_FIELDS):
            _look(raw, builder)
        elif _is_look_key(raw.values.get("key")):
            _look_without_source(raw, builder)
        else:
            builder.avatar(raw)
    campaign = builder.campaign()
    if not problems.found and not campaign.items:
        problems.add(1, "file", None, "at least one row")
    return campaign


def _look(raw: RawFields, builder: CampaignBuilder) -> None:
    fields.check_names(raw, _EDIT, builder.problems)
    key = builder.claim(raw, raw.values.get("key"), ITEM_KEY)
    by_ids = "avatar_id" in raw.values or "look_id" in raw.values
    if by_ids and "avatar" in raw.values:
        expected = "either avatar, or avatar_id and look_id"
        builder.problems.add(raw.line_of("avatar"), raw.field("avatar"), raw.values["avatar"], expected)
    source = builder.ref(raw) if by_ids else builder.source(raw)
    builder.look(raw, key, source)


def _is_look_key(key: object) -> bool:
    return is_key(key, ITEM_KEY) and not is_key(key, PART_KEY)


def _look_without_source(raw: RawFields, builder: CampaignBuilder) -> None:
    """Record the problem of a row that has a look's key but no source: the source is missing."""
    key = builder.claim(raw, raw.values["key"], ITEM_KEY)
    expected = f"what {raw.values['key']} is made from (only a key without a slash is an avatar's)"
    builder.problems.add(raw.line, "avatar", None, expected)
    builder.look(raw, key, None)


def _csv_rows(text: str, problems: ProblemList) -> Iterator[RawFields]:
    head = text.lstrip("\r\n").partition("\n")[0]
    # spreadsheets write semicolons in languages with a decimal comma
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
                columns = _columns(cells, start, problems)
                continue
            if len(cells) > len(columns):
                expected = f"at most {len(columns)} cells, as the header has"
                problems.add(start, "row", f"{len(cells)} cells", expected)
                continue
            yield _csv_raw(columns, cells, start, problems)
    except csv.Error as error:
        if "unexpected end of data" in str(error):  # the rest of the file is in its last cell
            expected = "a second quotation mark: a cell that begins with one in this row does not end"
            problems.add(line, "syntax", None, expected)
        else:
            problems.add(reader.line_num or 1, "syntax", None, f"CSV ({error})")
    else:
        if columns is None:
            problems.add(1, "file", None, "a header line, then one look in each row")


def _columns(cells: list[str], line: int, problems: ProblemList) -> list[str]:
    columns = [_column(cell) for cell in cells]
    for position, name in enumerate(columns):
        if name in columns[:position]:
            problems.add(line, "header", name, "each column once")
        elif name not in _COLUMNS and _named(name) is None:
            known = (*_COLUMNS, *(f"{table}.NAME" for table in _NAMED))
            problems.add_unknown(line, cells[position].strip() or f"column {position + 1}", known)
    return columns


def _column(cell: str) -> str:
    """A cell of the header as the name of a field: spreadsheets write a capital letter at its beginning."""
    table, dot, name = cell.strip().partition(".")
    return f"{table.lower()}{dot}{name}"


def _csv_raw(columns: list[str], cells: list[str], line: int, problems: ProblemList) -> RawFields:
    values: dict[str, Any] = {}
    for name, cell in zip(columns, cells, strict=False):
        text, named = cell.strip(), _named(name)
        if not text or (name not in _COLUMNS and named is None):
            continue
        if named is not None:
            table, entry = named
            values.setdefault(table, {})[entry] = text
        else:
            values[name] = _cell(name, text, line, problems)
    return RawFields("", values, line, lambda _: line)


def _cell(name: str, text: str, line: int, problems: ProblemList) -> Any:
    """The value of a cell, as the field's column has it."""
    match FIELDS[name].column if name in FIELDS else "text":
        case "words":
            return [word.strip() for word in re.split("[,;]", text) if word.strip()]
        case "URLs":
            urls = _urls(text)
            for url in filter(_JOINED.search, urls):
                problems.add(line, name, url, _SEPARATE)
            return urls
        case "yes or no":
            return _parse_bool(text)
    return text


def _urls(text: str) -> list[str]:
    """The URLs of a cell, with spaces between them; a comma or semicolon beside a space is none of a URL."""
    return [url for url in (word.strip(",;") for word in text.split()) if url]


def _named(column: str) -> tuple[str, str] | None:
    """The table and the name of a column such as ``metadata.client``, or None."""
    table, dot, name = column.partition(".")
    return (table, name) if table in _NAMED and dot and name else None


def _parse_bool(text: str) -> bool | str:
    lower = text.lower()
    return True if lower in _YES else False if lower in _NO else text


def _json_rows(text: str, problems: ProblemList) -> Iterator[RawFields]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line, object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            problems.add(number, "syntax", None, f"JSON ({error.msg}, column {error.colno})")
        except RecursionError:
            problems.add(number, "syntax", None, "JSON that is not nested this deeply")
        except ValueError as error:
            problems.add(number, "syntax", None, f"JSON ({error})")
        else:
            if isinstance(values, dict):
                # programs write null for a value that is not given
                given = {name: value for name, value in values.items() if value is not None}
                yield RawFields("", given, number, lambda _, line=number: line)  # type: ignore[misc]
            else:
                problems.add(number, "row", values, "a JSON object")


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is given twice")
    return values


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
