"""Helpers of the secrets tests: marked secrets, a foreign server, and the places that may hold no secret."""

from __future__ import annotations

import asyncio
import gc
import logging
import sqlite3
import traceback
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import hoox_async

KEY = "hx_live_MARKEDKEY0123456789abcdefMARKED"
SECRET = "MARKED-webhook-secret-0123456789abcdef"
PACKAGE = str(Path(hoox_async.__file__).parent)
_LIBRARIES = ("aiohttp", "site-packages", "asyncio")


class Secrets:
    """What may not be found: the key, the webhook secret, and each webhook token once it is known."""

    def __init__(self) -> None:
        self.needles = {"the API key": KEY, "the webhook secret": SECRET}

    def add_tokens(self, requests: Iterable[Any]) -> int:
        """The signatures of the tokens in these requests' webhook URLs. Returns their number."""
        before = len(self.needles)
        for request in requests:
            url = request.body.get("webhook_url") if isinstance(request.body, dict) else None
            if url is not None and url.rpartition("/")[2].count("."):
                self.needles[f"the signature of token {len(self.needles)}"] = url.rpartition(".")[2]
        return len(self.needles) - before

    def found_in(self, where: str, text: str | bytes) -> list[str]:
        """The secrets that are in this text."""
        data = text.encode("utf-8", "replace") if isinstance(text, str) else text
        return [f"{name} in {where}" for name, needle in self.needles.items() if needle.encode() in data]

    def absent(self, places: Iterable[tuple[str, str | bytes]]) -> int:
        """Fail if a secret is found. Returns the number of searched places."""
        count, found = 0, []
        for where, text in places:
            count += 1
            found += self.found_in(where, text)
        assert not found, found
        return count


class Elsewhere:
    """A server on another port, which is another host for a client. It keeps each byte that it receives."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer each request with a small picture."""
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.received += head
                writer.write(_ANSWER)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self.received += getattr(error, "partial", b"")
        finally:
            writer.transport.abort()


def _picture() -> bytes:
    from PIL import Image

    data = BytesIO()
    Image.new("RGB", (8, 8), "teal").save(data, "JPEG")
    return data.getvalue()


PICTURE = _picture()
"""A small JPEG."""
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(PICTURE) + PICTURE
)


@asynccontextmanager
async def elsewhere() -> AsyncIterator[Elsewhere]:
    """A running `Elsewhere`."""
    other = Elsewhere()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(other.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    other.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield other
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# --- places


def logged(records: Iterable[logging.LogRecord]) -> Iterator[tuple[str, str]]:
    """Each log record as it is formatted, and all its fields."""
    formatter = logging.Formatter()
    for record in records:
        yield f"the log of {record.name}", formatter.format(record)
        yield f"a log record of {record.name}", repr(record.__dict__)


def error_texts(errors: Iterable[BaseException]) -> Iterator[tuple[str, str]]:
    """All that an error shows: itself, its chain with suppressed ones, and its tracebacks.

    The traceback that is shown is taken with the locals of the library's and of its dependencies' frames,
    as reporters of errors do.
    """
    for error in errors:
        name = type(error).__name__
        yield f"{name}, with locals", _with_locals(error)
        for link in _chain(error):
            where = f"{name} by way of {type(link).__name__}"
            yield where, "".join(traceback.format_exception(link))
            yield where, repr(link)
            yield where, repr((link.args, getattr(link, "__notes__", ()), link.__dict__))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: dict[int, BaseException] = {}
    todo: list[BaseException | None] = [error]
    while todo:
        link = todo.pop()
        if link is not None and id(link) not in seen:
            seen[id(link)] = link
            todo += [link.__cause__, link.__context__]
    yield from seen.values()


def _with_locals(error: BaseException) -> str:
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    link: traceback.TracebackException | None = shown
    while link is not None:
        frames = (frame for frame in link.stack if _is_ours(frame.filename))
        link.stack = traceback.StackSummary.from_list(list(frames))
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "".join(shown.format())


def _is_ours(filename: str) -> bool:
    if filename.startswith(PACKAGE):
        return "sandbox" not in filename
    return any(name in filename for name in _LIBRARIES) and "pytest" not in filename


def shown_objects() -> Iterator[tuple[str, str]]:
    """The repr and the text of every living object whose class is the library's (the sandbox's apart)."""
    for thing in gc.get_objects():
        module = getattr(type(thing), "__module__", None)
        if not isinstance(module, str) or not module.startswith("hoox_async") or ".sandbox" in module:
            continue
        yield f"repr of {type(thing).__name__}", repr(thing)
        yield f"str of {type(thing).__name__}", str(thing)


def written(*folders: Path) -> Iterator[tuple[str, str | bytes]]:
    """The bytes and the name of every file in these folders: stores with their logs, reports, pictures."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            yield "a file's name", path.name
            if path.is_file():
                yield path.name, path.read_bytes()


def rows(store: Path) -> int:
    """The number of intents in a store, to be sure that there was something to find."""
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = next(name for name in names if "intent" in name)
        count: int = database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    database.close()
    return count
