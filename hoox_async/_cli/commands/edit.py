"""``edit``: makes a new look from an existing one."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from hoox_async import InvalidRequest, LookEdit, LookRef

from ..one_look import FormatWord, LookOptions, ResolutionWord, StyleWord, make_look
from ..options import Output, StoreConnection

_DEFAULT = LookOptions()


_DEFAULT_CONNECTION = StoreConnection()


_DEFAULT_OUTPUT = Output()


def edit(
    source: str,
    prompt: str,
    /,
    *,
    style: StyleWord | None = None,
    format: FormatWord | None = None,
    resolution: ResolutionWord = "2K",
    image: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    upscale: Annotated[bool, Parameter(negative=())] = False,
    look_name: str | None = None,
    place: str | None = None,
    tag: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    options: LookOptions = _DEFAULT,
    connection: StoreConnection = _DEFAULT_CONNECTION,
    output: Output = _DEFAULT_OUTPUT,
) -> int:
    """Make a new look from an existing one.

    2 credits, 4 at 4K; 1.5 more with --upscale.

    - `hoox-async edit avtr_a:look_1 "podcast scene, warm light" --style podcast --out podcast.jpg`

    Parameters
    ----------
    source
        The look to start from, as avatar_id:look_id. It is not changed.
    prompt
        What the new picture should show.
    style
        How the picture seems to be taken (the API chooses).
    format
        The picture's shape: 9:16 or 16:9 (the API chooses).
    resolution
        The picture's size (2K).
    image
        The URL of another reference picture. Repeatable.
    upscale
        Enlarge the picture, for 1.5 more credits.
    look_name
        The new look's name.
    place
        Where the picture is taken.
    tag
        A tag of the new look. Repeatable.
    """
    request = LookEdit(
        _source(source),
        prompt,
        style=style,
        format=format,
        resolution=resolution,
        images=image,
        upscale=upscale,
        look_name=look_name,
        place=place,
        tags=tag,
    )
    return make_look(request, options, connection, output.terminal())


def _source(text: str) -> LookRef:
    try:
        return LookRef.parse(text)
    except InvalidRequest as error:
        raise InvalidRequest("source", text, error.expected) from None
