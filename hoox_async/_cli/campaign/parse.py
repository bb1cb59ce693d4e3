"""Reads a campaign file, in whichever format, and raises one error with all of its problems."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from hoox_async import ConfigurationError

from .builder import Campaign
from .problems import CampaignError, Problem, ProblemList
from .rows import read_csv, read_jsonl
from .toml_file import read_toml
from .variables import Templates

FileFormat = Literal["toml", "csv", "jsonl"]
_READERS = {"toml": read_toml, "csv": read_csv, "jsonl": read_jsonl}
_FORMATS: dict[str, FileFormat] = {".toml": "toml", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_TOML_LINE = re.compile(r"\[|[\w.\"'-]+\s*=")
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
_UTF8 = "UTF-8 text (in Excel: save as CSV UTF-8; in an editor: save with the encoding UTF-8)"
_LATIN1 = "this looks like Latin-1 (Windows-1252)"
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_campaign(path: Path, settings: Mapping[str, str] = _NO_SETTINGS) -> Campaign:
    """Read a campaign file, whose format is known by its suffix. Blocks.

    ``settings`` are values for the variables in its texts, and win over those that the file gives.

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
    return parse_campaign(data, format, name=path.name, settings=settings)


def parse_campaign(
    data: bytes | str,
    format: FileFormat | None,
    *,
    name: str = "campaign",
    settings: Mapping[str, str] = _NO_SETTINGS,
) -> Campaign:
    """Parse the text of a campaign file. Pure. Without a format, the first line of the text shows which.

    Raises `CampaignError` with all problems, and `ConfigurationError` for a setting that is not used.
    """
    text = _decoded(data, name) if isinstance(data, bytes) else data.removeprefix("\ufeff")
    problems = ProblemList()
    if not text.strip():
        problems.add(1, "file", None, "a campaign: the file is empty")
        problems.raise_if_any(name)
    templates = Templates(problems, settings)
    try:
        campaign = _READERS[format or _format_of(text)](text, problems, templates)
    except RecursionError:
        raise CampaignError(
            name, [Problem(1, "syntax", None, "values that are not nested this deeply")]
        ) from None
    problems.raise_if_any(name)
    templates.check_settings()
    return campaign


def _format_of(text: str) -> FileFormat:
    """The format of a campaign whose file name is not known, by its first line that says something."""
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    if first.startswith("{"):
        return "jsonl"
    return "toml" if _TOML_LINE.match(first) else "csv"


def _decoded(data: bytes, name: str) -> str:
    if data.startswith(_UTF16_MARKS):
        raise CampaignError(name, [Problem(1, "encoding", "UTF-16", _UTF8)])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = Problem(line, "encoding", _around(data, error.start), f"{_UTF8}; {_LATIN1}")
        raise CampaignError(name, [problem]) from None


def _around(data: bytes, position: int) -> str:
    """The word at this byte, read as the Windows encoding that spreadsheets write instead of UTF-8."""
    start = max(data.rfind(separator, 0, position) for separator in (b" ", b"\n", b",", b";", b"\t")) + 1
    return data[start : position + 12].decode("cp1252", errors="replace").split()[0].split(",")[0][:20]
