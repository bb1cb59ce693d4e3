"""``create`` and ``edit``: make one look."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import attrs
from cyclopts import Parameter

from hoox_async import (
    ApiError,
    ConfigurationError,
    Event,
    HooxError,
    HooxSession,
    ImageAvatar,
    InsufficientCredits,
    InvalidRequest,
    Look,
    LookAccepted,
    LookEdit,
    LookRef,
    NotSent,
    Outcome,
    OutcomeState,
    OutcomeUnknown,
    PromptAvatar,
    Request,
    WaitTimeout,
)

from .exit_codes import Exit
from .json_output import look_record
from .options import Output, StoreConnection, command_line
from .saving import free_name, in_the_way, save
from .stores import AnyStore, key_words, named_store, read_report
from .terminal import Terminal
from .text import format_credits
from .trouble import Trouble
from .waiting import Waiting


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class LookOptions:
    """What to do with the look after it was accepted."""

    wait: Annotated[
        bool, Parameter(help="Wait until the look is ready (the default), or print its ref at once.")
    ] = True
    timeout: Annotated[float, Parameter(help="The most seconds to wait (900).")] = 900.0
    out: Annotated[
        str | None, Parameter(help="Save the picture in this file, or in this folder (ends in a slash).")
    ] = None
    key: Annotated[
        str | None,
        Parameter(
            help="A name of your own for this look. With the same key and store it is paid for once, however "
            "often the command runs."
        ),
    ] = None
    store: Annotated[
        str | None,
        Parameter(
            help="A file that records what was paid, for --key, and so that a lost request can be settled "
            "with resolve. It is created if it does not exist."
        ),
    ] = None

    def check(self) -> None:
        """Raise `ConfigurationError` for what would fail only after the look was paid for."""
        if math.isnan(self.timeout):
            raise ConfigurationError("--timeout nan: expected a number of seconds")
        if self.key is not None and not self.key.strip():
            raise ConfigurationError("--key: expected a text that is not empty")
        if self.key is not None and self.store is None:
            raise ConfigurationError(
                f"--key {self.key}: give --store FILE too, which records what was paid for under a key"
            )
        if self.out is not None and not self.wait:
            raise ConfigurationError("--no-wait and --out: a picture can only be saved after waiting for it")

    def check_out(self, *, may_exist: bool) -> None:
        """Raise `ConfigurationError` if the picture could not be saved.

        With ``may_exist`` the file may be there already: then it has to be the look's own picture.
        """
        if self.out is None:
            return
        path = Path(self.out)
        is_folder = self.out.endswith(("/", os.sep)) or path.is_dir()
        existing = None if is_folder else in_the_way(path)
        if existing is not None:
            if may_exist:
                return
            file = "the file" if existing == path else f"{existing.name}, which may be the picture's name,"
            raise ConfigurationError(f"--out {self.out}: {file} exists already; choose another name")
        nearest = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK):
            raise ConfigurationError(f"--out {self.out}: nothing can be written in {nearest}")


# literals, because cyclopts would offer the names of an enum's members instead of the API's words
_Style = Literal["iphone", "selfie", "podcast", "car", "conference", "raw"]
_Format = Literal["vertical", "horizontal"]
_Resolution = Literal["1K", "2K", "4K"]

_DEFAULT = LookOptions()
_DEFAULT_CONNECTION = StoreConnection()
_DEFAULT_OUTPUT = Output()


def create(
    prompt: str | None = None,
    /,
    *,
    image: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    style: _Style | None = None,
    format: _Format | None = None,
    resolution: _Resolution | None = None,
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
    return _make(request, options, connection, output.terminal())


def _refuse_with_images(only_of_prompts: Mapping[str, object]) -> None:
    given = [option for option, value in only_of_prompts.items() if value]
    if given:
        raise ConfigurationError(f"{given[0]}: only for avatars from a prompt, not from images")


def edit(
    source: str,
    prompt: str,
    /,
    *,
    style: _Style | None = None,
    format: _Format | None = None,
    resolution: _Resolution = "2K",
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
    return _make(request, options, connection, output.terminal())


def _source(text: str) -> LookRef:
    try:
        return LookRef.parse(text)
    except InvalidRequest as error:
        raise InvalidRequest("source", text, error.expected) from None


class _AcceptedHook:
    """A hook that reports an accepted look at once, so that it is known even after an interruption."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self.ref: LookRef | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, LookAccepted):
            self.ref = event.ref
            self._terminal.say(f"accepted: {event.ref} ({format_credits(event.credits)})")
            self._terminal.record("accepted", ref=str(event.ref), credits=format(event.credits, "f"))


