"""`HooxSession`, the public class: one open workspace."""

from __future__ import annotations

import asyncio
import os
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

from .._api.endpoints import Choice
from .._api.models import Avatar, HasRef, Look, LookDetails, QuotaSnapshot, ref_of
from .._api.pictures import Picture
from .._api.requests import (
    AnyFormat,
    AnyResolution,
    AnyStyle,
    Format,
    ImageAvatar,
    LookEdit,
    PromptAvatar,
    Request,
    Resolution,
    Style,
    shows_types,
    with_source_ref,
)
from .._checks import argument, option
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
    check_timeout,
    check_timeouts,
)
from .._io.clock import running_loop
from .._io.hooks import Hooks
from .._io.ledger.ledger import Ledger
from .._io.ledger.opening import open_store
from .._io.protocols import Transport, Workspace
from .._io.tasks import log_failure
from .._io.transport import HttpTransport
from .._tracebacks import short_tracebacks
from ..errors import ConfigurationError, InvalidRequest, SessionClosed, StoreError
from ..events import Hook
from ..webhooks.hub import WebhookHub
from .health import SessionHealth
from .jobs import LookJob
from .runtime import SessionRuntime
from .submit.edit_source import await_source


@short_tracebacks
class HooxSession:
    """One workspace of the Hoox API, for all that runs in this process. Use it as ``async with``.

    - ``api_key``: the workspace's key; the environment's ``HOOX_API_KEY`` if it is not given.
    - ``base_url``: must be https, unless the host is a loopback host. The key never travels to another host.
    - ``store``: remembers what was paid, so that nothing is paid twice after a crash. None keeps it in
      memory, a path in an SQLite file, which one process at a time can open.
    - ``requests_per_minute``: the workspace's quota (100, API reference), for submissions and status requests
      together.
    - ``timeouts``: how long to wait for what, a `Timeouts` (seconds).
    - ``webhooks``: a `WebhookHub` that receives the API's deliveries. Without one, looks are only polled, and
      what a lost answer has made is settled by a person: see `unknowns`.
    - ``hooks``: functions that are called with each event; they may be ``async def`` (see `Hook`).
    - ``poll``: ``"all"`` polls every look that was paid for until it is settled, whether or not anybody
      awaits it, those that the store knows from earlier included; ``"awaited"`` only what somebody awaits.
    - ``transport``: replaces HTTP, for tests.
    - ``new_key``: True lets a store that belongs to another key of the workspace go on with this one.

    The constructor raises `ConfigurationError` for an invalid value; opening raises
    `StoreLocked`, `StoreMismatch`, `StoreError` or `ConfigurationError`. Every method raises `SessionClosed`
    when the session is not open, and `ConfigurationError` on another event loop.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str = BASE_URL,
        store: str | os.PathLike[str] | Ledger | None = None,
        requests_per_minute: int = 100,
        timeouts: Timeouts | None = None,
        webhooks: WebhookHub | None = None,
        hooks: Iterable[Hook] = (),
        poll: Poll = "all",
        transport: Transport | None = None,
        new_key: bool = False,
    ) -> None:
        key = check_api_key(os.environ.get("HOOX_API_KEY") if api_key is None else api_key)
        self._hooks = Hooks(hooks)
        self._workspace = Workspace(
            check_base_url(base_url), key, option.flag("new_key", new_key), self._hooks.kind
        )
        self._limit = option.whole("requests_per_minute", requests_per_minute, least=1)
        self._timeouts = check_timeouts(timeouts)
        self._poll: Poll = option.choice("poll", poll, get_args(Poll))
        if webhooks is not None and not callable(getattr(webhooks, "url_for", None)):
            raise option.error("webhooks", webhooks, "a WebhookHub, or None")
        self._webhooks = webhooks
        if transport is not None and not callable(getattr(transport, "send", None)):
            raise option.error("transport", transport, "a transport, or None")
        self._shares_quota = transport is None  # with other sessions of this process and workspace
        self._transport = transport or HttpTransport(self._workspace.base_url, key, self._timeouts)
        self._store = open_store(store)
        self._open: SessionRuntime | None = None
        self._closing: asyncio.Task[None] | None = None
        self._left = asyncio.Event()
        self._state = "new"

    def __repr__(self) -> str:
        return f"<HooxSession {self._workspace.base_url} {self._state}>"

    async def __aenter__(self) -> Self:
        if self._state != "new":
            raise SessionClosed(f"a session is opened once; this one is {self._state}")
        running_loop()
        self._state = "opening"
        runtime, store_is_ours = None, False
        try:
            await self._store.open(self._workspace)  # where it raises, there is nothing to close
            store_is_ours = True
            await self._transport.start()
            runtime = self._create_runtime()
            await runtime.start()
        except BaseException as error:
            self._state = "closed"
            # the opening of the store goes on in its thread when it is cancelled: closing waits for that
            if store_is_ours or isinstance(error, asyncio.CancelledError):
                await self._close(runtime)
            raise
        self._open, self._state = runtime, "open"
        _close_at_the_end_of_the_loop(self, runtime)
        return self

    def _create_runtime(self) -> SessionRuntime:
        return SessionRuntime(
            store=self._store,
            transport=self._transport,
            limit=self._limit,
            hooks=self._hooks,
            timeouts=self._timeouts,
            hub=self._webhooks,
            process_quota_of=self._workspace if self._shares_quota else None,
            poll=self._poll,
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Wait until the outstanding paid POSTs have ended and are recorded, then close everything.

        Every task that waits for a job or for a permit of the quota gets `SessionClosed`; accepted looks stay
        in the store. A paid POST may take as long as ``Timeouts.answer`` allows. The rest takes 12 s at most,
        of which async hooks have 10 s to run: a database that does not answer is left as it is, and what it
        did not write is found by the next session.

        When this is cancelled, outstanding POSTs are cancelled at once; they are found as unknown when the
        store is opened again. Everything is closed before the cancellation goes on. When it is cancelled once
        more, it ends at once and the rest is done in the background; another `aclose` waits for that.
        """
        runtime = None if self._open is None else self._ready()
        self._open, self._state = None, "closed"
        self._left.set()
        if runtime is not None:
            await self._close(runtime)
        elif self._closing is not None and not self._closing.done():
            await asyncio.shield(self._closing)

    async def _close(self, runtime: SessionRuntime | None) -> None:
        """Close all parts in a separate task, which a cancellation of the caller does not reach."""
        work = runtime.close() if runtime is not None else self._close_unused()
        closing = self._closing = asyncio.create_task(work, name="hoox-close")
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            closing.add_done_callback(log_failure)
            if runtime is not None:
                runtime.close_now()
            await asyncio.wait((closing,))
            raise

    async def _close_unused(self) -> None:
        """Close what was opened before there was a runtime."""
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
        if asyncio.get_running_loop() is not self._open.clock.loop:
            raise ConfigurationError("the session belongs to another event loop: open one session per loop")
        return self._open

    @contextmanager
    def _using(self) -> Iterator[SessionRuntime]:
        """The block uses the store: where that fails since the session was closed, it is `SessionClosed`."""
        runtime = self._ready()
        try:
            yield runtime
        except StoreError as error:
            if self._open is not None or error.charged != "no":
                raise
            raise SessionClosed("the session was closed") from error

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

        - ``key``: the same key is the same job, also after a restart with the same store; without one each
          call makes a new look. What was refused under a key cost nothing and is sent again, also with
          another content.
        - ``budget``: caps the credits of several submissions together. One with a name is kept in the store.
        - ``max_wait``: the longest wait for the quota and for the store, in seconds; the store has one at
          least. It does not bound the answer. None is no limit; with 0 or less the request is sent now or
          not at all. With None, `RateLimited` is raised when the API answered nothing but 429 for
          ``Timeouts.refused`` seconds. Where the store takes too long, `StoreError` is raised.

        An edit of a look that this session or its store knows to be unsettled waits until that look is READY,
        for ``max_wait`` at most, or ``Timeouts.wait`` where that is None. If the source could not be made,
        `NotSent` is raised. An unknown source costs no request. A 401 is checked with free requests, for up
        to a minute, before it is raised.

        Raises `InvalidRequest`, `KeyConflict`, `BudgetExceeded`, `NotSent` and the classes of `ApiError`:
        none of them was charged. Raises `OutcomeUnknown` where the request may have been charged: then
        nothing more is sent. A `StoreError` was not charged, unless its ``charged`` is ``"yes"``: then the
        API accepted the request, ``error.ref`` is the look, and only writing that down failed.
        """
        self._ready()
        kinds = PromptAvatar | ImageAvatar | LookEdit
        argument.instance("request", request, kinds, "a PromptAvatar, an ImageAvatar or a LookEdit")
        if key is not None and not is_key(key):
            raise InvalidRequest("key", key, f"{KEY}, or None")
        argument.instance("budget", budget, Budget | None, "a Budget, or None")
        max_wait = argument.wait("max_wait", max_wait)
        with self._using() as runtime:
            if isinstance(request, LookEdit):
                request = with_source_ref(request)
                max_wait = await await_source(
                    runtime.clock,
                    runtime.store,
                    runtime.intents,
                    runtime.registry,
                    ref_of(request.source),
                    key,
                    max_wait,
                )
            await runtime.registry.forget_unreferenced()
            intent = await runtime.submitter.submit(request, key, budget, max_wait)
        runtime.pictures.remember(intent)
        return runtime.registry.job_of(intent)

    @shows_types
    async def create_avatar(
        self,
        prompt: str,
        *,
        style: AnyStyle = Style.IPHONE,
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
        """Have a new avatar made from a text, and return once it is accepted.

        It costs 2 credits, 4 at 4K (API reference). The parameters are those of `PromptAvatar` and of
        `submit`. Raises what `submit` raises.
        """
        request = PromptAvatar(
            prompt, style=style, format=format, resolution=resolution, name=name, place=place,
            element_images=element_images, webhook_url=webhook_url, metadata=_given(metadata),
            extra=_given(extra),
        )  # fmt: skip
        return await self.submit(request, key=key, budget=budget, max_wait=max_wait)

    @shows_types
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
        """Have a new avatar made from pictures, and return once it is accepted.

        It costs no credits (API reference). The parameters are those of `ImageAvatar` and of `submit`.
        Raises what `submit` raises.
        """
        request = ImageAvatar(
            image_urls, name=name, place=place, webhook_url=webhook_url, metadata=_given(metadata),
            extra=_given(extra),
        )  # fmt: skip
        return await self.submit(request, key=key, budget=budget, max_wait=max_wait)

    @shows_types
    async def edit_look(
        self,
        source: HasRef | str,
        prompt: str,
        *,
        style: AnyStyle | None = None,
        format: AnyFormat | None = None,
        resolution: AnyResolution = Resolution.TWO_K,
        images: Iterable[str] = (),
        upscale: bool = False,
        look_name: str | None = None,
        place: str | None = None,
        tags: Iterable[str] = (),
        webhook_url: str | None = None,
        metadata: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        key: str | None = None,
        budget: Budget | None = None,
        max_wait: float | None = None,
    ) -> LookJob:
        """Have a look edited, and return once the new look is accepted.

        It costs 2 credits, 4 at 4K, and 1.5 more with ``upscale`` (API reference). The parameters are those
        of `LookEdit` and of `submit`. Raises what `submit` raises.
        """
        request = LookEdit(
            source, prompt, style=style, format=format, resolution=resolution, images=images,
            upscale=upscale, look_name=look_name, place=place, tags=tags, webhook_url=webhook_url,
            metadata=_given(metadata), extra=_given(extra),
        )  # fmt: skip
        return await self.submit(request, key=key, budget=budget, max_wait=max_wait)

    async def run(
        self,
        request: Request,
        *,
        key: str | None = None,
        budget: Budget | None = None,
        max_wait: float | None = None,
        timeout: Timeout = DEFAULT_TIMEOUT,
    ) -> Look:
        """Have a look made, and wait until it is READY, ``timeout`` seconds at most.

        ``key``, ``budget`` and ``max_wait`` are those of `submit`, ``timeout`` is that of `LookJob.wait`.
        Raises what both of them raise.
        """
        check_timeout(timeout, self._timeouts.wait)  # before it costs
        job = await self.submit(request, key=key, budget=budget, max_wait=max_wait)
        return await job.wait(timeout)

    # --- looks

    async def status(self, ref: HasRef) -> Look:
        """Read the look's state now, by one request.

        Raises `InvalidRequest` for what names no look, `NotFound` and the other classes of `ApiError`,
        `TransportError` and `UnexpectedResponse`.
        """
        runtime = self._ready()
        return await runtime.registry.ask(ref_of(ref))

    async def wait(self, ref: HasRef, timeout: Timeout = DEFAULT_TIMEOUT) -> Look:
        """Wait until a look is READY, made by this session or not, ``timeout`` seconds at most.

        ``timeout`` is that of `LookJob.wait`, and this raises what that raises.
        """
        return await self.job(ref).wait(timeout)

    def job(self, ref: HasRef) -> LookJob:
        """The awaitable job of a look, made by this session or not. No request is sent.

        Raises `InvalidRequest` for something that names no look.
        """
        return self._ready().registry.job(ref_of(ref))

    async def jobs(self) -> list[LookJob]:
        """The jobs of the accepted looks that are not known to be settled, the oldest first.

        Where several processes share the store, those that this process sent. Raises `StoreError`.
        """
        with self._using() as runtime:
            accepted = self._store.stream((IntentState.ACCEPTED,), own=True)
            return [runtime.registry.job_of(intent) async for intent in accepted]

    async def unknowns(self) -> list[Unknown]:
        """The requests that may or may not have been charged, with the looks that they may have made.

        Sends one request for each avatar concerned. For edits of avatars that this store did not create,
        which may be public ones, it also reads their known copies, two lists, and a few avatars of their
        name. Looks that any answer about their avatar has listed before are `Unknown.older`. Where a delivery
        has named a request's look without its avatar (`Unknown.delivered`), that is looked for first: if it
        is found, the request is settled. Raises `StoreError`.
        """
        with self._using() as runtime:
            await runtime.deliveries.look_up_unknowns()
            return await runtime.unknowns.list_all()

    async def resolve(self, key: str, look: HasRef | str, *, attempt: str | None = None) -> LookJob:
        """Settle an unknown by naming its look yourself. Returns the look's job.

        ``look`` is a `LookRef`, the text of one or anything with a ``.ref``. One request checks that the look
        exists. As long as your choice is the only evidence, you can call this again with another look.
        ``attempt`` is that of `resend`. Of a request whose look a delivery has named (`Unknown.delivered`)
        only that look can be the result.

        Raises `NotFound` if the look does not exist; `InvalidRequest` for a key that is no unknown's (any
        more), and for a look that cannot be its own: one of another request, the edited look itself, or one
        of another avatar than was edited, unless this store did not create that: a public one is copied when
        it is edited. Raises also `StoreError`, and what the method `look` raises.
        """
        with self._using() as runtime:
            return await runtime.unknowns.resolve(key, ref_of(look, "look"), attempt)

    async def resend(
        self,
        key: str,
        *,
        attempt: str | None = None,
        budget: Budget | None = None,
        max_wait: float | None = None,
    ) -> LookJob:
        """Settle an unknown by sending it once more. Credits that it may have cost already stay at risk.

        ``attempt`` is the attempt that was decided about (`Unknown.attempt`, `Outcome.attempt`). Give it, and
        the decision is carried out once, by whoever comes first: once it was sent again, `InvalidRequest` is
        raised, also if that POST was lost as well. Without it, this is a decision about the last attempt. It
        must be given where a delivery shows that the request was paid (`Unknown.delivered`).

        ``budget`` and ``max_wait`` are those of `submit`; without a ``budget`` it is charged to the named
        budget that the unknown was charged to, if there is one. Raises `InvalidRequest` for a key that is no
        unknown's (any more) and for an attempt that is not its last one, and what `submit` raises. If the new
        request cost nothing, the unknown stays as it was.
        """
        self._ready()
        argument.instance("budget", budget, Budget | None, "a Budget, or None")
        max_wait = argument.wait("max_wait", max_wait)
        with self._using() as runtime:
            intent = await runtime.submitter.resend(key, attempt, budget, max_wait)
        return runtime.registry.job_of(intent)

    async def drop(self, key: str, *, attempt: str | None = None) -> None:
        """Settle an unknown by giving it up for good. What it may have cost stays counted as at risk.

        ``attempt`` is that of `resend`. Raises `InvalidRequest` for a key that is no unknown's (any more) and
        for an attempt that is not its last one, and `StoreError`.
        """
        with self._using() as runtime:
            await runtime.unknowns.drop(key, attempt)

    async def avatar(self, avatar_id: str) -> Avatar:
        """Read an avatar and all its looks, by one request.

        Raises `NotFound` and the other classes of `ApiError`, `TransportError` and `UnexpectedResponse`.
        """
        return await self._ready().reads.avatar(avatar_id)

    async def look(self, ref: HasRef) -> LookDetails:
        """Read one look with all its details, by one request. Raises as `avatar` does."""
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
        """Read the workspace's looks, then those of the public catalogue, by one request without pages.

        The filters are the API's, with its own words, such as ``gender="female"``; a list of values means
        any of them, None means all. The words are not checked here. Raises `InvalidRequest` for a filter
        that is no text and no list of texts (for ``selfie`` and ``only_public``: not True or False), else
        as `avatar` does.
        """
        filters = {
            "gender": gender, "age_range": age_range, "ethnicity": ethnicity, "hair_color": hair_color,
            "place": place, "action": action, "emotion": emotion, "accessories": accessories,
            "selfie": selfie, "only_public": only_public,
        }  # fmt: skip
        return list(await self._ready().reads.looks(filters))

    async def picture(self, look: HasRef | LookDetails) -> Picture:
        """Fetch the look's picture.

        Where it has fewer pixels than was paid for (`Picture.is_too_small`), a larger one is looked for, also
        by one request about its avatar in a session. If there is none, the small one is returned, a warning
        is logged and hooks are called with `PictureSmaller`. What was paid is known for looks of this session
        and its store, and for an `Outcome`.

        Raises `UnexpectedResponse` if there is none (yet) or it is no image, `TransportError`, and what
        `status` raises where the picture's address has to be asked for.
        """
        runtime = self._ready()
        ref_of(look, "look")
        return await runtime.pictures.read(look)

    async def download(
        self,
        look: HasRef | LookDetails,
        path_or_folder: str | os.PathLike[str],
        *,
        overwrite: bool = False,
    ) -> Path:
        """Save the look's picture to a file, in a folder under the name of the look. Returns the file's path.

        The file appears only when it is complete, and has the bytes that the API gave: a JPEG stays one under
        any name; in a folder the name ends as its type does. Raises `FileExistsError` for an existing one
        unless ``overwrite`` is true, `OSError`, `InvalidRequest` for what is no path, and what `picture`
        raises. A small one is kept, as by `picture`.
        """
        runtime = self._ready()
        ref_of(look, "look")
        return await runtime.pictures.save(look, path_or_folder, overwrite=overwrite)

    @property
    def quota(self) -> QuotaSnapshot:
        """The workspace's requests a minute, how many are left, and when all are free again (UTC).

        It is as this session sees it; no request is sent.
        """
        if self._open is None:
            raise SessionClosed(f"the session is {self._state}: use it inside `async with`")
        return self._open.rate_limiter.snapshot()

    def expected_wait(self, count: int = 1) -> float:
        """About how many seconds until ``count`` more submissions would have their permits of the quota.

        By what this process knows now: its own calls that wait are counted, and what other clients use as far
        as it has shown. Batches are not counted, since single submissions go first. Tell it a customer before
        you take the order, or refuse the order. Raises `InvalidRequest` for a count below 1.
        """
        argument.whole("count", count, least=1)
        runtime = self._ready()
        return runtime.rate_limiter.expected_wait(count + runtime.submitter.hold.waiting)

    async def health(self) -> SessionHealth:
        """The session's state now, for health checks and gauges: see `SessionHealth` for the units.

        It reads the store once or twice, for 3 s at most, and raises no error of the store. It sends no
        request, unless the API has failed, or no process polls: then a free one, every 20 s at most, which
        the next call tells of.
        """
        return await self._ready().health.read()


def _given(fields: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return {} if fields is None else fields


_at_the_end: set[asyncio.Task[None]] = set()  # a loop holds its tasks weakly


def _close_at_the_end_of_the_loop(session: HooxSession, runtime: SessionRuntime) -> None:
    """Close a session that nobody has closed when `asyncio.run` ends its loop.

    Else its store would be locked as long as the process lives.
    """
    left = session._left
    weakly = weakref.ref(session)  # a session that is forgotten warns at once
    del session

    async def wait() -> None:
        try:
            await left.wait()
        except asyncio.CancelledError:
            session = weakly()
            if session is None:
                await runtime.close()
            elif not left.is_set():
                shown = f"{session!r} was never closed; the end of its loop closed it"
                await session.aclose()
                warnings.warn(shown, ResourceWarning, stacklevel=1)
            raise

    task = asyncio.create_task(wait(), name="hoox-end-of-loop")
    _at_the_end.add(task)
    task.add_done_callback(_at_the_end.discard)


def runtime_of(session: HooxSession) -> SessionRuntime:
    """The parts of an open session, for the batch runner. Raises as all methods of the session do."""
    return session._ready()


def unopened_of(session: HooxSession) -> tuple[Ledger, int, bool] | None:
    """Of a session that was never opened: its store, its requests a minute, and whether it has webhooks.

    None for any other session.
    """
    if session._state != "new":
        return None
    return session._store, session._limit, session._webhooks is not None
