"""Reads campaigns in TOML: avatars, scenes, a matrix of both, and single looks."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

from hoox_async import LookEdit

from ..request_fields import FIELDS
from . import fields
from .builder import ITEM_KEY, MOST_ITEMS, PART_FORM, PART_KEY, Campaign, CampaignBuilder, is_key
from .fields import RawFields
from .problems import ProblemList, did_you_mean
from .variables import PREFIX, VARIABLES, Templates

Path = tuple[str | int, ...]
_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_TABLE = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]")
_ASSIGNED = re.compile(rf"\s*({_DOTTED})\s*=")
_SHORT = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'[^']*')""")


class TomlPositions:
    """Line numbers, from 1, of tables and keys. Exact for usual TOML, approximate for unusual forms.

    A path is such as ``("avatars", 1, "style")``, with the index of a table in its array, from 0.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}
        table: Path = ()
        for number, line in _outside_strings(text):
            if head := _TABLE.match(line):
                table = self._resolve(_parts(head[2]), array=head[1] == "[[")
                for length in range(1, len(table) + 1):
                    self._lines.setdefault(table[:length], number)
            elif key := _ASSIGNED.match(line):
                path = table + _parts(key[1])
                for length in range(len(table) + 1, len(path) + 1):
                    self._lines.setdefault(path[:length], number)

    def find(self, *path: str | int) -> int:
        """The line of this key or table; if not found, the line of its parent, else 1."""
        for length in range(len(path), 0, -1):
            if (line := self._lines.get(path[:length])) is not None:
                return line
        return 1

    def _resolve(self, names: tuple[str, ...], *, array: bool) -> Path:
        """The path of a table's header: ``[avatars.metadata]`` belongs to the last of the avatars."""
        path: Path = ()
        for position, name in enumerate(names, 1):
            path += (name,)
            if position == len(names) and array:
                self._counts[path] = self._counts.get(path, -1) + 1
            if path in self._counts:
                path += (self._counts[path],)
        return path


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(key.strip("\"'") for key in re.findall(_KEY, dotted))


def _outside_strings(text: str) -> Iterator[tuple[int, str]]:
    """The numbered lines that don't begin inside a multi-line string."""
    inside = ""
    for number, line in enumerate(text.split("\n"), 1):
        if not inside:
            yield number, line
        inside = _still_inside(line, inside)


def _still_inside(line: str, inside: str) -> str:
    """The quotes of the multi-line string that is open at the end of the line, or an empty text."""
    position = 0
    while position < len(line):
        if inside:
            end = line.find(inside, position)
            if end < 0:
                return inside
            position, inside = end + 3, ""
        elif line.startswith(('"""', "'''"), position):
            inside = line[position : position + 3]
            position += 3
        elif line[position] == "#":
            return ""
        elif short := _SHORT.match(line, position):
            position = short.end()
        else:
            position += 1
    return inside


_TABLES = ("avatars", "scenes", "matrix", "looks")
_SHARED = (PREFIX, VARIABLES)
_DEFAULTS = tuple(name for name in fields.EDIT.fields if FIELDS[name].in_matrix)
_SCENE_FIELDS = ("key", "variations", *fields.EDIT.fields)
_MATRIX_FIELDS = ("avatars", "scenes", "variations", *_DEFAULTS)
_LOOK_FIELDS = ("key", "avatar", *fields.EDIT.fields)
_MOST_VARIATIONS = 1000
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")


def read_toml(text: str, problems: ProblemList, templates: Templates) -> Campaign:
    """Read a campaign in TOML. Problems are recorded in ``problems``."""
    builder = CampaignBuilder(problems)
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        _add_syntax_problem(text, error, problems)
        return builder.campaign()
    _TomlDocument(document, TomlPositions(text), builder, templates).read()
    return builder.campaign()


def _add_syntax_problem(text: str, error: Exception, problems: ProblemList) -> None:
    at = _AT_LINE.search(str(error))
    line = int(at[1]) if at else text.count("\n") + 1
    message = _AT_LINE.sub("", str(error)).replace("(at end of document)", "").strip()
    if isinstance(error, RecursionError):
        line, message = 1, "it is nested too deeply"
    problems.add(line, "syntax", None, f"TOML ({message})")


