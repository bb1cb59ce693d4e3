"""Pulls the input, page by page and only as far ahead as is allowed, and finds what the store knows of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from .._api.models import LookRef
from .._core.intents.intent import Intent, refuses_edits
from .._core.intents.outcomes import Outcome
from .._io.protocols import Store
from ..errors import HooxError, StoreError
from .batch_budget import BatchBudget
from .items import Input, Item, Keys
from .prefetch import PrefetchWindow

_PAGE = 100
_LONGEST_READING = 1.0  # seconds; then what was read so far is sent, and the reading goes on beside it
_MOST_USABLE = 10_000

Known = dict[str, Intent]


class Admission(Protocol):
    """Who takes what was pulled."""

    def admit(self, index: int, pulled: Item | Outcome, known: Known | StoreError) -> None:
        """Take one: an item, or the outcome of something that is no request."""

    def enough(self) -> bool:
        """Whether more items would not help to choose which one is sent next."""

    def filled(self) -> None:
        """As much was read as is needed to begin."""

    def stop(self, reason: HooxError) -> None:
        """The store cannot be read: send nothing more."""


class InputReader:
    """Reads one input to its end, or until it is told to stop."""

    def __init__(self, given: Input, ahead: PrefetchWindow, store: Store) -> None:
        self._input = given
        self._keys = Keys()
        self._prefetch = ahead
        self._store = store
        self._usable: set[LookRef | None] = set()  # sources that need not be waited for
        self.over = False
        """Whether the input was read to its end."""
        self.filled = given.slow
        """Whether as much was read as is needed to choose items by their avatars, or as one second allows."""
        self.admitting = False
        """Whether something was pulled that is not admitted yet."""

    @property
    def endless(self) -> bool:
        """Whether the input may have no end: then a stop must not go on pulling from it."""
        return not self._input.sized

    async def run(self, admission: Admission, may_go_on: Callable[[], bool]) -> None:
        """Pull and admit, until the input ends or ``may_go_on`` says no."""
        timer = asyncio.get_running_loop().call_later(_LONGEST_READING, self._fill, admission)
        try:
            await self._read(admission, may_go_on)
        finally:
            timer.cancel()
        self.over = True
        self._fill(admission)

    async def _read(self, admission: Admission, may_go_on: Callable[[], bool]) -> None:
        index = 0
        while may_go_on():
            room = self._prefetch.room(enough=admission.enough())
            if room <= 0:
                self._fill(admission)
                await self._prefetch.changed()
                continue
            given = await self._input.pull(min(room, _PAGE))
            if not given:
                break
            self._prefetch.read(len(given))
            self.admitting = True
            await self._admit(admission, index, self._keys.items(index, given))
            self.admitting = False
            index += len(given)
            await asyncio.sleep(0)

    def _fill(self, admission: Admission) -> None:
        if not self.filled:
            self.filled = True
            admission.filled()

    async def _admit(self, admission: Admission, index: int, pulled: list[Item | Outcome]) -> None:
        fresh = [item for item in pulled if isinstance(item, Item)]
        wanted = {item.key for item in fresh} | {item.source_key for item in fresh if item.source_key}
        known: Known | StoreError
        try:
            known = await self._store.get(wanted)
            await self._find_makers(fresh)
        except StoreError as error:
            admission.stop(error)
            known = StoreError(f"what earlier runs made of it, and paid, could not be read: {error}")
        for n, item in enumerate(pulled):
            admission.admit(index + n, item, known)

    async def _find_makers(self, fresh: list[Item]) -> None:
        """Note on edits of looks that the store knows and that are not READY who makes them."""
        wanted = {item.source_ref for item in fresh} - self._usable - {None}
        found = {ref: await self._store.by_ref(ref) for ref in wanted if ref is not None}
        for item in fresh:
            maker = found.get(item.source_ref) if item.source_ref is not None else None
            if maker is not None and refuses_edits(maker):
                item.maker = maker
            elif item.source_ref is not None:
                self._usable.add(item.source_ref)
        if len(self._usable) > _MOST_USABLE:
            self._usable.clear()

    async def count_earlier(self, admission: Admission, purse: BatchBudget) -> None:
        """Count what earlier runs spent before anything is sent, where there is a cap.

        An input that cannot be read twice may end with what was paid before: so for one, all counts that the
        store's keys have spent.
        """
        if not purse.capped:
            return
        try:
            async for intent in self._earlier():
                purse.count(intent.spent + intent.at_risk)
        except StoreError as error:
            admission.stop(error)

    async def _earlier(self) -> AsyncIterator[Intent]:
        if not self._input.repeatable:
            async for intent in self._store.stream():
                if intent.own_key:
                    yield intent
            return
        keys = Keys()
        for index, given in self._input.pages(_PAGE):
            items = [item for item in keys.items(index, given) if isinstance(item, Item)]
            for intent in (await self._store.get({i.key for i in items if not i.repeated})).values():
                yield intent

    async def aclose(self) -> None:
        """Close a generator that was left early."""
        await self._input.aclose()
