"""Imports between the rooms of the package point down to a lower floor, or to the left on the same floor.

The checker reads the sources and imports nothing. An import under ``TYPE_CHECKING`` does not count (only
`errors` may point up with one); an import inside a function does.
"""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

import hoox_async

ROOT = Path(hoox_async.__file__).parent
PACKAGE = "hoox_async"

# From the bottom to the top. A room imports from the floors below it and from the rooms to its left.
FLOORS: Sequence[Sequence[str]] = (
    ("_version", "errors", "_tracebacks", "_checks"),
    ("_api",),
    ("_core",),
    ("events", "_io", "webhooks"),
    ("_report", "_session"),
    ("_batch", "sandbox"),
    ("", "postgres"),  # "" is the public door, hoox_async/__init__.py
    ("testing", "_conformance"),
    ("_cli", "__main__"),
)

# The same rule inside `_session/`, from the bottom to the top.
SESSION: Sequence[Sequence[str]] = (
    ("database_window",),
    ("process_quota",),
    ("rate_limiter",),
    ("api_answers", "intents"),
    ("reads",),
    ("key_check", "jobs"),
    ("unknowns", "poller", "pictures"),
    ("deliveries",),
    ("submit",),
    ("health",),
    ("runtime",),
    ("session",),
)

# The command line, from the bottom up; what is not named here stands between `campaign` and `batch`.
CLI = {"request_fields": -1, "campaign": 0, "batch": 2, "commands": 3, "app": 4, "main": 5}

# These rooms import what any user may import. The command `check` alone imports `_conformance` too.
COMMAND, CONFORMANCE = ("_cli", "__main__"), ("_conformance",)
CHECK = f"{PACKAGE}._cli.commands.check"
# Rules that the command line or the check shares with other rooms, so that each is written once: what errors,
# digests and outcomes mean, formats for people, and how a file gets its name. No session and no store.
SHARED_RULES = tuple(
    f"{PACKAGE}.{name}"
    for name in (
        "_api.responses", "_checks", "_core.formatting", "_core.intents.keys", "_core.intents.outcomes",
        "_io.publishing", "_report.jsonl",
    )
)  # fmt: skip
DOOR = {PACKAGE, *(f"{PACKAGE}.{name}" for name in ("postgres", "sandbox", "testing", "webhooks"))}

# What `_core` may import: values and computation. Nothing that reads a clock, a disk, a socket, the
# environment or randomness, and no logging.
PURE_STDLIB = {
    "__future__", "abc", "base64", "binascii", "bisect", "collections", "contextlib", "copy",
    "dataclasses", "datetime", "decimal", "email.utils", "enum", "fractions", "functools", "hashlib",
    "heapq", "hmac", "html", "http", "ipaddress", "itertools", "json", "math", "numbers", "operator",
    "re", "statistics", "string", "struct", "textwrap", "types", "typing", "unicodedata",
    "urllib.parse",
}  # fmt: skip
PURE_LIBRARIES = {"attrs", "cattrs", "itsdangerous"}
IMPURE_CALLS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "open", "print", "input",
}  # fmt: skip


def read_modules() -> dict[str, str]:
    """Every module of the package by its dotted name, with its source."""
    modules = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = (PACKAGE, *path.relative_to(ROOT).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules[name] = path.read_text(encoding="utf-8")
    return modules


def is_package(module: str, modules: Iterable[str]) -> bool:
    """Whether a module has modules below it (or is the root)."""
    return module == PACKAGE or any(other.startswith(f"{module}.") for other in modules)


def place(name: str, floors: Sequence[Sequence[str]]) -> tuple[int, int]:
    """The floor of a room and its place on it. Raises `KeyError` for a room that has none."""
    for number, rooms in enumerate(floors):
        if name in rooms:
            return number, rooms.index(name)
    raise KeyError(f"{name!r} has no floor yet: give it one in FLOORS or SESSION")


def room(module: str) -> str:
    """The room of a module: the first name below the package, "" for the package itself."""
    return module.removeprefix(PACKAGE).lstrip(".").split(".")[0]


def allowed(module: str, other: str) -> bool:
    """Whether the first module may import the second one."""
    here, there = room(module), room(other)
    if here != there:
        return place(there, FLOORS) < place(here, FLOORS)
    inner, target = module.split(".")[2:3], other.split(".")[2:3]
    if here == "_cli":
        return _allowed_in_cli(module.split(".")[2:], other.split(".")[2:])
    if here != "_session":
        return True
    if not inner or inner == target:  # the room's own `__init__` may import all of it
        return True
    return bool(target) and place(target[0], SESSION)[0] <= place(inner[0], SESSION)[0]


def _allowed_in_cli(inner: Sequence[str], target: Sequence[str]) -> bool:
    """Whether one part of the command line may import the other; a command imports no other command."""
    if not inner or not target:  # the room's own `__init__`
        return not inner
    here, there = CLI.get(inner[0], 1), CLI.get(target[0], 1)
    if inner[0] == target[0]:
        return inner[0] != "commands" or target == ["commands"]
    return there < here or (there == here == 1)


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under ``if TYPE_CHECKING:``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).removeprefix("typing.") == "TYPE_CHECKING":
            for other in node.orelse:
                yield other
                yield from runtime_nodes(other)
            continue
        yield node
        yield from runtime_nodes(node)


