"""``looks``: lists the looks of the workspace and of the public catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import Group, Parameter

from hoox_async import LookDetails

from ..exit_codes import Exit
from ..json_output import details_record
from ..options import Connection, Output
from ..terminal import Terminal
from ..text import format_count, one_line
from ..waiting import Trouble, Waiting

_DEFAULT_CONNECTION = Connection()
_DEFAULT_OUTPUT = Output()
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
    connection: Connection = _DEFAULT_CONNECTION,
    output: Output = _DEFAULT_OUTPUT,
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
    trouble = Trouble()
    async with (
        connection.session(poll="awaited", hooks=[trouble]) as session,
        Waiting(terminal, "listing the looks", trouble),
    ):
        return await session.looks(**filters)


def _row(details: LookDetails) -> list[str]:
    person = " ".join(filter(None, (details.gender, details.age_range)))
    values = (details.avatar_name, person, details.place, details.format)
    return [str(details.ref), *(one_line(str(value or ""), 24) for value in values)]
