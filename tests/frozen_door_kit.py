"""What the public door is now, one line a fact: the left side of the comparison with ``frozen_door.txt``.

There is on purpose no command that writes that file.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from enum import Enum
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import attrs
import pytest

import hoox_async
from hoox_async import LookEdit, Outcome, OutcomeState
from hoox_async._cli import selection
from hoox_async._cli.app import build
from hoox_async._cli.campaign import builder, rows, toml_file
from hoox_async._cli.commands import unknowns
from hoox_async._cli.exit_codes import Exit
from hoox_async._io.ledger import postgres_schema, sqlite_schema
from hoox_async._report.jsonl import outcome_record
from hoox_async.errors import HooxError

FROZEN = Path(__file__).parent / "door" / "frozen_door.txt"
SIDE_DOORS = ("errors", "events", "postgres", "sandbox", "testing", "webhooks")
_PACKAGE = Path(hoox_async.__file__).parent


@cache
def frozen(*kinds: str) -> tuple[str, ...]:
    """The lines of the file that begin with one of these words; without any all. Comments are left out."""
    lines = [line for line in FROZEN.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    return tuple(line for line in lines if not kinds or line.partition(" ")[0] in kinds)


def is_inner(line: str) -> bool:
    """Whether the file says of what this line describes that it is not promised."""
    subject = line.partition(" ")[2].partition("(")[0].removeprefix("hoox_async.errors.")
    return f"inner {subject}" in frozen("inner")


# --- Python


def names() -> Iterator[str]:
    """What is imported, from which module, with signatures, members of enums, and fields."""
    seen: set[str] = set()
    for door in ("hoox_async", *(f"hoox_async.{side}" for side in SIDE_DOORS)):
        module = importlib.import_module(door)
        for name in getattr(module, "__all__", None) or _own_names(module):
            yield f"name {door}.{name}"
            if name not in seen:
                seen.add(name)
                yield from _described(name, getattr(module, name))


def _own_names(module: ModuleType) -> list[str]:
    """The public classes and functions of a module without ``__all__``, and its documented aliases."""
    found = vars(module)
    own = {name for name in found if getattr(found[name], "__module__", "") == module.__name__}
    aliases = {"Charged", "Event", "Hook"} & found.keys()
    return sorted(name for name in own | aliases if not name.startswith("_"))


def _described(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, type):
        if callable(value) and isinstance(value, FunctionType):
            yield f"call {name}{_signature(value)}"
        return
    if issubclass(value, Enum):
        yield from (f"enum {name}.{member.name} = {member.value!r}" for member in value)
        return
    if issubclass(value, HooxError):
        bases = ", ".join(base.__name__ for base in value.__bases__)
        yield f"error {name}({bases}) charged {value.charged}"
    if not issubclass(value, HooxError) or "__init__" in vars(value):
        yield f"call {name}{_signature(value)}"
    constants = (member for member, found in vars(value).items() if isinstance(found, value))
    yield from (f"read {name}.{member}" for member in constants)
    for member, found in sorted(_members(value).items()):
        if isinstance(found, property | attrs.Attribute):
            yield f"read {name}.{member}"
        else:
            yield f"call {name}.{member}{_signature(found)}"


def _members(kind: type) -> dict[str, Any]:
    """The public methods and properties that a class or a base of it in the package defines.

    What a base from elsewhere has, such as an event loop, is promised by that.
    """
    found: dict[str, Any] = {}
    own = [base for base in reversed(kind.__mro__) if base.__module__.startswith("hoox_async")]
    others = [base for base in kind.__mro__ if base not in own]
    for base in own:
        for name, value in vars(base).items():
            plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            is_new = not name.startswith("_") and not any(hasattr(other, name) for other in others)
            if is_new and isinstance(plain, FunctionType | property):
                found[name] = plain
    for field in attrs.fields(kind) if attrs.has(kind) else ():
        if not field.init and not field.name.startswith("_"):
            found[field.name] = field
    return found


def _signature(function: Callable[..., Any]) -> str:
    """Names, kinds and defaults of the parameters. Their types are checked by ``tests/typing/door.py``."""
    signature = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=parameter.empty, default=_Shown.of(parameter))
        for parameter in signature.parameters.values()
        if parameter.name not in ("self", "cls")
    ]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))


_LONGEST = 80  # characters


class _Shown:
    """A default whose repr is the same on each Python."""

    def __init__(self, default: object) -> None:
        self.default = default

    @classmethod
    def of(cls, parameter: inspect.Parameter) -> Any:
        return parameter.empty if parameter.default is parameter.empty else cls(parameter.default)

    def __repr__(self) -> str:
        default = self.default
        shown = f"{type(default).__name__}.{default.name}" if isinstance(default, Enum) else repr(default)
        return "..." if default is attrs.NOTHING or len(shown) > _LONGEST else shown


# --- the command line


def commands() -> Iterator[str]:
    """Each command's arguments and flags with their defaults, and the exit codes."""
    yield from (f"exit {code.value} {code.name}" for code in Exit)
    yield from _commands(build(), ())


