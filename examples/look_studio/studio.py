"""What the app does: place an order, await its looks, and resume after a restart."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs

from hoox_async import (
    ApiError,
    BatchReport,
    BatchRunner,
    BudgetExceeded,
    Estimate,
    GenerationFailed,
    HooxError,
    HooxSession,
    InvalidRequest,
    KeyConflict,
    LookDetails,
    LookJob,
    OutcomeUnknown,
    SessionClosed,
    StoreError,
)

from .board import Board
from .cards import Card, CardState, cards_of
from .journal import Journal
from .pictures import Pictures
from .wishes import Order, Wish

log = logging.getLogger(__name__)
_MAX_FACES = 24
_UNFINISHED = (CardState.WAITING, CardState.MAKING)


@attrs.frozen
class Face:
    """A look of the public catalogue, to start from."""

    id: str
    name: str
    details: LookDetails


class Studio:
    """Use it as ``async with``, inside the session that it works with: its tasks end before the session."""

    def __init__(self, session: HooxSession, board: Board, journal: Journal, pictures: Pictures) -> None:
        self.board = board
        self.pictures = pictures
        self._session = session
        self._journal = journal
        self._tasks: set[asyncio.Task[None]] = set()
        self._faces: dict[str, Face] | None = None
        self._placing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- orders

    async def place(self, order: Order) -> list[Card]:
        """Place an order. It is stored and started when this returns. The same token is the same order.

        Raises `InvalidRequest`, `BudgetExceeded`, `KeyConflict`, `StoreError`.
        """
        async with self._placing:
            known = self.board.order(order.customer, order.token)
            if known is not None:
                if known[0].order.wishes != order.wishes:
                    raise KeyConflict(order.token, "this form was sent before, with other content")
                return known
            cards = self.board.place(order)
            try:
                await self._journal.append(order)
            except OSError as error:
                self.board.remove(order)
                raise StoreError("The order could not be saved. Nothing was started.") from error
            except BaseException:
                self.board.remove(order)
                raise
        for card in cards:
            self._follow(card)
        return cards

    async def estimate(self, wishes: tuple[Wish, ...]) -> Estimate:
        """The price of the wishes, and about how long they would take. Raises `InvalidRequest`."""
        return await BatchRunner(self._session).estimate([wish.request() for wish in wishes])

    def again(self, card: Card) -> None:
        """Submit again a look that was not sent. The key is the same, so it cannot be paid twice.

        Raises `InvalidRequest` and `BudgetExceeded`.
        """
        if card.state is not CardState.UNSENT:
            raise InvalidRequest("card", card.state.value, "one that was not sent")
        self.board.retry(card)
        self._follow(card)

    async def resume(self, store: Path) -> None:
        """Restore all orders from the journal and the store, and go on with those that are not done."""
        outcomes = {outcome.key: outcome for outcome in await BatchReport.open(store)}
        cards = []
        for order in await self._journal.read():
            if self.board.order(order.customer, order.token) is not None:
                continue  # written twice: the page got no response the first time, and sent it again
            mine = cards_of(order)
            self.board.add(order, mine)
            cards += mine
        for card in cards:
            if card.key in outcomes:
                self.board.restore(card, outcomes[card.key])
        for card in cards:
            self._resume(card)

    def _resume(self, card: Card) -> None:
        if card.state is CardState.WAITING:
            try:
                self.board.reserve(card)
            except BudgetExceeded as error:
                self.board.not_accepted(card, CardState.UNSENT, str(error), spent=False)
        if card.state in _UNFINISHED:
            self._follow(card)

    # --- looks

    def _follow(self, card: Card) -> None:
        task = asyncio.create_task(self._made(card), name=f"look {card.id}")
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, card))

    def _ended(self, card: Card, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)
            if card.state in _UNFINISHED:
                reason = "An error in the app interrupted it. It is resumed when the app is started again."
                self.board.not_accepted(card, CardState.UNKNOWN, reason, spent=True)

    async def _made(self, card: Card) -> None:
        """Submit the look, wait for it, save its picture.

        A webhook may settle it first; the board learns that by its hook. Without a webhook, the session polls
        the look, and the wait here ends.
        """
        job = await self._submitted(card)
        if job is None:
            return
        try:
            look = await job.wait(math.inf)
        except GenerationFailed as failed:
            self.board.settled(card, failed.look)
        except SessionClosed:
            return  # it is resumed when the app starts again
        except HooxError as error:
            self.board.not_accepted(card, CardState.FAILED, str(error), spent=True)
        else:
            self.board.settled(card, look)
            try:
                await self.pictures.of(card.id, look)
            except (HooxError, OSError) as error:
                log.warning("picture of %s: %s; it is fetched when somebody looks", look.ref, error)

    async def _submitted(self, card: Card) -> LookJob | None:
        """The job, after the API has accepted it. A key that was paid already sends no second request."""
        try:
            job = await self._session.submit(card.request, key=card.key)
        except OutcomeUnknown as error:
            self.board.not_accepted(card, CardState.UNKNOWN, str(error), spent=True)
        except SessionClosed:
            pass
        except HooxError as error:
            own = isinstance(error, ApiError) and error.status in (400, 404, 409)
            reason = error.message if isinstance(error, ApiError) else str(error)
            state = CardState.REFUSED if own else CardState.UNSENT
            self.board.not_accepted(card, state, reason, spent=error.charged != "no")
        else:
            self.board.accepted(card, job.ref)
            return job
        return None

    # --- faces to start from

    async def faces(self) -> dict[str, Face]:
        """The first look of each avatar of the public catalogue, by ref. It is requested once, and cached."""
        if self._faces is None:
            first: dict[str, LookDetails] = {}
            for details in await self._session.looks(only_public=True):
                first.setdefault(details.ref.avatar_id, details)
            self._faces = {str(d.ref): _face(d) for d in list(first.values())[:_MAX_FACES]}
        return self._faces

    async def sources(self, customer: str, refs: Iterable[str]) -> dict[str, str]:
        """The looks that this customer may use as a source: names by ref.

        The catalogue is requested only if ``refs`` are not all the customer's own.
        """
        own = self.board.avatars(customer)
        if all(ref in own for ref in refs):
            return own
        return {ref: face.name for ref, face in (await self.faces()).items()} | own

    async def picture(self, customer: str, name: str) -> Path | None:
        """The file of a card's or a face's picture, if this customer may see it. Raises `HooxError`."""
        card = self.board.card(customer, name)
        if card is not None and card.look is not None and card.state is CardState.READY:
            return await self.pictures.of(name, card.look)
        for face in (self._faces or {}).values():
            if face.id == name:
                return await self.pictures.of(name, face.details)
        return None


def _face(details: LookDetails) -> Face:
    name = f"{details.ref.avatar_id}_{details.ref.look_id}"
    safe = "".join(letter if letter.isalnum() or letter in "_-" else "-" for letter in name)
    return Face(f"face_{safe}", details.avatar_name or details.name or "Unnamed", details)
