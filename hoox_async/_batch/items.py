"""The items of a batch, and how each request of the input gets its key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._api.models import IDS, LookRef, is_usable, ref_in
from .._api.requests import FREE, ImageAvatar, LookEdit, PromptAvatar, Request, with_source_ref
from .._core.intents.intent import Intent, IntentState
from .._core.intents.keys import KEY, digest, is_key, ordinal_key
from .._core.intents.outcomes import BatchItem, Outcome, OutcomeState
from ..errors import InvalidRequest

_NOT_AMBIGUOUS = "a LookRef or a key without a colon: this text is an earlier item's key and a look's ref"


class Item:
    """One request of the input, and what is known of it so far.

    ``stored`` is the intent that the store had under its key when it was decided what to do with the item
    (None: there was none), ``pay_again`` whether it is to be paid although the store knows it, and
    ``resend`` whether it is an unknown that is to be sent a second time. ``repeated``: its key came before in
    this input. ``lost``: this run has lost a POST of it. ``is_failure``: it counts for ``max_failures``.
    ``paid``: what was counted of it so far, in credits.
    ``source`` is the look that is edited, once that is READY, and ``source_intent`` the intent whose look it
    is, where the edit names it by its ref and it is not READY.
    """

    __slots__ = (
        "dependents", "digest", "duplicates", "index", "is_failure", "key", "lost", "paid", "pay_again",
        "repeated", "request", "resend", "source", "source_intent", "stored",
    )  # fmt: skip

    def __init__(
        self,
        index: int,
        key: str,
        request: Request,
        digest: str,
        *,
        repeated: bool = False,
    ) -> None:
        self.index = index
        self.key = key
        self.request = request
        self.digest = digest
        self.repeated = repeated
        self.stored: Intent | None = None
        self.source: LookRef | None = None
        self.pay_again = False
        self.resend = False
        self.lost = False
        self.is_failure = False
        self.paid = FREE
        self.source_intent: Intent | None = None
        self.duplicates: list[Item] | None = None
        self.dependents: list[Item] | None = None

    def __repr__(self) -> str:
        return f"<Item {self.key!r}>"

    def add_duplicate(self, item: Item) -> None:
        """Add an item of the same key and content, which gets this one's outcome."""
        if self.duplicates is None:  # no list for most: thousands of items are read ahead
            self.duplicates = []
        self.duplicates.append(item)

    def add_dependent(self, item: Item) -> None:
        """Add an edit of this one's look, which waits until that is READY."""
        if self.dependents is None:
            self.dependents = []
        self.dependents.append(item)

    def take_dependents(self) -> list[Item]:
        """Remove the items that wait for this one, and return them."""
        taken, self.dependents = self.dependents, None
        return taken or []

    @property
    def source_key(self) -> str | None:
        """The key of the source item, which has to be READY first."""
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
        return self.stored is None or self.pay_again or self.stored.state is IntentState.PLANNED

    def is_unchanged(self, intent: Intent | None) -> bool:
        """Whether nothing was sent, settled or changed under its key since ``stored`` was read."""
        if intent is None or self.stored is None:
            return intent is self.stored
        return intent.unchanged_since(self.stored)


class KeyAssigner:
    """Gives each item its key: the user's own, else its digest and its ordinal among equals.

    Of a digest only 8 bytes are remembered: 100,000 items must not sit in memory.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._more: dict[int, int] = {}

    def items(self, index: int, given: Iterable[Any]) -> list[Item | Outcome]:
        """An item, or an outcome, for each given object; the first has this index in the input."""
        return [self.item(index + n, one) for n, one in enumerate(given)]

    def item(self, index: int, given: Any) -> Item | Outcome:
        """The item of a request; of anything else, its outcome: REJECTED."""
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
        source = request.source if isinstance(request, LookEdit) else None
        if isinstance(source, LookRef) and not is_usable(source):
            return _rejected(name, request, "source", str(source), IDS)
        if key is None:
            content = digest(request)
            ordinal = self._count(content)
            return Item(index, ordinal_key(content, ordinal), request, content)
        return Item(index, key, request, digest(request), repeated=self._count(f"key {key}") > 0)

    def _has(self, key: str) -> bool:
        """Whether an earlier item of this input has this key, chosen by the user."""
        return hash(f"key {key}") in self._seen

    def _count(self, text: str) -> int:
        """Count a key or a digest. Returns how often it was counted before."""
        short = hash(text)
        if short not in self._seen:
            self._seen.add(short)
            return 0
        self._more[short] = self._more.get(short, 0) + 1
        return self._more[short]


def _rejected(key: str, request: Any, field: str, value: object, expected: str) -> Outcome:
    return Outcome(key, request, OutcomeState.REJECTED, error=InvalidRequest(field, value, expected))
