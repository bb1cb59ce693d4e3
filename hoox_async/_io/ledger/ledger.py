"""The ledger: a session's records of what was paid, in SQLite or PostgreSQL.

Each method is one function of a transaction: it asks what it needs, decides here, and writes a few rows, each
guarded by what was read. An engine runs it, again where another process has written meanwhile.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple, TypeVar

from ..._api.models import LookRef
from ..._api.webhook_payloads import Delivery
from ..._core.intents.budget import StoredBudget, charge_changes
from ..._core.intents.candidates import RECENT, KnownAvatar
from ..._core.intents.deliveries import kept_after, lacks_its_look, must_be_kept
from ..._core.intents.intent import Intent, IntentState
from ..._core.intents.records import dump_delivery, dump_intent, load_delivery, rewrite, text_of_source
from ..._core.intents.transitions import Accept, Correct, LookTaken, Replace, Send, Transition
from ...errors import KeyConflict, StoreError
from ..protocols import Coordination, PollDuty, SharedPermits, StoreGauges, Workspace
from . import intent_rows
from . import statements as sql
from .binding import Binding
from .intent_rows import (
    OPEN_STATES,
    Place,
    Row,
    Written,
    apply_transitions,
    changes_between,
    of_look,
    to_units,
)
from .news import News, OnOwed, tell_owed
from .schema import OPEN
from .transaction import Engine, Question, Rows, Transaction, Work

PAGE = 100  # intents: some milliseconds of work
_PAGES_AT_ONCE = 3  # that a stream asks for: fewer round trips
_IN_A_TURN = 25  # rows that a stream yields in one turn of the loop: pruning one takes more than 0.1 ms
_ALL = 1 << 62
_THE_AVATAR = ""  # the look_id of its own row in listed
_KEPT = "AND i.state <> 'forgotten'"
_GUESSES = 1000  # rows that this process wrote last

_T = TypeVar("_T")


class Delivered(NamedTuple):
    """An attempt's intent, and the delivery that is kept for the attempt. ``is_new``: since this call.

    The most telling one of its first look is kept, before it is acknowledged. What it changes is decided from
    the row as it is after that.
    """

    intent: Intent
    delivery: Delivery | None
    is_new: bool = False


class Ledger:
    """A session's records of what was paid: intents, attempts, looks, deliveries, budgets, send times.

    They are those of one workspace, as one member of the database sees them. This class works on an engine
    that is open. `LocalLedger` opens the database of one process, `SharedLedger` one that many processes use.

    A method that writes returns when its write is durable (as durable as this database can make it), and
    raises `StoreError` when it is not. Each call is one transaction. A caller that is cancelled meanwhile
    must assume that the write took place. So must one that gets a `StoreError`: the write may have taken
    place, or may still take place, until a later `plan` or `advance` of the same key has returned.

    ``newer``: newer releases may write to it at the same time.
    """

    _engine: Engine  # once it is open

    def __init__(self, *, newer: bool) -> None:
        self._newer = newer
        self._place = Place(0, "")
        self._hooks = "none"  # of its session
        self._news: News | None = None
        self._written: OrderedDict[str, Row] = OrderedDict()
        self._binding: Binding | None = None
        self._key_confirmed = False

    def begin(self, engine: Engine, place: Place, hooks: str = "none") -> None:
        """Work on this engine from now on, for a session with these hooks."""
        self._engine, self._place, self._hooks = engine, place, hooks
        self._news, self._key_confirmed = None, False
        self._written.clear()

    @property
    def name(self) -> str:
        """What messages call it."""
        return self._engine.name

    # --- opening and closing

    async def open(self, workspace: Workspace) -> None:
        """Open it, bind it to the workspace, and mark what an ended process left SENDING as UNKNOWN.

        Raises `StoreLocked` where another session has it open, `StoreMismatch` where it is bound to another
        workspace, and `StoreError`. Then it holds nothing, and the other session is not disturbed.
        """

    async def aclose(self, until: float | None = None) -> None:
        """Write what is waiting to be written, and release what `open` acquired.

        ``until``: the loop's time at which a database that does not answer is left as it is (None: never).
        """

    def confirm_key(self) -> None:
        """Bind it to its API key for good, since an answer has shown that the key is valid.

        Until then another key may be given at the next opening, as long as nothing was or may have been
        paid. Called with each such answer. It returns at once, never raises, and is written with a later
        write.
        """

    async def read_unopened(self) -> AsyncIterator[Intent]:
        """Every intent, in the order of the plan, without opening it; none where there is none yet.

        It needs no API key, takes no lock and no lease, migrates nothing and writes nothing, and works while
        others have the ledger open. Raises `StoreError`.
        """
        async for intent in self.stream():
            yield intent

    # --- other processes: a ledger of one process knows none

    @property
    def is_shared(self) -> bool:
        """Whether other processes may have it open at the same time, and change what it holds."""
        return False

    @property
    def epoch(self) -> datetime | None:
        """The datetime of this machine's boot time 0 (`Clock.boot`), by the clock that all users go by.

        None where that is this machine's UTC: in a ledger of one process.
        """
        return None

    @property
    def shared_permits(self) -> SharedPermits | None:
        """The quota's permits, where processes take them from the database; else None."""
        return None

    def on_changed_elsewhere(self, listener: Callable[[Intent], None]) -> Callable[[], None]:  # noqa: ARG002
        """Call ``listener`` on the session's loop with each intent that another process has changed.

        Also with one that this process has marked UNKNOWN because another process's lease was over.

        It is called within about a second of the change, with the latest version only, and may be called with
        an intent that has not changed. It must not raise. Returns a function that ends the calls.
        """
        return _do_nothing

    def coordinate(self, coordination: Coordination) -> None:
        """Take part in what one process does for all, until the ledger is closed.

        ``on_duty`` is called soon, at once in a ledger of one process: there it is always ALL.
        """
        coordination.on_duty(PollDuty.ALL)

    # --- the news of ends

    def tell_by(self, on_owed: OnOwed, has_room: Callable[[], bool]) -> None:
        """Call ``on_owed`` with each intent whose end this session is to tell its hooks of: see `news`.

        It is called on the session's loop, and must not raise. Called again before `told` only for another
        look of the intent. While ``has_room`` is not so, it is not called, and the end stays owed.
        """
        shows = self._hooks == "display"
        self._news = News(self._engine, self._place, on_owed, has_room, self._held_since, shows=shows)

    def _held_since(self) -> float:
        """Since which boot time no other process can have taken over what this one owes."""
        return -math.inf

    async def is_still_owed(self, intent: Intent, since: float) -> bool:
        """Whether its hooks are still to be told of this end, which they were at this boot time.

        Another process may have told it meanwhile, where the lease of this one was over.
        """
        return self._news is None or await self._news.is_still_owed(intent, since)

    async def tell_owed(self) -> None:
        """Call it also with what earlier sessions owe, or this one by a write of which it had no answer."""
        if self._news is not None:
            await tell_owed(self._engine, self._place.me, {self._place.workspace: self._news})

    async def is_telling(self, intent: Intent) -> bool:
        """Whether hooks are being told of the end of this intent, by this session or by one that is alive.

        This one begins with it where that falls to it.
        """
        return self._news is not None and await self._news.is_telling(intent)

    def told(self, intent: Intent) -> None:
        """Hooks were told that the look of this intent is done. Returns at once, and is written soon."""
        if self._news is not None:
            self._news.told(intent)
            if intent.ref is not None and intent.key in self._written:
                self._written[intent.key] = self._written[intent.key]._replace(notified=intent.ref.look_id)

    # --- intents: writing

    async def plan(self, intent: Intent) -> Intent:
        """Insert a new intent. Where its key exists already, change nothing and return the stored intent."""
        return self._noted(await self._change(intent.key, partial(self._plan, intent)))

    async def advance(self, key: str, *transitions: Transition) -> Intent:
        """Read the intent and apply the transitions, all or none.

        The row is written and gets the next version even where they change nothing: that settles an earlier
        write of this key whose caller got a `StoreError`.

        This is the ledger's compare-and-set: `IfUnchanged` in front compares with the intent that a decision
        was made from. Raises `IllegalTransition` where the condition does not hold or the table of
        transitions does not allow it, `LookTaken` where the look belongs to another intent, and `StoreError`
        where the key is not known; then nothing has changed.

        `plan` and `advance` also charge named budgets by what they change (`charge_changes`). They raise
        `BudgetExceeded` where a `Send` would exceed its budget's cap, and `KeyConflict` where a `Replace`
        would give other content to what another process, which is alive, is about to send again. Then
        nothing has changed either, and nothing will.
        """
        return self._noted(await self._change(key, partial(self._advance, key, transitions)))

    def _noted(self, written: Written) -> Intent:
        if self._news is not None:
            self._news.found(written, written.intent)
        return written.intent

    async def _change(self, key: str, work: Work[Written]) -> Written:
        try:
            written = await self._run(work)
        except BaseException:
            self._written.pop(key, None)
            raise
        if written.record is not None:
            self._remember(key, written)
        return written

    def _remember(self, key: str, written: Written) -> None:
        record = written.record or ""
        crc = intent_rows.checksum(record)
        self._written[key] = Row(
            self._place.workspace, 0, key, written.version, record, crc, written.teller, written.notified
        )
        self._written.move_to_end(key)
        if len(self._written) > _GUESSES:
            self._written.popitem(last=False)

    def _plan(self, intent: Intent, tx: Transaction) -> Written:
        changes = charge_changes(None, intent)
        if changes or not tx.may_guess:  # else that it is new: if not, its key is refused as a double
            rows, *budgets = tx.ask(self._row(intent.key), *self._budgets(changes))
            if rows:
                row = Row(*rows[0])
                return Written(self._read(row), row.version, None, row.teller, row.notified)
            intent_rows.require_within_caps(changes, _by_name(budgets))
        indexes = [changes_between(None, intent)]
        return intent_rows.put(tx, self._place, None, None, intent, dump_intent(intent), indexes)

    def _advance(self, key: str, transitions: Sequence[Transition], tx: Transaction) -> Written:
        guess = self._written.get(key) if tx.may_guess and not any(map(_needs_more, transitions)) else None
        if guess is not None:  # that nobody has written since, nor has the look: else a guard refuses it
            row, known = guess, _Known()
        else:
            rows, known = self._ask_for_change(key, transitions, tx)
            if not rows:
                raise StoreError(f"{self.name}: it has no intent under the key {key!r}")
            row = Row(*rows[0])
        before = self._read(row)
        after, changes = apply_transitions(before, transitions)
        for change in changes:
            ref = change.claimed
            if change.checked and ref is not None and ref in known.owners:
                raise LookTaken(ref, known.owners[ref])
        if known.is_held:
            raise KeyConflict(key)
        intent_rows.require_within_caps(charge_changes(before, after), known.budgets)
        return intent_rows.put(tx, self._place, row, before, after, self._record(row, after), changes)

    def _ask_for_change(
        self, key: str, transitions: Sequence[Transition], tx: Transaction
    ) -> tuple[Rows, _Known]:
        """The intent's row, and what else the transitions need."""
        refs = [step.ref for step in transitions if isinstance(step, Accept | Correct)]
        names = {step.budget for step in transitions if isinstance(step, Send) and step.budget is not None}
        replaces = any(isinstance(step, Replace) for step in transitions)
        values = self._place.values(key=key)
        rows, *answers = tx.ask(
            self._row(key),
            *((sql.OWNER, {**values, **of_look(ref)}) for ref in refs),
            *([(sql.HOLDER, values)] if replaces else []),
            *self._budgets(names),
        )
        owners = {ref: _owner(found[0]) for ref, found in zip(refs, answers, strict=False) if found}
        is_held = replaces and bool(answers[len(refs)])
        return rows, _Known(owners, is_held, _by_name(answers[len(refs) + replaces :]))

    async def release(self, key: str | None) -> None:
        """Say that this process is not about to send the key's planned intent (None: any).

        Until then no other living process can give it other content: see `advance`.
        """
        await self._write(sql.RELEASE, key=key)

    async def forget(self, key: str) -> None:
        """Delete an intent whose key cannot be used again, once its cost is certain. Others are kept.

        Only a ledger in memory does so: elsewhere all are kept.
        """

    # --- intents: reading

    async def get(self, keys: Collection[str]) -> dict[str, Intent]:
        """The intents of those of these keys that are known."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, Intent] = {}
        for start in range(0, len(wanted), PAGE):
            part = wanted[start : start + PAGE]
            answers = await self._ask(*(self._row(key) for key in part))
            found |= {key: self._read(Row(*rows[0])) for key, rows in zip(part, answers, strict=True) if rows}
        return found

    async def by_ref(self, ref: LookRef) -> Intent | None:
        """The intent that has this look."""
        return self._first(await self._rows(sql.BY_REF, **of_look(ref)))

    async def in_states(self, states: Collection[IntentState], *, own: bool = False) -> list[Intent]:
        """All intents in these states, in the order in which they were planned.

        ``own``: of a shared ledger, only those that this process was the last to send.
        """
        return [intent async for intent in self.stream(states, own=own)]

    async def stream(
        self, states: Collection[IntentState] | None = None, *, own: bool = False
    ) -> AsyncIterator[Intent]:
        """The intents in these states (None: in any), in the order in which they were planned.

        A few hundred are in memory at a time. One that is planned or changed meanwhile may be missing.
        ``own`` is that of `in_states`.
        """
        condition = _condition(states) + (" AND i.member = :me" if own and self._newer else "")
        async for row in self._stream_rows(condition):
            yield self._read(row)

    async def _stream_rows(self, condition: str) -> AsyncIterator[Row]:
        after, size = 0, _PAGES_AT_ONCE * PAGE
        while rows := await self._rows(_page(condition), after=after, size=size):
            for number, row in enumerate(map(Row._make, rows), 1):
                yield row
                if number % _IN_A_TURN == 0:
                    await asyncio.sleep(0)
            if len(rows) < size:
                return
            after = Row._make(rows[-1]).seq

    async def recently_settled(self, count: int) -> list[Intent]:
        """Up to ``count`` settled intents, those that were planned last. None of one process."""
        rows = await self._rows(sql.LAST_SETTLED, size=count) if self._newer else []
        return [self._read(Row(*row)) for row in rows]

    async def gauges(self) -> StoreGauges:
        """Counts of the open intents, and the accepted one that was planned first.

        Monitoring asks for it every few seconds: it is cheap, however many intents there are.
        """
        counts, after, more = Counter[str](), 0, True
        while more:
            counted = await self._rows(sql.COUNT_OPEN, after=after, size=sql.OPEN_PAGE)
            counts.update({state: count for state, count, _ in counted})
            after = max([last for _, _, last in counted], default=0)
            more = sum(count for _, count, _ in counted) == sql.OPEN_PAGE
        first = await self._rows(_page(in_states((IntentState.ACCEPTED,))), after=0, size=1)
        return StoreGauges(counts["unknown"], counts["accepted"], self._first(first))

    # --- budgets

    async def open_budget(self, name: str, max_credits: Decimal, spent: Decimal) -> StoredBudget:
        """Create the budget, unless there is one of this name. Returns what is stored.

        ``spent``: what a new one has charged already.
        """
        await self._write(sql.OPEN_BUDGET, name=name, cap=to_units(max_credits), spent=to_units(spent))
        return await self.budget(name) or StoredBudget(name, max_credits, spent)

    async def budget(self, name: str) -> StoredBudget | None:
        """The budget of this name, if somebody has opened it."""
        rows = await self._rows(sql.BUDGET, name=name)
        return intent_rows.read_budget(rows[0]) if rows and rows[0][3] is not None else None

    async def set_cap(self, name: str, max_credits: Decimal) -> None:
        """Change the cap of a budget."""
        await self._write(sql.SET_CAP, name=name, cap=to_units(max_credits))

    # --- looks, deliveries, send times

    async def claimed_looks(self, avatar_id: str) -> frozenset[str]:
        """The ids of an avatar's looks that were made for an intent.

        Looks that were paid for besides its own (`Intent.past_looks`) are among them.
        """
        return frozenset(row[0] for row in await self._rows(sql.CLAIMED, avatar_id=avatar_id))

    async def known_avatar(self, avatar_id: str) -> KnownAvatar:
        """What the workspace's intents tell of an avatar."""
        values = self._place.values(avatar_id=avatar_id, source=text_of_source(avatar_id), recent=RECENT)
        [made] = await self._ask((sql.MADE, values))
        if made:
            return KnownAvatar(created=True)
        [copies] = await self._ask((sql.COPIES, values))
        return KnownAvatar(copies=frozenset(row[0] for row in copies if row[0] is not None))

    async def note_listed(self, avatar_id: str, look_ids: Collection[str]) -> None:
        """Write those of the looks of a full answer about an avatar that no intent has claimed, each once."""
        await self._run(partial(self._note_listed, avatar_id, look_ids))

    def _note_listed(self, avatar_id: str, look_ids: Collection[str], tx: Transaction) -> None:
        values = self._place.values(avatar_id=avatar_id)
        listed, claimed = tx.ask((sql.LISTED, values), (sql.CLAIMED, values))
        known = {row[0] for row in (*listed, *claimed)}
        for look_id in sorted({_THE_AVATAR, *look_ids} - known):
            tx.write(sql.ADD_LISTED, {**values, "look_id": look_id})

    async def listed_before(self, key: str, avatar_ids: Collection[str]) -> dict[str, frozenset[str]]:
        """The looks that were listed before the first POST of its round that may have cost something.

        Their ids, by the avatars that had been listed themselves. Empty where that is not known.
        """
        asked = dict.fromkeys(avatar_ids)
        if not asked:
            return {}
        answers = await self._ask(
            *((sql.LISTED_BEFORE, self._place.values(key=key, avatar_id=avatar_id)) for avatar_id in asked)
        )
        listed = zip(asked, (frozenset(row[0] for row in rows) for rows in answers), strict=True)
        return {avatar_id: looks for avatar_id, looks in listed if looks}

    async def keep_delivery(self, attempt_id: str, delivery: Delivery) -> Delivered | None:
        """Keep a delivery on this attempt's own URL where it tells more than what is known.

        Returns what is kept then; None where there is no such attempt.
        """
        return await self._run(partial(self._keep_delivery, attempt_id, delivery))

    def _keep_delivery(self, attempt_id: str, delivery: Delivery, tx: Transaction) -> Delivered | None:
        """Do what `keep_delivery` says. One that names the look of another request proves nothing."""
        questions = self._delivered(attempt_id)
        if delivery.avatar_id is not None:
            named = LookRef(delivery.avatar_id, delivery.look_id)
            questions.append((sql.BY_REF, self._place.values(**of_look(named))))
        found, kept, *owners = tx.ask(*questions)
        known = self._read_delivered(found, kept)
        if known is None:
            return None
        intent, was, _ = known
        after = kept_after(was, delivery)
        is_taken = any(Row(*rows[0]).key != intent.key for rows in owners if rows)
        if after == was or is_taken or not must_be_kept(intent, attempt_id, delivery):
            return known
        values = self._place.values(id=attempt_id, look_id=after.look_id, record=dump_delivery(after))
        tx.write(sql.KEEP_DELIVERY, {**values, "was": kept[0][0] if kept else None})
        return Delivered(intent, after, is_new=True)

    async def delivered(self, attempt_id: str) -> Delivered | None:
        """The intent of an attempt and what is kept for it, as they are now; None without such an attempt."""
        return self._read_delivered(*await self._ask(*self._delivered(attempt_id)))

    def _delivered(self, attempt_id: str) -> list[Question]:
        values = self._place.values(id=attempt_id)
        return [(sql.BY_ATTEMPT, values), (sql.KEPT_DELIVERY, values)]

    def _read_delivered(self, found: Rows, kept: Rows) -> Delivered | None:
        intent = self._first(found)
        delivery = load_delivery(kept[0][0]) if kept else None
        return Delivered(intent, delivery) if intent is not None else None

    async def delivered_attempts(self, key: str) -> frozenset[str]:
        """Those of the intent's attempts for which a delivery is kept."""
        return frozenset(row[0] for row in await self._rows(sql.DELIVERED_ATTEMPTS, key=key))

    async def delivered_to(self, look_id: str) -> frozenset[str]:
        """The keys for which this look was made, by deliveries on their own URLs, and that do not have it."""
        ids = [row[0] for row in await self._rows(sql.DELIVERED_TO, look_id=look_id)]
        found = [(each, await self.delivered(each)) for each in ids]
        return frozenset(
            delivered.intent.key
            for attempt_id, delivered in found
            if delivered is not None and delivered.delivery is not None
            if lacks_its_look(delivered.intent, attempt_id, delivered.delivery)
        )

    async def stream_delivered(self) -> AsyncIterator[str]:
        """The ids of attempts for which a delivery was kept, of intents that are ACCEPTED or UNKNOWN."""
        after = 0
        while rows := await self._rows(sql.DELIVERED, after=after, size=sql.OPEN_PAGE):
            for after, attempt_id in rows:  # noqa: B007 -- the last one is where the next page begins
                if attempt_id is not None:
                    yield attempt_id

    async def recent_sends(self, since: datetime) -> list[datetime]:
        """The send times after ``since``, of GET requests and of attempts, oldest first."""
        rows = await self._rows(sql.RECENT_SENDS, since=intent_rows.to_microseconds(since))
        return [intent_rows.from_microseconds(row[0]) for row in rows]

    def note_sends(self, sent_at: Sequence[datetime]) -> Awaitable[None]:  # noqa: ARG002
        """Write when GET requests were sent. Returns at once; await the result to know that it is durable.

        The times of attempts are written by `plan` and `advance`. Where processes take their permits from
        the database, nothing is written: it would cost more than the few that a restart forgets.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    # --- the engine

    def _row(self, key: str) -> Question:
        return sql.ROW, self._place.values(key=key)

    def _budgets(self, names: Iterable[str]) -> list[Question]:
        return [(sql.BUDGET, self._place.values(name=name)) for name in sorted(set(names))]

    def _read(self, row: Row) -> Intent:
        try:
            return row.read(newer=self._newer)
        except StoreError as error:
            raise type(error)(f"{self.name}: {error}") from None

    def _record(self, row: Row, after: Intent) -> str:
        return rewrite(row.record, after) if self._newer else dump_intent(after)

    def _first(self, rows: Rows) -> Intent | None:
        return self._read(Row(*rows[0])) if rows else None

    async def _ask(self, *questions: Question) -> list[Rows]:
        return await self._run(lambda tx: tx.ask(*questions), writes=False)

    async def _rows(self, statement: str, **values: Any) -> Rows:
        [rows] = await self._ask((statement, self._place.values(**values)))
        return rows

    async def _write(self, statement: str, **values: Any) -> None:
        await self._run(lambda tx: tx.write(statement, self._place.values(**values)))

    async def _run(self, work: Work[_T], *, writes: bool = True) -> _T:
        return await self._engine.run(work, writes=writes)


class _Known(NamedTuple):
    """What a change needs to know besides the intent: who has its looks, whether another member holds it."""

    owners: Mapping[LookRef, str] = {}
    is_held: bool = False
    budgets: Mapping[str, StoredBudget] = {}


def _do_nothing() -> None:
    """End calls that were never going to be made."""


def _needs_more(step: Transition) -> bool:
    """Whether a transition needs more than the intent's row to be decided."""
    return isinstance(step, Replace | Correct) or (isinstance(step, Send) and step.budget is not None)


