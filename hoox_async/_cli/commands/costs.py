"""``costs``: what a store's requests have cost, by customer or by another property."""

from __future__ import annotations

import asyncio
from typing import Annotated

import attrs
from cyclopts import Parameter

from hoox_async import Costs, OutcomeState, read_costs
from hoox_async._core.formatting import format_amount

from ..exit_codes import Exit
from ..options import Output
from ..stores import DEFAULT_LOCATION, Location, StoreArgument, source_of, store_of
from ..terminal import Terminal, one_line

_NONE = "(none)"


def costs(
    store: StoreArgument,
    *,
    by: Annotated[str, Parameter(help="metadata.NAME, kind, avatar or state (kind).")] = "kind",
    location: Location = DEFAULT_LOCATION,
    output: Output = Output(),
) -> int:
    """Show what was spent and what may have been, in groups.

    Works while sessions use the store. Needs no API key. Requests whose metadata was pruned stand as pruned.

    - `hoox-async costs --store postgresql://shop@db.example.com/shop --by metadata.customer`
    """
    terminal, place = output.terminal(), store_of(store, location)
    rows = asyncio.run(read_costs(source_of(place), by=by, **attrs.asdict(location)))
    for row in rows:
        terminal.record(
            "costs",
            by=by,
            group=row.group,
            pruned=row.pruned,
            requests=row.requests,
            spent=format(row.spent, "f"),
            credits_failed=format(row.failed, "f"),
            at_risk=format(row.at_risk, "f"),
            counts={state.value: count for state, count in row.counts.items()},
        )
    if not output.json:
        _show(rows, by, terminal)
    return Exit.READY


def _show(rows: list[Costs], by: str, terminal: Terminal) -> None:
    if not rows:
        terminal.say("the store has no requests yet")
        return
    shown = [state for state in OutcomeState if any(row.counts[state] for row in rows)]

    def cells(name: str, row: Costs) -> list[str]:
        counts = (f"{row.counts[state]:,}" for state in shown)
        return [name, f"{row.requests:,}", *counts, format_amount(row.spent), format_amount(row.at_risk)]

    total = Costs.total(rows)
    named = [cells(_NONE if row.group is None else one_line(row.group, 60), row) for row in rows]
    columns = [
        by.removeprefix("metadata."),
        "requests",
        *(state.value for state in shown),
        "spent",
        "at risk",
    ]
    terminal.table(columns, [*named, cells("all", total)], numbers=columns[1:], total=True)
    if total.failed:
        terminal.result(str(total))
