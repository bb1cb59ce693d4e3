"""The spelled-out, fully typed forms of ``submit``."""

from __future__ import annotations

import asyncio
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .._api.endpoints import Choice
from .._api.models import Avatar, Look, LookDetails, Picture, QuotaSnapshot
from .._api.refs import HasRef, ref_of
from .._api.requests import (
    AnyFormat,
    AnyResolution,
    CreateStyle,
    EditStyle,
    Format,
    ImageAvatar,
    LookEdit,
    PromptAvatar,
    Request,
    Resolution,
    Style,
    with_source_ref,
)
from .._core.intents.budget import Budget
from .._core.intents.intent import IntentState, Unknown
from .._core.intents.keys import KEY, is_key
from .._core.settings import (
    BASE_URL,
    DEFAULT_TIMEOUT,
    Poll,
    Timeout,
    Timeouts,
    check_api_key,
    check_base_url,
    check_poll,
    check_rate,
    check_timeout,
    check_wait,
)
from .._io.downloads import file_name, picture_target, read_picture, refuse_existing, save_picture
from .._io.hooks import Hooks
from .._io.protocols import Store, Transport, Workspace
from .._io.stores import open_store
from .._io.tasks import log_failure
from .._io.transport import HttpTransport
from ..errors import ConfigurationError, InvalidRequest, SessionClosed, UnexpectedResponse
from ..events import Hook
from ..webhooks.hub import WebhookHub
from .jobs import LookJob

if TYPE_CHECKING:
    from .runtime import SessionRuntime


class SpelledOut(ABC):
    """What a session offers beside ``submit``, for those who'd rather not make a request first."""

    __slots__ = ()

    @abstractmethod
    async def submit(
        self,
        request: Request,
        *,
        key: str | None = None,
        budget: Budget | None = None,
        max_wait: float | None = None,
    ) -> LookJob:
        """Have a look made: see `HooxSession.submit`."""

    async def create_avatar(
        self,
        prompt: str,
        *,
        style: CreateStyle = Style.IPHONE,
        format: AnyFormat = Format.VERTICAL,
        resolution: AnyResolution = Resolution.TWO_K,
        name: str | None = None,
        place: str | None = None,
        element_images: Iterable[str] = (),
        webhook_url: str | None = None,
        metadata: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        key: str | None = None,
        budget: Budget | None = None,
        max_wait: float | None = None,
    ) -> LookJob:
        """`submit` a `PromptAvatar`: 2 credits, 4 at 4K. Raises what `submit` raises."""
        request = PromptAvatar(
            prompt, style=style, format=format, resolution=resolution, name=name, place=place,
            element_images=element_images, webhook_url=webhook_url, metadata=metadata or {},
            extra=extra or {},
        )  # fmt: skip
        return await self.submit(request, key=key, budget=budget, max_wait=max_wait)

    async def create_avatar_from_images(
        self,
        image_urls: Iterable[str],
        *,
        name: str | None = None,
        place: str | None = None,
        webhook_url: str | None = None,
        metadata: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        key: str | None = None,
        budget: Budget | None = None,
        max_wait: float | None = None,
    ) -> LookJob:
        """`submit` an `ImageAvatar`: no credits. Raises what `submit` raises."""
        request = ImageAvatar(
            image_urls, name=name, place=place, webhook_url=webhook_url, metadata=metadata or {},
            extra=extra or {},
        )  # fmt: skip
        return await self.submit(request, key=key, budget=budget, max_wait=max_wait)

    async def edit_look(
        self,
        source: HasRef | str,
        prompt: str,
        *,
        style: EditStyle | None = None,
        format: AnyFormat | None = None,
        resolution: AnyResolution = Resolution.TWO_K,
        images: Iterable[str] = (),
        upscale: bool = False,
        webhook_url: str | None = None,
        metadata: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        key: str | None = None,
        budget: Budget | None = None,
        max_wait: float | None = None,
    ) -> LookJob:
        """`submit` a `LookEdit`: 2 credits, 4 at 4K, 1.5 more with ``upscale``. Raises as `submit` does.

        ``source`` is a `LookRef`, the text of one or anything with a ``.ref``.
        """
        request = LookEdit(
            source, prompt, style=style, format=format, resolution=resolution, images=images,
            upscale=upscale, webhook_url=webhook_url, metadata=metadata or {}, extra=extra or {},
        )  # fmt: skip
        return await self.submit(request, key=key, budget=budget, max_wait=max_wait)


