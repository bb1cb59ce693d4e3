"""What costs nothing: ``status``, ``wait``, ``looks`` and ``check``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Annotated, Any

from cyclopts import Group, Parameter

from hoox_async import (
    ConfigurationError,
    GenerationFailed,
    HooxError,
    HooxSession,
    Look,
    LookDetails,
    LookRef,
    LookStatus,
    NotFound,
    WaitTimeout,
)

from .exit_codes import Exit, code_of, is_access
from .json_output import details_record, error_record, look_record
from .options import Connection, Output, command
from .terminal import Terminal
from .text import counted, one_line

_HERE = Connection()
_SHOWN = Output()
_FILTERS = Group("Filters", sort_key=1, help="As the API's own words have it, such as --gender female.")
_Filter = Annotated[tuple[str, ...], Parameter(negative=(), group=_FILTERS)]


def status(*look: str, connection: Connection = _HERE, output: Output = _SHOWN) -> int:
    """Ask once for the state of looks.

    Parameters
    ----------
    look
        A look as avatar_id:look_id; can be several.
    """
    refs, terminal = _refs(look), output.terminal()

    async def ask() -> int:
        async with connection.session(poll="awaited") as session:
            return await _each(refs, session.status, terminal)

    return asyncio.run(ask())


def wait(
    *look: str,
    timeout: float = 900.0,
    out: str | None = None,
    connection: Connection = _HERE,
    output: Output = _SHOWN,
) -> int:
    """Wait until looks are ready, whoever had them made.

    Parameters
    ----------
    look
        A look as avatar_id:look_id; can be several.
    timeout
        How many seconds to wait at most (900).
    out
        Save the pictures: a folder (ends in a slash), or the path of a file for a single look.
    """
    refs, terminal = _refs(look), output.terminal()
    if out is not None and len(refs) > 1:
        out = f"{out}/"

    async def ask() -> int:
        async with connection.session(poll="awaited") as session:

            async def one(ref: LookRef) -> Look:
                ready = await session.wait(ref, timeout)
                if out is not None:
                    await save(session, ready, out, terminal)
                return ready

            waiting = f"waiting for {counted(len(refs), 'look')}"
            with terminal.err.status(waiting) if terminal.live else nullcontext():
                return await _each(refs, one, terminal)

    try:
        return asyncio.run(ask())
    except KeyboardInterrupt:
        terminal.say("interrupted; nothing is lost, go on with:")
        terminal.say("  " + command("wait", *map(str, refs), *connection.words()))
        return Exit.UNFINISHED


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
    connection: Connection = _HERE,
    output: Output = _SHOWN,
) -> int:
    """List the workspace's looks and the public catalogue.

    One request. Filters can be given several times: any of the values will do.

    Parameters
    ----------
    selfie
        Only selfies, or only others.
    only_public
        Only the public catalogue.
    limit
        How many to show at most (50); with --json all are shown.
    """
    filters: dict[str, Any] = {
        "gender": gender, "age_range": age_range, "ethnicity": ethnicity, "hair_color": hair_color,
        "place": place, "action": action, "emotion": emotion, "accessories": accessories,
    }  # fmt: skip
    chosen = {name: list(values) for name, values in filters.items() if values}
    found = asyncio.run(_list(connection, {**chosen, "selfie": selfie, "only_public": only_public}))
    terminal = output.terminal()
    for details in found:
        terminal.record("look", **details_record(details))
    if not output.json:
        rows = [_row(details) for details in found[: max(0, limit)]]
        if rows:
            terminal.table(["look", "avatar", "person", "place", "format"], rows, whole=("look",))
        more = f"; {len(found) - len(rows):,} not shown (--limit)" if len(found) > len(rows) else ""
        terminal.say(counted(len(found), "look") + more)
    return Exit.READY


def check(*, connection: Connection = _HERE, output: Output = _SHOWN) -> int:
    """See whether the API key is good.

    Also how much of the quota is left. One small request.
    """
    terminal = output.terminal()

    async def ask() -> int:
        async with connection.session(poll="awaited") as session:
            await _knock(session, connection.base_url)
            quota = session.quota
            terminal.record("check", key="ok", limit=quota.limit, remaining=quota.remaining)
            terminal.result(f"the key is good; {quota.remaining} of {quota.limit} requests a minute are left")
        return Exit.READY

    return asyncio.run(ask())


async def save(session: HooxSession, look: Look, out: str, terminal: Terminal) -> None:
    """Save a look's picture and tell where. Raises `ConfigurationError` where a file is in the way.

    ``out`` is what was typed: as a `Path` it would lose the slash that makes it a folder.
    """
    try:
        path = await session.download(look, out)
    except FileExistsError:
        raise ConfigurationError(f"{out}: there is such a picture already; choose another --out") from None
    terminal.record("picture", ref=str(look.ref), path=str(path))
    terminal.result(f"saved {path}")


async def _knock(session: HooxSession, base_url: str | None) -> None:
    # the API has no endpoint that only checks the key: a look that can't be is the smallest answer
    try:
        await session.status(LookRef("avtr_none", "look_none"))
    except NotFound as error:
        if is_access(error):
            raise
        # any web server says 404 to a path that it doesn't have; the API says what it didn't find
        if base_url is not None and not any(word in error.message.lower() for word in ("avatar", "look")):
            raise ConfigurationError(f"--base-url {base_url}: there is a server, but not the API") from None


async def _list(connection: Connection, filters: Mapping[str, Any]) -> list[LookDetails]:
    async with connection.session(poll="awaited") as session:
        return await session.looks(**filters)


async def _each(refs: tuple[LookRef, ...], ask: Any, terminal: Terminal) -> int:
    """Ask for all, tell of each when it is there; the worst exit code of them."""

    async def one(ref: LookRef) -> Exit:
        try:
            look: Look = await ask(ref)
        except GenerationFailed as failed:
            look = failed.look
        except WaitTimeout as timeout:
            look = timeout.job.last
        except HooxError as error:
            if is_access(error):
                raise
            terminal.record("error", ref=str(ref), **error_record(error))
            terminal.say(f"{ref}: {error}")
            return code_of(error)
        terminal.record("look", **look_record(look))
        terminal.result(_told(look))
        return _code(look)

    codes = await asyncio.gather(*(one(ref) for ref in refs))
    return max(codes)


def _told(look: Look) -> str:
    detail = look.thumbnail_url if look.status is LookStatus.READY else look.error
    return f"{look.ref} is {look.status}" + (f": {one_line(str(detail))}" if detail else "")


def _code(look: Look) -> Exit:
    if look.status is LookStatus.READY:
        return Exit.READY
    return Exit.FAILED if look.status is LookStatus.FAILED else Exit.UNFINISHED


def _refs(given: tuple[str, ...]) -> tuple[LookRef, ...]:
    if not given:
        raise ConfigurationError("expected at least one look, as avatar_id:look_id")
    return tuple(dict.fromkeys(LookRef.parse(text) for text in given))


def _row(details: LookDetails) -> list[str]:
    person = " ".join(filter(None, (details.gender, details.age_range)))
    values = (details.avatar_name, person, details.place, details.format)
    return [str(details.ref), *(one_line(str(value or ""), 24) for value in values)]
