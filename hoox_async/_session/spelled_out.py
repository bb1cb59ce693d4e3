"""The spelled-out, fully typed forms of ``submit``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from .._core.budget import Budget
from .._core.refs import HasRef
from .._core.requests import (
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
)
from .._jobs import LookJob


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
        source: HasRef,
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
        """`submit` a `LookEdit`: 2 credits, 4 at 4K, 1.5 more with ``upscale``. Raises as `submit` does."""
        request = LookEdit(
            source, prompt, style=style, format=format, resolution=resolution, images=images,
            upscale=upscale, webhook_url=webhook_url, metadata=metadata or {}, extra=extra or {},
        )  # fmt: skip
        return await self.submit(request, key=key, budget=budget, max_wait=max_wait)
