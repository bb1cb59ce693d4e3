"""From what the caller's iterable gives to items with keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any

from .._api.models import LookRef
from .._api.refs import ref_in
from .._api.requests import ImageAvatar, LookEdit, PromptAvatar, Request, with_source_ref
from .._core.intents.intent import Intent, IntentState
from .._core.intents.keys import KEY, digest, is_key, ordinal_key
from .._core.intents.outcomes import BatchItem, Outcome, OutcomeState
from ..errors import InvalidRequest

Requests = Iterable[Request | BatchItem] | AsyncIterable[Request | BatchItem]
_NOT_AMBIGUOUS = "a LookRef or a key without a colon: this text is an earlier item's key and a look's ref"
_MOMENT = 0.05  # seconds that a slow generator may hold up the loop for more than one item


class Item:
    """One item of the input on its way.

    ``intent`` is what the store knew when it was decided to send it or not (None: nothing), ``renew``
    whether it is then to be paid anew, and ``resends`` whether it is an unknown that is to be sent again.
    ``maker`` is the intent whose look an edit's source is, where that is named by its ref and not READY.
    """

    __slots__ = (
        "dependents", "digest", "followers", "index", "intent", "key", "maker", "renew", "repeated",
        "request", "resends", "source",
    )  # fmt: skip

    def __init__(
        self,
        index: int,
        key: str,
        request: Request,
        digest: str,
        *,
        repeated: bool = False,
        intent: Intent | None = None,
        source: LookRef | None = None,
        renew: bool = False,
        resends: bool = False,
    ) -> None:
        self.index = index
        self.key = key
        self.request = request
        self.digest = digest
        self.repeated = repeated
        self.intent = intent
        self.source = source
        self.renew = renew
        self.resends = resends
        self.maker: Intent | None = None
        self.followers: list[Item] | None = None
        self.dependents: list[Item] | None = None

    def __repr__(self) -> str:
        return f"<Item {self.key!r}>"

    def add_follower(self, item: Item) -> None:
        """One of the same key, which is told what this one is told."""
        if self.followers is None:  # no list for most: thousands of items are read ahead
            self.followers = []
        self.followers.append(item)

    def add_dependent(self, item: Item) -> None:
        """An edit of this one's look, which waits until it is READY."""
        if self.dependents is None:
            self.dependents = []
        self.dependents.append(item)

    def take_dependents(self) -> list[Item]:
        """Those that wait for this one; from now on they are the caller's."""
        taken, self.dependents = self.dependents, None
        return taken or []

    @property
    def source_key(self) -> str | None:
        """The key of the item that has to be READY first."""
        source = self.request.source if isinstance(self.request, LookEdit) else None
        return source if isinstance(source, str) else None

    @property
    def source_ref(self) -> LookRef | None:
        """The look that is edited, where it is named by its ref."""
        source = self.request.source if isinstance(self.request, LookEdit) else None
        return source if isinstance(source, LookRef) else None

    @property
    def needs_sending(self) -> bool:
        """Whether it is to be sent, and not only waited for."""
        return self.intent is None or self.renew or self.intent.state is IntentState.PLANNED

    def stands_as_known(self, stands: Intent | None) -> bool:
        """Whether nothing was sent, settled or changed under its key since that was decided."""
        if stands is None or self.intent is None:
            return stands is self.intent
        return stands.unchanged_since(self.intent)


class Keys:
    """Gives each item its key: the user's own, else its digest and its ordinal among equals.

    Of a digest only 8 bytes are remembered: 100,000 items must not sit in memory.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._more: dict[int, int] = {}

    def items(self, index: int, given: Iterable[Any]) -> list[Item | Outcome]:
        """One for each of what was given, of which the first has this place in the input."""
        return [self.item(index + n, one) for n, one in enumerate(given)]

    def item(self, index: int, given: Any) -> Item | Outcome:
        """The item; or the outcome of something that is no request."""
        key, request = (given.key, given.request) if isinstance(given, BatchItem) else (None, given)
        name = key if is_key(key) else f"item {index + 1}"
        if not isinstance(request, PromptAvatar | ImageAvatar | LookEdit):
            return _rejected(name, given, "request", given, "a request of this library")
        if key is not None and not is_key(key):
            return _rejected(name, request, "key", key, KEY)
        if isinstance(request, LookEdit) and isinstance(request.source, str):
            if not is_key(request.source):
                return _rejected(name, request, "source", request.source, f"a key: {KEY}")
            if ref_in(request.source) is not None:
                if self._has(request.source):
                    return _rejected(name, request, "source", request.source, _NOT_AMBIGUOUS)
                request = with_source_ref(request)
        if key is None:
            content = digest(request)
            ordinal = self._count(content)
            return Item(index, ordinal_key(content, ordinal), request, content)
        return Item(index, key, request, digest(request), repeated=self._count(f"key {key}") > 0)

    def _has(self, key: str) -> bool:
        """Whether an earlier item of this input has this key of the user's own."""
        return hash(f"key {key}") in self._seen

    def _count(self, text: str) -> int:
        """How often this was counted before."""
        short = hash(text)
        if short not in self._seen:
            self._seen.add(short)
            return 0
        self._more[short] = self._more.get(short, 0) + 1
        return self._more[short]


def _rejected(key: str, request: Any, field: str, value: object, expected: str) -> Outcome:
    return Outcome(key, request, OutcomeState.REJECTED, error=InvalidRequest(field, value, expected))


class Input:
    """The caller's iterable, pulled one by one; it is closed when it is left early."""

    def __init__(self, requests: Requests) -> None:
        self.sized = hasattr(requests, "__len__")
        self._given = requests
        self._async: AsyncIterator[Any] | None = None
        self._sync: Iterator[Any] | None = None
        if isinstance(requests, AsyncIterable):
            self._async = requests.__aiter__()
        elif isinstance(requests, PromptAvatar | ImageAvatar | LookEdit | BatchItem):
            raise InvalidRequest("requests", requests, "an iterable of requests, not one request")
        else:
            try:
                self._sync = iter(requests)
            except TypeError:
                raise InvalidRequest("requests", requests, "an iterable of requests") from None

    @property
    def slow(self) -> bool:
        """Whether its next item may take time to come."""
        return self._async is not None

    @property
    def repeatable(self) -> bool:
        """Whether it can be read twice at no cost to the caller: a list, a set …"""
        return isinstance(self._given, Sequence | AbstractSet | ValuesView)

    def pages(self, size: int) -> Iterator[tuple[int, list[Any]]]:
        """All of a repeatable input, from its start, in pages: (place of the first, page)."""
        assert self.repeatable
        rest = iter(self._given)  # type: ignore[arg-type]
        index = 0
        while page := list(islice(rest, size)):
            yield index, page
            index += len(page)

    async def pull(self, limit: int) -> list[Any]:
        """Up to ``limit`` of what comes next: as many as come within a moment; one of an async input.

        An empty list is the end.
        """
        if self._async is not None:
            try:
                return [await self._async.__anext__()]
            except StopAsyncIteration:
                return []
        assert self._sync is not None
        if self.sized:
            return list(islice(self._sync, limit))
        clock = asyncio.get_running_loop().time
        until, page = clock() + _MOMENT, []
        for given in islice(self._sync, limit):
            page.append(given)
            if clock() >= until:
                break
        return page

    async def aclose(self) -> None:
        """Close a generator that was not pulled to its end."""
        aclose, close = getattr(self._async, "aclose", None), getattr(self._sync, "close", None)
        if aclose is not None:
            await aclose()
        elif close is not None:
            close()
