"""`redact_logs` with what web servers give to their access logs: tokens are hidden, and no line is lost."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator, Mapping
from types import MappingProxyType, ModuleType
from typing import Any

import pytest
from webhook_kit import hub, token_of

TOKEN = token_of(hub(), "a1")


class Atoms(dict[str, Any]):
    """As hypercorn and gunicorn pass: a header that is missing is a dash, and the environment is in it."""

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(name.lower()) if name.lower() in self else "-"


class View(Mapping[str, Any]):
    """Shows content that belongs to somebody else."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content

    def __getitem__(self, name: str) -> Any:
        return self.content[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.content[name] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)


class NoText:
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise ValueError("no text")


class Lines(logging.Handler):
    """Keeps formatted lines, and raises what prevents one."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.lines.append(self.format(record))


def logged(name: str, form: str, message: str, *args: Any, **extra: Any) -> Lines:
    """What a handler of the server's logger writes while `redact_logs` is in force."""
    logger, handler = logging.getLogger(name), Lines()
    handler.setFormatter(logging.Formatter(form))
    undo, level = hub().redact_logs(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        logger.info(message, *args, extra=extra)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        undo()
    return handler


ATOMS = Atoms(
    r=f"POST /hooks/{TOKEN} HTTP/1.1",
    s=404,
    **{"{x-hoox}i": TOKEN, "{raw_uri}e": f"/hooks/{TOKEN}", "{api_key}e": "hx_live"},
)
LINE = '[token] - "POST /hooks/[token] HTTP/1.1" 404'
HEADERS = '%({X-Hoox}i)s %({Missing}i)s "%(r)s" %(s)s'


@pytest.mark.parametrize(
    ("name", "form", "message", "args", "extra", "line"),
    [
        ("uvicorn.access", "%(message)s", '%s - "%s %s HTTP/%s" %d', ("::1", "POST", f"/{TOKEN}", "1.1", 200),
         {}, '::1 - "POST /[token] HTTP/1.1" 200'),
        ("aiohttp.access", "%(first_request_line)s", "%s", (TOKEN,),
         {"first_request_line": f"POST /{TOKEN} HTTP/1.1"}, "POST /[token] HTTP/1.1"),
        ("hypercorn.access", "%(message)s", HEADERS, (ATOMS,), {}, LINE),
        ("gunicorn.access", "%(message)s", HEADERS, (ATOMS,), {}, LINE),
        ("gunicorn.error", "%(message)s", "Error handling request %s", (f"/{TOKEN}",), {},
         "Error handling request /[token]"),
        ("granian.access", "%(message)s", '"%(method)s %(path)s" %(status)d %(dt_ms).3f',
         ({"method": "POST", "path": f"/{TOKEN}", "status": 200, "dt_ms": 1.5},), {},
         '"POST /[token]" 200 1.500'),
        ("sanic.access", "%(request)s %(status)d", "", (),
         {"request": f"POST http://a/{TOKEN}", "status": 200}, "POST http://a/[token] 200"),
        ("django.request", "%(message)s", "%s: %s", ("Not Found", f"/{TOKEN}"), {}, "Not Found: /[token]"),
        ("tornado.access", "%(message)s", "%d %s %.2fms", (404, f"POST /{TOKEN} (::1)", 1.5), {},
         "404 POST /[token] (::1) 1.50ms"),
    ],
)  # fmt: skip
def test_the_access_logs_of_servers_show_no_token(
    name: str, form: str, message: str, args: tuple[Any, ...], extra: dict[str, Any], line: str
) -> None:
    """What each of them passes is logged as one line, with all but the token."""
    assert logged(name, form, message, *args, **extra).lines == [line]
    assert ATOMS["{x-hoox}i"] == TOKEN


def test_a_mapping_keeps_its_type_and_its_owners_content_stays() -> None:
    """In arguments and in fields. A line with a mapping that cannot be changed is logged as text."""
    content = {"path": f"/{TOKEN}"}
    for mapping in (Atoms(content), View(content)):
        handler = logged("uvicorn.access", "%(message)s %(scope)s", "%(path)s", mapping, scope=mapping)
        [record] = handler.records
        assert handler.lines[0].startswith("/[token] ")
        assert type(record.args) is type(record.__dict__["scope"]) is type(mapping)
        assert TOKEN not in repr([*record.args.values(), *record.__dict__["scope"].values()])
    assert content == {"path": f"/{TOKEN}"}
    assert logged("uvicorn.access", "%(message)s", "%(path)s", MappingProxyType(content)).lines == [
        "/[token]"
    ]


def test_a_field_that_has_no_text_loses_no_line() -> None:
    """The filter never raises, and redacts the other fields; an error's own text is redacted too."""
    error = OSError(f"cannot read /{TOKEN}")
    handler = logged("uvicorn.error", "%(message)s", "%s: %s", TOKEN, error, broken=NoText())
    assert handler.lines == ["[token]: cannot read /[token]"]


def test_daphnes_access_log_shows_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written without `logging`. What was undone is redacted no more, in whichever order."""

    class AccessLogGenerator:
        def __init__(self, stream: io.StringIO) -> None:
            self.stream = stream

        def write_entry(self, host: str, request: str, status: int | None = None) -> None:
            self.stream.write(f'{host} "{request}" {status or "-"}\n')

    access: Any = ModuleType("daphne.access")
    access.AccessLogGenerator = AccessLogGenerator
    monkeypatch.setitem(sys.modules, "daphne.access", access)
    stream = io.StringIO()
    first, second = hub().redact_logs(), hub().redact_logs()
    AccessLogGenerator(stream).write_entry(host="::1", request=f"POST /{TOKEN}", status=200)
    assert stream.getvalue() == '::1 "POST /[token]" 200\n'
    first()
    AccessLogGenerator(stream).write_entry("::1", f"POST /{TOKEN}")
    assert TOKEN not in stream.getvalue()
    second()
    AccessLogGenerator(stream).write_entry("::1", f"POST /{TOKEN}")
    assert TOKEN in stream.getvalue()
