"""``create``: makes an avatar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hoox_async import ConfigurationError, ImageAvatar, PromptAvatar, Request

from ..one_look import LookOptions, given, make_look, options_of
from ..options import Output, StoreConnection

_OPTIONS: Any = options_of("CreateFields", PromptAvatar, ImageAvatar)
_NOTHING: Any = _OPTIONS()
_DEFAULT = LookOptions()
_DEFAULT_CONNECTION = StoreConnection()
_DEFAULT_OUTPUT = Output()
if TYPE_CHECKING:
    _Fields = Any
else:
    _Fields = _OPTIONS


def create(
    prompt: str | None = None,
    /,
    *,
    fields: _Fields = _NOTHING,
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
    """
    if (prompt is None) == (not fields.image_urls):
        raise ConfigurationError("create: expected either a prompt or --image (repeatable), and not both")
    request: Request
    if prompt is None:
        request = ImageAvatar(**given(fields, ImageAvatar))
    else:
        request = PromptAvatar(prompt, **given(fields, PromptAvatar))
    return make_look(request, options, connection, output.terminal())
