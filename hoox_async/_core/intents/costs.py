"""What intents have cost, summed up in groups: by metadata, kind of request, avatar or state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

import attrs

from ..._api.requests import FREE, PrunedRequest
from ..._checks import argument, option
from ..formatting import format_amount, format_credits
from .intent import Intent
from .outcomes import OutcomeState, state_of

PRUNED = "pruned"
_METADATA = "metadata."
_REFUNDED = "whether they are refunded is not known"  # no page of the API says it for looks


@attrs.frozen
class Costs:
    """What the requests of one group have cost.

    ``group`` is the value that they have in common, None for those that have none. ``pruned`` says that
    `prune_store` has erased that value: their ``group`` is ``"pruned"``. ``spent`` are credits that were
    certainly paid, ``failed`` those of them that were paid for looks that failed, and ``at_risk`` those that
    may have been paid besides. ``counts`` has the number of requests in each state, zeros included.

    ``str(costs)`` says the credits in words.
    """

    group: str | None
    pruned: bool
    requests: int
    spent: Decimal
    failed: Decimal
    at_risk: Decimal
    counts: Mapping[OutcomeState, int]

    @classmethod
    def total(cls, rows: Iterable[Costs]) -> Costs:
        """The sum of these groups, as one whose ``group`` is None."""
        rows = argument.each("rows", rows, cls, "a list of Costs")
        return cls(
            None,
            False,
            sum(row.requests for row in rows),
            sum((row.spent for row in rows), FREE),
            sum((row.failed for row in rows), FREE),
            sum((row.at_risk for row in rows), FREE),
            {state: sum(row.counts[state] for row in rows) for state in OutcomeState},
        )

    def __str__(self) -> str:
        text = f"{format_credits(self.spent)} spent"
        if self.failed:
            text += f", of which {format_amount(self.failed)} for failed looks ({_REFUNDED})"
        return f"{text}, {format_amount(self.at_risk)} at risk" if self.at_risk else text


class CostTable:
    """Sums up intents by one property. Memory grows with the number of groups, not of intents.

    ``by`` is ``"metadata.NAME"``, ``"kind"``, ``"avatar"`` or ``"state"``. Raises `ConfigurationError` for
    anything else.
    """

    def __init__(self, by: str) -> None:
        self._group_of = _grouping(by)
        self._rows: dict[tuple[str | None, bool], _Sum] = {}

    def add(self, intent: Intent) -> None:
        """Count this intent."""
        self._rows.setdefault(self._group_of(intent), _Sum()).add(intent)

    def rows(self) -> list[Costs]:
        """The groups, the most expensive first, by what was spent and may have been spent."""
        rows = [
            Costs(
                group, pruned, sum(each.counts.values()), each.spent, each.failed, each.at_risk, each.counts
            )
            for (group, pruned), each in self._rows.items()
        ]
        return sorted(rows, key=lambda row: (-(row.spent + row.at_risk), row.pruned, row.group or ""))


class _Sum:
    def __init__(self) -> None:
        self.spent = self.failed = self.at_risk = FREE
        self.counts = dict.fromkeys(OutcomeState, 0)

    def add(self, intent: Intent) -> None:
        self.spent += intent.spent
        self.failed += intent.failed
        self.at_risk += intent.at_risk
        self.counts[state_of(intent)] += 1


_Group = tuple[str | None, bool]  # and whether it was erased


def _grouping(by: str) -> Callable[[Intent], _Group]:
    if isinstance(by, str) and by.startswith(_METADATA) and by != _METADATA:
        name = by.removeprefix(_METADATA)
        return lambda intent: _metadata(intent, name)
    known = _GROUPINGS.get(by) if isinstance(by, str) else None
    if known is None:
        names = ", ".join(_GROUPINGS)
        raise option.error("by", by, f"metadata.NAME, as in metadata.customer, or one of {names}")
    return known


def _metadata(intent: Intent, name: str) -> _Group:
    if isinstance(intent.request, PrunedRequest):
        return PRUNED, True
    return intent.request.metadata.get(name), False


def _kind(intent: Intent) -> _Group:
    request = intent.request
    return request.kind if isinstance(request, PrunedRequest) else request.KIND, False


_GROUPINGS: Mapping[str, Callable[[Intent], _Group]] = {
    "kind": _kind,
    "avatar": lambda intent: (intent.avatar_id, False),
    "state": lambda intent: (state_of(intent).value, False),
}
