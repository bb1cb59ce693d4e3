"""The SQL of the store: functions of a connection, each of which runs inside its caller's transaction."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import NamedTuple

from ...._api.models import LookRef
from ...._api.requests import PrunedRequest
from ...._api.webhook_payloads import Delivery
from ...._core.intents.budget import StoredBudget
from ...._core.intents.copies import RECENT, KnownAvatar
from ...._core.intents.intent import Intent, IntentState
from ...._core.intents.pruning import PRUNABLE, may_be_pruned
from ...._core.intents.records import dump_delivery, dump_intent, load_delivery, load_intent, text_of_source
from ...._core.intents.transitions import LookTaken, Transition, claimed_look, recovery_transitions
from ....errors import StoreError
from ...protocols import StoreGauges, Workspace
from ..budget_charges import charged_budgets
from ..index_changes import OPEN_STATES, IndexChanges, apply_transitions, changes_between
from ..workspace_binding import Binding

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_KEPT_SENDS = timedelta(minutes=2) // _MICROSECOND


_UNCONFIRMED = "key_unconfirmed"  # this row of `meta` exists while no answer has shown that the key is valid


def bind(db: sqlite3.Connection, workspace: Workspace, path: str) -> None:
    """Bind a new file to the workspace, or check that it belongs to it. Raises `StoreMismatch`."""
    binding = read_binding(db)
    if binding is None:
        fresh = Binding.to(workspace)
    else:
        fresh = binding.check(workspace, path, replaceable=_key_is_replaceable(db))
    if fresh is not binding:
        values = [("base_url", fresh.base_url), ("salt", fresh.salt), ("fingerprint", fresh.fingerprint)]
        db.executemany("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", values)
        db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, 1)", (_UNCONFIRMED,))


def confirm_key(db: sqlite3.Connection) -> None:
    """Bind the file to its key for good."""
    db.execute("DELETE FROM meta WHERE name = ?", (_UNCONFIRMED,))


def _key_is_replaceable(db: sqlite3.Connection) -> bool:
    if db.execute("SELECT 1 FROM meta WHERE name = ?", (_UNCONFIRMED,)).fetchone() is None:
        return False
    records = db.execute("SELECT record, crc FROM intents")
    return all(_load(*row).never_charged for row in records)


def note_opening(db: sqlite3.Connection, at: datetime) -> None:
    """Write when the file was opened. A file that cannot be written fails here, before money is spent."""
    db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('opened_at', ?)", (at.isoformat(),))


def read_binding(db: sqlite3.Connection) -> Binding | None:
    """The workspace that the file is bound to; None for a new file."""
    meta = dict(db.execute("SELECT name, value FROM meta"))
    if not meta:
        return None
    base_url, salt, fingerprint = (meta.get(name) for name in ("base_url", "salt", "fingerprint"))
    if isinstance(base_url, str) and isinstance(salt, bytes) and isinstance(fingerprint, bytes):
        return Binding(base_url, salt, fingerprint)
    raise StoreError("the record of its workspace is damaged: restore a copy of it, or start with a new file")


def recover_all(db: sqlite3.Connection) -> None:
    """Apply to every intent the transitions that the end of an earlier process makes necessary."""
    for intent in in_states(db, [IntentState.SENDING]):
        advance(db, intent.key, recovery_transitions(intent))


def get(db: sqlite3.Connection, keys: Iterable[str]) -> dict[str, Intent]:
    """The intents of these keys."""
    found: dict[str, Intent] = {}
    for key in keys:
        row = db.execute("SELECT record, crc FROM intents WHERE key = ?", (key,)).fetchone()
        if row is not None:
            found[key] = _load(*row)
    return found


def plan(db: sqlite3.Connection, intent: Intent) -> Intent:
    """Insert a new intent, or return the one that is stored under its key."""
    cursor = db.execute(
        "INSERT INTO intents (state, open, avatar_id, look_id, record, crc, key) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
        (*_columns(intent), intent.key),
    )
    if cursor.rowcount == 0:
        return get(db, [intent.key])[intent.key]
    _charge(db, None, intent)
    if intent.attempts or intent.ref:
        _index(db, cursor.lastrowid or 0, changes_between(None, intent))
    return intent


def advance(db: sqlite3.Connection, key: str, transitions: Sequence[Transition]) -> Intent:
    """Apply the transitions. Raises `IllegalTransition`, and `StoreError` for an unknown key."""
    row = db.execute("SELECT seq, record, crc FROM intents WHERE key = ?", (key,)).fetchone()
    if row is None:
        raise StoreError(f"the store has no intent under the key {key!r}")
    seq, record, crc = row
    before = _load(record, crc)
    intent, all_changes = apply_transitions(before, transitions)
    for changes in all_changes:
        if changes.checked and changes.claimed is not None:
            _require_unclaimed(db, changes.claimed, key)
    _charge(db, before, intent)
    db.execute(
        "UPDATE intents SET state = ?, open = ?, avatar_id = ?, look_id = ?, record = ?, crc = ? "
        "WHERE seq = ?",
        (*_columns(intent), seq),
    )
    for changes in all_changes:
        _index(db, seq, changes)
    return intent


def open_budget(db: sqlite3.Connection, name: str, max_credits: Decimal, spent: Decimal) -> StoredBudget:
    """Create the budget, unless there is one of this name. Returns what is stored."""
    db.execute(
        "INSERT OR IGNORE INTO budgets (name, max_credits, charged) VALUES (?, ?, ?)",
        (name, str(max_credits), str(spent)),
    )
    return budget(db, name) or StoredBudget(name, max_credits, spent)


def budget(db: sqlite3.Connection, name: str) -> StoredBudget | None:
    """The budget of this name."""
    row = db.execute("SELECT max_credits, charged FROM budgets WHERE name = ?", (name,)).fetchone()
    return StoredBudget(name, Decimal(row[0]), Decimal(row[1])) if row is not None else None


def set_cap(db: sqlite3.Connection, name: str, max_credits: Decimal) -> None:
    """Change the cap of a budget."""
    db.execute("UPDATE budgets SET max_credits = ? WHERE name = ?", (str(max_credits), name))


def _charge(db: sqlite3.Connection, before: Intent | None, after: Intent) -> None:
    """Charge the budgets. Raises `BudgetExceeded`."""
    for changed in charged_budgets(partial(budget, db), before, after).values():
        db.execute("UPDATE budgets SET charged = ? WHERE name = ?", (str(changed.charged), changed.name))


def _require_unclaimed(db: sqlite3.Connection, ref: LookRef, key: str) -> None:
    """Raise `LookTaken` if another intent has this look."""
    row = db.execute(
        "SELECT key FROM intents WHERE avatar_id = ? AND look_id = ? AND key != ?",
        (ref.avatar_id, ref.look_id, key),
    ).fetchone()
    if row is not None:
        raise LookTaken(ref, row[0])


def by_attempt(db: sqlite3.Connection, attempt_id: str) -> Intent | None:
    """The intent of this attempt."""
    return _one(
        db,
        "SELECT record, crc FROM attempts JOIN intents ON seq = intent WHERE id = ?",
        (attempt_id,),
    )


def by_ref(db: sqlite3.Connection, ref: LookRef) -> Intent | None:
    """The intent that has this look."""
    return _one(
        db,
        "SELECT record, crc FROM intents WHERE avatar_id = ? AND look_id = ?",
        (ref.avatar_id, ref.look_id),
    )


def in_states(db: sqlite3.Connection, states: Collection[IntentState]) -> list[Intent]:
    """All intents in these states, in the order in which they were planned."""
    wanted = json.dumps([str(state) for state in states])
    # with "open = 1" SQLite uses the small index: a long campaign has few open intents
    query = (
        "SELECT record, crc FROM intents WHERE open = 1 AND state IN (SELECT value FROM json_each(?)) "
        "ORDER BY seq"
        if OPEN_STATES.issuperset(states)
        else "SELECT record, crc FROM intents WHERE state IN (SELECT value FROM json_each(?)) ORDER BY seq"
    )
    return [_load(*row) for row in db.execute(query, (wanted,))]


def page(db: sqlite3.Connection, after: int, size: int) -> tuple[int, list[Intent]]:
    """Up to ``size`` intents after the sequence number ``after``, and the number of the last of them."""
    rows = db.execute(
        "SELECT seq, record, crc FROM intents WHERE seq > ? ORDER BY seq LIMIT ?", (after, size)
    ).fetchall()
    return (rows[-1][0] if rows else after), [_load(record, crc) for _, record, crc in rows]


class PrunablePage(NamedTuple):
    """Those of a page of settled intents that may be pruned, each with its sequence number and its record.

    ``next``: the number after which the next page begins; None after the last. ``already``: how many of the
    page are pruned.
    """

    next: int | None
    already: int
    chosen: list[tuple[int, str, Intent]]


def prunable_page(db: sqlite3.Connection, after: int, size: int, before: datetime) -> PrunablePage:
    """Up to ``size`` settled intents after the number ``after``."""
    rows = db.execute(
        "SELECT seq, record, crc FROM intents WHERE seq > ? AND state IN (SELECT value FROM json_each(?)) "
        "ORDER BY seq LIMIT ?",
        (after, json.dumps([str(state) for state in PRUNABLE]), size),
    ).fetchall()
    loaded = [(seq, record, _load(record, crc)) for seq, record, crc in rows]
    chosen = [(seq, record, intent) for seq, record, intent in loaded if may_be_pruned(intent, before)]
    already = sum(isinstance(intent.request, PrunedRequest) for _, _, intent in loaded)
    return PrunablePage(rows[-1][0] if len(rows) == size else None, already, chosen)


def write_pruned(db: sqlite3.Connection, seq: int, intent: Intent) -> None:
    """Replace the record by this one, and delete the deliveries that were kept for its attempts."""
    record = dump_intent(intent)
    db.execute(
        "UPDATE intents SET record = ?, crc = ? WHERE seq = ?", (record, zlib.crc32(record.encode()), seq)
    )
    attempts = json.dumps([*(attempt.id for attempt in intent.attempts), *intent.past_attempts])
    db.execute("DELETE FROM deliveries WHERE attempt IN (SELECT value FROM json_each(?))", (attempts,))


def page_in_states(
    db: sqlite3.Connection, states: Collection[IntentState], after: int, size: int
) -> tuple[int | None, list[Intent]]:
    """Up to ``size`` intents in these open states after number ``after``, and where the next page begins."""
    rows = db.execute(
        "SELECT seq, record, crc FROM intents WHERE open = 1 AND seq > ? "
        "AND state IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT ?",
        (after, json.dumps([str(state) for state in states]), size),
    ).fetchall()
    place = rows[-1][0] if len(rows) == size else None
    return place, [_load(record, crc) for _, record, crc in rows]


def gauges(db: sqlite3.Connection) -> StoreGauges:
    """Counts of the open intents, and the accepted one that was planned first."""
    counts = dict(db.execute("SELECT state, count(*) FROM intents WHERE open = 1 GROUP BY state"))
    _, first = page_in_states(db, (IntentState.ACCEPTED,), 0, 1)
    unknowns, unsettled = (
        counts.get(state.value, 0) for state in (IntentState.UNKNOWN, IntentState.ACCEPTED)
    )
    return StoreGauges(unknowns, unsettled, first[0] if first else None)


def claimed_looks(db: sqlite3.Connection, avatar_id: str) -> frozenset[str]:
    """The ids of an avatar's looks that were made for an intent."""
    rows = db.execute("SELECT look_id FROM claimed WHERE avatar_id = ?", (avatar_id,))
    return frozenset(row[0] for row in rows)


