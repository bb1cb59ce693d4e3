"""What a transition makes of an intent's row, written with its budgets, attempts and looks."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from ..._api.models import LookRef
from ..._api.requests import FREE
from ..._core.intents.budget import StoredBudget, charge_changes
from ..._core.intents.candidates import keeps_age
from ..._core.intents.intent import Attempt, Intent, IntentState
from ..._core.intents.records import load_intent
from ..._core.intents.transitions import Accept, Correct, Transition, advance, claimed_look
from ...errors import StoreError
from . import statements as sql
from .transaction import Transaction, Values

_DECIMALS = 6
_MOST_UNITS = 2**62  # of the 63 bits of a column, so that a sum fits too
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


OPEN_STATES = frozenset({IntentState.PLANNED, IntentState.SENDING, IntentState.UNKNOWN, IntentState.ACCEPTED})
"""The states that are not final: an intent leaves them sooner or later."""

FORGETTABLE = frozenset({IntentState.PLANNED, IntentState.READY, IntentState.FAILED, IntentState.REJECTED})
"""The states in which it is certain what an intent has cost, and its POST is not outstanding."""


class IndexChanges(NamedTuple):
    """The changes to an intent by a transition.

    ``attempts`` are new attempts, and ``claimed`` is a look that the intent has from now on. ``checked`` says
    that the store must check that no other intent has that look; a claim that is restored needs no check,
    since no other intent could take it meanwhile. ``paid_besides`` are new `Intent.past_looks`.
    """

    attempts: tuple[Attempt, ...]
    claimed: LookRef | None
    checked: bool = False
    paid_besides: tuple[LookRef, ...] = ()


def changes_between(before: Intent | None, after: Intent) -> IndexChanges:
    """The changes from ``before`` (None: there was no such intent) to ``after``."""
    known = len(before.attempts) if before is not None else 0
    claimed = after.ref if before is None or before.ref != after.ref else None
    paid_before = before.past_looks if before is not None else ()
    paid_besides = tuple(ref for ref in after.past_looks if ref not in paid_before)
    return IndexChanges(after.attempts[known:], claimed, paid_besides=paid_besides)


def apply_transitions(
    intent: Intent, transitions: Iterable[Transition]
) -> tuple[Intent, Sequence[IndexChanges]]:
    """The intent after all the transitions, and the changes of each. Raises `IllegalTransition`."""
    changes: list[IndexChanges] = []
    for transition in transitions:
        after = advance(intent, transition)
        checked = isinstance(transition, Accept | Correct)
        changes.append(changes_between(intent, after)._replace(checked=checked))
        intent = after
    return intent, changes


class DamagedRecord(StoreError):
    """A stored record is not what was written."""


class Row(NamedTuple):
    """A stored intent. ``version`` moves with each write, and ``seq`` is its place in the plan.

    ``teller`` and ``notified``: see `news`.
    """

    workspace: int
    seq: int
    key: str
    version: int
    record: str
    crc: int
    teller: str | None = None
    notified: str | None = None

    def read(self, *, newer: bool) -> Intent:
        """Its intent. Raises `DamagedRecord`.

        ``newer``: a newer release may have written it, with fields that this one does not know.
        """
        if checksum(self.record) != self.crc:  # SQLite finds no flipped bit inside a value
            raise DamagedRecord(f"the record of the key {self.key!r} is damaged: restore a backup")
        return load_intent(self.record, newer=newer)


class Place(NamedTuple):
    """Who writes: a member, in a workspace. ``tells``: its session has hooks that owe news: see `news`."""

    workspace: int
    me: str
    tells: bool = False

    def values(self, **values: Any) -> dict[str, Any]:
        """The parameters of a statement."""
        return {"workspace": self.workspace, "me": self.me, **values}


class Written(NamedTuple):
    """An intent that was written, and its row's version and record; None: it was there already."""

    intent: Intent
    version: int
    record: str | None
    teller: str | None = None
    notified: str | None = None


def is_owed(intent: Intent, teller: str | None, notified: str | None, place: Place) -> bool:
    """Whether a session is to tell its hooks of the end of this intent. See `news`."""
    if not place.tells or teller != place.me or intent.look is None or intent.ref is None:
        return False
    return intent.state in (IntentState.READY, IntentState.FAILED) and notified != intent.ref.look_id


class LostWrite(NamedTuple):
    """The version of a write that a failover has lost, and who owed the news of its end."""

    version: int
    teller: str | None