class _PictureNotSaved(Exception):
    """The look is ready and paid for, but its picture could not be saved."""


def _make(request: Request, options: LookOptions, connection: StoreConnection, terminal: Terminal) -> int:
    options.check()
    store = named_store(options.store, connection.location) if options.store is not None else None
    before = None
    if store is not None and options.key is not None and store.exists():
        before = asyncio.run(_read_outcome(store, options.key))
    options.check_out(may_exist=before is not None and before.state is OutcomeState.READY)
    accepted = _AcceptedHook(terminal)
    if before is not None:
        accepted.ref = before.ref
    trouble = Trouble()
    session = connection.session(store=store, hooks=[accepted, trouble])
    try:
        return asyncio.run(_submit_and_wait(session, request, options, before, terminal, trouble))
    except OutcomeUnknown as error:
        if store is not None and error.key is not None:
            terminal.notice("Decide about it with:")
            terminal.notice(
                "  " + command_line("resolve", *key_words(store, error.key), *connection.arguments())
            )
        else:
            terminal.notice("Before you send it again, see whether the workspace has it:")
            terminal.notice("  " + command_line("looks", *connection.arguments()))
        raise
    except (ApiError, NotSent) as error:
        if accepted.ref is None and error.charged == "no" and not isinstance(error, InsufficientCredits):
            terminal.notice("Nothing was paid:")
        raise
    except (KeyboardInterrupt, WaitTimeout) as error:
        if accepted.ref is None:
            raise
        moment = "yet" if isinstance(error, WaitTimeout) else "when interrupted"
        cause = f" ({error.cause})" if isinstance(error, WaitTimeout) and error.cause else ""
        terminal.notice(f"not ready {moment}{cause}; go on with:")
    except _PictureNotSaved as error:
        terminal.notice(f"{error}; save it with:")
    saving = ["--out", free_name(options.out)] if options.out is not None else []
    terminal.notice("  " + command_line("wait", str(accepted.ref), *saving, *connection.arguments()))
    return Exit.UNFINISHED


async def _read_outcome(store: AnyStore, key: str) -> Outcome | None:
    """What the store has under this key, or None."""
    return next((outcome for outcome in await read_report(store) if outcome.key == key), None)


async def _submit_and_wait(
    session: HooxSession,
    request: Request,
    options: LookOptions,
    before: Outcome | None,
    terminal: Terminal,
    trouble: Trouble,
) -> int:
    async with session:
        async with Waiting(terminal, "sending the request", trouble):
            job = await session.submit(request, key=options.key)
        if before is not None and before.ref == job.ref:
            terminal.say(f"{options.key} was accepted before: {job.ref}; nothing is paid again")
            terminal.record("accepted", ref=str(job.ref), credits="0")
        if not options.wait:
            terminal.result(str(job.ref))
            return Exit.READY
        async with Waiting(terminal, "waiting for the look", trouble):
            look: Look = await job.wait(options.timeout)
        terminal.record("look", **look_record(look))
        terminal.result(f"{look.ref} is ready: {look.thumbnail_url}")
        if options.out is not None:
            try:
                await save(session, look, options.out, terminal, request)
            except (HooxError, OSError) as error:
                raise _PictureNotSaved(f"the picture could not be saved: {error}") from error
    return Exit.READY
