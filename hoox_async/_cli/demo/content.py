"""What the demo makes: six avatars, and ten looks of each."""

from __future__ import annotations

from typing import NamedTuple

from hoox_async import BatchItem, Format, ImageAvatar, LookEdit, PromptAvatar, Resolution, Style


class Scene(NamedTuple):
    """A look that any avatar can have."""

    key: str
    prompt: str
    style: Style
    format: Format = Format.VERTICAL
    resolution: Resolution = Resolution.TWO_K


AVATARS: dict[str, PromptAvatar | ImageAvatar] = {
    "alex": PromptAvatar("Young entrepreneur, confident smile, first day of the new office", name="Alex"),
    "mara": PromptAvatar(
        "Physiotherapist, calm and friendly, at the end of a long day", style=Style.SELFIE, name="Mara"
    ),
    "noor": ImageAvatar(
        ["https://images.example/noor/front.jpg", "https://images.example/noor/left.jpg"], name="Noor"
    ),
    "theo": PromptAvatar(
        "History teacher, patient look, about to explain something", style=Style.PODCAST, name="Theo"
    ),
    "yuki": ImageAvatar(["https://images.example/yuki/portrait.jpg"], name="Yuki", place="studio"),
    "ines": PromptAvatar(
        "Pastry chef after the morning shift, laughing", resolution=Resolution.FOUR_K, name="Ines"
    ),
}

_WIDE, _4K = Format.HORIZONTAL, Resolution.FOUR_K

SCENES = (
    Scene("podcast", "Podcast studio, warm light, speaking into a large microphone", Style.PODCAST),
    Scene("stage", "Keynote on a small stage, blue light behind, open hands", Style.CONFERENCE, _WIDE),
    Scene("commute", "In the driver's seat at a red light, morning sun from the side", Style.CAR),
    Scene("kitchen", "Kitchen counter on a Sunday, coffee in hand, plants at the window", Style.IPHONE),
    Scene("beach", "Beach at golden hour, wind in the hair, linen shirt", Style.SELFIE),
    Scene("library", "Between tall library shelves, one book open, quiet smile", Style.RAW),
    Scene("gym", "Gym in the early morning, towel around the neck, out of breath", Style.SELFIE),
    Scene("office", "Glass office high above the city, laptop half closed", Style.IPHONE, _WIDE),
    Scene(
        "rain", "Rainy street at night, umbrella, neon reflections on the asphalt", Style.RAW, resolution=_4K
    ),
    Scene("market", "Saturday market, crates of oranges, holding one up to the camera", Style.IPHONE),
    Scene("panel", "Panel discussion, name card on the table, listening closely", Style.CONFERENCE, _WIDE),
    Scene("roadtrip", "Passenger seat on a mountain road, window down, sunglasses", Style.CAR, _WIDE),
    Scene("garden", "Back garden after the rain, watering can, late light", Style.IPHONE),
    Scene("rooftop", "Rooftop at dusk, string lights, the skyline out of focus", Style.SELFIE),
    Scene("interview", "Late-night interview, two armchairs, dark red curtain", Style.PODCAST, _WIDE),
    Scene("workshop", "Woodworking bench, shavings everywhere, pencil behind the ear", Style.RAW),
    Scene("snow", "First snow in the park, red scarf, visible breath", Style.SELFIE, resolution=_4K),
    Scene("classroom", "In front of a full blackboard, chalk in hand, mid-sentence", Style.CONFERENCE),
    Scene("train", "Window seat on an evening train, headphones, fields passing by", Style.IPHONE, _WIDE),
    Scene("parking", "Parked under trees, seat belt off, telling a story", Style.CAR),
)
LOOKS_EACH = 10


def items() -> list[BatchItem]:
    """The avatars, then the looks, scene by scene: each avatar has its own choice of scenes."""
    made = [BatchItem(key, request) for key, request in AVATARS.items()]
    for n in range(LOOKS_EACH):
        for place, avatar in enumerate(AVATARS):
            scene = SCENES[(7 * place + n) % len(SCENES)]
            request = LookEdit(
                avatar,
                scene.prompt,
                style=scene.style,
                format=scene.format,
                resolution=scene.resolution,
            )
            made.append(BatchItem(f"{avatar}/{scene.key}", request))
    return made
