"""``create``: makes an avatar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from cyclopts import Parameter

from hoox_async import ConfigurationError, ImageAvatar, PromptAvatar, Request

from ..one_look import FormatWord, LookOptions, ResolutionWord, StyleWord, make_look
from ..options import Output, StoreConnection

_DEFAULT = LookOptions()


_DEFAULT_CONNECTION = StoreConnection()


_DEFAULT_OUTPUT = Output()


def create(
    prompt: str | None = None,
    /,
    *,
    image: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    style: StyleWord | None = None,
    format: FormatWord | None = None,
    resolution: ResolutionWord | None = None,
    name: str | None = None,
    place: str | None = None,
    element_image: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    options: LookOptions = _DEFAULT,
    connection: StoreConnection = _DEFAULT_CONNECTION,
    output: Output = _DEFAULT_OUTPUT,
) -> int:
    """Create an avatar from a prompt or from images.

    From a prompt: 2 credits, 4 at 4K. From images: no credits.

    - `hoox-async create "Young entrepreneur, confident smile" --name Alex --out alex.jpg`
    - `hoox-async create "Young entrepreneur" --key alex --store looks.db`

    Parameters
    ----------
    prompt
        What the avatar's first picture should show.
    image
        The http(s) URL of a picture of the person, instead of a prompt. Repeatable.
    style
        How the picture seems to be taken (iphone).
    format
        The picture's shape: 9:16 or 16:9 (vertical).
    resolution
        The picture's size (2K).
    name
        The avatar's name.
    place
        Where the picture is taken.
    element_image
        The URL of a thing to show, such as a logo. Repeatable.
    """
    if (prompt is None) == (not image):
        raise ConfigurationError("create: expected either a prompt or --image (repeatable), and not both")
    if prompt is None:
        _refuse_with_images(
            {
                "--style": style,
                "--format": format,
                "--resolution": resolution,
                "--element-image": element_image,
            }
        )
        request: Request = ImageAvatar(image, name=name, place=place)
    else:
        request = PromptAvatar(
            prompt,
            style=style or "iphone",
            format=format or "vertical",
            resolution=resolution or "2K",
            name=name,
            place=place,
            element_images=element_image,
        )
    return make_look(request, options, connection, output.terminal())


def _refuse_with_images(only_of_prompts: Mapping[str, object]) -> None:
    given = [option for option, value in only_of_prompts.items() if value]
    if given:
        raise ConfigurationError(f"{given[0]}: only for avatars from a prompt, not from images")
