"""What the page sends, and the wishes that are in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, StringConstraints

from .errors import Refused
from .wishes import Wish

MOST_LOOKS = 200
LONGEST_SCENE = 2000

Token = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=LONGEST_SCENE)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=60)]


def _customer(name: str) -> str:
    name = name.strip()
    if not name:
        raise ValueError("Write a name.")
    if not re.fullmatch(r"\w[\w .'-]{0,39}", name):
        raise ValueError(
            "A name has letters, digits, spaces and . ' - only. It begins with a letter or a digit, and has "
            "40 characters at most."
        )
    return name


class CustomerForm(BaseModel):
    """Who is working. A real app has a login here."""

    name: Annotated[str, AfterValidator(_customer)]


class DecisionForm(BaseModel):
    """What a customer decides about an unknown. ``look`` is the ref of the look that is it."""

    doubt: str
    choice: Literal["this", "again", "leave"]
    look: str | None = None


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
        """One wish. Raises `Refused`."""
        name = self.name or "Unnamed"
        if self.image_urls:
            return (Wish(kind="images", name=name, image_urls=tuple(self.image_urls)),)
        if not self.prompt:
            raise Refused("Describe a person, or give the addresses of pictures.", field="prompt")
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
        """Scene by scene, avatars in turn. ``names``: of the looks that this customer may use, by ref.

        Raises `Refused`.
        """
        avatars, scenes = list(dict.fromkeys(self.avatars)), self.lines()
        for ref in avatars:
            if ref not in names:
                raise Refused("Start from one of your own looks that are ready.", field="avatars")
        count = len(avatars) * len(scenes)
        if count > MOST_LOOKS:
            raise Refused(f"These are {count} looks. One order has {MOST_LOOKS} at most.", field="scenes")
        for scene in scenes:
            if len(scene) > LONGEST_SCENE:
                too_long = f"A scene has {LONGEST_SCENE} characters at most. This one has {len(scene)}: "
                raise Refused(f"{too_long}{scene[:40]} …", field="scenes")
        return tuple(
            Wish(
                kind="edit", name=names[ref], source=ref, prompt=scene,
                style=self.style or None, format=self.format, resolution=self.resolution,
            )
            for scene in scenes
            for ref in avatars
        )  # fmt: skip
