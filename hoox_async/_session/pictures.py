"""Fetches the pictures of looks, and looks for a larger one where one is smaller than was paid for."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import attrs

from .._api.models import HasRef, Look, LookDetails, LookRef, ref_of
from .._api.pictures import ImageSize, Picture, image_size, is_too_small, resolution_of
from .._api.requests import KnownRequest, Resolution
from .._api.responses import picture_urls
from .._checks import argument
from .._core.intents.intent import Intent
from .._core.trouble import Sign, Trouble
from .._io.clock import Clock
from .._io.downloads import (
    file_name,
    measure_picture,
    picture_target,
    read_picture,
    receive_picture,
    refuse_existing,
)
from .._io.error_words import is_disk_full
from .._io.hooks import Hooks
from .._io.ledger.ledger import Ledger
from .._io.protocols import Transport
from .._io.tasks import TaskSet
from ..errors import HooxError, StoreError, UnexpectedResponse
from ..events import PictureSmaller
from .jobs import JobRegistry
from .reads import Reads

# a logger of its own: who reports small pictures by the event can turn it off
_log = logging.getLogger("hoox_async.pictures")
_Urls = Mapping[str, tuple[str, ...]]


class _Order(NamedTuple):
    """What was paid for a look, and what the store has of it, as far as it is known."""

    resolution: Resolution | None = None
    key: str | None = None
    metadata: Mapping[str, str] = {}
    look: Look | None = None


@attrs.define(eq=False, repr=False)
class Pictures:
    """Fetches the pictures of looks.

    Where one is too small for the resolution that was paid for, a larger one is looked for in the URLs that
    were received already, and where those have none, in one answer about the avatar. Each avatar is asked
    about once in a session, so that a batch of small pictures does not use up the quota.
    """

    _clock: Clock
    _transport: Transport
    _store: Ledger
    _reads: Reads
    _registry: JobRegistry
    _hooks: Hooks
    _tasks: TaskSet
    sign: Sign | None = attrs.field(default=None, init=False)
    """What the last picture that was to be saved has shown of its disk; None: it was saved."""
    _forgettable: dict[LookRef, Resolution] = attrs.field(factory=dict, init=False)
    _asked: dict[str, asyncio.Task[_Urls]] = attrs.field(factory=dict, init=False)

    def remember(self, intent: Intent) -> None:
        """Remember what was paid for the look of an intent that the store may forget."""
        resolution = resolution_of(intent.request)
        if not intent.own_key and intent.ref is not None and resolution is not None:
            self._forgettable[intent.ref] = resolution

    async def read(self, look: HasRef | LookDetails) -> Picture:
        """See `HooxSession.picture`."""
        fetch, url = self._transport.fetch, await self._url_of(look)
        picture = await read_picture(fetch, url)
        order = await self._order_of(look)
        larger = await self._larger(look, order, url, image_size(picture.data))
        if larger is not None:
            with suppress(HooxError):
                picture = await read_picture(fetch, larger)
        self._report(look, order, image_size(picture.data))
        return picture

    async def save(
        self, look: HasRef | LookDetails, path_or_folder: str | os.PathLike[str], *, overwrite: bool
    ) -> Path:
        """See `HooxSession.download`."""
        try:
            saved = await self._save(look, path_or_folder, overwrite=overwrite)
        except OSError as error:
            if is_disk_full(error):
                self.sign = Sign(Trouble.PICTURE_DISK_FULL, self._clock.now())
            raise
        self.sign = None
        return saved

    async def _save(
        self, look: HasRef | LookDetails, path_or_folder: str | os.PathLike[str], *, overwrite: bool
    ) -> Path:
        argument.flag("overwrite", overwrite)
        path, is_folder = await picture_target(path_or_folder)
        name = file_name(ref_of(look)) if is_folder else None
        if name is None and not overwrite:
            await refuse_existing(path)
        url = await self._url_of(look)
        receive = partial(receive_picture, self._transport.fetch, path=path, name=name, overwrite=overwrite)
        async with AsyncExitStack() as received:
            picture = await received.enter_async_context(receive(url))
            order = await self._order_of(look)
            larger = await self._larger(look, order, url, picture.size)
            if larger is not None:
                try:
                    picture = await received.enter_async_context(receive(larger))
                except FileExistsError:
                    raise
                except (HooxError, OSError):  # such as a disk that only the small one fits on
                    pass
            self._report(look, order, picture.size)
            return await picture.publish()

    async def _url_of(self, look: HasRef | LookDetails) -> str:
        known = _shown(look)
        url = None if known is None else known.thumbnail_url
        if url is None:
            url = (await self._registry.ask(ref_of(look))).thumbnail_url
        if not url:
            raise UnexpectedResponse(f"{ref_of(look)}: the look has no picture (yet)")
        return url

    async def _order_of(self, look: HasRef | LookDetails) -> _Order:
        request = getattr(look, "request", None)  # of an outcome
        if isinstance(request, KnownRequest):
            return _Order(resolution_of(request), getattr(look, "key", None), request.metadata)
        ref, intent = ref_of(look), None
        with suppress(StoreError):  # a picture can be had without it
            intent = await self._store.by_ref(ref)
        if intent is None or intent.ref != ref:
            return _Order(self._forgettable.get(ref))
        return _Order(resolution_of(intent.request), intent.key, intent.request.metadata, intent.look)

    async def _larger(
        self, look: HasRef | LookDetails, order: _Order, url: str, size: ImageSize | None
    ) -> str | None:
        """The URL of a larger picture of the look. None where there is none, or the size is large enough."""
        if size is None or not is_too_small(size, order.resolution):
            return None
        tried, best = {url}, None
        for find in (self._received, self._of_avatar):
            for other in await find(look, order):
                if other in tried:
                    continue
                tried.add(other)
                found = await self._measured(other)
                if found is not None and min(found) > min(size):
                    size, best = found, other
                if not is_too_small(size, order.resolution):
                    return best
        return best

    async def _received(self, look: HasRef | LookDetails, order: _Order) -> tuple[str, ...]:
        """The URLs in what was received about the look so far."""
        job = self._registry.find(ref_of(look))
        shown = (_shown(look), order.look, None if job is None else job.last)
        return tuple(url for one in shown if one is not None for url in picture_urls(one.raw))

    async def _of_avatar(self, look: HasRef | LookDetails, _: _Order) -> tuple[str, ...]:
        """The URLs in an answer about the look's avatar, for which one request is sent in a session."""
        ref = ref_of(look)
        if ref.avatar_id not in self._asked:
            with suppress(HooxError):
                self._asked[ref.avatar_id] = self._tasks.spawn(
                    self._ask(ref.avatar_id), "hoox-larger-pictures"
                )
        asked = self._asked.get(ref.avatar_id)
        if asked is None:
            return ()
        await asyncio.wait((asked,))
        return () if asked.cancelled() else asked.result().get(ref.look_id, ())

    async def _ask(self, avatar_id: str) -> _Urls:
        with suppress(HooxError):
            avatar = await self._reads.avatar(avatar_id)
            return {look.ref.look_id: picture_urls(look.raw) for look in avatar.looks}
        return {}

    async def _measured(self, url: str) -> ImageSize | None:
        with suppress(HooxError):
            return await measure_picture(self._transport.fetch, url)
        return None

    def _report(self, look: HasRef | LookDetails, order: _Order, size: ImageSize | None) -> None:
        """Say that the picture is too small, if it is."""
        if size is None or order.resolution is None or not is_too_small(size, order.resolution):
            return
        ref = ref_of(look)
        _log.warning(
            "%s: the picture has %d x %d pixels, too few for the %s that was paid for%s",
            ref, size.width, size.height, order.resolution, f" ({order.key})" if order.key else "",
        )  # fmt: skip
        self._hooks.emit(PictureSmaller(ref, *size, order.resolution, order.key, order.metadata))


def _shown(look: Any) -> Look | LookDetails | None:
    """What is known of the look at hand: itself, that of an outcome, or what a job was last told."""
    known = look if isinstance(look, Look | LookDetails) else getattr(look, "look", None)
    known = known or getattr(look, "last", None)
    return known if isinstance(known, Look | LookDetails) else None