def put(
    tx: Transaction,
    place: Place,
    row: Row | None,
    before: Intent | None,
    after: Intent,
    record: str,
    changes: Sequence[IndexChanges],
    *,
    lost: LostWrite | None = None,
) -> Written:
    """Write an intent over its row as it was read, with its indexes and what it charges.

    ``lost``: a failover has lost this write. It is charged whatever the caps are.
    """
    charge(tx, place, charge_changes(before, after), is_lost=lost is not None)
    attempts = [attempt for change in changes for attempt in change.attempts]
    version = lost.version if lost is not None else row.version + 1 if row is not None else 1
    teller, notified = (row.teller, row.notified) if row is not None else (None, None)
    owed_by_nobody = _owed_by_nobody(before, teller) if attempts and lost is None else None
    sets_teller = lost is not None or _sets_teller(place, before, after, is_sent=bool(attempts))
    if sets_teller:
        teller = lost.teller if lost is not None else place.me if place.tells else None
    values = place.values(
        age=_age(after, is_sent=bool(attempts), is_lost=lost is not None),
        key=after.key,
        state=after.state.value,
        version=version,
        sender=place.me if attempts else None,
        sets_teller=int(sets_teller),
        teller=teller,
        owed_by_nobody=owed_by_nobody,
        record=record,
        crc=checksum(record),
        **of_look(claimed_look(after)),
    )
    if row is None:
        tx.write(sql.INSERT, values)
    else:
        tx.write(sql.UPDATE, {**values, "was": row.version, "was_crc": row.crc})
    for attempt in attempts:
        sent = {"id": attempt.id, "sent_at": to_microseconds(attempt.sent_at), "state": after.state.value}
        tx.write(sql.ATTEMPT, place.values(key=after.key, **sent))
    looks = {ref for each in changes for ref in (each.claimed, *each.paid_besides) if ref is not None}
    for ref in sorted(looks, key=lambda ref: (ref.avatar_id, ref.look_id)):
        tx.write(sql.CLAIM, place.values(**of_look(ref)))
    freed = before.ref if before is not None and before.ref != after.ref else None
    if freed is not None and freed not in after.past_looks:  # the user has named another look
        tx.write(sql.UNCLAIM, place.values(**of_look(freed)))
    return Written(after, version, record, teller, owed_by_nobody or notified)


def _sets_teller(place: Place, before: Intent | None, after: Intent, *, is_sent: bool) -> bool:
    """Whether its writer is to tell the intent's end from now on, or nobody where that has no hooks.

    Who sends without hooks leaves that to an earlier sender while its POST may have made the look; also while
    an end of its stands that nobody may have been told of: until another look is accepted.
    """
    if is_sent:
        is_left = before is not None and (before.state.in_doubt or before.look is not None)
        return place.tells or not is_left
    ended = before.previous if before is not None and before.state is IntentState.SENDING else None
    is_paid_again = ended is not None and ended.look is not None and after.state is IntentState.ACCEPTED
    return is_paid_again and not place.tells


def _owed_by_nobody(before: Intent | None, teller: str | None) -> str | None:
    """The look of the round that ends, if nobody owes its news: then who sends now does not either."""
    look = before.look if before is not None and teller is None else None
    return None if look is None else look.ref.look_id


def _age(after: Intent, *, is_sent: bool, is_lost: bool) -> str:
    """What becomes of ``listed_at``. After a failover the places of that moment may have been given again."""
    if is_lost:
        return "unknown"
    return "sent" if is_sent and not keeps_age(after) else "kept"


def charge(tx: Transaction, place: Place, changes: Mapping[str, Decimal], *, is_lost: bool = False) -> None:
    """Change what budgets have charged, in the order of their names. What is given back always fits."""
    for name in sorted(changes):
        values = place.values(name=name, change=to_units(changes[name]))
        if is_lost:
            tx.write(sql.LOST_BUDGET, values)
        tx.write(sql.CHARGE if changes[name] > 0 and not is_lost else sql.CHARGE_ANYHOW, values)


def require_within_caps(changes: Mapping[str, Decimal], budgets: Mapping[str, StoredBudget]) -> None:
    """Raise `BudgetExceeded` where a change does not fit. In a budget that is not known nothing fits."""
    for name, change in changes.items():
        budget = budgets.get(name) or StoredBudget(name, FREE, FREE)
        if change > 0 and budget.charged + change > budget.max_credits:
            raise budget.exceeded_by(change)


def checksum(record: str) -> int:
    """What a row has of its record beside it."""
    return zlib.crc32(record.encode())


def read_budget(row: Sequence[Any]) -> StoredBudget:
    """A budget of its row."""
    return StoredBudget(row[0], from_units(row[1]), from_units(row[2]))


def of_look(ref: LookRef | None) -> Values:
    """The parameters that name a look."""
    return {"avatar_id": ref and ref.avatar_id, "look_id": ref and ref.look_id}


def to_units(credits: Decimal) -> int:
    """Credits in millionths. Raises `StoreError` for finer ones, and for more than a store can count."""
    units = credits.scaleb(_DECIMALS)
    if abs(units) > _MOST_UNITS:
        raise StoreError(f"a budget counts up to {_MOST_UNITS // 10**_DECIMALS:,} credits, not {credits}")
    if units != int(units):
        raise StoreError(f"a budget counts credits to {_DECIMALS} decimals, and {credits} has more")
    return int(units)


def from_units(units: int) -> Decimal:
    """Credits of their millionths, without zeros at the end."""
    credits = Decimal(units).scaleb(-_DECIMALS).normalize()
    return credits.quantize(Decimal(1)) if credits == credits.to_integral_value() else credits


def to_microseconds(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(time: int) -> datetime:
    """The moment so many microseconds after 1970."""
    return _EPOCH + time * _MICROSECOND
