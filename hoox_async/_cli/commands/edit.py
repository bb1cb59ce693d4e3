"""``edit``: makes a new look from an existing one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hoox_async import InvalidRequest, LookEdit, LookRef

from ..one_look import LookOptions, given, make_look, options_of
from ..options import Output, StoreConnection

_OPTIONS: Any = options_of("EditFields", LookEdit)
_NOTHING: Any = _OPTIONS()
_DEFAULT = LookOptions()
_DEFAULT_CONNECTION = StoreConnection()
_DEFAULT_OUTPUT = Output()
if TYPE_CHECKING:
    _Fields = Any
else:
    _Fields = _OPTIONS


def edit(
    source: str,
    prompt: str,
    /,
    *,
    fields: _Fields = _NOTHING,
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
    """
    request = LookEdit(_source(source), prompt, **given(fields, LookEdit))
    return make_look(request, options, connection, output.terminal())


def _source(text: str) -> LookRef:
    try:
        return LookRef.parse(text)
    except InvalidRequest as error:
        raise InvalidRequest("source", text, error.expected) from None