def _commands(app: Any, path: tuple[str, ...]) -> Iterator[str]:
    for name in app:
        if name.startswith("-"):
            continue
        command, words = app[name], (*path, name)
        if command.default_command is not None and name != "--install-completion":
            yield f"command {' '.join(words)}"
            for argument in command.assemble_argument_collection():
                if argument.name != "*":  # a group of flags, which follow
                    yield f"flag {' '.join(words)} {' '.join(argument.names)}{_default(argument)}"
        yield from _commands(command, words)


def _default(argument: Any) -> str:
    default = argument.field_info.default
    shown = "required" if argument.required else default if isinstance(default, Path) else repr(default)
    return f" {shown}"


def campaigns() -> Iterator[str]:
    """The fields of campaign files: the tables of TOML, the columns of CSV, the names of JSON lines."""
    for table, fields in {
        "": (*toml_file._TABLES, *toml_file._SHARED),
        "avatars": sorted(builder._AVATAR_FIELDS),
        "scenes": toml_file._SCENE_FIELDS,
        "matrix": toml_file._MATRIX_FIELDS,
        "looks": toml_file._LOOK_FIELDS,
    }.items():
        yield from (f"toml {table}.{name}".replace(" .", " ") for name in fields)
    yield from (f"csv {name}" for name in (*rows._COLUMNS, *(f"{name}.NAME" for name in rows._NAMED)))
    yield from (f"jsonl {name}" for name in rows.NAMES)
    yield from (f"format {text}" for text in (selection.PICKS_FORMAT, unknowns.DECISIONS_FORMAT))


# --- the rest


def lines_of_reports() -> Iterator[str]:
    """The fields of a line of `BatchReport.to_jsonl`."""
    outcome = Outcome("a", LookEdit("avtr_1:look_1", "x"), OutcomeState.UNSENT, error=HooxError("x"))
    record = outcome_record(outcome)
    for name in ("", "error", "request"):
        fields = record if not name else record[name]
        yield f"line {name or 'outcome'}: {' '.join(sorted(fields))}"


def surroundings(config: pytest.Config) -> Iterator[str]:
    """The pytest plugin, the environment's variables, and the number of the schema."""
    plugin = config.pluginmanager.get_plugin("hoox_async")
    fixtures = (name for name, value in vars(plugin).items() if "Fixture" in type(value).__name__)
    yield from (f"fixture {name}" for name in fixtures if not name.startswith("_"))
    markers = (line.partition(":")[0] for line in config.getini("markers"))
    yield from (f"marker {line}" for line in markers if line.startswith("hoox_"))
    options = (name for name in vars(config.option) if name.startswith("hoox"))
    yield from (f"option --{name.replace('_', '-')}" for name in options)
    yield from (f"variable {name}" for name in sorted(_variables()))
    yield f"schema sqlite {max(sqlite_schema.MIGRATIONS)}"
    yield f"schema postgresql {max(migration.version for migration in postgres_schema.MIGRATIONS)}"


def _variables() -> set[str]:
    return _found(r'"(HOOX_[A-Z_]+)"', _PACKAGE)


def _found(pattern: str, folder: Path) -> set[str]:
    files = folder.rglob("*.py")
    return {word for file in files for word in re.findall(pattern, file.read_text(encoding="utf-8"))}


def fits(record: dict[str, Any]) -> bool:
    """Whether the file has this event with these fields; those with a question mark may be left out."""
    for line in frozen("json"):
        event, _, fields = line.removeprefix("json ").partition(": ")
        needed = {field for field in fields.split() if not field.endswith("?")}
        known = {field.removesuffix("?") for field in fields.split()}
        if event == record["event"]:
            return needed <= record.keys() - {"event"} <= known
    return False


def recorded_events() -> set[str]:
    """The events of JSON lines that commands write, by the text of their calls."""
    return {"error", *_found(r'terminal\.record\(\s*"(\w+)"', _PACKAGE / "_cli")}
