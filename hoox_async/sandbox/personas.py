"""Names and traits for fake avatars, the same for the same id."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from .workspace_records import FakeAvatar, FakeLook

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


def traits_of(avatar_id: str) -> Mapping[str, str]:
    """The name, gender, age, ethnicity and hair colour of this avatar, drawn at random from its id."""
    rng = random.Random(avatar_id)  # noqa: S311 - no secret depends on it
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
