"""Options that several commands share: connection and output."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import attrs
from cyclopts import Group, Parameter

from hoox_async import ConfigurationError, DisplayOnly, Hook, HooxSession

from .exit_codes import NoKey
from .stores import DEFAULT_LOCATION, AnyStore, DatabaseStore, Location
from .terminal import Terminal, log_event, start_logging
from .waiting import ApiWatch, Waiting

_PROGRAM = "hoox-async"
_MODULE = "hoox_async"
STDIN = "/dev/stdin"
"""What the word - of the command line becomes: it would be taken for an option."""
_SHARED = Group("Connection and output", sort_key=9)


@Parameter(name="*", group=_SHARED)
@attrs.frozen(kw_only=True)
class Output:
    """The options that choose the format and the amount of the output."""

    json: Annotated[
        bool,
        Parameter(
            negative=(), help="Write lines of JSON to stdout, errors too, and everything else to stderr."
        ),
    ] = False
    quiet: Annotated[
        bool,
        Parameter(name=["--quiet", "-q"], negative=(), help="Write only results, failures and how to go on."),
    ] = False
    verbose: Annotated[
        int,
        Parameter(
            name=["--verbose", "-v"], count=True, help="Log what happens to looks; -vv: each request too."
        ),
    ] = 0

    def terminal(self) -> Terminal:
        """The terminal that writes in this format. From now on the log goes there too."""
        if self.quiet and self.verbose:
            raise ConfigurationError("--quiet and --verbose: give only one of them")
        terminal = Terminal(as_json=self.json, quiet=self.quiet)
        levels = (logging.WARNING, logging.INFO, logging.DEBUG)
        start_logging(terminal, logging.ERROR if self.quiet else levels[min(self.verbose, 2)])
        return terminal


@Parameter(name="*", group=_SHARED)
@attrs.frozen(kw_only=True)
class Connection:
    """The API's address, the API key and the quota."""

    base_url: Annotated[
        str | None,
        Parameter(
            help="Another API address: https, or a loopback host such as a sandbox. It is never read from "
            "the environment, so that no stray variable sends the key to another host."
        ),
    ] = None
    key_file: Annotated[
        Path | None, Parameter(help="A file that holds the API key. Default: the variable HOOX_API_KEY.")
    ] = None
    rpm: Annotated[int, Parameter(help="The workspace's quota of requests a minute (100).")] = 100

    def key(self) -> str:
        """The API key. Raises `NoKey`, or `ConfigurationError` for a file that can't be read."""
        if self.key_file is None:
            key = os.environ.get("HOOX_API_KEY", "")
            if not key.strip():
                raise NoKey("no API key: set HOOX_API_KEY, or give a file that holds it with --key-file")
            return key
        try:
            key = self.key_file.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise ConfigurationError(f"--key-file {self.key_file}: {error.strerror or error}") from None
        if not key.strip():
            raise NoKey(f"--key-file {self.key_file}: the file is empty")
        return key

    def session(
        self,
        *,
        store: AnyStore | None = None,
        hooks: Iterable[Hook] = (),
        key: str | None = None,
        **options: Any,
    ) -> HooxSession:
        """A session that is not open yet. Raises what `key` and `HooxSession` raise."""
        if self.base_url is not None:
            options["base_url"] = self.base_url
        return HooxSession(
            self.key() if key is None else key,
            store=_database_store(store) if isinstance(store, DatabaseStore) else store,
            hooks=[DisplayOnly(hook) for hook in (*hooks, log_event)],
            requests_per_minute=self.rpm,
            **options,
        )

    @asynccontextmanager
    async def reading(self, terminal: Terminal, what: str) -> AsyncIterator[HooxSession]:
        """An open session for reads alone. Meanwhile ``what`` is shown, and what is wrong with the API."""
        watch = ApiWatch()
        async with (
            self.session(poll="awaited", hooks=[watch]) as session,
            Waiting(terminal, what, watch),
        ):
            yield session

    def arguments(self) -> list[str]:
        """These options as they are typed, without those that have their default."""
        typed: list[str] = []
        if self.base_url is not None:
            typed += ["--base-url", self.base_url]
        if self.key_file is not None:
            typed += ["--key-file", str(self.key_file)]
        if self.rpm != 100:
            typed += ["--rpm", str(self.rpm)]
        return typed


@Parameter(name="*", group=_SHARED)
@attrs.frozen(kw_only=True)
class StoreConnection(Connection):
    """`Connection` for commands that keep a store."""

    new_key: Annotated[
        bool, Parameter(negative=(), help="The API key has replaced the one that the store was made with.")
    ] = False

    location: Location = DEFAULT_LOCATION

    def session(self, **options: Any) -> HooxSession:
        """A session that is not open yet, as `Connection.session` gives."""
        return super().session(new_key=self.new_key, **options)


def _database_store(store: DatabaseStore) -> Any:
    from hoox_async.postgres import single_workspace

    return single_workspace(store.url, store.location.workspace, schema=store.location.schema)


def program() -> list[str]:
    """The words that started this program, for printed commands that can be copied."""
    started = Path(sys.argv[0])
    if started.parts[-2:] == ("hoox_async", "__main__.py"):
        return [sys.orig_argv[0], "-m", _MODULE]
    is_script = started.stem == _PROGRAM
    # a shell that found it by its PATH gives the whole path
    return [sys.argv[0] if is_script and shutil.which(started.name) != sys.argv[0] else _PROGRAM]


def command_line(*words: str) -> str:
    """A command of this program as it is typed in a shell."""
    return shlex.join([*program(), *words])
