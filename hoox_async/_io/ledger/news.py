"""Who is told that a look is done: the news that a row owes, which its teller's hooks are called with.

A row says who owes the news of its end (``teller``) and which look hooks were told of (``notified``). The
teller is the member whose session sent it last, if that has hooks. Where it has none and sends an unknown
again, the teller stays, whose POST may have made the look; where it pays again for one that has ended, until
that is accepted: else the end stands. Its session tells whatever settled row of
its own it comes across: what it has written itself, what it reads of others' changes, and what it looks for
here. Another session takes such a row over once its teller's session was closed or its member's lease is
over: a session whose lease may have been over since a row was read reads that again before it calls hooks. So
each end is told once where nothing fails, and at least once otherwise. A row can owe one end only:
who is to pay again waits while the last one is being told (`News.is_telling`). What nobody has told before a
session without hooks pays again is told to nobody.

A session whose hooks only show something owes no news, and its rows have no teller: it shows the ends of what
it has sent itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from operator import itemgetter

from ..._api.models import LookRef
from ..._core.intents.intent import Intent, IntentState
from ...errors import StoreError
from ..clock import Clock
from ..logs import failures_logged
from .intent_rows import OPEN_STATES, Place, Row, Written, is_owed
from .schema import OPEN, OWES
from .statements import COLUMNS, MAY_SWEEP, OPEN_PAGE, ROW, alive, of_workspaces
from .transaction import Engine, Rows, Transaction

_REMEMBERED = 20_000  # looks that hooks here were called with: more than can wait for an async hook
_LATE = 60.0  # seconds after which no answer comes any more
_ASK_AGAIN = 1.0  # seconds

PAGE = 100
"""Rows, with their intents: some milliseconds of work, after which the loop has a turn."""

_AFTER = "(workspace, seq) > (:after_workspace, :after)"
_IN_ORDER = f"ORDER BY workspace, seq LIMIT {PAGE}"
# Those that owe are few, which no statistics tell PostgreSQL: with an order and a limit it reads their index.
_OWING = (
    "(SELECT * FROM hoox.intents WHERE workspace IN ({workspaces}) "  # noqa: S608
    f"AND {OWES} AND teller = :me AND {_AFTER} {_IN_ORDER}) i"
)
OWED = COLUMNS.replace("hoox.intents i", _OWING) + "ORDER BY i.workspace, i.seq"

_IS_ALIVE = f"EXISTS (SELECT 1 FROM hoox.members m WHERE m.id = intents.teller AND {alive('m')})"  # noqa: S608
_IS_GONE = f"(teller = '' OR (NOT {_IS_ALIVE} AND {MAY_SWEEP}))"
# The conditions stand in the outer statement too: of two members that take the same row one finds it taken.
TAKE_OVER = (
    "UPDATE hoox.intents SET teller = :me WHERE seq IN (SELECT seq FROM hoox.intents "  # noqa: S608
    f"WHERE workspace IN ({{workspaces}}) AND {OWES} AND teller <> :me AND {_IS_GONE} AND {_AFTER} "
    f"{_IN_ORDER}) AND {OWES} AND teller <> :me AND {_IS_GONE}"
)
TAKE_OVER_KEY = (
    "UPDATE hoox.intents SET teller = :me WHERE workspace = :workspace AND key = :key "  # noqa: S608
    f"AND {OWES} AND teller <> :me AND {_IS_GONE}"
)
OWED_BY_ANOTHER = (
    "SELECT 1 FROM hoox.intents WHERE workspace = :workspace AND key = :key "  # noqa: S608
    f"AND {OWES} AND teller <> :me"
)
OWED_BY_A_LIVING_ONE = f"{OWED_BY_ANOTHER} AND {_IS_ALIVE}"
TOLD = (
    "UPDATE hoox.intents SET notified = look_id "
    "WHERE workspace = :workspace AND key = :key AND look_id = :look_id"
)
LAST_OPEN = (
    "SELECT max(seq) FROM (SELECT seq FROM hoox.intents WHERE workspace = :workspace "  # noqa: S608
    f"AND state IN {OPEN} AND seq > :after ORDER BY seq LIMIT :size) i"
)
_OPEN_PAGE = f"AND state IN {OPEN} AND seq > :after AND seq <= :last"
ADOPT = (
    "UPDATE hoox.intents SET teller = :me WHERE workspace = :workspace AND teller = '' "  # noqa: S608
    f"{_OPEN_PAGE}"
)
_LEAVE = "UPDATE hoox.intents SET teller = '' WHERE workspace = :workspace AND teller = :me "
LEAVE = _LEAVE + _OPEN_PAGE
LEAVE_ENDED = (
    _LEAVE + "AND seq IN (SELECT seq FROM hoox.intents WHERE workspace = :workspace "  # noqa: S608
    f"AND {OWES} AND teller = :me {_IN_ORDER})"
)

OnOwed = Callable[[Intent], None]


class News:
    """The news that the session of one open workspace owes its hooks.

    ``on_owed`` is called with an intent whose end hooks are to be told of, on the session's loop; it must not
    raise. `told` is to be called once they were. While there is no room (``has_room``), it is not called, and
    the end stays owed. ``held_since`` gives the boot time (`Clock.boot`) since which nobody can have taken
    over what it owes; infinity where that may be so now. ``shows``: its hooks only show something.
    """

    def __init__(
        self,
        engine: Engine,
        place: Place,
        on_owed: OnOwed,
        has_room: Callable[[], bool],
        held_since: Callable[[], float],
        *,
        shows: bool,
    ) -> None:
        self._engine = engine
        self._place = place
        self._on_owed = on_owed
        self._has_room = has_room
        self._held_since = held_since
        self._clock = Clock(asyncio.get_running_loop())
        self._shows = shows
        self._sent: dict[str, str] = {}  # the attempt by key, of what a session that only shows has sent
        # by key and look, whether it is still under way: a row that was read before it was written as told is
        # not told again
        self._begun: OrderedDict[tuple[str, str], bool] = OrderedDict()
        self._told: dict[str, str] = {}  # the look by key: hooks were told, and it is not written yet

    @property
    def may_tell(self) -> bool:
        """Whether its session has hooks, and room for what they are to be told of."""
        return self._place.tells and self._has_room()

    def found(self, found: Row | Written, intent: Intent, asked: float | None = None) -> None:
        """Tell the hooks here of the end of this intent, if its row owes that to them.

        ``asked``: at which boot time the database was asked for it; None: at any time of the last minute.
        Where others may have taken it over since, it is left to `tell_owed`, which reads it again.
        """
        asked = self._clock.boot() - _LATE if asked is None else asked
        if self._shows:
            self._show(intent, is_written=isinstance(found, Written))
        elif (
            is_owed(intent, found.teller, found.notified, self._place)
            and self._has_room()
            and self._held_since() <= asked
        ):
            self._tell(intent)

    async def is_still_owed(self, intent: Intent, since: float) -> bool:
        """Whether hooks here are still to be called with this end, which was theirs at this boot time.

        Where others may have taken it over since, its row is read, until the database answers.
        """
        values = self._place.values(key=intent.key)
        while self._place.tells and self._held_since() > since:
            await asyncio.sleep(_ASK_AGAIN)
            asked = self._clock.boot()
            with suppress(StoreError):
                [rows] = await self._engine.run(lambda tx: tx.ask((ROW, values)), writes=False)
                if not any(self._owes(Row(*row), intent) for row in rows):
                    self._begun.pop((intent.key, intent.ref.look_id if intent.ref else ""), None)
                    return False
                since = asked
        return True

    def _owes(self, row: Row, intent: Intent) -> bool:
        read = row.read(newer=True)
        return read.ref == intent.ref and is_owed(read, row.teller, row.notified, self._place)

    def _show(self, intent: Intent, *, is_written: bool) -> None:
        """Show the end of this intent, if this session was the last to send it."""
        if intent.state is IntentState.SENDING and is_written:
            self._sent[intent.key] = intent.attempts[-1].id
        elif intent.state not in OPEN_STATES:
            attempt = self._sent.pop(intent.key, None)
            if attempt is not None and intent.look is not None and intent.was_last_sent_by(attempt):
                self._tell(intent)

    def _tell(self, intent: Intent) -> None:
        """Tell the hooks here of the end of this intent, unless they were called with it."""
        ref = intent.ref
        if ref is not None and (intent.key, ref.look_id) not in self._begun:
            self._begun[intent.key, ref.look_id] = True
            if len(self._begun) > _REMEMBERED:
                self._begun.popitem(last=False)
            with failures_logged(f"telling hooks of the end of {intent.key!r}"):
                self._on_owed(intent)

    def told(self, intent: Intent) -> None:
        """Hooks were told of this end. It is written with the next `write_told`."""
        if intent.ref is not None:
            self._begun[intent.key, intent.ref.look_id] = False
            if self._place.tells:
                self._told[intent.key] = intent.ref.look_id

    async def is_telling(self, intent: Intent) -> bool:
        """Whether hooks are being told of this end, here or by another session that is alive.

        Begins with it here where this session owes it, or one that is gone. What one owes that may be gone is
        being told for as long as this session can't take it over yet.
        """
        if intent.ref is None or self._is_under_way(intent.key, intent.ref):
            return intent.ref is not None
        values = self._place.values(key=intent.key)
        if self._place.tells:
            questions = [(TAKE_OVER_KEY, values), (ROW, values), (OWED_BY_ANOTHER, values)]
        else:
            questions = [(ROW, values), (OWED_BY_A_LIVING_ONE, values)]
        *_, rows, others = await self._engine.run(lambda tx: tx.ask(*questions))
        is_owed_here = False
        for row in (Row(*each) for each in rows):
            read = row.read(newer=True)
            self.found(row, read)
            is_owed_here = is_owed(read, row.teller, row.notified, self._place)
        return bool(others) or self._begun.get((intent.key, intent.ref.look_id), is_owed_here)

    def _is_under_way(self, key: str, ref: LookRef) -> bool:
        return self._begun.get((key, ref.look_id), False)

    async def leave(self) -> None:
        """Owe nothing any more: sessions with hooks may take over what is not told yet."""
        await write_told(self._engine, [self])
        if not self._place.tells:
            return
        values = self._place.values(after_workspace=0, after=0)
        questions = ((LEAVE_ENDED, values), (of_workspaces(OWED, [self._place.workspace]), values))
        # first, so that none ends between the two as this session's
        await self._change_open(LEAVE)
        left = True
        while left:  # a page at a time
            _, rows = await self._engine.run(lambda tx: tx.ask(*questions))
            left = bool(rows)

    async def adopt(self) -> None:
        """Owe the ends to come of what closed sessions have left."""
        await self._change_open(ADOPT)

    async def _change_open(self, statement: str) -> None:
        """Execute `LEAVE` or `ADOPT` in pages: the loop has a turn after each."""
        after: int | None = 0
        while after is not None:
            after = await self._engine.run(partial(self._change_page, statement, after))

    def _change_page(self, statement: str, after: int, tx: Transaction) -> int | None:
        """The place after which the next page begins; None after the last."""
        values = self._place.values(after=after)
        [[(last,)]] = tx.ask((LAST_OPEN, {**values, "size": OPEN_PAGE}))
        if last is None:
            return None
        tx.write(statement, {**values, "last": last})
        return int(last)

    def take_told(self) -> Sequence[tuple[int, str, str]]:
        """Workspace, key and look of what hooks were told of, which the caller writes."""
        taken, self._told = self._told, {}
        return [(self._place.workspace, key, look_id) for key, look_id in taken.items()]

    def put_back(self, key: str, look_id: str) -> None:
        """It could not be written, and is written later, unless the key's next look was told meanwhile."""
        self._told.setdefault(key, look_id)


