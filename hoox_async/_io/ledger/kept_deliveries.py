"""Deliveries that are kept: one for each attempt, the most telling one of its first look.

A delivery is kept before it is acknowledged. What it changes is decided from the row as it is after that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..._api.models import LookRef
from ..._api.webhook_payloads import Delivery
from ..._core.intents.deliveries import kept_after, must_be_kept
from ..._core.intents.intent import Intent
from ..._core.intents.records import dump_delivery, load_delivery
from . import statements as sql
from .intent_rows import Place, Row, of_look
from .transaction import Question, Rows, Transaction

ReadRow = Callable[[Row], Intent]


class Delivered(NamedTuple):
    """An attempt's intent, and the delivery that is kept for the attempt. ``is_new``: since this call."""

    intent: Intent
    delivery: Delivery | None
    is_new: bool = False


def questions(place: Place, attempt_id: str) -> tuple[Question, Question]:
    """What `read` answers."""
    values = place.values(id=attempt_id)
    return (sql.BY_ATTEMPT, values), (sql.KEPT_DELIVERY, values)


def read(found: Rows, kept: Rows, read_row: ReadRow) -> Delivered | None:
    """The intent and the delivery of these rows; None where there is no such attempt."""
    if not found:
        return None
    delivery = load_delivery(kept[0][0]) if kept else None
    return Delivered(read_row(Row(*found[0])), delivery)


def keep(
    tx: Transaction, place: Place, attempt_id: str, delivery: Delivery, read_row: ReadRow
) -> Delivered | None:
    """Keep a delivery on this attempt's own URL where it tells more than what is known.

    One that names the look of another request proves nothing, and is not kept. Returns what is kept then;
    None where there is no such attempt.
    """
    named = LookRef(delivery.avatar_id, delivery.look_id) if delivery.avatar_id is not None else None
    owner: tuple[Question, ...] = ((sql.BY_REF, place.values(**of_look(named))),) if named is not None else ()
    found, kept, *owners = tx.ask(*questions(place, attempt_id), *owner)
    known = read(found, kept, read_row)
    if known is None:
        return None
    intent, was, _ = known
    after = kept_after(was, delivery)
    is_taken = any(Row(*rows[0]).key != intent.key for rows in owners if rows)
    if after == was or is_taken or not must_be_kept(intent, attempt_id, delivery):
        return known
    values = place.values(id=attempt_id, look_id=after.look_id, record=dump_delivery(after))
    tx.write(sql.KEEP_DELIVERY, {**values, "was": kept[0][0] if kept else None})
    return Delivered(intent, after, is_new=True)