def _owner(row: Sequence[Any]) -> str:
    key, state = row
    return "an earlier request" if state == "forgotten" else str(key)


def _by_name(budgets: Sequence[Rows]) -> dict[str, StoredBudget]:
    return {rows[0][0]: intent_rows.read_budget(rows[0]) for rows in budgets if rows}


def intents_of(states: Collection[IntentState] | None, place: Place) -> Question:
    """The question for all intents in these states (None: in any), in the order of the plan."""
    return _page(_condition(states)), place.values(after=0, size=_ALL)


def page_of(after: int, workspace: int = 1) -> Question:
    """The question for a page of intents. A file has one workspace, 1."""
    return _page(_KEPT), {"workspace": workspace, "after": after, "size": PAGE}


def _page(condition: str) -> str:
    return sql.PAGE.replace("{condition}", condition)


def _condition(states: Collection[IntentState] | None) -> str:
    return _KEPT if states is None else in_states(states)


def in_states(states: Collection[IntentState]) -> str:
    """The condition, spelled out so that the small index of open intents is used where it has them all."""
    listed = ", ".join(f"'{state.value}'" for state in IntentState if state in states)
    if not listed:
        return "AND 1 = 0"
    is_open = f"AND i.state IN {OPEN} " if OPEN_STATES.issuperset(states) else ""
    return f"{is_open}AND i.state IN ({listed})"
