"""What the page sends, and the wishes that are in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, StringConstraints

from hoox_async import InvalidRequest

from .wishes import Wish

MOST_LOOKS = 200

Token = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=60)]


class CustomerForm(BaseModel):
    """Who is working. A real app has a login here."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^\w[\w .'-]{0,39}$")]


class AvatarForm(BaseModel):
    """A new avatar, from a prompt or from pictures."""

    token: Token
    name: Name = ""
    prompt: Text = ""
    image_urls: list[Text] = []
    style: str | None = None
    format: str = "vertical"
    resolution: str = "2K"

    def wishes(self) -> tuple[Wish, ...]:
        """One wish. Raises `InvalidRequest`."""
        name = self.name or "Unnamed"
        if self.image_urls:
            return (Wish(kind="images", name=name, image_urls=tuple(self.image_urls)),)
        if not self.prompt:
            raise InvalidRequest("prompt", self.prompt, "a description, or the addresses of pictures")
        return (
            Wish(
                kind="prompt", name=name, prompt=self.prompt,
                style=self.style, format=self.format, resolution=self.resolution,
            ),
        )  # fmt: skip


class LooksForm(BaseModel):
    """Every scene, one a line, for each of these avatars (refs)."""

    token: Token
    avatars: list[str]
    scenes: Annotated[str, StringConstraints(max_length=40_000)]
    style: str | None = None
    format: str = "vertical"
    resolution: str = "2K"

    def lines(self) -> list[str]:
        """The scenes."""
        return [line.strip() for line in self.scenes.splitlines() if line.strip()]

    def wishes(self, names: Mapping[str, str]) -> tuple[Wish, ...]:
        """Scene by scene, avatars in turn. ``names``: the avatars that this customer may use, by ref."""
        avatars, scenes = list(dict.fromkeys(self.avatars)), self.lines()
        for ref in avatars:
            if ref not in names:
                raise InvalidRequest("avatars", ref, "one of your avatars that is ready")
        if len(avatars) * len(scenes) > MOST_LOOKS:
            raise InvalidRequest("scenes", len(scenes), f"at most {MOST_LOOKS} looks in one order")
        return tuple(
            Wish(
                kind="edit", name=names[ref], source=ref, prompt=scene,
                style=self.style or None, format=self.format, resolution=self.resolution,
            )
            for scene in scenes
            for ref in avatars
        )  # fmt: skip
