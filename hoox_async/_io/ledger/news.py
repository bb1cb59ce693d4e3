"""Who is told that a look is done: the news that a row owes, which its teller's hooks are called with.

A row says who owes the news of its end (``teller``) and which look hooks were told of (``notified``). The
teller is the member whose session sent it last, if that has hooks. Its session tells whatever settled row of
its own it comes across: what it has written itself, what it reads of others' changes, and what it looks for
here. Another session takes such a row over once its teller's session was closed or its member's lease is
over. So each end is told once where nothing fails, and at least once otherwise. A row can owe one end only:
who is to pay again waits while the last one is being told (`News.is_telling`). What nobody has told before a
session without hooks pays again is told to nobody.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter

from ..._api.models import LookRef
from ..._core.intents.intent import Intent
from ..logs import failures_logged
from . import news_statements as sql
from .intent_rows import Place, Row, Written, is_owed
from .statements import ROW, of_workspaces
from .transaction import Engine, Transaction

_REMEMBERED = 10_000  # looks that hooks here were called with

OnOwed = Callable[[Intent], None]


class News:
    """The news that the session of one open workspace owes its hooks.

    ``on_owed`` is called with an intent whose end hooks are to be told of, on the session's loop; it must not
    raise. `told` is to be called once they were. ``takes_over``: also what sessions owe that are gone.
    """

    def __init__(self, engine: Engine, place: Place, on_owed: OnOwed, *, takes_over: bool) -> None:
        self._engine = engine
        self._place = place
        self._on_owed = on_owed
        self.takes_over = takes_over
        # by key and look, whether it is still under way: a row that was read before it was written as told is
        # not told again
        self._begun: OrderedDict[tuple[str, str], bool] = OrderedDict()
        self._told: dict[str, str] = {}  # the look by key: hooks were told, and it is not written yet

    @property
    def tells(self) -> bool:
        """Whether its session has hooks."""
        return self._place.tells

    def found(self, found: Row | Written, intent: Intent) -> None:
        """Tell the hooks here of the end of this intent, if its row owes that to them."""
        if is_owed(intent, found.teller, found.notified, self._place):
            self.tell(intent)

    def tell(self, intent: Intent) -> None:
        """Tell the hooks here of the end of this intent, unless they were called with it."""
        ref = intent.ref
        if self._place.tells and ref is not None and (intent.key, ref.look_id) not in self._begun:
            self._begun[intent.key, ref.look_id] = True
            if len(self._begun) > _REMEMBERED:
                self._begun.popitem(last=False)
            with failures_logged(f"telling hooks of the end of {intent.key!r}"):
                self._on_owed(intent)

    def told(self, intent: Intent) -> None:
        """Hooks were told of this end. It is written with the next `write_told`."""
        if intent.ref is not None:
            self._begun[intent.key, intent.ref.look_id] = False
            self._told[intent.key] = intent.ref.look_id

    async def is_telling(self, intent: Intent) -> bool:
        """Whether hooks are being told of this end, here or by another session that is alive.

        Begins with it here where this session owes it, or one that is gone. What one owes that may be gone is
        being told for as long as this session can't take it over yet.
        """
        if intent.ref is None or self._is_under_way(intent.key, intent.ref):
            return intent.ref is not None
        values = self._place.values(key=intent.key)
        if self.takes_over and self._place.tells:
            questions = [(sql.TAKE_OVER_KEY, values), (ROW, values), (sql.OWED_BY_ANOTHER, values)]
        else:
            questions = [(ROW, values), (sql.OWED_BY_A_LIVING_ONE, values)]
        *_, rows, others = await self._engine.run(lambda tx: tx.ask(*questions))
        for row in (Row(*each) for each in rows):
            self.found(row, row.read(newer=True))
        return bool(others) or self._is_under_way(intent.key, intent.ref)

    def _is_under_way(self, key: str, ref: LookRef) -> bool:
        return self._begun.get((key, ref.look_id), False)

    async def leave(self) -> None:
        """Owe nothing any more: sessions with hooks may take over what is not told yet."""
        await write_told(self._engine, [self])
        if not self._place.tells:
            return
        values = self._place.values(nobody=self._nobody)
        questions = ((sql.LEAVE_ENDED, values), (of_workspaces(sql.OWED, [self._place.workspace]), values))
        # first, so that none ends between the two as this session's
        await self._engine.run(lambda tx: tx.write(sql.LEAVE, values))
        left = True
        while left:  # a page at a time
            _, rows = await self._engine.run(lambda tx: tx.ask(*questions))
            left = bool(rows)

    @property
    def _nobody(self) -> str | None:
        """What stands for the teller of what is left: a session that only shows owes nobody anything."""
        return sql.CLOSED if self.takes_over else None

    def take_told(self) -> Sequence[tuple[int, str, str]]:
        """Workspace, key and look of what hooks were told of, which the caller writes."""
        taken, self._told = self._told, {}
        return [(self._place.workspace, key, look_id) for key, look_id in taken.items()]

    def put_back(self, key: str, look_id: str) -> None:
        """It could not be written, and is written later, unless the key's next look was told meanwhile."""
        self._told.setdefault(key, look_id)


async def tell_owed(engine: Engine, me: str, news: Mapping[int, News]) -> None:
    """Tell what sessions here owe, by their workspaces, and take over what sessions owe that are gone."""
    tell = [number for number, each in news.items() if each.tells]
    take_over = [number for number in tell if news[number].takes_over]
    if not tell:
        return
    questions = [(of_workspaces(sql.TAKE_OVER, take_over), {"me": me})] if take_over else []
    owed = (of_workspaces(sql.OWED, tell), {"me": me})
    *_, rows = await engine.run(lambda tx: tx.ask(*questions, owed))
    for row in (Row(*each) for each in rows):
        with failures_logged(f"reading the end of {row.key!r}"):
            news[row.workspace].found(row, row.read(newer=True))


def write_told(engine: Engine, news: Iterable[News]) -> asyncio.Future[None]:
    """Write which looks hooks were told of. No other process reads that as a change.

    The result need not be awaited.
    """
    taken = [(place, each) for each in news for place in each.take_told()]
    told = sorted(taken, key=itemgetter(0))  # in one order: no deadlock

    def write(tx: Transaction) -> None:
        for (workspace, key, look_id), _ in told:
            tx.write(sql.TOLD, {"workspace": workspace, "key": key, "look_id": look_id})

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