class _TomlDocument:
    """Reads one parsed TOML document into a `CampaignBuilder`."""

    def __init__(
        self,
        document: dict[str, Any],
        lines: TomlPositions,
        builder: CampaignBuilder,
        templates: Templates,
    ) -> None:
        self.document = document
        self.lines = lines
        self.builder = builder
        self.templates = templates
        self.problems = builder.problems
        self.scenes: dict[str, RawFields] = {}
        self.faulty_scenes: set[str] = set()

    def read(self) -> None:
        """Read all tables, avatars first."""
        for name in self.document:
            if name not in (*_TABLES, *_SHARED):
                self.problems.add_unknown(self.lines.find(name), name, (*_TABLES, *_SHARED))
        self.templates.share(RawFields("", self.document, 1, self.lines.find))
        for raw in self.tables("avatars"):
            self.builder.avatar(raw)
        for raw in self.tables("scenes"):
            self.scene(raw)
        self.matrix()
        for raw in self.tables("looks"):
            self.single(raw)
        if not self.problems.found and not self.builder.campaign().items:
            self.problems.add(1, "file", None, "at least one avatar or look to make")

    def tables(self, name: str) -> list[RawFields]:
        """The tables of this array of tables, each as raw fields with its texts filled in."""
        found = self.document.get(name, [])
        if not isinstance(found, list):
            self.problems.add(self.lines.find(name), name, None, f"tables that begin with [[{name}]]")
            return []
        raws = []
        for index, values in enumerate(found):
            if isinstance(values, dict):
                raws.append(self.templates.fill(self.raw(f"{name}[{index + 1}]", values, name, index)))
            else:
                expected = f"tables that begin with [[{name}]]"
                self.problems.add(self.lines.find(name, index), f"{name}[{index + 1}]", values, expected)
        return raws

    def raw(self, shown: str, values: dict[str, Any], *path: str | int) -> RawFields:
        """A table as raw fields that know their lines."""
        return RawFields(shown, values, self.lines.find(*path), lambda field: self.lines.find(*path, field))

    def scene(self, raw: RawFields) -> None:
        """Check a scene (a look without an avatar) and keep it for the matrix."""
        before = len(self.problems.found)
        key = raw.values.get("key")
        if not is_key(key, PART_KEY):
            wanted = PART_FORM if key is not None else f"a key of your own: {PART_FORM}"
            self.problems.add(raw.line_of("key"), raw.field("key"), key, wanted)
        elif key in self.scenes:
            line = self.scenes[key].line
            expected = f"a key that is used once; line {line} has it already"
            self.problems.add(raw.line_of("key"), raw.field("key"), key, expected)
        fields.check_names(raw, _SCENE_FIELDS, self.problems)
        self.variations(raw, 1)
        fields.build(fields.EDIT, raw, self.problems, source="x")
        if isinstance(key, str):
            self.scenes.setdefault(key, raw)
            if len(self.problems.found) > before:
                self.faulty_scenes.add(key)

    def variations(self, raw: RawFields, default: int) -> int:
        """The number of looks to make of one scene."""
        value = raw.values.get("variations", default)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_VARIATIONS:
            expected = f"a whole number from 1 to {_MOST_VARIATIONS}"
            self.problems.add(raw.line_of("variations"), raw.field("variations"), value, expected)
            return default
        return value

    def matrix(self) -> None:
        """Read the matrix: every chosen avatar in every chosen scene."""
        values = self.document.get("matrix")
        if values is None:
            if self.scenes:
                line = next(iter(self.scenes.values())).line
                expected = "a table [matrix] (it may be empty): it puts the avatars into the scenes"
                self.problems.add(line, "scenes", None, expected)
            return
        line = self.lines.find("matrix")
        if not isinstance(values, dict):
            self.problems.add(line, "matrix", None, "one table that begins with [matrix]")
            return
        raw = self.raw("matrix", values, "matrix")
        fields.check_names(raw, _MATRIX_FIELDS, self.problems)
        raw = self.templates.fill(raw)
        fields.check_only(fields.EDIT, raw, self.problems, _DEFAULTS)
        avatars = self.chosen(raw, "avatars", [*self.builder.sources, *self.builder.faulty])
        scenes = self.chosen(raw, "scenes", list(self.scenes))
        variations = self.variations(raw, 1)
        usable = [key for key in scenes if key not in self.faulty_scenes]
        counts = {key: self.variations(self.scenes[key], variations) for key in usable}
        if len(avatars) * sum(counts.values()) > MOST_ITEMS:
            self.problems.add(line, "matrix", None, f"at most {MOST_ITEMS:,} looks in one file")
            return
        if not self.problems.found and not (avatars and scenes):
            self.problems.add(line, "matrix", None, "at least one avatar and one scene")
        defaults = {name: raw.values[name] for name in _DEFAULTS if name in raw.values}
        self.expand([key for key in avatars if key in self.builder.sources], counts, defaults)

    def expand(self, avatars: Sequence[str], counts: dict[str, int], defaults: dict[str, Any]) -> None:
        """Add the looks of the matrix, scene by scene, with the avatars in turn."""
        if self.problems.found:
            return
        for scene, count in counts.items():
            raw = self.scenes[scene]
            raw = raw._replace(values={**defaults, **raw.values})
            request = fields.build(fields.EDIT, raw, self.problems, source="x")
            if not isinstance(request, LookEdit):
                return
            for n in range(1, count + 1):
                for avatar in avatars:
                    self.builder.variation(raw, request, avatar, scene, n)

    def chosen(self, raw: RawFields, field: str, known: Sequence[str]) -> list[str]:
        """The keys that this field of the matrix names, or all known ones."""
        values = raw.values.get(field)
        if values is None:
            return list(known)
        if not isinstance(values, list) or not values:
            self.problems.add(raw.line_of(field), raw.field(field), values, f"a list of keys of {field}")
            return []
        good: list[str] = []
        for index, value in enumerate(values):
            name = raw.field(f"{field}[{index + 1}]")
            if not isinstance(value, str) or value not in known:
                hint = did_you_mean(value, known) if isinstance(value, str) else ""
                self.problems.add(raw.line_of(field), name, value, f"the key of one of the {field}{hint}")
            elif value in good:
                self.problems.add(raw.line_of(field), name, value, "each key only once")
            else:
                good.append(value)
        return good

    def single(self, raw: RawFields) -> None:
        """Add a single look."""
        fields.check_names(raw, _LOOK_FIELDS, self.problems)
        key = self.builder.claim(raw, raw.values.get("key"), ITEM_KEY)
        source = self.builder.source(raw)
        self.builder.look(raw, key, source)
