"""What the app does: place an order, await its looks, settle unknowns, and resume after a restart."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

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
    Look,
    LookDetails,
    LookJob,
    NotFound,
    SessionClosed,
    StoreError,
)

from .board import Board, Doubt
from .candidates import Candidates
from .cards import Card, CardState, cards_of
from .catalogue import Catalogue
from .errors import Refused, told
from .journal import Journal
from .pictures import Pictures
from .wishes import Order, Wish

log = logging.getLogger(__name__)
_UNFINISHED = (CardState.WAITING, CardState.MAKING)
_NOT_CHARGED = (CardState.UNSENT, CardState.REFUSED)
Submit = Callable[[], Awaitable[LookJob]]
_DECIDED = "It was decided already, here or in another tab. Nothing more was sent or charged."


class Studio:
    """Use it as ``async with``, inside the session that it works with: its tasks end before the session."""

    def __init__(self, session: HooxSession, board: Board, journal: Journal, pictures: Pictures) -> None:
        self.board = board
        self.catalogue = Catalogue(session)
        self._pictures = pictures
        self._candidates = Candidates(session, self.catalogue, board)
        self._session = session
        self._journal = journal
        self._tasks: set[asyncio.Task[None]] = set()
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

        Raises `InvalidRequest`, `BudgetExceeded`, `Refused`, `StoreError`.
        """
        async with self._placing:
            known = self.board.order(order.customer, order.token)
            if known is not None:
                if known[0].order.wishes != order.wishes:
                    raise Refused(
                        "This form was sent before with other content, so nothing more was started. Reload "
                        "the page to send another.",
                        status=409,
                    )
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
            self._follow(card, self._submit(card))
        return cards

    async def estimate(self, wishes: tuple[Wish, ...]) -> Estimate:
        """The price of the wishes, and about how long they would take. Raises `InvalidRequest`."""
        return await BatchRunner(self._session).estimate([wish.request() for wish in wishes])

    async def again(self, card: Card, now: datetime) -> list[Card]:
        """Try a card once more. Asked for twice, it is done once. Returns the cards that are made.

        What was not charged is submitted under the same key. What failed was paid for, so making it again is
        another order, whose token is made from the failed card. Raises `Refused`, `BudgetExceeded` and
        `StoreError`.
        """
        if card.state is CardState.FAILED:
            order = card.order.model_copy(
                update={"token": f"again.{card.id}", "at": now, "wishes": (card.wish,), "again": card.id}
            )
            return await self.place(order)
        if card.state in _NOT_CHARGED:
            self.board.retry(card)
            self._follow(card, self._submit(card))
            return [card]
        if card.state in _UNFINISHED or card.state is CardState.READY:
            raise Refused("It is being made already, or it is ready. Nothing more was sent.", status=409)
        raise Refused("It may have been charged. Decide about that first.")

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
            self._follow(card, self._submit(card))

    # --- unknowns

    async def candidates(self, card: Card) -> dict[str, Any]:
        """What is known of an unknown, for people to decide. Raises `Refused`, `HooxError`."""
        if card.state is not CardState.UNKNOWN:
            raise Refused(_DECIDED, status=409)
        return await self._candidates.of(card)

    async def this_is_it(self, card: Card, doubt: str, ref: str) -> None:
        """Settle an unknown: this look is it. It costs nothing more. Raises `Refused`, `HooxError`."""
        self._require(card, doubt)
        with self._deciding(card):
            job = await self._session.resolve(card.key, ref)
        self.board.accepted(card, job.ref)
        self._follow(card, partial(_given, job))

    async def leave(self, card: Card, doubt: str) -> None:
        """Settle an unknown: give it up. What it may have cost stays counted.

        Raises `Refused`, `HooxError`.
        """
        self._require(card, doubt)
        with self._deciding(card):
            await self._session.drop(card.key)
        self.board.left(card)

    def make_again(self, card: Card, doubt: str) -> None:
        """Settle an unknown: pay for it once more. Raises `Refused`, `BudgetExceeded`."""
        self._require(card, doubt)
        before = self.board.retry(card)
        self._follow(card, partial(self._session.resend, card.key), before=before)

    @contextmanager
    def _deciding(self, card: Card) -> Iterator[None]:
        """No other decision about the card can begin in the block. If it raises, the card is as before."""
        before = self.board.deciding(card)
        try:
            yield
        except BaseException as error:
            self.board.undecided(card, before, before.reason)
            if isinstance(error, InvalidRequest):
                raise _refused(error) from error
            if isinstance(error, NotFound):
                raise Refused("There is no such look.", status=404, field="look") from error
            raise

    def _require(self, card: Card, doubt: str) -> None:
        if card.doubt is None or card.doubt != doubt:
            raise Refused(_DECIDED, status=409)

    # --- looks

    def _submit(self, card: Card) -> Submit:
        return partial(self._session.submit, card.request, key=card.key)

    def _follow(self, card: Card, submit: Submit, *, before: Doubt | None = None) -> None:
        """Await the look in a task. ``before``: an unknown, before it is sent again."""
        task = asyncio.create_task(self._made(card, submit, before), name=f"look {card.id}")
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, card))

    def _ended(self, card: Card, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)
            if card.state in _UNFINISHED:
                reason = "An error in the app interrupted it. It is resumed when the app is started again."
                self.board.interrupted(card, reason)

    async def _made(self, card: Card, submit: Submit, before: Doubt | None) -> None:
        """Submit the look, wait for it, save its picture.

        A webhook may settle it first; the board learns that by its hook. Without a webhook, the session polls
        the look, and the wait here ends.
        """
        job = await self._submitted(card, submit, before)
        if job is None:
            return
        try:
            look = await job.wait(math.inf)
        except GenerationFailed as failed:
            self.board.settled(card, failed.look)
        except SessionClosed:
            return  # it is resumed when the app starts again
        except HooxError as error:
            self.board.not_accepted(card, CardState.FAILED, told(error), spent=True)
        else:
            self.board.settled(card, look)
            try:
                await self._pictures.of(card.id, look)
            except (HooxError, OSError) as error:
                log.warning("picture of %s: %s; it is fetched when somebody looks", look.ref, error)

    async def _submitted(self, card: Card, submit: Submit, before: Doubt | None) -> LookJob | None:
        """The job, after the API has accepted it. A key that was paid already sends no second request."""
        decisions = card.decisions
        try:
            job = await submit()
        except SessionClosed:
            return None
        except HooxError as error:
            ref = error.ref if isinstance(error, StoreError) else None
            if ref is None:
                if card.decisions == decisions:  # else a hook told of the loss, and it was decided about
                    self._not_accepted(card, error, before)
                return None
            job = self._session.job(ref)  # paid, and only writing that down failed
        self.board.accepted(card, job.ref)
        return job

    def _not_accepted(self, card: Card, error: HooxError, before: Doubt | None) -> None:
        if error.charged != "no":
            reason = told(error).removeprefix(f"{card.key}: ")
            self.board.not_accepted(card, CardState.UNKNOWN, reason, spent=True)
        elif before is not None:
            self.board.undecided(card, before, f"Making it again failed and cost nothing: {told(error)}")
        else:
            own = isinstance(error, ApiError) and error.status in (400, 404, 409)
            state = CardState.REFUSED if own else CardState.UNSENT
            self.board.not_accepted(card, state, told(error), spent=False)

    # --- looks to start from, and pictures

    async def sources(self, customer: str, refs: Iterable[str]) -> dict[str, str]:
        """The looks that this customer may use as a source: names by ref.

        The catalogue is requested only if ``refs`` are not all the customer's own. Raises `HooxError`.
        """
        own = self.board.sources(customer)
        if all(ref in own for ref in refs):
            return own
        return {ref: face.name for ref, face in (await self.catalogue.faces()).items()} | own

    async def picture(self, customer: str, name: str) -> Path | None:
        """The file of a picture, if this customer may see it. Raises `HooxError`, `OSError`."""
        look = self._look_of(customer, name)
        return None if look is None else await self._pictures.of(name, look)

    def _look_of(self, customer: str, name: str) -> Look | LookDetails | None:
        """The look of a card, of the catalogue or of a candidate."""
        card, face = self.board.card(customer, name), self.catalogue.face(name)
        if card is not None:
            return card.look if card.state is CardState.READY else None
        return face.details if face is not None else self._candidates.picture(customer, name)


async def _given(job: LookJob) -> LookJob:
    return job


def _refused(error: InvalidRequest) -> Refused:
    """What a page is told about a decision that the session does not take."""
    if error.field == "key":
        return Refused(_DECIDED, status=409)
    return Refused("That look cannot be it: it belongs to another order, or to another avatar.", field="look")
