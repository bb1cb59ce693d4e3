"""The one task of a session that polls looks. Which request comes next is the scheduler's decision."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial

from .._api.endpoints import status_request
from .._api.models import Avatar, Look, LookRef
from .._api.responses import look_from_details, read_status
from .._core.intents.intent import IntentState
from .._core.intents.outcomes import seconds_of
from .._core.polling import LookUpdate, PollKind, PollRequest, PollScheduler, is_complete
from .._core.polling.durations import kind_of
from .._io.clock import Clock
from .._io.ledger.ledger import Ledger
from .._io.protocols import PollDuty
from .._io.tasks import TaskSet, restarted
from ..errors import AuthenticationError, HooxError, UnexpectedResponse
from .api_answers import ApiAnswers
from .jobs import JobRegistry
from .rate_limiter import Permit, RateLimiter
from .reads import Reads

_log = logging.getLogger("hoox_async")
_MAX_OUTSTANDING = 8  # status requests: one that hangs must not hold up the others
_RESCAN = 600.0  # seconds: a store that failed, or a key that was refused, left some looks unpolled
# of a store whose changes are read anyway: thousands of idle workspaces may share it
_RESCAN_SHARED = 3600.0
_RESCAN_FAILED = 30.0  # until then the looks of ended processes are polled by nobody
_LEARNED_FROM = 200  # settled looks, of which a process that begins to poll for all learns how long they take
_UNSERVED = 15.0  # seconds without an answer after which another process is to poll for all
_PROBE_EVERY = 20.0  # seconds
_LOOKS_A_TURN = 50  # stored looks that are read in one turn of the loop
_AVATARS_AT_ONCE = 10  # stored avatars that are scheduled without a pause
# pauses between further avatars, in intervals of the quota: most of it is left to other requests
_PAUSE_BUSY, _PAUSE_IDLE = 4.0, 2.0


class Poller:
    """Takes a permit when a status request is worth it, sends the request and publishes what it changed."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Ledger,
        rate_limiter: RateLimiter,
        api_answers: ApiAnswers,
        tasks: TaskSet,
        reads: Reads,
        registry: JobRegistry,
        scheduler: PollScheduler,
    ) -> None:
        self._clock = clock
        self._store = store
        self._rate_limiter = rate_limiter
        self._api_answers = api_answers
        self._tasks = tasks
        self._reads = reads
        self._registry = registry
        self._scheduler = scheduler
        self._duty: PollDuty | None = None  # not known yet
        self._duty_since = -math.inf
        self._probed_at = -math.inf
        self._asked_at = -math.inf  # the first request that the API has not served
        self._probing: asyncio.Task[None] | None = None
        self.answered_at: float | None = None
        """The loop's time at which a status request was last answered well; None: none was yet."""
        self._outstanding = asyncio.Semaphore(_MAX_OUTSTANDING)
        self._may_scan = asyncio.Event()
        self._duty_changed = asyncio.Event()
        self._is_new = False  # it polls for all since a moment ago

    async def run(self) -> None:
        """Poll until cancelled. What the scheduler raises is raised; then this can be run again."""
        while True:
            await self._outstanding.acquire()
            try:
                permit, request = await self._next()
                try:
                    name = f"hoox-{request.kind.name.lower()}"
                    self._tasks.background(self._poll(permit, request), name)
                except BaseException:  # the session is being closed
                    permit.cancel()
                    raise
            except BaseException:
                self._outstanding.release()
                raise

    async def _next(self) -> tuple[Permit, PollRequest]:
        """The next status request, and a permit for it."""
        while True:
            try:
                permit = await self._rate_limiter.acquire_for_poller(self._due)
            except AuthenticationError as error:  # the key is refused for good
                self._registry.key_refused(error)
                continue
            try:
                request = self._scheduler.take(self._clock.now(), self._rate_limiter.busy)
            except BaseException:
                permit.cancel()
                raise
            if request is not None:
                return permit, request
            permit.cancel()

    def _due(self, now: float, busy: bool) -> float:
        return self._scheduler.due(now, busy, self._rate_limiter.interval(now))

    async def _poll(self, permit: Permit, request: PollRequest) -> None:
        """Send one request, and release its place among those outstanding once it is answered."""
        take_in: Callable[[], Awaitable[object]]
        self._note_asked()
        try:
            try:
                with permit:  # it is cancelled where no HTTP request can be made of this one
                    updates = await self._send(permit, request)
            except HooxError as error:
                take_in = partial(self._failed, request, error)
            except Exception:
                _log.exception("a status request failed with an error that was not expected")
                failure = UnexpectedResponse("the answer could not be processed")
                take_in = partial(self._failed, request, failure)
            else:
                self.answered_at = self._clock.now()
                take_in = partial(self._registry.publish, updates)
        finally:
            self._outstanding.release()
        try:
            # else waiters would wait forever for a result or for this request
            await restarted(take_in, "processing the answer to a status request")
        finally:
            self._rate_limiter.wake()

    async def _send(self, permit: Permit, request: PollRequest) -> list[LookUpdate]:
        if request.kind is PollKind.GROUP:
            looks = self._scheduler.refs_polled_together(request.avatar_id)
            avatar = await self._reads.avatar_once(permit, request.avatar_id, looks)
            await asyncio.sleep(0)  # reading the answer has taken some milliseconds where its looks are many
            return await self._avatar_answered(request, avatar)
        ref = LookRef(request.avatar_id, request.look_id or "")
        look = await self._reads.once(
            permit, status_request(ref), lambda response: read_status(response, ref), ref.avatar_id, (ref,)
        )
        try:
            return self._scheduler.answered_look(request, look, self._clock.now())
        except Exception:
            await self._registry.publish(self._updates_of_unpolled([look]))
            raise

    async def _avatar_answered(self, request: PollRequest, avatar: Avatar) -> list[LookUpdate]:
        held = (details for details in avatar.looks if self._registry.find(details.ref) is not None)
        looks = [look_from_details(details) for details in held]
        try:
            updates = self._scheduler.answered_avatar(request, avatar, self._clock.now())
        except Exception:
            # the scheduler may have dropped looks before it failed, and would not ask for them again
            await self._registry.publish(self._updates_of_unpolled(looks))
            raise
        reported = {update.look.ref for update in updates}  # those that are complete are polled no more
        others = self._updates_of_unpolled(looks)
        return [*updates, *(update for update in others if update.look.ref not in reported)]

    async def _failed(self, request: PollRequest, error: HooxError) -> None:
        for ref, reason in self._scheduler.failed(request, error, self._clock.now()):
            self._registry.end_waiting(ref, reason)
        await self._registry.publish(self._scheduler.take_given_up())

    # --- whether it may poll for all processes that share the store

    def may_lead(self) -> bool:
        """Whether this process may poll for all.

        Not after 15 s in which the API has served none of its reads although looks were to be asked for,
        until it has served one: the key may be refused, or the machine cut off, for this process alone.
        """
        limiter = self._rate_limiter
        if len(self._scheduler) and (limiter.is_checking_key or limiter.key_error is not None):
            self._note_asked()  # the poller gets no permit meanwhile
        is_served = self._api_answers.served_at >= self._asked_at
        is_patient = self._clock.now() - self._asked_at < _UNSERVED
        return self._registry.polls_all and (is_served or is_patient)

    def _note_asked(self) -> None:
        if self._api_answers.served_at >= self._asked_at:
            self._asked_at = self._clock.now()

    async def _probe(self) -> None:
        """While no process polls for all, ask now and then whether the API serves this one again."""
        while self._duty is PollDuty.AWAITED and not self.may_lead():
            await asyncio.sleep(_PROBE_EVERY)
            await self._probe_once()

    async def _probe_once(self) -> None:
        self._probed_at = self._clock.now()
        with suppress(HooxError):
            await self._reads.probe(await self._rate_limiter.acquire())

    @property
    def unpolled_since(self) -> float | None:
        """Since when no process polls for all; None if one does, or if that is not known yet."""
        return self._duty_since if self._duty is PollDuty.AWAITED else None

    def probe(self) -> None:
        """Have a free request sent, every 20 s at most, to see whether the API serves this process."""
        if self._clock.now() - self._probed_at >= _PROBE_EVERY:
            self._probed_at = self._clock.now()
            self._tasks.background(self._probe_once(), "hoox-probe")

    def _updates_of_unpolled(self, looks: Iterable[Look | None]) -> list[LookUpdate]:
        """What an answer changes for looks that have a referenced job but are not polled."""
        updates: list[LookUpdate] = []
        for look in looks:
            job = None if look is None else self._registry.find(look.ref)
            if look is None or job is None or job.done or look.ref in self._scheduler:
                continue
            known = job.last
            if known.merged_with(look) is not known:
                updates.append(LookUpdate(look, is_complete(look)))
        return updates

    # --- stored looks

    def set_duty(self, duty: PollDuty) -> None:
        """What this process polls from now on, where several share the store."""
        self._duty, self._duty_since = duty, self._clock.now()
        self._registry.set_duty(duty)
        self._duty_changed.set()
        is_probing = self._probing is not None and not self._probing.done()
        if duty is PollDuty.AWAITED and self._registry.polls_all and not is_probing:
            self._probing = self._tasks.background(self._probe(), "hoox-probe")
        if duty is PollDuty.ALL:
            self._is_new = True
            self._may_scan.set()
        else:
            self._may_scan.clear()

    async def poll_stored_looks(self) -> None:
        """Poll all looks that the store has as ACCEPTED, also of earlier processes, until cancelled.

        Where several processes share the store, only while this one polls for all: see `set_duty`.

        A request for an old look has a large value. So the looks of many avatars are scheduled slowly: a look
        that is submitted or awaited meanwhile must not queue behind thousands of them. An awaited look is
        polled at once.
        """
        while True:
            await self._may_scan.wait()
            self._duty_changed.clear()  # before: what changes during the scan begins another one
            pause = _RESCAN_SHARED if self._store.is_shared else _RESCAN
            try:
                if self._is_new:
                    await self._learn_durations()
                    self._is_new = False
                await self._schedule_stored_looks()
            except Exception as error:  # of the store
                _log.warning("reading accepted looks from the store failed: %s", error)
                pause = _RESCAN_FAILED
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._duty_changed.wait()

    async def _schedule_stored_looks(self) -> None:
        avatars = looks = 0
        async for intent in self._store.stream((IntentState.ACCEPTED,)):
            if not self._registry.polls_for_all:
                return
            looks += 1
            if looks % _LOOKS_A_TURN == 0:
                await asyncio.sleep(0)
            if intent.ref is None or intent.ref in self._scheduler:
                continue
            is_new_avatar = not self._scheduler.tracks_avatar(intent.ref.avatar_id)
            avatars += is_new_avatar
            if is_new_avatar and avatars > _AVATARS_AT_ONCE:
                await self._schedule_later(intent.key)
            else:
                self._registry.poll_accepted(intent)

    async def _learn_durations(self) -> None:
        """Begin with what other processes' looks have taken."""
        for intent in await self._store.recently_settled(_LEARNED_FROM):
            seconds = seconds_of(intent)
            if seconds is not None:
                self._scheduler.learn(kind_of(intent.request), seconds)

    async def _schedule_later(self, key: str) -> None:
        requests = _PAUSE_BUSY if self._rate_limiter.busy else _PAUSE_IDLE
        await asyncio.sleep(requests * 60.0 / self._rate_limiter.window.limit)
        intent = (await self._store.get((key,))).get(key)
        if intent is not None and intent.state is IntentState.ACCEPTED:
            self._registry.poll_accepted(intent)
