"""The floors of the house: imports point down, or stay on a floor without a circle.

The checker reads the sources and imports nothing. An import under ``TYPE_CHECKING`` does not count;
one inside a function does.
"""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

import hoox_async

ROOT = Path(hoox_async.__file__).parent
PACKAGE = "hoox_async"

# A module's floor is that of its longest prefix here. A new module of the top level needs a line.
FLOORS: Mapping[str, int] = {
    "errors": 0, "events": 0, "_protocols": 0, "_core.models": 0, "_core.requests": 0,
    "_core.frozen": 0, "_core.refs": 0, "_version": 0,
    "_core": 1,
    "_clock": 2, "_logs": 2, "_tasks": 2, "_hooks": 2, "_transport": 2, "_store": 2, "_gate": 2, "_slot": 2,
    "_shared_quota": 2,
    "_download": 2,
    "_parts": 3, "_reads": 3, "_jobs": 3, "_paid": 3, "_unknowns": 3, "_receiver": 3, "_watcher": 3,
    "_key_check": 3, "_opened": 3, "_session": 3,
    "_batch": 4, "_report": 4, "webhooks": 4, "sandbox": 4, "testing": 4,
    "": 5, "_cli": 5, "__main__": 5,
}  # fmt: skip

COMMAND = ("_cli", "__main__")
DOOR = {PACKAGE, f"{PACKAGE}.sandbox", f"{PACKAGE}.webhooks", f"{PACKAGE}.testing"}

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


def floor(module: str) -> int:
    """The floor of a module of the package. Raises `KeyError` for one that has none."""
    inner = module.removeprefix(PACKAGE).lstrip(".")
    prefix = inner
    while prefix and prefix not in FLOORS:
        prefix = prefix.rpartition(".")[0]
    if inner and not prefix:
        raise KeyError(f"{module} has no floor yet: give it one in FLOORS")
    return FLOORS[prefix]


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


def imported(module: str, source: str, modules: Iterable[str]) -> set[str]:
    """The dotted names that a module imports when it runs: a submodule where one of that name is known."""
    names: set[str] = set()
    for node in runtime_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
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
    """The imports that point upwards."""
    return [
        f"{module} (floor {floor(module)}) imports {other} (floor {floor(other)})"
        for module, others in edges(modules).items()
        for other in sorted(others)
        if floor(other) > floor(module)
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
    """What a module of the command line imports past the public door."""
    own = tuple(f"{PACKAGE}.{name}" for name in COMMAND)
    return [
        f"{module} imports {name}"
        for name in sorted(imported(module, source, modules))
        if name.split(".")[0] == PACKAGE and name not in DOOR and not name.startswith(own)
    ]


MODULES = read_modules()


def test_every_floor_is_there() -> None:
    """The checker sees the whole house: each floor has modules, and each module a floor."""
    assert {floor(module) for module in MODULES} == set(range(6))


def test_no_import_climbs() -> None:
    """No module imports from a floor above its own."""
    assert climbing(MODULES) == []


def test_no_circle() -> None:
    """The imports of the package make no circle."""
    assert circle(MODULES) == []


def test_errors_import_nothing() -> None:
    """`errors` stands on nothing but the standard library."""
    names = imported(f"{PACKAGE}.errors", MODULES[f"{PACKAGE}.errors"], MODULES)
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_core_is_pure() -> None:
    """`_core` imports and calls nothing that reads a clock, a disk, a socket, or the environment."""
    core = {name: source for name, source in MODULES.items() if name.startswith(f"{PACKAGE}._core.")}
    assert [bad for name, source in core.items() for bad in impurities(name, source, MODULES)] == []


def test_the_command_line_uses_the_public_door_only() -> None:
    """`_cli` and `__main__` import what any user may import, and each other."""
    inner = tuple(f"{PACKAGE}.{name}" for name in COMMAND)
    command = {name: source for name, source in MODULES.items() if name.startswith(inner)}
    assert command
    assert [bad for name, source in command.items() for bad in beyond_the_door(name, source, MODULES)] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from ._session import HooxSession", ["hoox_async._session"]),
        ("from . import _session", ["hoox_async._session"]),
        ("import hoox_async.webhooks.hub", ["hoox_async.webhooks.hub"]),
        ("def late() -> None:\n    from ._batch import BatchRunner", ["hoox_async._batch"]),
        (
            "class C:\n    try:\n        from .sandbox import Sandbox\n    except ImportError: ...",
            ["hoox_async.sandbox"],
        ),
        ("from hoox_async import HooxSession", ["hoox_async"]),
        ("from . import HooxSession", ["hoox_async"]),
        ("if TYPE_CHECKING:\n    from ._session import HooxSession", []),
        (
            "if typing.TYPE_CHECKING:\n    import x\nelse:\n    from ._jobs import LookJob",
            ["hoox_async._jobs"],
        ),
        ("from ._clock import Clock\nfrom .errors import HooxError", []),
    ],
)
def test_the_checker_sees_a_climbing_import(source: str, found: list[str]) -> None:
    """An upward import of any form is found, and a downward one or one for types is not."""
    modules = {**dict.fromkeys(_SKETCH, ""), "hoox_async._gate": source}
    assert climbing(modules) == [
        f"hoox_async._gate (floor 2) imports {name} (floor {floor(name)})" for name in found
    ]


_INNER = ("errors", "_clock", "_gate", "_jobs", "_session", "_batch", "sandbox", "webhooks", "webhooks.hub")
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
    "source", ["from hoox_async._batch import x", "from ..errors import x", "from .. import _jobs"]
)
def test_the_checker_sees_the_command_line_past_the_door(source: str) -> None:
    """A private module imported by the command line is found."""
    modules = {*_SKETCH, "hoox_async._cli", "hoox_async._cli.demo"}
    assert len(beyond_the_door("hoox_async._cli.demo", source, modules)) == 1


def test_a_module_without_a_floor_is_found() -> None:
    """A new module of the top level fails until it is given a floor."""
    with pytest.raises(KeyError, match="no floor yet"):
        floor("hoox_async._novelty.inner")
