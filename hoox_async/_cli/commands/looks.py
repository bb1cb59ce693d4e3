"""The commands about looks that exist: ``status``, ``wait`` and ``looks``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from cyclopts import Group, Parameter

from hoox_async import (
    ConfigurationError,
    GenerationFailed,
    HooxError,
    Look,
    LookDetails,
    LookRef,
    LookStatus,
    WaitTimeout,
)
from hoox_async._core.formatting import format_count

from ..exit_codes import Exit, code_of, is_access
from ..json_output import details_record, error_record, look_record
from ..options import Connection, Output, check_timeout
from ..pictures import save
from ..terminal import Terminal, one_line


def status(*look: str, connection: Connection = Connection(), output: Output = Output()) -> int:
    """Ask once for the status of looks.

    Parameters
    ----------
    look
        One or more looks, each as avatar_id:look_id.
    """
    refs, terminal = _parse_refs(look), output.terminal()

    async def ask() -> int:
        asking = f"asking for {format_count(len(refs), 'look')}"
        async with connection.reading(terminal, asking) as session:
            return await _print_each(refs, session.status, terminal)

    return asyncio.run(ask())


def wait(
    *look: str,
    timeout: float = 900.0,
    out: str | None = None,
    connection: Connection = Connection(),
    output: Output = Output(),
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
    refs, terminal = _parse_refs(look), output.terminal()
    check_timeout(timeout)
    if out is not None and len(refs) > 1:
        out = f"{out}/"

    async def ask() -> int:
        waiting = f"waiting for {format_count(len(refs), 'look')}"
        async with connection.reading(terminal, waiting) as session:

            async def one(ref: LookRef) -> Look:
                ready = await session.wait(ref, timeout)
                if out is not None:
                    await save(session, ready, out, terminal)
                return ready

            return await _print_each(refs, one, terminal)

    try:
        return asyncio.run(ask())
    except KeyboardInterrupt:
        saving = ["--out", out] if out is not None else []
        words = (*map(str, refs), *saving, *connection.arguments())
        terminal.suggest("interrupted; nothing is lost. Go on with:", "wait", *words)
        return Exit.UNFINISHED


async def _print_each(
    refs: tuple[LookRef, ...], ask: Callable[[LookRef], Awaitable[Look]], terminal: Terminal
) -> int:
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


def _parse_refs(given: tuple[str, ...]) -> tuple[LookRef, ...]:
    if not given:
        raise ConfigurationError("expected at least one look, as avatar_id:look_id")
    return tuple(dict.fromkeys(LookRef.parse(text) for text in given))


_FILTERS = Group(
    "Filters",
    sort_key=1,
    help="Values are the API's own words, such as --gender female. Repeatable: any of the values matches.",
)
_Filter = Annotated[tuple[str, ...], Parameter(negative=(), group=_FILTERS)]


def looks(
    *,
    gender: _Filter = (),
    age_range: _Filter = (),
    ethnicity: _Filter = (),
    hair_color: _Filter = (),
    place: _Filter = (),
    action: _Filter = (),
    emotion: _Filter = (),
    accessories: _Filter = (),
    selfie: Annotated[bool | None, Parameter(group=_FILTERS)] = None,
    only_public: Annotated[bool | None, Parameter(negative=(), group=_FILTERS)] = None,
    limit: int = 50,
    connection: Connection = Connection(),
    output: Output = Output(),
) -> int:
    """List the looks of the workspace and of the public catalogue.

    Takes one request.

    - `hoox-async looks --gender female --no-selfie`

    Parameters
    ----------
    selfie
        Only selfies, or no selfies.
    only_public
        Only looks of the public catalogue.
    limit
        The most looks to show (50); --json always lists all.
    """
    filters: dict[str, Any] = {
        "gender": gender, "age_range": age_range, "ethnicity": ethnicity, "hair_color": hair_color,
        "place": place, "action": action, "emotion": emotion, "accessories": accessories,
    }  # fmt: skip
    chosen = {name: list(values) for name, values in filters.items() if values}
    terminal = output.terminal()
    wanted = {**chosen, "selfie": selfie, "only_public": only_public}
    found = asyncio.run(_list(connection, wanted, terminal))
    for details in found:
        terminal.record("look", **details_record(details))
    if not output.json:
        rows = [_row(details) for details in found[: max(0, limit)]]
        if rows:
            terminal.table(["look", "avatar", "person", "place", "format"], rows, whole=("look",))
        more = f"; {len(found) - len(rows):,} not shown (--limit)" if len(found) > len(rows) else ""
        terminal.say(format_count(len(found), "look") + more)
    return Exit.READY


async def _list(connection: Connection, filters: Mapping[str, Any], terminal: Terminal) -> list[LookDetails]:
    async with connection.reading(terminal, "listing the looks") as session:
        return await session.looks(**filters)


def _row(details: LookDetails) -> list[str]:
    person = " ".join(filter(None, (details.gender, details.age_range)))
    values = (details.avatar_name, person, details.place, details.format)
    return [str(details.ref), *(one_line(str(value or ""), 24) for value in values)]
