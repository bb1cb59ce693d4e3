"""Rows of intents: read as intents, and written as what a transition makes of them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from ...._core.intents.budget_charges import charge_changes
from ...._core.intents.intent import Intent
from ...._core.intents.pruning import prune
from ...._core.intents.records import dump_intent, load_intent, rewrite
from ...._core.intents.transitions import Replace, Transition, claimed_look
from ....errors import StoreError
from ..index_changes import IndexChanges, apply_transitions, changes_between
from .queries import IntentRow, IntentWrite
from .recent_writes import RecentWrite


def read(row: IntentRow) -> Intent:
    """The intent of a row, which a newer release may have written. Raises `StoreError` for a damaged one."""
    if zlib.crc32(row.record.encode()) != row.crc:
        raise StoreError(f"the record of the key {row.key!r} is damaged: restore a backup of the database")
    return load_intent(row.record, newer=True)


def insertion(intent: Intent) -> IntentWrite:
    """The write of an intent that has no row yet."""
    return _write(None, intent, 0, dump_intent(intent), [changes_between(None, intent)])


def update(row: IntentRow, transitions: Sequence[Transition]) -> tuple[Intent, IntentWrite]:
    """The intent after the transitions, and its write over the row. Raises `IllegalTransition`.

    What a newer release has written besides is kept.
    """
    before = read(row)
    after, changes = apply_transitions(before, transitions)
    write = _write(before, after, row.version, rewrite(row.record, after), changes)
    return after, write._replace(replaces=any(isinstance(step, Replace) for step in transitions))


def restoration(row: IntentRow | None, lost: RecentWrite) -> IntentWrite:
    """The write of an intent that a failover has lost, over its row as it is stored now."""
    intent = load_intent(lost.record, newer=True)
    before = read(row) if row is not None else None
    was = row.version if row is not None else 0
    return _write(before, intent, was, lost.record, [changes_between(before, intent)])


def pruned(row: IntentRow, intent: Intent) -> IntentWrite:
    """The write of a row's intent without the content of its request."""
    after = prune(intent)
    return _write(intent, after, row.version, rewrite(row.record, after), [])


def _write(
    before: Intent | None, intent: Intent, was: int, record: str, changes: Sequence[IndexChanges]
) -> IntentWrite:
    return IntentWrite(
        key=intent.key,
        was=was,
        state=intent.state,
        claimed=claimed_look(intent),
        record=record,
        crc=zlib.crc32(record.encode()),
        attempts=[attempt for change in changes for attempt in change.attempts],
        claims=[change.claimed for change in changes if change.claimed is not None],
        extra=[ref for change in changes for ref in change.paid_besides],
        charges=tuple(charge_changes(before, intent).items()),
    )
