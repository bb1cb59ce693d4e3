"""The public door: what ``hoox_async/__init__.py`` holds, and what importing it does not do."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import hoox_async

DOOR = Path(hoox_async.__file__)
SIDE_DOORS = ("hoox_async.webhooks", "hoox_async.sandbox", "hoox_async.testing")

# Names that programs outside this repository type.
PROMISED = """
    HooxSession Timeouts DEFAULT_TIMEOUT DefaultTimeout LookJob Budget Unknown
    PromptAvatar ImageAvatar LookEdit Style Format Resolution
    LookRef Look LookStatus LookDetails Avatar Picture QuotaSnapshot
    BatchRunner BatchItem BatchReport Estimate Outcome OutcomeState OutcomeStream
    RequestSent Answered Retried RequestFailed Paused LookAccepted LookSettled DeliveryReceived
    PictureSmaller
    HooxError ConfigurationError InvalidRequest KeyConflict BudgetExceeded SessionClosed NotSent
    ApiError BadRequest AuthenticationError InsufficientCredits PermissionDenied NotFound Conflict RateLimited
    OutcomeUnknown GenerationFailed WaitTimeout ServerError UnexpectedResponse TransportError
    StoreError StoreLocked StoreMismatch WebhookRejected Trouble
"""


def _body() -> list[ast.stmt]:
    body = ast.parse(DOOR.read_text(encoding="utf-8")).body
    assert ast.get_docstring(ast.Module(body, [])), "the door begins with a docstring"
    return body[1:]


def _sorted(names: Iterable[str]) -> list[str]:
    """As isort and ruff sort: constants first."""
    return sorted(names, key=lambda name: (not name.isupper(), name))


def _in_interpreter(program: str) -> Any:
    """Run the program in a fresh interpreter, strict about warnings; what it printed as JSON."""
    command = [sys.executable, "-B", "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_door_holds_imports_and_all_only() -> None:
    """`hoox_async/__init__.py` is imports and `__all__`, nothing else."""
    *imports, last = _body()
    assert all(isinstance(statement, ast.ImportFrom) for statement in imports)
    assert isinstance(last, ast.Assign)
    assert ast.unparse(last.targets[0]) == "__all__"


def test_all_is_sorted_and_names_what_is_imported() -> None:
    """`__all__` is sorted, without doubles, and says exactly what the imports bring in."""
    imports = [statement for statement in _body() if isinstance(statement, ast.ImportFrom)]
    brought = [alias.asname or alias.name for statement in imports for alias in statement.names]
    names = [name for name in brought if name != "annotations"]
    assert list(hoox_async.__all__) == _sorted(hoox_async.__all__)
    assert _sorted(names) == list(hoox_async.__all__)


def test_every_promised_name_is_there() -> None:
    """Each name that users type comes through the door."""
    assert set(PROMISED.split()) - set(hoox_async.__all__) == set()


def test_all_errors_and_events_come_through_the_door() -> None:
    """Whatever a user may have to catch or match can be imported from `hoox_async`."""
    for module in (hoox_async.errors, hoox_async.events):
        own = {
            name
            for name, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__ and not name.startswith("_")
        }
        assert own - set(hoox_async.__all__) == set()


@pytest.mark.parametrize("module", ["hoox_async", *SIDE_DOORS])
def test_every_name_can_be_imported(module: str) -> None:
    """What a door's `__all__` names is there, sorted, and none of it is private."""
    door = importlib.import_module(module)
    assert [name for name in door.__all__ if not hasattr(door, name)] == []
    assert list(door.__all__) == _sorted(door.__all__)
    assert [name for name in door.__all__ if name.startswith("_") and name != "__version__"] == []


def test_the_side_doors_hold_what_is_promised() -> None:
    """Hub, sandbox with its faults and charges, and the virtual loop have modules of their own."""
    promised = {
        "hoox_async.webhooks": {"WebhookHub"},
        "hoox_async.sandbox": {"Sandbox", "Fault", "Charge"},
        "hoox_async.testing": {"VirtualTimeLoop"},
    }
    for module, names in promised.items():
        assert names - set(importlib.import_module(module).__all__) == set()


@pytest.mark.slow
def test_importing_brings_no_extra() -> None:
    """`import hoox_async` imports nothing of the extras and no test tool."""
    loaded = _in_interpreter("import json, sys, hoox_async; print(json.dumps(sorted(sys.modules)))")
    unwanted = {"rich", "jinja2", "PIL", "cyclopts", "pytest", "hypothesis", "uvicorn", "httpx"}
    assert unwanted & set(loaded) == set()


@pytest.mark.slow
def test_importing_does_no_work() -> None:
    """`import hoox_async` starts no thread, no process and no connection, and writes no file."""
    program = """
import aiohttp, anyio, attrs, cattrs, itsdangerous
import asyncio, json, sys, threading
seen = []
def note(event, arguments):
    written = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if written or event.partition(".")[0] in ("socket", "subprocess", "sqlite3"):
        seen.append(event)
sys.addaudithook(note)
import hoox_async
print(json.dumps([seen, threading.active_count(), asyncio._get_running_loop() is None]))
"""
    assert _in_interpreter(program) == [[], 1, True]


@pytest.mark.slow
def test_importing_adds_no_log_handler() -> None:
    """The library logs to a logger of its own name and leaves handlers and levels to the program."""
    program = """
import json, logging, hoox_async
logger = logging.getLogger("hoox_async")
print(json.dumps([len(logging.root.handlers), [type(h).__name__ for h in logger.handlers], logger.level]))
"""
    roots, own, level = _in_interpreter(program)
    assert (roots, level) == (0, 0)
    assert set(own) <= {"NullHandler"}
