"""A wish, which is one look that a customer wants, and an order of several wishes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from hoox_async import ImageAvatar, LookEdit, LookRef, PromptAvatar, Request


class Wish(BaseModel):
    """One look. ``name`` is the avatar's; ``source`` is the ref of the look that an edit starts from."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["prompt", "images", "edit"]
    name: str
    prompt: str = ""
    image_urls: tuple[str, ...] = ()
    source: str = ""
    style: str | None = None
    format: str = "vertical"
    resolution: str = "2K"

    def request(self, customer: str = "") -> Request:
        """The request for this look. Raises `InvalidRequest`."""
        metadata = {"customer": customer}
        if self.kind == "images":
            return ImageAvatar(self.image_urls, name=self.name, metadata=metadata)
        look: dict[str, Any] = {"format": self.format, "resolution": self.resolution, "metadata": metadata}
        if self.kind == "prompt":
            return PromptAvatar(self.prompt, name=self.name, **{"style": self.style or "iphone", **look})
        return LookEdit(LookRef.parse(self.source), self.prompt, **{"style": self.style, **look})


class Order(BaseModel):
    """The wishes that a customer submitted with one form.

    ``token`` comes from the form, which makes a new one for each order. The same token is the same order,
    even if the form is sent twice. ``again`` is the id of the card that this order makes once more.
    """

    model_config = ConfigDict(frozen=True)

    customer: str
    token: str
    at: datetime
    wishes: tuple[Wish, ...]
    again: str = ""

    def key(self, index: int) -> str:
        """The session's key for one of the looks, under which it is paid at most once."""
        return f"{self.customer}/{self.token}/{index}"
