"""Options that several commands share (connection, output), and paths of stores."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import attrs
from cyclopts import Group, Parameter

from hoox_async import ConfigurationError, Hook, HooxSession

from .exit_codes import NoKey
from .terminal import Terminal

_SHARED = Group("Connection and output", sort_key=9)


@Parameter(name="*", group=_SHARED)
@attrs.frozen(kw_only=True)
class Output:
    """The option that chooses the format of the output."""

    json: Annotated[
        bool, Parameter(negative=(), help="Write lines of JSON to stdout and everything else to stderr.")
    ] = False

    def terminal(self) -> Terminal:
        """The terminal that writes in this format."""
        return Terminal(as_json=self.json)


@Parameter(name="*", group=_SHARED)
@attrs.frozen(kw_only=True)
class Connection:
    """The API's address, the API key and the quota."""

    base_url: Annotated[
        str | None, Parameter(help="Another API address: https, or a loopback host such as a sandbox.")
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
        self, *, store: Path | None = None, hooks: Iterable[Hook] = (), key: str | None = None, **options: Any
    ) -> HooxSession:
        """A session that is not open yet. Raises what `key` and `HooxSession` raise."""
        if self.base_url is not None:
            options["base_url"] = self.base_url
        return HooxSession(
            self.key() if key is None else key,
            store=store,
            hooks=hooks,
            requests_per_minute=self.rpm,
            **options,
        )

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

    def session(self, **options: Any) -> HooxSession:
        """A session that is not open yet, as `Connection.session` gives."""
        return super().session(new_key=self.new_key, **options)


def program() -> list[str]:
    """The words that started this program, for printed commands that can be copied."""
    as_module = Path(sys.argv[0]).parts[-2:] == ("hoox_async", "__main__.py")
    return ["python", "-m", "hoox_async"] if as_module else ["hoox-async"]


def command_line(*words: str) -> str:
    """A command of this program as it is typed in a shell."""
    return shlex.join([*program(), *words])


def store_of(path: Path) -> Path:
    """The store at this path, or the store beside this campaign file.

    Raises `ConfigurationError` if there is none.
    """
    beside = store_beside(path)
    if path.suffix == ".db":
        beside = path
    if not beside.is_file():
        raise ConfigurationError(
            f"{beside}: there is no such store; `batch` creates one beside the campaign file"
        )
    return beside


def store_beside(campaign: Path) -> Path:
    """The path of a campaign's store: the file's whole name with ``.hoox.db`` added."""
    return campaign.with_name(campaign.name + ".hoox.db")