class HooxSession(SpelledOut):
    """One workspace of the Hoox API, for all that runs in this process. Use it as ``async with``.

    ``api_key`` comes from the environment's ``HOOX_API_KEY`` when it is not given. ``base_url`` must be
    https, unless it is a loopback host's; the key never travels to another host. ``store=None`` remembers
    intents in memory, a path keeps them in SQLite (one process at a time), so that nothing is paid twice
    after a crash. ``requests_per_minute`` is the workspace's quota (100, API reference).
    ``exclusive=True`` is your word that nobody else makes looks of these avatars meanwhile: then a lost
    POST's look can be told by elimination. A search that finds nothing ends that for its avatar, until the
    unknown is resolved: its look may still show up. ``timeouts`` are `Timeouts` (seconds). ``webhooks`` is a
    `WebhookHub`. ``hooks`` are called with each event; they may be ``async def`` (see `Hook`).
    ``poll="all"``: every look that was paid for is polled until it is settled, whether or not anybody awaits
    it, those that the store knows from earlier included; ``"awaited"``: only what somebody awaits.
    ``transport`` replaces HTTP, for tests. ``new_key=True`` lets a store go on with a rotated API key.

    Opening raises `ConfigurationError`, `StoreLocked`, `StoreMismatch` or `StoreError`. Every method
    raises `SessionClosed` when the session is not open, and `ConfigurationError` on another event loop.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str = BASE_URL,
        store: str | os.PathLike[str] | Store | None = None,
        requests_per_minute: int = 100,
        timeouts: Timeouts | None = None,
        exclusive: bool = False,
        webhooks: WebhookHub | None = None,
        hooks: Iterable[Hook] = (),
        poll: Poll = "all",
        transport: Transport | None = None,
        new_key: bool = False,
    ) -> None:
        key = check_api_key(os.environ.get("HOOX_API_KEY") if api_key is None else api_key)
        self._workspace = Workspace(check_base_url(base_url), key, new_key)
        self._limit = check_rate(requests_per_minute)
        self._timeouts = Timeouts() if timeouts is None else timeouts
        if not isinstance(self._timeouts, Timeouts):
            raise ConfigurationError(f"timeouts: {timeouts!r} is no Timeouts")
        self._exclusive = exclusive
        self._poll = check_poll(poll)
        self._webhooks = webhooks
        self._hooks = Hooks(hooks)
        self._own_transport = transport is None  # then the quota is shared with this process's other sessions
        self._transport = transport or HttpTransport(self._workspace.base_url, key, self._timeouts)
        self._store = open_store(store)
        self._open: SessionRuntime | None = None
        self._closing: asyncio.Task[None] | None = None
        self._state = "new"

    def __repr__(self) -> str:
        return f"<HooxSession {self._workspace.base_url} {self._state}>"

    async def __aenter__(self) -> Self:
        if self._state != "new":
            raise SessionClosed(f"a session is opened once; this one is {self._state}")
        self._state = "opening"
        runtime, store_is_ours = None, False
        try:
            await self._store.open(self._workspace)  # one that raises holds nothing, or is another session's
            store_is_ours = True
            await self._transport.start()
            runtime = self._put_together()
            await runtime.begin()
        except BaseException as error:
            self._state = "closed"
            # a cancelled opening goes on in the store's thread, and is waited for
            if store_is_ours or isinstance(error, asyncio.CancelledError):
                await self._close(runtime)
            raise
        self._open, self._state = runtime, "open"
        return self

    def _put_together(self) -> SessionRuntime:
        # Imported where a session is opened: many import this library for its names alone.
        from .runtime import SessionRuntime, open_services

        services = open_services(
            self._store,
            self._transport,
            self._limit,
            self._hooks,
            self._timeouts,
            self._webhooks,
            self._workspace if self._own_transport else None,
        )
        return SessionRuntime(services, exclusive=self._exclusive, poll=self._poll)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let the paid POSTs outstanding end and be written down, then close everything.

        What waits for a job, at the rate limiter or for an avatar's lock ends with `SessionClosed`;
        accepted looks
        stay in the store. A paid POST is let end for as long as ``Timeouts.answer`` allows, and async hooks
        have 10 s to run. Cancelled, it ends those at once, and what was outstanding is found as unknown when
        the store is opened again; all the same everything is closed before the cancellation goes on.
        Cancelled once more it ends at once, and the rest is done in the background: `aclose` said again waits
        for that.
        """
        runtime = None if self._open is None else self._ready()
        self._open, self._state = None, "closed"
        if runtime is not None:
            await self._close(runtime)
        elif self._closing is not None and not self._closing.done():
            await asyncio.shield(self._closing)

    async def _close(self, runtime: SessionRuntime | None) -> None:
        """Close all in a task of its own, which no cancellation of a caller reaches."""
        closing = self._closing = asyncio.create_task(self._end(runtime), name="hoox-close")
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            closing.add_done_callback(log_failure)
            if runtime is not None:
                runtime.hurry()
            await asyncio.wait((closing,))
            raise

    async def _end(self, runtime: SessionRuntime | None) -> None:
        try:
            if runtime is not None:
                await runtime.end()
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        try:
            await self._transport.aclose()
        finally:
            await self._store.aclose()

    def __del__(self) -> None:
        if getattr(self, "_open", None) is not None:
            warnings.warn(f"{self!r} was never closed", ResourceWarning, stacklevel=1, source=self)

    def _ready(self) -> SessionRuntime:
        if self._open is None:
            raise SessionClosed(f"the session is {self._state}: use it inside `async with`")
        if asyncio.get_running_loop() is not self._open.services.clock.loop:
            raise ConfigurationError("the session belongs to another event loop: open one session per loop")
        return self._open

    # --- paid

    async def submit(
        self,
        request: Request,
        *,
        key: str | None = None,
        budget: Budget | None = None,
        max_wait: float | None = None,
    ) -> LookJob:
        """Have a look made, and return once the API has accepted it: now it costs ``request.credits``.

        The same ``key`` is the same job, also after a restart with the same store; without one each call
        is a new look. What was refused before under a key cost nothing and is sent again, also with other
        content. ``budget`` caps the credits of several submissions together. ``max_wait`` bounds, in
        seconds, the wait for the quota and, with ``exclusive=True``, for the avatar's lock; not the answer.
        ``None`` is no limit; with 0 or less it is sent now or not at all. With ``None``, `RateLimited` is
        raised when 429 was all that the API answered for ``Timeouts.refused`` seconds. A 401 is checked with
        free requests before it is raised, for up to a minute.

        An edit of a look that this session or its store knows to be unsettled waits until that is READY:
        ``max_wait`` bounds that too (``Timeouts.wait`` where it is None), and where the source could not be
        made, `NotSent` is raised. An unknown ref costs no request.

        Raises `InvalidRequest`, `KeyConflict`, `BudgetExceeded`, `NotSent`, `ApiError`'s classes (none of
        them was charged), and `OutcomeUnknown`, which may have been: then nothing more is sent. `StoreError`
        was not charged, unless its ``charged`` is ``"yes"``: then the API took the request, ``error.ref``
        is the look, and only the store did not write it down.
        """
        runtime = self._ready()
        if not isinstance(request, PromptAvatar | ImageAvatar | LookEdit):
            raise InvalidRequest("request", request, "a PromptAvatar, an ImageAvatar or a LookEdit")
        if key is not None and not is_key(key):
            raise InvalidRequest("key", key, f"{KEY}, or None")
        if not isinstance(budget, Budget | None):
            raise InvalidRequest("budget", budget, "a Budget, or None")
        max_wait = check_wait("max_wait", max_wait)
        if isinstance(request, LookEdit):
            request = with_source_ref(request)
            max_wait = await runtime.await_source(ref_of(request.source), key, max_wait)
        await runtime.registry.forget_let_go()
        intent = await runtime.submitter.submit(request, key, budget, max_wait)
        return runtime.registry.job_of(intent)

    async def run(
        self,
        request: Request,
        *,
        key: str | None = None,
        budget: Budget | None = None,
        max_wait: float | None = None,
        timeout: Timeout = DEFAULT_TIMEOUT,
    ) -> Look:
        """`submit`, then wait until the look is READY, ``timeout`` seconds at most. Raises as they do.

        ``key``, ``budget`` and ``max_wait`` are `submit`'s, ``timeout`` is that of `LookJob.wait`.
        """
        check_timeout(timeout, self._timeouts.wait)  # before it costs
        job = await self.submit(request, key=key, budget=budget, max_wait=max_wait)
        return await job.wait(timeout)

    # --- looks

    async def status(self, ref: HasRef) -> Look:
        """The look's state now, by one request. Raises `NotFound`, `ServerError`, `TransportError` …"""
        runtime = self._ready()
        return await runtime.ask(ref_of(ref))

    async def wait(self, ref: HasRef, timeout: Timeout = DEFAULT_TIMEOUT) -> Look:
        """Wait until a look is READY, whoever had it made, ``timeout`` seconds at most.

        ``timeout`` means what it does in `LookJob.wait`, and this raises what that raises.
        """
        return await self.job(ref).wait(timeout)

    def job(self, ref: HasRef) -> LookJob:
        """The awaitable job of a look, whoever had it made. No request is sent.

        Raises `InvalidRequest` for what names no look.
        """
        return self._ready().registry.job(ref_of(ref))

    async def jobs(self) -> list[LookJob]:
        """The accepted looks that are not known to be done, as the store knows them, oldest first.

        Raises `StoreError`.
        """
        runtime = self._ready()
        return [runtime.registry.job_of(i) for i in await self._store.in_states((IntentState.ACCEPTED,))]

    async def unknowns(self) -> list[Unknown]:
        """Paid requests whose fate is not known, with the looks that may be theirs.

        One request for each avatar concerned. Raises `StoreError`.
        """
        return await self._ready().list_unknowns()

    async def resolve(self, key: str, look: HasRef | str) -> LookJob:
        """Settle an unknown by your own word: this is its look. Gives the look's job.

        ``look`` is a `LookRef`, the text of one or anything with a ``.ref``. One request checks that there
        is such a look. As long as your word is all the evidence, it may be said again with another look.
        Raises `NotFound` where there is no such look; `InvalidRequest` for a key that is no unknown's (any
        more), and for a look that cannot be its own: another request's, of another avatar than the one that
        was edited, or the edited look itself; and what `look` and `StoreError` tell.
        """
        return await self._ready().resolve(key, look)

    async def resend(
        self, key: str, *, budget: Budget | None = None, max_wait: float | None = None
    ) -> LookJob:
        """Settle an unknown by paying for it once more, whatever the first time cost; that stays at risk.

        ``budget`` and ``max_wait`` are as in `submit`. Raises `InvalidRequest` for a key that is no unknown's
        (any more), and what `submit` raises. What cost nothing leaves the unknown as it was.
        """
        runtime = self._ready()
        if not isinstance(budget, Budget | None):
            raise InvalidRequest("budget", budget, "a Budget, or None")
        return await runtime.resend(key, budget, check_wait("max_wait", max_wait))

    async def drop(self, key: str) -> None:
        """Settle an unknown by leaving it alone for good; what it may have cost stays at risk.

        Raises `InvalidRequest` for a key that is no unknown's (any more), and `StoreError`.
        """
        await self._ready().drop(key)

    async def avatar(self, avatar_id: str) -> Avatar:
        """An avatar and all its looks, by one request. Raises `NotFound`, `ServerError` …"""
        return await self._ready().reads.avatar(avatar_id)

    async def look(self, ref: HasRef) -> LookDetails:
        """All that the API tells of one look, by one request. Raises `NotFound`, `ServerError` …"""
        runtime = self._ready()
        return await runtime.reads.look(ref_of(ref))

    async def looks(
        self,
        *,
        gender: Choice | None = None,
        age_range: Choice | None = None,
        ethnicity: Choice | None = None,
        hair_color: Choice | None = None,
        place: Choice | None = None,
        action: Choice | None = None,
        emotion: Choice | None = None,
        accessories: Choice | None = None,
        selfie: bool | None = None,
        only_public: bool | None = None,
    ) -> list[LookDetails]:
        """The workspace's looks, then the public catalogue, by one request that is not paged.

        The filters are the API's, with its own words, such as ``gender="female"``; a list of values means
        any of them, None means all. Raises `InvalidRequest` for what is no such value, `ServerError` …
        """
        filters = {
            "gender": gender, "age_range": age_range, "ethnicity": ethnicity, "hair_color": hair_color,
            "place": place, "action": action, "emotion": emotion, "accessories": accessories,
            "selfie": selfie, "only_public": only_public,
        }  # fmt: skip
        return list(await self._ready().reads.looks(filters))

    async def picture(self, look: HasRef | LookDetails) -> Picture:
        """The look's picture, whole. Raises `UnexpectedResponse` if it has none or it is no image."""
        self._ready()
        return await read_picture(self._transport.fetch, await self._picture_url(look))

    async def download(
        self,
        look: HasRef | LookDetails,
        path_or_folder: str | os.PathLike[str],
        *,
        overwrite: bool = False,
    ) -> Path:
        """Save the look's picture, in a folder under a name of its own. Gives the path of the file.

        The file appears only when it is whole. Raises `FileExistsError` unless ``overwrite``, and
        `UnexpectedResponse`, `TransportError` … as `picture` does.
        """
        self._ready()
        path, is_folder = await picture_target(path_or_folder)
        name = file_name(ref_of(look)) if is_folder else None
        if name is None and not overwrite:
            await refuse_existing(path)
        url = await self._picture_url(look)
        return await save_picture(self._transport.fetch, url, path, name=name, overwrite=overwrite)

    async def _picture_url(self, look: HasRef | LookDetails) -> str:
        known = look if isinstance(look, Look | LookDetails) else getattr(look, "look", None)
        known = known or getattr(look, "last", None)
        url = getattr(known, "thumbnail_url", None) or (await self.status(ref_of(look))).thumbnail_url
        if not url:
            raise UnexpectedResponse(f"{ref_of(look)}: the look has no picture (yet)")
        return str(url)

    @property
    def quota(self) -> QuotaSnapshot:
        """The workspace's requests a minute and what is left of them, as this session sees it."""
        if self._open is None:
            raise SessionClosed(f"the session is {self._state}: use it inside `async with`")
        return self._open.services.rate_limiter.snapshot()


def runtime_of(session: HooxSession) -> SessionRuntime:
    """What an open session is made of, for the floor above. Raises as all of the session's methods do."""
    return session._ready()