def known_avatar(db: sqlite3.Connection, avatar_id: str) -> KnownAvatar:
    """What the intents tell of an avatar."""
    created = (
        "SELECT 1 FROM intents WHERE avatar_id = ? AND look_id IS NOT NULL AND instr(record, ?) = 0 LIMIT 1"
    )
    values = (avatar_id, text_of_source(avatar_id))
    if db.execute(created, values).fetchone() is not None:
        return KnownAvatar(created=True)
    rows = db.execute(
        "SELECT DISTINCT avatar_id FROM (SELECT avatar_id, record FROM intents ORDER BY seq DESC LIMIT ?) "
        "WHERE avatar_id != ? AND instr(record, ?) > 0",
        (RECENT, *values),
    )
    return KnownAvatar(copies=frozenset(row[0] for row in rows))


def claim_look(db: sqlite3.Connection, ref: LookRef) -> None:
    """Write that this look was made for an intent."""
    db.execute(
        "INSERT OR IGNORE INTO claimed (avatar_id, look_id) VALUES (?, ?)", (ref.avatar_id, ref.look_id)
    )


def keep_delivery(db: sqlite3.Connection, attempt_id: str, delivery: Delivery) -> None:
    """Keep the first delivery of an attempt. One of an unknown attempt is not kept."""
    db.execute(
        "INSERT OR IGNORE INTO deliveries (attempt, record) SELECT id, ? FROM attempts WHERE id = ?",
        (dump_delivery(delivery), attempt_id),
    )


