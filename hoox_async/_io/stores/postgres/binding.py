"""Binds a workspace of a shared database to its base URL and its API keys.

Two keys are valid during a rotation: processes with the old one go on while those with the new one start. A
key that no answer has confirmed gives way to another, so that a mistyped key does not push out a good one.
"""

from __future__ import annotations

import asyncio
import hmac

from ....errors import StoreError
from ...protocols import Workspace
from ..workspace_binding import Binding, require_new_key, require_url
from . import intent_rows
from .queries import Queries, WorkspaceRow

_PAGE = 500
_TRIES = 20  # each one fails only because another process has just changed the row


async def bind(queries: Queries, name: str, workspace: Workspace, label: str) -> tuple[WorkspaceRow, Binding]:
    """The workspace of this name, which is bound to the base URL and the key from now on.

    ``label`` is what messages call it. Raises `StoreMismatch` where it belongs to another base URL or key.
    """
    own = await asyncio.to_thread(Binding.to, workspace, await queries.key_salt())  # it takes 25 ms
    for _ in range(_TRIES):
        row = await queries.workspace(name)
        if row is None:
            await queries.add_workspace(name, own)
            continue
        require_url(row.bindings[0].base_url, workspace, label)
        if any(hmac.compare_digest(own.fingerprint, other.fingerprint) for other in row.bindings):
            return row, own
        keys = await _keys_with(own, row, queries, workspace, label)
        await queries.replace_keys(row.id, row.bindings, keys)
    raise StoreError(f"{label}: its API key is being changed by other processes")


async def _keys_with(
    own: Binding, row: WorkspaceRow, queries: Queries, workspace: Workspace, label: str
) -> list[Binding]:
    """The keys that are valid once this one is. Raises `StoreMismatch` where it is another workspace's."""
    newest, *older = row.bindings
    if row.key_confirmed:
        require_new_key(workspace, label)
        return [own, newest]
    if not workspace.new_key and not await _is_free(queries, row.id):
        require_new_key(workspace, label)
    return [own, *older]


async def _is_free(queries: Queries, workspace: int) -> bool:
    """Whether nothing was or may have been paid in the workspace."""
    after = 0
    while True:
        rows = await queries.page(workspace, None, after=after, size=_PAGE)
        if not all(intent_rows.read(row).never_charged for row in rows):
            return False
        if len(rows) < _PAGE:
            return True
        after = rows[-1].seq
