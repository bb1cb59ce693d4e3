"""Options that several commands share: connection and output."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import attrs
from cyclopts import Group, Parameter

from hoox_async import ConfigurationError, DisplayOnly, Hook, HooxSession
from hoox_async._checks import option

from .exit_codes import NoKey
from .stores import DEFAULT_LOCATION, AnyStore, DatabaseStore, Location
from .terminal import Terminal, as_typed, log_event, start_logging
from .waiting import ApiWatch, Waiting

STDIN = "/dev/stdin"
"""What the word - of the command line becomes: it would be taken for an option."""
_SHARED = Group("Connection and output", sort_key=9)


@Parameter(name="*", group=_SHARED)
@attrs.frozen(kw_only=True)
class Output:
    """The options that choose the format and the amount of the output.

    Parameters
    ----------
    json
        Write lines of JSON to stdout, errors too, and everything else to stderr.
    quiet
        Write only results, failures and how to go on.
    verbose
        Log what happens to looks; -vv: each request too.
    """

    json: Annotated[bool, Parameter(negative=())] = False
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative=())] = False
    verbose: Annotated[int, Parameter(name=["--verbose", "-v"], count=True)] = 0

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
    """The API's address, the API key and the quota.

    Parameters
    ----------
    base_url
        Another API address: https, or a loopback host such as a sandbox. It is never read from the
        environment, so that no stray variable sends the key to another host.
    key_file
        A file that holds the API key. Default: the variable HOOX_API_KEY.
    rpm
        The workspace's quota of requests a minute (100).
    """

    base_url: str | None = None
    key_file: Path | None = None
    rpm: int = 100

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
        return as_typed(self, "base_url", "key_file", "rpm")


@Parameter(name="*", group=_SHARED)
@attrs.frozen(kw_only=True)
class StoreConnection(Connection):
    """`Connection` for commands that keep a store.

    Parameters
    ----------
    new_key
        The API key has replaced the one that the store was made with.
    """

    new_key: Annotated[bool, Parameter(negative=())] = False

    location: Location = DEFAULT_LOCATION

    def session(self, **options: Any) -> HooxSession:
        """A session that is not open yet, as `Connection.session` gives."""
        return super().session(new_key=self.new_key, **options)


def _database_store(store: DatabaseStore) -> Any:
    from hoox_async.postgres import single_workspace

    return single_workspace(store.url, store.location.workspace, schema=store.location.schema)


def check_timeout(seconds: float) -> None:
    """Raise `ConfigurationError` for a `--timeout` that is no number; any other is one."""
    if math.isnan(seconds):
        raise option.error("--timeout", seconds, "a number of seconds")


def check_writable(flag: str, typed: str | Path) -> None:
    """Raise `ConfigurationError` if this folder or file, or the folders that it needs, could not be made."""
    path = Path(typed).absolute()
    nearest = next(each for each in (path, *path.parents) if each.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise ConfigurationError(f"{flag} {typed}: nothing can be written in {nearest}")