@cache
def imports(source: str) -> Sequence[ast.Import | ast.ImportFrom]:
    """The imports that a source executes when it runs."""
    nodes = runtime_nodes(ast.parse(source))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


def imported(module: str, source: str, modules: Iterable[str]) -> set[str]:
    """The dotted names that a module imports when it runs: a submodule where one of that name is known."""
    names: set[str] = set()
    for node in imports(source):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        else:
            base = _absolute(module, node, modules)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                names.add(inner if inner in modules else base)
    return names


def _absolute(module: str, node: ast.ImportFrom, modules: Iterable[str]) -> str:
    if not node.level:
        return node.module or ""
    up = node.level - is_package(module, modules)
    parts = module.split(".")
    return ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])


def edges(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Who imports whom, inside the package."""
    graph = {}
    for module, source in modules.items():
        names = imported(module, source, modules)
        graph[module] = {name for name in names if name.split(".")[0] == PACKAGE} - {module}
    return graph


def climbing(modules: Mapping[str, str]) -> list[str]:
    """The imports that point up, or to the right."""
    return [
        f"{module} imports {other}"
        for module, others in edges(modules).items()
        for other in sorted(others)
        if not allowed(module, other)
    ]


def circle(modules: Mapping[str, str]) -> list[str]:
    """One circle of imports, if there is any."""
    try:
        graphlib.TopologicalSorter(edges(modules)).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def impurities(module: str, source: str, modules: Iterable[str]) -> list[str]:
    """What a module of `_core` imports or calls that is not pure."""
    names = imported(module, source, modules)
    bad = [f"{module} imports {name}" for name in sorted(names) if not _is_pure(name)]
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    made = (".".join(ast.unparse(call.func).split(".")[-2:]) for call in calls)
    return bad + [f"{module} calls {name}()" for name in made if name in IMPURE_CALLS]


def _is_pure(name: str) -> bool:
    top = name.split(".")[0]
    if top == PACKAGE or top in PURE_LIBRARIES:
        return True
    return any(name == known or name.startswith(f"{known}.") for known in PURE_STDLIB)


def beyond_the_door(module: str, source: str, modules: Iterable[str]) -> list[str]:
    """What a module of the command line, or of the check, imports past the public door and `SHARED_RULES`."""
    rooms = (CONFORMANCE if room(module) in CONFORMANCE else COMMAND) + CONFORMANCE * (module == CHECK)
    own = tuple(f"{PACKAGE}.{name}" for name in rooms)
    return [
        f"{module} imports {name}"
        for name in sorted(imported(module, source, modules))
        if name.split(".")[0] == PACKAGE and name not in (*DOOR, *SHARED_RULES) and not name.startswith(own)
    ]


MODULES = read_modules()


def test_every_module_has_a_floor() -> None:
    """Each room of the package is on a floor, and each module of `_session` has its place in that order."""
    for module in MODULES:
        place(room(module), FLOORS)
    inner = {name.split(".")[2] for name in MODULES if name.startswith(f"{PACKAGE}._session.")}
    assert inner == {name for group in SESSION for name in group}


def test_no_import_points_up() -> None:
    """No module imports from a floor above its own."""
    assert climbing(MODULES) == []


def test_no_imports_are_circular() -> None:
    """The imports of the package make no circle."""
    assert circle(MODULES) == []


def test_errors_import_nothing() -> None:
    """`errors` imports only the standard library."""
    names = imported(f"{PACKAGE}.errors", MODULES[f"{PACKAGE}.errors"], MODULES)
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_api_and_core_are_pure() -> None:
    """`_api` and `_core` import and call nothing that reads a clock, a disk, a socket or the environment."""
    pure = (f"{PACKAGE}._api", f"{PACKAGE}._core")
    core = {name: source for name, source in MODULES.items() if name.startswith(pure)}
    assert core
    assert [bad for name, source in core.items() for bad in impurities(name, source, MODULES)] == []


def test_the_check_knows_no_terminal() -> None:
    """The check returns facts and asks through a callable: it writes nothing and reads no input itself."""
    for module, source in read_modules().items():
        if room(module) in CONFORMANCE:
            calls = {node.func.id for node in ast.walk(ast.parse(source))
                     if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
            assert not calls & {"print", "input"}, module
            roots = {name.partition(".")[0] for name in imported(module, source, ())}
            assert not roots & {"sys", "rich", "cyclopts", "getpass", "shutil"}, module


@pytest.mark.parametrize("rooms", [COMMAND, CONFORMANCE])
def test_the_command_line_and_the_check_use_the_public_door_only(rooms: Sequence[str]) -> None:
    """They import what any user may, the shared rules, and each other; the check knows no command line."""
    inner = {name: source for name, source in MODULES.items() if room(name) in rooms}
    assert inner
    assert [bad for name, source in inner.items() for bad in beyond_the_door(name, source, MODULES)] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from ._batch import BatchRunner", ["hoox_async._batch"]),
        ("from . import _batch", ["hoox_async._batch"]),
        ("import hoox_async.sandbox", ["hoox_async.sandbox"]),
        ("def late() -> None:\n    from ._batch import BatchRunner", ["hoox_async._batch"]),
        (
            "class C:\n    try:\n        from .sandbox import Sandbox\n    except ImportError: ...",
            ["hoox_async.sandbox"],
        ),
        ("from hoox_async import HooxSession", ["hoox_async"]),
        ("from . import HooxSession", ["hoox_async"]),
        ("if TYPE_CHECKING:\n    from ._batch import BatchRunner", []),
        (
            "if typing.TYPE_CHECKING:\n    import x\nelse:\n    from ._session.jobs import LookJob",
            ["hoox_async._session.jobs"],
        ),
        ("from ._core import retry\nfrom .errors import HooxError\nfrom .errors import StoreError", []),
    ],
)
def test_the_checker_sees_a_climbing_import(source: str, found: list[str]) -> None:
    """An import from a floor above, of any form, is found; one from below or for types only is not."""
    modules = {**dict.fromkeys(_SKETCH, ""), "hoox_async._io": source}
    assert climbing(modules) == [f"hoox_async._io imports {name}" for name in found]


def test_the_checker_sees_an_import_to_the_right() -> None:
    """Within a floor, and inside `_session`, an import from a later place is found."""
    modules = {
        "hoox_async._io": "from .webhooks import hub",
        "hoox_async.webhooks": "",
        "hoox_async._session.reads": "from .submit import Submitter",
        "hoox_async._session.submit": "from .reads import Reads",
    }
    assert climbing(modules) == [
        "hoox_async._io imports hoox_async.webhooks",
        "hoox_async._session.reads imports hoox_async._session.submit",
    ]


_INNER = (
    "errors",
    "_core",
    "_core.retry",
    "_io",
    "_session",
    "_session.jobs",
    "_batch",
    "sandbox",
    "webhooks",
)
_SKETCH = ("hoox_async", *(f"hoox_async.{name}" for name in _INNER))


def test_the_checker_sees_a_circle() -> None:
    """Two modules of one floor that import each other are found, also inside a package."""
    pair = {"hoox_async._jobs": "from ._paid import a", "hoox_async._paid": "def f():\n from ._jobs import b"}
    assert set(circle(pair)) == set(pair)
    package = {"hoox_async._store": "from .memory import M", "hoox_async._store.memory": "from . import N"}
    assert set(circle(package)) == set(package)


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import asyncio",
        "from os import path",
        "import logging.handlers",
        "from pathlib import Path",
        "import random",
        "import aiohttp",
        "from anyio import to_thread",
        "import urllib.request",
        "moment = datetime.now(UTC)",
        "datetime.datetime.utcnow()",
        "open('x')",
    ],
)
def test_the_checker_sees_impurity(source: str) -> None:
    """A clock, a disk, a socket, randomness or a log in `_core` is found."""
    assert len(impurities("hoox_async._core.wire", source, ["hoox_async._core.wire"])) == 1


@pytest.mark.parametrize(
    "source", ["from hoox_async._batch import x", "from ..errors import x", "from .. import _batch"]
)
def test_the_checker_sees_the_command_line_past_the_door(source: str) -> None:
    """A private module imported by the command line is found."""
    modules = {*_SKETCH, "hoox_async._cli", "hoox_async._cli.demo"}
    assert len(beyond_the_door("hoox_async._cli.demo", source, modules)) == 1


def test_a_module_without_a_floor_is_found() -> None:
    """A new module of the top level fails until it is given a floor."""
    with pytest.raises(KeyError, match="no floor yet"):
        place(room("hoox_async._novelty.inner"), FLOORS)
