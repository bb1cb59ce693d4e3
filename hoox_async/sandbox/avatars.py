"""The fake avatars and their looks, with the traits of an avatar, and the public catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import Literal, NamedTuple

import attrs

from .._api.models import LookRef

_NAMES = {
    "female": ("Amara", "Chiara", "Elif", "Hana", "Ines", "Lena", "Maya", "Nora", "Priya", "Sofia"),
    "male": ("Alex", "Diego", "Emil", "Farid", "Jonas", "Kenji", "Luca", "Noah", "Omar", "Theo"),
}
# The values are those of the filters in the API reference.
_AGES = {"adolescent": (16, 19), "young_adult": (20, 29), "adult": (30, 55), "senior": (56, 80)}
_DARK = ("black", "brown", "gray")
_FAIR = ("black", "blonde", "brown", "gray", "red", "white")
_HAIR = {
    "black-or-african-american": _DARK,
    "white-western-european": _FAIR,
    "white-eastern-european": _FAIR,
    "hispanic-or-latino": _DARK,
    "middle-eastern-or-north-african": _DARK,
    "east-asian": _DARK,
    "southeast-asian": _DARK,
    "south-asian": _DARK,
}
_CATALOGUE = (
    ("Ada", "office", "podcast"),
    ("Bruno", "kitchen", "iphone"),
    ("Celeste", "studio", "conference"),
    ("Dario", "car", "car"),
    ("Edda", "street", "selfie"),
    ("Fenna", "park", "iphone"),
)


@attrs.define(eq=False)
class FakeLook:
    """A look of the workspace. ``done_at`` is the time (seconds) at which it settles.

    ``settled_on_demand``: `Space.hold` does not apply to it.
    """

    id: str
    avatar: FakeAvatar
    name: str
    place: str
    style: str
    format: str
    resolution: str
    prompt: str | None
    created_at: float
    done_at: float
    failed: bool = False
    settled_on_demand: bool = False
    tags: list[str] | None = None
    picture_of: str | None = None
    """The id of the look whose picture it has; None for one of its own. A copied look has the same."""
    webhook_url: str | None = attrs.field(default=None, repr=False)
    rendered: tuple[str, bytes] | None = None
    """Its status word and its encoded part of ``GET /avatar/{id}``, which is requested often."""

    @property
    def ref(self) -> LookRef:
        """The look's ref."""
        return LookRef(self.avatar.id, self.id)


class PictureFile(NamedTuple):
    """What is at a picture's URL: the look's picture, in full or small size, or a film of it."""

    look: FakeLook
    form: Literal["full", "small", "film"]

    @property
    def content_type(self) -> str:
        """Its ``Content-Type``."""
        return "video/mp4" if self.form == "film" else "image/jpeg"


@attrs.define(eq=False)
class FakeAvatar:
    """An avatar of the workspace (or of the public catalogue) and its looks, oldest first."""

    id: str
    name: str
    traits: Mapping[str, str]
    created_at: float
    looks: list[FakeLook] = attrs.field(factory=list)
    public: bool = False
    copy_of: FakeAvatar | None = None

    @property
    def person(self) -> str:
        """What the portrait is drawn from: the same for an avatar and its copies."""
        return self.copy_of.id if self.copy_of else self.id


def traits_of(avatar_id: str) -> Mapping[str, str]:
    """The name, gender, age, ethnicity and hair colour of this avatar, drawn at random from its id."""
    rng = Random(avatar_id)  # noqa: S311 - no secret depends on it
    gender = rng.choice(("female", "male"))
    age_range = rng.choice(tuple(_AGES))
    ethnicity = rng.choice(tuple(_HAIR))
    return {
        "name": rng.choice(_NAMES[gender]),
        "gender": gender,
        "age_range": age_range,
        "age": str(rng.randint(*_AGES[age_range])),
        "ethnicity": ethnicity,
        "hair_color": rng.choice(_HAIR[ethnicity]),
    }


def catalogue() -> Iterator[FakeAvatar]:
    """The public avatars. Each has one look, which is ready."""
    for name, place, style in _CATALOGUE:
        avatar_id = f"avtr_public_{name.lower()}"
        avatar = FakeAvatar(avatar_id, name, traits_of(avatar_id), created_at=0.0, public=True)
        look_id = f"look_public_{name.lower()}"
        avatar.looks.append(
            FakeLook(
                id=look_id,
                avatar=avatar,
                name=name,
                place=place,
                style=style,
                format="vertical",
                resolution="2K",
                prompt=f"{name}, {place}",
                created_at=0.0,
                done_at=float("-inf"),
                settled_on_demand=True,
            )
        )
        yield avatar
