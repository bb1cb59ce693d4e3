"""Asks for several looks at once, and writes each as it comes."""

from __future__ import annotations

import asyncio
from typing import Any

from hoox_async import ConfigurationError, GenerationFailed, HooxError, Look, LookRef, LookStatus, WaitTimeout

from .exit_codes import Exit, code_of, is_access
from .json_output import error_record, look_record
from .terminal import Terminal
from .text import one_line


async def print_each(refs: tuple[LookRef, ...], ask: Any, terminal: Terminal) -> int:
    """Ask for all looks at once and print each as it comes; returns the worst exit code."""

    async def one(ref: LookRef) -> Exit:
        try:
            look: Look = await ask(ref)
        except GenerationFailed as failed:
            look = failed.look
        except WaitTimeout as timeout:
            look = timeout.job.last
            if timeout.cause is not None:  # its status is not known, so none is shown
                terminal.record("error", ref=str(ref), **error_record(timeout))
                waited = f"not known to be done after {timeout.seconds:g} s"
                terminal.say(f"{ref}: {waited}: {timeout.cause}; nothing is lost")
                return Exit.UNFINISHED
        except HooxError as error:
            if is_access(error):
                raise
            terminal.record("error", ref=str(ref), **error_record(error))
            terminal.notice(f"{ref}: {error}")
            return code_of(error)
        terminal.record("look", **look_record(look))
        terminal.result(_as_line(look))
        return _code(look)

    codes = await asyncio.gather(*(one(ref) for ref in refs))
    return max(codes)


def _as_line(look: Look) -> str:
    detail = look.thumbnail_url if look.status is LookStatus.READY else look.error
    return f"{look.ref} is {look.status}" + (f": {one_line(str(detail))}" if detail else "")


def _code(look: Look) -> Exit:
    if look.status is LookStatus.READY:
        return Exit.READY
    return Exit.FAILED if look.status is LookStatus.FAILED else Exit.UNFINISHED


def parse_refs(given: tuple[str, ...]) -> tuple[LookRef, ...]:
    if not given:
        raise ConfigurationError("expected at least one look, as avatar_id:look_id")
    return tuple(dict.fromkeys(LookRef.parse(text) for text in given))
