"""Each parameter of the public door is given what it can't use: a clear error, before anything is sent.

The walk finds a new function, class, method or parameter by itself. It gives each parameter the values of
`POOL`. One that the annotation rules out raises an `InvalidRequest` or a `ConfigurationError` that names the
parameter, and nothing is sent or written. Any other value is accepted or raises a `HooxError`; if that is one
of these two, it names the parameter.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import math
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import FunctionType, UnionType
from typing import Any, Literal, NamedTuple, Self, TypeVar, Union, get_args, get_origin

import pytest
from frozen_door_kit import SIDE_DOORS, _members, is_inner

from hoox_async import (
    BatchReport,
    BatchRunner,
    Budget,
    ConfigurationError,
    Costs,
    Event,
    HooxError,
    HooxSession,
    ImageAvatar,
    InvalidRequest,
    LookRef,
    OutcomeStream,
    OutcomeUnknown,
    Picture,
    PromptAvatar,
)
from hoox_async.postgres import PostgresDatabase
from hoox_async.sandbox import DeliveryOptions, Fault, InProcessTransport, Sandbox, Space
from hoox_async.webhooks import WebhookHub

KEY, URL, SECRET = "hx_live_marked", "https://x.example/a.jpg", "s" * 16
DATABASE = "postgresql://nobody@/none?host=/no/such/folder"

# Not called: what the library makes and users are given, so that nothing checks it when it is made.
GIVEN = """
    Avatar Charge CopyResult Costs Estimate Look LookDetails LookJob Outcome OutcomeStream Picture Progress
    PrunedRequest QuotaSnapshot RecordedAnswer SessionHealth Unknown
"""
# Not called: the runner checks an item, and reports one that is invalid as REJECTED. A session calls the
# methods of a transport, and `logging` calls a filter.
CHECKED_LATER = """
    BatchItem RedactTokens
    InProcessTransport.send InProcessTransport.fetch RecordingTransport.send RecordingTransport.fetch