async def tell_owed(engine: Engine, me: str, news: Mapping[int, News]) -> None:
    """Tell what sessions here owe, by their workspaces, and take over what sessions owe that are gone.

    In pages, oldest first: the loop has a turn after each.
    """
    last, more = (0, 0), True
    clock = Clock(asyncio.get_running_loop())
    while more:
        asked = clock.boot()
        rows = await _page_of_owed(
            engine, me, [number for number, each in news.items() if each.may_tell], last
        )
        for row in (Row(*each) for each in rows):
            with failures_logged(f"reading the end of {row.key!r}"):
                news[row.workspace].found(row, row.read(newer=True), asked)
        more = len(rows) == PAGE
        last = rows[-1][:2] if more else last


async def _page_of_owed(engine: Engine, me: str, workspaces: Sequence[int], last: tuple[int, ...]) -> Rows:
    """The next rows after this workspace and seq. Of those of gone sessions as many are taken over."""
    if not workspaces:
        return []
    after_workspace, after = last
    values = {"me": me, "after_workspace": after_workspace, "after": after}
    questions = [(of_workspaces(statement, workspaces), values) for statement in (TAKE_OVER, OWED)]
    _, rows = await engine.run(lambda tx: tx.ask(*questions))
    return rows


def write_told(engine: Engine, news: Iterable[News]) -> asyncio.Future[None]:
    """Write which looks hooks were told of. No other process reads that as a change.

    The result need not be awaited.
    """
    taken = [(place, each) for each in news for place in each.take_told()]
    told = sorted(taken, key=itemgetter(0))  # in one order: no deadlock

    def write(tx: Transaction) -> None:
        for (workspace, key, look_id), _ in told:
            tx.write(TOLD, {"workspace": workspace, "key": key, "look_id": look_id})

    def flushed(written: asyncio.Future[None]) -> None:
        if written.cancelled() or written.exception() is not None:
            for (_, key, look_id), each in told:
                each.put_back(key, look_id)

    if not told:
        nothing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        nothing.set_result(None)
        return nothing
    written = engine.run(write)
    written.add_done_callback(flushed)
    return written
