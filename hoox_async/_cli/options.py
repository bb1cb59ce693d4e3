"""Options that several commands share: where the API is, with which key, and how to print."""

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

_WHERE = Group("Connection and output", sort_key=9)


@Parameter(name="*", group=_WHERE)
@attrs.frozen(kw_only=True)
class Output:
    """How to print."""

    json: Annotated[
        bool, Parameter(negative=(), help="Lines of JSON on stdout, everything else on stderr.")
    ] = False

    def terminal(self) -> Terminal:
        """The streams to write to."""
        return Terminal(as_json=self.json)


@Parameter(name="*", group=_WHERE)
@attrs.frozen(kw_only=True)
class Connection:
    """Where the API is and who asks."""

    base_url: Annotated[
        str | None, Parameter(help="Another API than Hoox's: https, or a loopback host such as a sandbox.")
    ] = None
    key_file: Annotated[
        Path | None, Parameter(help="A file with the API key; else it comes from HOOX_API_KEY.")
    ] = None
    rpm: Annotated[int, Parameter(help="The workspace's requests a minute (100).")] = 100

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

    def words(self) -> list[str]:
        """These options as they are typed, those that are not as usual."""
        typed: list[str] = []
        if self.base_url is not None:
            typed += ["--base-url", self.base_url]
        if self.key_file is not None:
            typed += ["--key-file", str(self.key_file)]
        if self.rpm != 100:
            typed += ["--rpm", str(self.rpm)]
        return typed


@Parameter(name="*", group=_WHERE)
@attrs.frozen(kw_only=True)
class StoreConnection(Connection):
    """The same, for commands that keep a store."""

    new_key: Annotated[
        bool, Parameter(negative=(), help="The key replaced the one that the store was made with.")
    ] = False

    def session(self, **options: Any) -> HooxSession:
        """A session that is not open yet, as `Connection.session` gives."""
        return super().session(new_key=self.new_key, **options)


def program() -> list[str]:
    """How this program was called, to print commands that can be copied."""
    as_module = Path(sys.argv[0]).name == "__main__.py"
    return ["python", "-m", "hoox_async"] if as_module else ["hoox-async"]


def command(*words: str) -> str:
    """A command of this program as it is typed in a shell."""
    return shlex.join([*program(), *words])


def store_of(path: Path) -> Path:
    """The store that this path means: itself, or the one beside a campaign file.

    Raises `ConfigurationError` where there is none.
    """
    beside = store_beside(path)
    if path.suffix == ".db":
        beside = path
    if not beside.is_file():
        raise ConfigurationError(f"{beside}: there is no such store; `batch` makes one beside its file")
    return beside


def store_beside(campaign: Path) -> Path:
    """Where a campaign's store is: beside the file, under its whole name."""
    return campaign.with_name(campaign.name + ".hoox.db")
