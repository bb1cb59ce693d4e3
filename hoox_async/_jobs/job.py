"""The awaitable job of one look."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Hashable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from .._core.durations import kind_of
from .._core.intents import Intent
from .._core.models import Look, LookRef, LookStatus
from .._core.requests import Request
from .._core.settings import DEFAULT_TIMEOUT, Timeout
from ..errors import GenerationFailed, HooxError

if TYPE_CHECKING:
    from .book import JobBook

Waiter = asyncio.Future[HooxError | None]
_NOTHING: Mapping[str, str] = {}


class Paid(NamedTuple):
    """What the store knows of a job's look: the intent that paid for it."""

    key: str
    request: Request
    accepted_at: datetime | None
    kept: bool
    pushed: bool

    @classmethod
    def by(cls, intent: Intent, *, pushed: bool) -> Paid:
        """Of an accepted intent. ``pushed``: a webhook will tell of its look."""
        request = intent.request
        pushed = pushed and request.webhook_url is None
        return cls(intent.key, request, intent.accepted_at, intent.own_key, pushed)

    @property
    def kind(self) -> Hashable:
        """What its duration is learned by."""
        return kind_of(self.request)


class LookJob:
    """A look that was accepted: awaitable many times and by many tasks.

    ``await job`` gives the `Look` once it is READY. It raises `GenerationFailed` if it could not be
    made, `WaitTimeout` after ``Timeouts.wait`` seconds (nothing is lost: wait again) and `SessionClosed`
    if the session is closed meanwhile. A waiter that is cancelled never cancels the job.
    """

    __slots__ = ("__weakref__", "_book", "_complete", "_last", "_paid", "_waiters", "ref")

    ref: LookRef
    """Names the look."""

    def __init__(self, book: JobBook, ref: LookRef, paid: Paid | None) -> None:
        self._book = book
        self._paid = paid
        self._complete = False
        self._waiters: Waiter | list[Waiter] | None = None  # nearly always one: a list costs 100 bytes
        self._last: Look | None = None
        self.ref = ref

    @property
    def last(self) -> Look:
        """The look as last heard of; no request is made for it."""
        return Look(self.ref, LookStatus.PENDING) if self._last is None else self._last

    @property
    def _is_settled(self) -> bool:
        """Whether the look is READY or FAILED, as far as was heard."""
        return self._last is not None and self._last.status.settled

    def __repr__(self) -> str:
        return f"<LookJob {self.ref} {self.last.status}>"

    def __del__(self) -> None:
        if self._paid is not None and not self._paid.kept:
            self._book.let_go(self._paid.key)

    @property
    def avatar_id(self) -> str:
        """The avatar that the look belongs to."""
        return self.ref.avatar_id

    @property
    def look_id(self) -> str:
        """The look's own id."""
        return self.ref.look_id

    @property
    def key(self) -> str | None:
        """The key that it was submitted under; None where the session did not submit it."""
        return self._paid.key if self._paid else None

    @property
    def credits(self) -> Decimal | None:
        """What it cost, in credits; None where the session did not submit it."""
        return self._paid.request.credits if self._paid else None

    @property
    def metadata(self) -> Mapping[str, str]:
        """The metadata that it was submitted with."""
        return self._paid.request.metadata if self._paid else _NOTHING

    @property
    def done(self) -> bool:
        """Whether ``await job`` would end at once."""
        return self._complete

    def result(self) -> Look:
        """The look of a job that is done. Raises `GenerationFailed`, anew for each caller."""
        if self.last.status is LookStatus.FAILED:
            raise GenerationFailed(self.last)
        return self.last

    def __await__(self) -> Generator[Any, None, Look]:
        return self.wait().__await__()

    async def wait(self, timeout: Timeout = DEFAULT_TIMEOUT) -> Look:
        """Wait until the look is READY, ``timeout`` seconds at most.

        Left out, that is the session's ``Timeouts.wait``. ``None`` is no limit; with 0 or less only a look
        that is known to be done is given. Raises `InvalidRequest` for a timeout that is no number,
        `GenerationFailed`, `WaitTimeout`, `SessionClosed`, `StoreError`, and `NotFound` if the API
        goes on saying that there is no such look.
        """
        return await self._book.wait(self, timeout)

    async def status(self) -> Look:
        """Ask for the look's state now, with one request. Raises as ``session.status`` does."""
        return await self._book.ask(self.ref)

    async def updates(self) -> AsyncIterator[Look]:
        """The look as it stands, then again whenever it changed, until it is READY or FAILED.

        A failed look is given, not raised. Raises `SessionClosed`, `StoreError`, and `NotFound` as `wait`
        does.
        """
        async for look in self._book.updates(self):
            yield look
