"""``wait``: waits until looks are ready."""

from __future__ import annotations

import asyncio

from hoox_async import Look, LookRef

from ..each_look import parse_refs, print_each
from ..exit_codes import Exit
from ..options import Connection, Output, command_line
from ..pictures import save
from ..text import format_count
from ..waiting import Trouble, Waiting

_DEFAULT_CONNECTION = Connection()
_DEFAULT_OUTPUT = Output()


def wait(
    *look: str,
    timeout: float = 900.0,
    out: str | None = None,
    connection: Connection = _DEFAULT_CONNECTION,
    output: Output = _DEFAULT_OUTPUT,
) -> int:
    """Wait until looks are ready, whoever submitted them.

    - `hoox-async wait avtr_a:look_1 avtr_a:look_2 --out pictures/`

    Parameters
    ----------
    look
        One or more looks, each as avatar_id:look_id.
    timeout
        The most seconds to wait (900).
    out
        Save the pictures in this folder (ends in a slash); for a single look also the path of a file.
    """
    refs, terminal = parse_refs(look), output.terminal()
    if out is not None and len(refs) > 1:
        out = f"{out}/"

    async def ask() -> int:
        trouble = Trouble()
        async with connection.session(poll="awaited", hooks=[trouble]) as session:

            async def one(ref: LookRef) -> Look:
                ready = await session.wait(ref, timeout)
                if out is not None:
                    await save(session, ready, out, terminal)
                return ready

            waiting = f"waiting for {format_count(len(refs), 'look')}"
            async with Waiting(terminal, waiting, trouble):
                return await print_each(refs, one, terminal)

    try:
        return asyncio.run(ask())
    except KeyboardInterrupt:
        terminal.notice("interrupted; nothing is lost. Go on with:")
        saving = ["--out", out] if out is not None else []
        terminal.notice("  " + command_line("wait", *map(str, refs), *saving, *connection.arguments()))
        return Exit.UNFINISHED