def page_delivered(db: sqlite3.Connection, after: int, size: int) -> tuple[int | None, list[str]]:
    """Attempts with a delivery, of ``size`` ACCEPTED or UNKNOWN intents, and where the next page begins.

    It begins with those intents, which are few: a long campaign has many attempts and deliveries.
    """
    place, intents = page_in_states(db, (IntentState.ACCEPTED, IntentState.UNKNOWN), after, size)
    attempts = [attempt.id for intent in intents for attempt in intent.attempts]
    query = "SELECT attempt FROM deliveries WHERE attempt IN (SELECT value FROM json_each(?))"
    delivered = {row[0] for row in db.execute(query, (json.dumps(attempts),))}
    return place, [attempt_id for attempt_id in attempts if attempt_id in delivered]


def kept_delivery(db: sqlite3.Connection, attempt_id: str) -> Delivery | None:
    """The delivery that was kept for this attempt."""
    row = db.execute("SELECT record FROM deliveries WHERE attempt = ?", (attempt_id,)).fetchone()
    return load_delivery(row[0]) if row is not None else None


def add_sends(db: sqlite3.Connection, sent_at: Sequence[datetime]) -> None:
    """Write send times, and delete those that are outside of any quota's window."""
    times = [(moment - _EPOCH) // _MICROSECOND for moment in sent_at]
    if not times:
        return
    db.executemany("INSERT INTO sends (sent_at) VALUES (?)", [(time,) for time in times])
    # future times too: they were written before the clock was set back
    db.execute("DELETE FROM sends WHERE abs(sent_at - ?) > ?", (max(times), _KEPT_SENDS))


def recent_sends(db: sqlite3.Connection, since: datetime) -> list[datetime]:
    """The send times after ``since``."""
    rows = db.execute(
        "SELECT sent_at FROM sends WHERE sent_at > ? ORDER BY sent_at", ((since - _EPOCH) // _MICROSECOND,)
    )
    return [_EPOCH + row[0] * _MICROSECOND for row in rows]


def _columns(intent: Intent) -> tuple[str, bool, str | None, str | None, str, int]:
    record = dump_intent(intent)
    ref = claimed_look(intent)
    return (
        intent.state.value,
        intent.state in OPEN_STATES,
        ref.avatar_id if ref is not None else None,
        ref.look_id if ref is not None else None,
        record,
        zlib.crc32(record.encode()),
    )


def _index(db: sqlite3.Connection, seq: int, changes: IndexChanges) -> None:
    for attempt in changes.attempts:
        db.execute("INSERT INTO attempts (id, intent) VALUES (?, ?)", (attempt.id, seq))
        sent_at = (attempt.sent_at - _EPOCH) // _MICROSECOND
        db.execute("INSERT INTO sends (sent_at) VALUES (?)", (sent_at,))
        # only the older ones: an attempt that is written late must not delete newer times
        db.execute("DELETE FROM sends WHERE sent_at < ?", (sent_at - _KEPT_SENDS,))
    for ref in (changes.claimed, *changes.paid_besides):
        if ref is not None:
            claim_look(db, ref)


def _one(db: sqlite3.Connection, query: str, values: tuple[str, ...]) -> Intent | None:
    row = db.execute(query, values).fetchone()
    return _load(*row) if row is not None else None


def _load(record: str, crc: int) -> Intent:
    # SQLite does not detect a flipped bit inside a value
    if zlib.crc32(record.encode()) != crc:
        raise StoreError("a record is damaged: restore a copy of the store, or start with a new file")
    return load_intent(record)
