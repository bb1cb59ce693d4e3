"""``status``: asks once for the status of looks."""

from __future__ import annotations

import asyncio

from ..each_look import parse_refs, print_each
from ..options import Connection, Output
from ..text import format_count
from ..waiting import Trouble, Waiting

_DEFAULT_CONNECTION = Connection()
_DEFAULT_OUTPUT = Output()


def status(*look: str, connection: Connection = _DEFAULT_CONNECTION, output: Output = _DEFAULT_OUTPUT) -> int:
    """Ask once for the status of looks.

    Parameters
    ----------
    look
        One or more looks, each as avatar_id:look_id.
    """
    refs, terminal, trouble = parse_refs(look), output.terminal(), Trouble()

    async def ask() -> int:
        asking = f"asking for {format_count(len(refs), 'look')}"
        async with (
            connection.session(poll="awaited", hooks=[trouble]) as session,
            Waiting(terminal, asking, trouble),
        ):
            return await print_each(refs, session.status, terminal)

    return asyncio.run(ask())