"""
# How a message names a parameter, where it does so in other words.
NAMED_AS = {"text": "ref", "api_key": "API key"}

POOL: list[Any] = [
    None, True, 0, 3, -1, 10**400, -(10**400), 10**5000, math.nan, math.inf, -math.inf,
    Decimal("NaN"), Decimal("Infinity"), Decimal(-1), "3", "", " ", "a\0b", "\ud800", "x" * 100_000, b"x",
    Path("a\0b"), [], [None], [3], {}, {1: None}, {"a": 3}, object(), print, LookRef,
]  # fmt: skip
OF_TWO = "the sandbox is not running|a store is copied between"  # not of one parameter alone
SETTLING = ("HooxSession.resolve", "HooxSession.resend", "HooxSession.drop")
NO_PATHS = ("", " ", "a\0b", "\ud800")
ORDINARY = (None, True, 3, "3")  # where an annotation allows them, other tests use them


class Call(NamedTuple):
    """A function, a class, or a method of ``owner``, with its module and its parameters."""

    name: str
    function: Any
    owner: type | None = None

    @property
    def parameters(self) -> list[inspect.Parameter]:
        """Those that are given by name."""
        given = inspect.signature(self.function).parameters.values()
        kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        return [one for one in given if one.name not in ("self", "cls") and one.kind not in kinds]


def calls() -> Iterator[Call]:
    """All that can be called through the door."""
    for side in ("", *(f".{side}" for side in SIDE_DOORS if side not in ("errors", "events"))):
        door = importlib.import_module(f"hoox_async{side}")
        for name in door.__all__:
            value = getattr(door, name)
            if isinstance(value, FunctionType):
                yield Call(name, value)
            elif isinstance(value, type) and not issubclass(value, Enum | BaseException):
                if name not in GIVEN.split() and value not in get_args(Event):
                    yield Call(name, value)
                for own, method in _members(value).items():
                    if isinstance(method, FunctionType):
                        yield Call(f"{name}.{own}", method, value)


CALLS = {
    call.name: call
    for call in calls()
    if call.name not in CHECKED_LATER.split() and not is_inner(f"call {call.name}(") and call.parameters
}


class World:
    """An open session on a workspace with a ready look and an unknown, and an object of each class."""

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        space = self.space = Space(duration=lambda *_: 0.0, requests_per_minute=None)
        transport = InProcessTransport(space, latency=0, connect=0)
        session = HooxSession(space.api_key, transport=transport, requests_per_minute=60_000)
        await self._stack.enter_async_context(session)
        job = await session.submit(ImageAvatar([URL]), key="made")
        look = await session.status(job)
        space.faults.fail_next("create", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown):
            await session.submit(PromptAvatar("x"), key="lost")
        sandbox = Sandbox()
        sandbox.space = space
        self.objects: Mapping[type, Any] = {
            type(one): one
            for one in (session, job, BatchRunner(session), BatchReport([]), Budget(10), sandbox, space,
                        PostgresDatabase(DATABASE), Picture(b"", "image/jpeg"), transport,
                        WebhookHub("https://x.example", SECRET))
        } | {kind: kind for kind in (Costs, Fault, LookRef)}  # fmt: skip
        # what a parameter of this name is given that has no default
        self.given: dict[str, Any] = {
            "api_key": KEY, "avatar_id": look.avatar_id, "body": b"", "by": "kind", "chunks": _no_chunks(),
            "code": 503, "count": 1, "credits": 1, "ending": "ready", "endpoint": "edit",
            "fault": Fault.HANG, "folder": "sheet", "hook": print, "image_urls": [URL], "key": "lost",
            "look": look, "look_id": look.look_id, "max_credits": 1, "name": "a", "now": 0.0,
            "older_than": timedelta(1),
            "options": DeliveryOptions(), "outcomes": [], "path": "there.file", "path_or_folder": "a.jpg",
            "prompt": "x", "public_url": URL, "ref": look.ref, "request": ImageAvatar([URL]), "requests": [],
            "role": "me", "rows": [], "schema": "hoox", "seconds": 1.0, "session": session,
            "source": "here.db", "space": space, "spent": True, "state": "ready", "store": "here.db",
            "target": DATABASE, "text": str(look.ref), "token": "x", "url": DATABASE, "workspace": "default",
        }  # fmt: skip
        # what one of these is given instead, or although it has a default
        self.given_to: dict[tuple[str, str], Any] = {
            ("LookEdit", "source"): look.ref,
            ("HooxSession.edit_look", "source"): look.ref,
            ("Sandbox.forge", "body"): {},
            ("Sandbox.forge", "url"): URL,
            ("backup_store", "target"): "there.db",
            ("HooxSession.run", "key"): "made",
            ("HooxSession.run", "budget"): Budget(100),
        }
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def run(self, call: Call, name: str, value: object) -> None:
        """Call it with this value for one parameter, and with right ones for those that need one."""
        needed = {one.name: self.given[one.name] for one in call.parameters if one.default is one.empty}
        own = {key[1]: right for key, right in self.given_to.items() if key[0] == call.name}
        function = call.function
        if call.owner is not None:
            function = getattr(self.objects[call.owner], call.name.partition(".")[2])
        result = function(**{**needed, **own, name: value})
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, OutcomeStream):
            await result.aclose()


async def _no_chunks() -> AsyncIterator[bytes]:
    yield b""


# --- annotations


class _Names(dict[str, Any]):
    """The names that an annotation can use. One that is imported for types only can be anything."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, Any)


def kinds_of(annotation: Any, module: str) -> tuple[Any, ...]:
    """The types that an annotation allows."""
    if isinstance(annotation, str):
        annotation = eval(annotation, {}, _Names(vars(sys.modules[module])))
    if get_origin(annotation) in (Union, UnionType):
        return tuple(kind for one in get_args(annotation) for kind in kinds_of(one, module))
    return (annotation,)


