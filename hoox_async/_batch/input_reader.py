"""Reads the input of a batch page by page, and looks up in the store what is known of each page."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Sized,
    ValuesView,
)
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any

from .._api.models import LookRef
from .._api.requests import ImageAvatar, LookEdit, PromptAvatar, Request
from .._core.intents.intent import Intent, refuses_edits
from .._core.intents.outcomes import BatchItem, Outcome
from .._io.ledger.ledger import Ledger
from .._session.intents import Intents, store_errors
from ..errors import InvalidRequest
from .items import Item, KeyAssigner

Requests = Iterable[Request | BatchItem] | AsyncIterable[Request | BatchItem]

PAGE = 50  # items: some milliseconds of work, after which the loop has a turn
_MAX_BLOCKING = 0.05  # seconds that a slow generator may block the loop for more than one item
_MAX_USABLE = 10_000


class BatchInput:
    """The caller's iterable, read lazily, and closed when it is left early."""

    def __init__(self, requests: Requests) -> None:
        self.total: int | None = len(requests) if isinstance(requests, Sized) else None
        self._given = requests
        self._async: AsyncIterator[Any] | None = None
        self._sync: Iterator[Any] | None = None
        if isinstance(requests, AsyncIterable):
            self._async = requests.__aiter__()
        elif isinstance(requests, PromptAvatar | ImageAvatar | LookEdit | BatchItem):
            raise InvalidRequest("requests", requests, "an iterable of requests, not one request")
        elif isinstance(requests, str | bytes | Mapping):
            expected = "an iterable of requests; BatchItem(key, request) gives one a key"
            raise InvalidRequest("requests", requests, expected)
        else:
            try:
                self._sync = iter(requests)
            except TypeError:
                raise InvalidRequest("requests", requests, "an iterable of requests") from None

    @property
    def slow(self) -> bool:
        """Whether its next item can only arrive in a later turn of the loop."""
        return self._async is not None

    @property
    def repeatable(self) -> bool:
        """Whether it can be read twice at no cost to the caller, as a list or a set can."""
        return isinstance(self._given, Sequence | AbstractSet | ValuesView)

    def pages(self, size: int) -> Iterator[tuple[int, list[Any]]]:
        """All of a repeatable input, from its start, in pages: (index of the first, page)."""
        assert self.repeatable
        rest = iter(self._given)  # type: ignore[arg-type]
        index = 0
        while page := list(islice(rest, size)):
            yield index, page
            index += len(page)

    async def read(self, limit: int) -> list[Any]:
        """Up to ``limit`` requests: of an async input one, of a generator those that it yields within 50 ms.

        An empty list is the end of the input.
        """
        if self._async is not None:
            try:
                return [await self._async.__anext__()]
            except StopAsyncIteration:
                return []
        assert self._sync is not None
        if self.total is not None:
            return list(islice(self._sync, limit))
        clock = asyncio.get_running_loop().time
        until, page = clock() + _MAX_BLOCKING, []
        for given in islice(self._sync, limit):
            page.append(given)
            if clock() >= until:
                break
        return page

    async def aclose(self) -> None:
        """Close a generator that was not read to its end."""
        aclose, close = getattr(self._async, "aclose", None), getattr(self._sync, "close", None)
        if aclose is not None:
            await aclose()
        elif close is not None:
            close()


class InputReader:
    """Reads one input to its end, once."""

    def __init__(self, given: BatchInput, store: Ledger, intents: Intents) -> None:
        self._input = given
        self._store = store
        self._intents = intents
        self._keys = KeyAssigner()
        self._next_index = 0
        self._usable: set[LookRef | None] = set()  # sources that need not be waited for

    @property
    def slow(self) -> bool:
        """Whether its next item can only arrive in a later turn of the loop."""
        return self._input.slow

    @property
    def total(self) -> int | None:
        """The length of the input; None if that is not known: it may be endless."""
        return self._input.total

    async def read(self, limit: int) -> list[Item | Outcome]:
        """The next items, ``limit`` at most, with outcomes for what is no request; empty at the end."""
        given = await self._input.read(min(limit, PAGE))
        index, self._next_index = self._next_index, self._next_index + len(given)
        return self._keys.items(index, given)

    async def look_up(self, page: list[Item | Outcome]) -> dict[str, Intent]:
        """The stored intents of these items and of their sources, by key. Raises `StoreError`."""
        items = [item for item in page if isinstance(item, Item)]
        keys = {item.key for item in items} | {item.source_key for item in items if item.source_key}
        known = await self._intents.get(keys)
        await self._find_unsettled_sources(items)
        return known

    async def _find_unsettled_sources(self, items: list[Item]) -> None:
        """For edits that name their source by a ref: set ``source_intent`` where that look is not READY."""
        refs = {item.source_ref for item in items} - self._usable - {None}
        with store_errors():
            found = {ref: await self._store.by_ref(ref) for ref in refs if ref is not None}
        for item in items:
            intent = found.get(item.source_ref) if item.source_ref is not None else None
            if intent is not None and refuses_edits(intent):
                item.source_intent = intent
            elif item.source_ref is not None:
                self._usable.add(item.source_ref)
        if len(self._usable) > _MAX_USABLE:
            self._usable.clear()

    async def earlier_intents(self) -> AsyncIterator[Intent]:
        """The intents of earlier runs under the keys of this input. Raises `StoreError`.

        The keys of an input that cannot be read twice are not known in advance: then these are all intents
        but those of single submissions without a key.
        """
        if not self._input.repeatable:
            async for intent in self._store.stream():
                if intent.own_key:
                    yield intent
            return
        keys = KeyAssigner()
        for index, given in self._input.pages(PAGE):
            items = [item for item in keys.items(index, given) if isinstance(item, Item)]
            known = await self._intents.get({item.key for item in items if not item.repeated})
            for intent in known.values():
                yield intent

    async def aclose(self) -> None:
        """Close a generator that was not read to its end."""
        await self._input.aclose()
