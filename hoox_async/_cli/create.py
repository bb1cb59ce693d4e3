"""One look at a time: ``create`` and ``edit``."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import attrs
from cyclopts import Parameter

from hoox_async import (
    ConfigurationError,
    Event,
    HooxSession,
    ImageAvatar,
    Look,
    LookAccepted,
    LookEdit,
    LookRef,
    PromptAvatar,
    Request,
    WaitTimeout,
)

from .exit_codes import Exit
from .json_output import look_record
from .options import Output, StoreConnection, command
from .read import save
from .terminal import Terminal
from .text import in_credits


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class Making:
    """What to do about the look once it is accepted."""

    wait: Annotated[bool, Parameter(help="Wait until the look is ready.")] = True
    timeout: Annotated[float, Parameter(help="How many seconds to wait at most (900).")] = 900.0
    out: Annotated[
        str | None, Parameter(help="Save the picture: the path of a file, or a folder (ends in a slash).")
    ] = None
    store: Annotated[
        Path | None,
        Parameter(help="A file that remembers what was paid, so that a lost request can be resolved."),
    ] = None


# the API's own words: of an enum, the command line would offer the names of its members
_CreateStyle = Literal["iphone", "selfie", "podcast", "car", "conference"]
_EditStyle = Literal["iphone", "selfie", "podcast", "car", "conference", "raw"]
_Format = Literal["vertical", "horizontal"]
_Resolution = Literal["1K", "2K", "4K"]

_DEFAULT = Making()
_HERE = StoreConnection()
_SHOWN = Output()


def create(
    prompt: str | None = None,
    /,
    *,
    image: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    style: _CreateStyle | None = None,
    format: _Format | None = None,
    resolution: _Resolution | None = None,
    name: str | None = None,
    place: str | None = None,
    element_image: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    making: Making = _DEFAULT,
    connection: StoreConnection = _HERE,
    output: Output = _SHOWN,
) -> int:
    """Create an avatar from a prompt or from images.

    From a prompt: 2 credits, 4 at 4K. From images: no credits.

    Parameters
    ----------
    prompt
        What the avatar's first picture shall show.
    image
        The http(s) URL of a picture of the person, instead of a prompt; can be given several times.
    style
        How the picture looks taken; iphone unless given.
    format
        vertical (9:16) unless given, or horizontal (16:9).
    resolution
        2K unless given.
    name
        The avatar's name.
    place
        Where the picture is taken.
    element_image
        The URL of a thing to show, such as a logo; can be given several times.
    """
    if (prompt is None) == (not image):
        raise ConfigurationError("create: expected either a prompt, or --image URL (once or more)")
    if prompt is None:
        _refuse_beside_images(
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
    return _make(request, making, connection, output.terminal())


def _refuse_beside_images(only_of_prompts: Mapping[str, object]) -> None:
    given = [option for option, value in only_of_prompts.items() if value]
    if given:
        raise ConfigurationError(f"{given[0]}: goes with a prompt; from images it has no meaning")


def edit(
    source: str,
    prompt: str,
    /,
    *,
    style: _EditStyle | None = None,
    format: _Format | None = None,
    resolution: _Resolution = "2K",
    image: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    upscale: Annotated[bool, Parameter(negative=())] = False,
    making: Making = _DEFAULT,
    connection: StoreConnection = _HERE,
    output: Output = _SHOWN,
) -> int:
    """Make a new look from an existing one.

    2 credits, 4 at 4K; 1.5 more with --upscale.

    Parameters
    ----------
    source
        The look to start from, as avatar_id:look_id. It is not changed.
    prompt
        What the new picture shall show.
    style
        How the picture looks taken; the API chooses unless given.
    format
        vertical (9:16) or horizontal (16:9); the API chooses unless given.
    resolution
        The picture's size; 2K unless given.
    image
        The URL of another reference picture; can be given several times.
    upscale
        Make it larger, for 1.5 credits more.
    """
    request = LookEdit(
        LookRef.parse(source),
        prompt,
        style=style,
        format=format,
        resolution=resolution,
        images=image,
        upscale=upscale,
    )
    return _make(request, making, connection, output.terminal())


class _Accepted:
    """A hook that tells at once what was paid for, also when the command is interrupted just then."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self.ref: LookRef | None = None
        self.credits = Decimal(0)

    def __call__(self, event: Event) -> None:
        if isinstance(event, LookAccepted):
            self.ref, self.credits = event.ref, event.credits
            self._terminal.say(f"accepted: {event.ref} ({in_credits(event.credits)})")
            self._terminal.record("accepted", ref=str(event.ref), credits=format(event.credits, "f"))


def _make(request: Request, making: Making, connection: StoreConnection, terminal: Terminal) -> int:
    accepted = _Accepted(terminal)
    session = connection.session(store=making.store, hooks=[accepted])
    try:
        return asyncio.run(_made(session, request, making, terminal))
    except (KeyboardInterrupt, WaitTimeout) as error:
        if accepted.ref is None:
            raise
        again = command("wait", str(accepted.ref), *connection.words())
        terminal.say(
            f"not ready {'yet' if isinstance(error, WaitTimeout) else 'when interrupted'}; go on with:"
        )
        terminal.say(f"  {again}")
        return Exit.UNFINISHED


async def _made(session: HooxSession, request: Request, making: Making, terminal: Terminal) -> int:
    if math.isnan(making.timeout):  # said before it costs
        raise ConfigurationError("--timeout nan: expected a number of seconds")
    async with session:
        job = await session.submit(request)
        if not making.wait:
            terminal.result(str(job.ref))
            return Exit.READY
        with terminal.err.status("waiting for the look") if terminal.live else nullcontext():
            look: Look = await job.wait(making.timeout)
        terminal.record("look", **look_record(look))
        terminal.result(f"{look.ref} is ready: {look.thumbnail_url}")
        if making.out is not None:
            await save(session, look, making.out, terminal)
    return Exit.READY
