"""Binds a workspace of a database to the API's base URL and to its API keys.

A database holds no API key, only a salted fingerprint of it. The base URL is bound when the workspace is
first opened. The key is bound for good by the first answer that shows that it is valid. Until then another
key may replace it, as long as nothing was or may have been paid: else a mistyped key would make the store
unusable for the right one.

Where several processes use it, two keys are valid during a rotation: processes with the old one go on while
those with the new one start.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import attrs

from ...errors import StoreError, StoreMismatch
from ..protocols import Workspace
from . import statements as sql
from .transaction import Engine, Transaction

_TRIES = 20  # each one fails only because another process has just changed the row


@attrs.frozen
class Binding:
    """What a database knows of a workspace: base URL, a random salt, the salted fingerprint of the key."""

    base_url: str
    salt: bytes = attrs.field(repr=False)
    fingerprint: bytes = attrs.field(repr=False)

    @classmethod
    def to(cls, workspace: Workspace, salt: bytes | None = None) -> Binding:
        """A binding to this workspace, with a new salt or a known one."""
        salt = secrets.token_bytes(16) if salt is None else salt
        return cls(plain_url(workspace.base_url), salt, _fingerprint(workspace.api_key, salt))


def require_url(bound: str, workspace: Workspace, name: str) -> None:
    """Raise `StoreMismatch` where a store bound to this base URL is opened for another."""
    given = plain_url(workspace.base_url)
    if given != bound:
        raise StoreMismatch(
            f"{name} belongs to {bound}, not to {given}: use a separate store for each base URL"
        )


def require_new_key(workspace: Workspace, name: str) -> None:
    """Raise `StoreMismatch` for another key, unless ``new_key`` says that it replaces the bound one."""
    if not workspace.new_key:
        raise StoreMismatch(
            f"{name} belongs to another API key. If yours replaced it in the same workspace, open the "
            "session once with new_key=True; else use a separate store for each workspace"
        )


def plain_url(base_url: str) -> str:
    """The base URL without a slash at its end, so that both spellings are equal."""
    return base_url.rstrip("/")


class WorkspaceRow(NamedTuple):
    """A workspace of the database, and the API keys that are valid for it.

    ``quota`` is the number of its quota, which all workspaces share that have a key in common.
    """

    id: int
    quota: int
    base_url: str
    fingerprint: str
    older_fingerprint: str | None
    key_confirmed: bool

    def has_key(self, fingerprint: str) -> bool:
        """Whether this is one of the keys that are valid."""
        known = (self.fingerprint, self.older_fingerprint or "")
        return any(hmac.compare_digest(fingerprint, other) for other in known)


class Copied(NamedTuple):
    """What a workspace tells of copies: of the one that made it, and of the one that was made of it.

    ``place`` is how far the first has come, '' where it is whole. ``handed_over``: the second, in
    ``moved_to``, is whole, and goes on instead.
    """

    made_by: str | None = None
    place: str = ""
    moved_by: str | None = None
    moved_to: str | None = None
    handed_over: bool = False

    def require_usable(self, name: str) -> None:
        """Raise `StoreError` where a session must not open the workspace, which messages call ``name``."""
        problem = self.problem
        if problem is not None:
            raise StoreError(f"{name}: {problem}")

    def require_whole(self, name: str) -> None:
        """Raise `StoreError` where it has only a part of what it is to have."""
        if self.place:
            self.require_usable(name)

    @property
    def problem(self) -> str | None:
        """Why a session must not open the workspace."""
        if self.place:
            return "it is an unfinished copy: run the same `hoox-async store copy` again, which goes on"
        if self.moved_by is None:
            return None
        if self.moved_by == self.made_by:
            what = f"it is a copy of {self.moved_to}, to look at. If that one is gone for good"
        elif self.handed_over:
            what = f"it was copied to {self.moved_to}, which goes on with its work. If that is gone for good"
        else:
            what = (
                f"it is being copied to {self.moved_to}: run the same `hoox-async store copy` again, which "
                "goes on. To give that up"
            )
        return (
            f"{what}, `hoox-async store recover` lets this one be used. Never use both: each would pay again "
            "for what the other has paid for"
        )


async def bind(
    engine: Engine, name: str, workspace: Workspace, label: str, is_free: Callable[[int], Awaitable[bool]]
) -> tuple[WorkspaceRow, Binding]:
    """The workspace of this name, which is bound to the base URL and the key from now on.

    ``label`` is what messages call it; ``is_free`` tells whether nothing was or may have been paid in it.
    Raises `StoreMismatch` where it belongs to another base URL or key, and `StoreError` where it is a copy
    that is not to be used.
    """
    [[(salt,)]] = await engine.run(lambda tx: tx.ask((sql.KEY_SALT, {})), writes=False)
    own = await asyncio.to_thread(Binding.to, workspace, bytes.fromhex(salt))  # it takes 25 ms
    for _ in range(_TRIES):
        row, copied = await find_workspace(engine, name)
        if row is None:
            await engine.run(partial(_add, name, own))
            continue
        copied.require_usable(label)
        require_url(row.base_url, workspace, label)
        if row.has_key(own.fingerprint.hex()):
            return row, own
        if row.key_confirmed or not (workspace.new_key or await is_free(row.id)):
            require_new_key(workspace, label)
        await engine.run(partial(_replace_key, row, own))
    raise StoreError(f"{label}: its API key is being changed by other processes")


async def find_workspace(engine: Engine, name: str) -> tuple[WorkspaceRow | None, Copied]:
    """The workspace of this name, and what it tells of copies."""
    questions = ((sql.WORKSPACE, {"name": name}), (sql.COPY, {"name": name}))
    rows, copies = await engine.run(lambda tx: tx.ask(*questions), writes=False)
    return (WorkspaceRow(*rows[0]) if rows else None), Copied(*copies[0]) if copies else Copied()


def _add(name: str, own: Binding, tx: Transaction) -> None:
    tx.write(sql.ONE_AT_A_TIME, {})
    values = {"name": name, "base_url": own.base_url, "fingerprint": own.fingerprint.hex()}
    tx.write(sql.ADD_WORKSPACE, values)


def _replace_key(row: WorkspaceRow, own: Binding, tx: Transaction) -> None:
    values = {
        "workspace": row.id,
        "fingerprint": own.fingerprint.hex(),
        "older": row.fingerprint if row.key_confirmed else row.older_fingerprint,
        "was": row.fingerprint,
        "was_older": row.older_fingerprint or "",
    }
    tx.write(sql.REPLACE_KEYS, values)


def _fingerprint(api_key: str, salt: bytes) -> bytes:
    # 25 ms and 8 MB, once per opening and on the file's own thread.
    # surrogatepass: a key that no server would take must fail as a wrong key, not as a UnicodeError.
    secret = api_key.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=1 << 13, r=8, p=1, dklen=32)
