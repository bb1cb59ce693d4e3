"""Names and traits for fake avatars, the same for the same id."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from ._values import FakeAvatar, FakeLook

_NAMES = {
    "female": ("Amara", "Chiara", "Elif", "Hana", "Ines", "Lena", "Maya", "Nora", "Priya", "Sofia"),
    "male": ("Alex", "Diego", "Emil", "Farid", "Jonas", "Kenji", "Luca", "Noah", "Omar", "Theo"),
}
_AGES = {"18-25": (19, 25), "26-35": (26, 35), "36-45": (36, 45), "46-60": (46, 60)}
_HAIR = {
    "african": ("black", "brown", "grey"),
    "asian": ("black", "brown", "grey"),
    "caucasian": ("black", "blonde", "brown", "grey", "red"),
    "hispanic": ("black", "brown", "grey"),
    "middle-eastern": ("black", "brown", "grey"),
    "south-asian": ("black", "brown", "grey"),
}
_CATALOGUE = (
    ("Ada", "office", "podcast"),
    ("Bruno", "kitchen", "iphone"),
    ("Celeste", "studio", "conference"),
    ("Dario", "car", "car"),
    ("Edda", "street", "selfie"),
    ("Fenna", "garden", "iphone"),
)


def traits_of(avatar_id: str) -> Mapping[str, str]:
    """Gender, age, ethnicity and hair of the person that this id stands for, and a name."""
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
    """The public avatars, one ready look each."""
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
                by_hand=True,
            )
        )
        yield avatar
