"""Reads campaigns in CSV: a header, then one look in each row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from ..request_fields import FIELDS
from .builder import Campaign
from .fields import RawFields
from .problems import ProblemList
from .rows import NAMES, campaign_of
from .variables import PREFIX, VARIABLES, Templates

_COLUMNS = (*(name for name in NAMES if name not in FIELDS or FIELDS[name].column), PREFIX)
_NAMED = ("metadata", VARIABLES)
"""Tables of names and texts, which have a column for each name, such as ``metadata.client``."""
_JOINED = re.compile(r"[,;|]https?://")
_SEPARATE = "spaces between URLs (inside one, write %2C for a comma and %3B for a semicolon)"
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")


def read_csv(text: str, problems: ProblemList, templates: Templates) -> Campaign:
    """Read a campaign in CSV. Problems are recorded in ``problems``."""
    return campaign_of(_csv_rows(text, problems), problems, templates)


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