def may_be_right(value: Any, kinds: tuple[Any, ...]) -> bool:
    """Whether a parameter of these types can take the value."""
    if any(get_origin(kind) is os.PathLike for kind in kinds) and isinstance(value, str | Path):
        return str(value) not in NO_PATHS
    return any(_fits(value, get_origin(kind) or kind, get_args(kind)) for kind in kinds)


def _fits(value: Any, kind: Any, inner: tuple[Any, ...]) -> bool:
    if kind in (Any, object) or isinstance(kind, TypeVar):
        return True
    if kind is Literal:
        return value in inner
    if kind is Decimal and value == "3":
        return True
    if kind in (int, float, Decimal):
        allowed: Any = {int: int, float: int | float, Decimal: int | Decimal}[kind]
        return isinstance(value, allowed) and not isinstance(value, bool) and value == value
    if kind is Callable or not isinstance(kind, type):
        return callable(value)
    if issubclass(kind, Enum):
        return value in [member.value for member in kind]
    is_ours = kind.__module__.startswith("hoox_async")
    if getattr(kind, "_is_protocol", False) and is_ours:
        return hasattr(value, "ref")
    return isinstance(value, kind)


# --- the walk


async def problem_of(
    world: World, call: Call, parameter: inspect.Parameter, value: object, *, is_wrong: bool
) -> str | None:
    """What is wrong with what happens; None where nothing is."""
    sent, there = len(world.space.requests), sorted(Path().rglob("*"))
    try:
        await world.run(call, parameter.name, value)
    except HooxError as error:
        names = rf"\b({parameter.name}|{NAMED_AS.get(parameter.name)})\b"
        if not is_wrong and re.search(OF_TWO, str(error)):
            return None
        is_bad_input = isinstance(error, InvalidRequest | ConfigurationError)
        if (is_wrong or is_bad_input) and not (is_bad_input and re.search(names, str(error))):
            return f"the error does not name the parameter: {error!r}"
    except KeyError as error:  # documented, for a look that the sandbox does not have
        return repr(error) if is_wrong or parameter.name != "ref" else None
    except OSError as error:  # documented, for a path that the file system does not take
        return None if isinstance(value, str) and len(value) > 1000 else repr(error)
    except Exception as error:
        return repr(error)[:200]
    else:
        return "it was accepted" if is_wrong else None
    if is_wrong and len(world.space.requests) != sent:
        return "a request was sent"
    return "a file was written" if is_wrong and sorted(Path().rglob("*")) != there else None


@pytest.mark.parametrize("name", CALLS)
async def test_what_a_parameter_cannot_use_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that a parameter can't use raises an error that names it; nothing is sent or written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOOX_API_KEY", KEY)
    monkeypatch.setenv("HOOX_WEBHOOK_SECRET", SECRET)
    call, problems = CALLS[name], []
    world = await World().__aenter__()
    for parameter in call.parameters:
        kinds = kinds_of(parameter.annotation, inspect.unwrap(call.function).__module__)
        for value in POOL:
            is_wrong = not may_be_right(value, kinds)
            if not is_wrong and any(value is one for one in ORDINARY):
                continue
            problem = await problem_of(world, call, parameter, value, is_wrong=is_wrong)
            if problem:
                shown = repr(value)[:40] if type(value) is not int else f"{value.bit_length()} bits"
                problems.append(f"{call.name}({parameter.name}={shown}): {problem}")
            if not is_wrong and name in SETTLING:
                await world.__aexit__()
                world = await World().__aenter__()
    await world.__aexit__()
    assert not problems, "\n" + "\n".join(problems)


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A folder where a file is meant is named before anything is written."""
    with pytest.raises(InvalidRequest, match=r"path: .* expected the path of a file, not of a folder"):
        await BatchReport([]).to_jsonl(tmp_path)
    assert list(tmp_path.iterdir()) == []
