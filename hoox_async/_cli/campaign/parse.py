"""Reads a campaign file, in whichever format, and raises one error with all of its problems."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Literal

from hoox_async import ConfigurationError

from .campaign import Campaign
from .problems import CampaignError, Problem, ProblemList
from .row_files import read_csv, read_jsonl
from .toml_file import read_toml

FileFormat = Literal["toml", "csv", "jsonl"]
_READERS = {"toml": read_toml, "csv": read_csv, "jsonl": read_jsonl}
_FORMATS: dict[str, FileFormat] = {".toml": "toml", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_campaign(path: Path) -> Campaign:
    """Read a campaign file, whose format is known by its suffix. Blocks.

    Raises `CampaignError` for problems in the file, and `ConfigurationError` for a file that can't be
    read or has another suffix.
    """
    format = _FORMATS.get(path.suffix.lower())
    if format is None:
        raise ConfigurationError(f"{path}: expected a file that ends in .toml, .csv or .jsonl")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    return parse_campaign(data, format, name=path.name)


def parse_campaign(data: bytes | str, format: FileFormat, *, name: str = "campaign") -> Campaign:
    """Parse the text of a campaign file. Pure. Raises `CampaignError` with all problems."""
    text = _decoded(data, name) if isinstance(data, bytes) else data.removeprefix("\ufeff")
    problems = ProblemList()
    if not text.strip():
        problems.add(1, "file", None, "a campaign: the file is empty")
        problems.raise_if_any(name)
    try:
        campaign = _READERS[format](text, problems)
    except RecursionError:
        raise CampaignError(
            name, [Problem(1, "syntax", None, "values that are not nested this deeply")]
        ) from None
    problems.raise_if_any(name)
    return campaign


def _decoded(data: bytes, name: str) -> str:
    if data.startswith(_UTF16_MARKS):
        raise CampaignError(name, [Problem(1, "encoding", "UTF-16", "UTF-8 text")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CampaignError(
            name, [Problem(line, "encoding", data[error.start : error.end], "UTF-8 text")]
        ) from None
