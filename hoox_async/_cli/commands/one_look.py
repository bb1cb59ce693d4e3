"""``create`` and ``edit``: make one look, wait for it, and save its picture."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from hoox_async._checks import option
from hoox_async._core.formatting import format_credits

from ..exit_codes import Exit
from ..json_output import look_record
from ..options import Output, StoreConnection, check_timeout, check_writable
from ..pictures import free_name, in_the_way, is_folder, save
from ..request_fields import FIELDS, Kind, fields_of, is_list
from ..stores import key_words, named_store, read_outcomes
from ..terminal import Terminal
from ..waiting import ApiWatch, Waiting


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class LookOptions:
    """What to do with the look after it was accepted.

    Parameters
    ----------
    wait
        Wait until the look is ready (the default), or print its ref at once.
    timeout
        The most seconds to wait (900).
    out
        Save the picture in this file, or in this folder (ends in a slash).
    key
        A name of your own for this look. With the same key and store it is paid for once, however often the
        command runs.
    store
        A file that records what was paid, for --key, and so that a lost request can be settled with resolve.
        It is created if it does not exist.
    """

    wait: bool = True
    timeout: float = 900.0
    out: str | None = None
    key: str | None = None
    store: str | None = None

    def check(self) -> None:
        """Raise `ConfigurationError` for what would fail only after the look was paid for."""
        check_timeout(self.timeout)
        if self.key is not None:
            option.text("--key", self.key)
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
        existing = None if is_folder(self.out) else in_the_way(path)
        if existing is not None:
            if may_exist:
                return
            file = "the file" if existing == path else f"{existing.name}, which may be the picture's name,"
            raise ConfigurationError(f"--out {self.out}: {file} exists already; choose another name")
        check_writable("--out", self.out)


def _options_of(name: str, *kinds: Kind) -> Any:
    """A class with an option for each field of these kinds, for a command's signature.

    The required ones come first. An option that is not given has an empty value.
    """
    fields = {field.name: field for kind in kinds for field in fields_of(kind) if FIELDS[field.name].flag}
    ordered = sorted(fields.values(), key=lambda field: field.default is not attrs.NOTHING)
    made = attrs.make_class(name, {each.name: _option(each) for each in ordered}, frozen=True, kw_only=True)
    return Parameter(name="*")(made)


def _option(field: attrs.Attribute[Any]) -> Any:
    kind, empty = _type_of(field)
    text = FIELDS[field.name]
    parameter = Parameter(name=text.flag, help=_help(field), negative=())
    return attrs.field(default=empty, type=Annotated[kind, parameter])  # type: ignore[call-overload]


def _type_of(field: attrs.Attribute[Any]) -> tuple[Any, Any]:
    """The type of a field's option, and its value where it is not given."""
    if choices := field.metadata["choices"]:  # words: cyclopts would offer the names of an enum's members
        literal: Any = Literal
        return literal[choices] | None, None
    if is_list(field):
        return tuple[str, ...], ()
    return (bool, False) if field.type is bool else (str | None, None)


def _help(field: attrs.Attribute[Any]) -> str:
    text = FIELDS[field.name].help
    if not field.metadata["choices"]:
        return text
    default = "the API chooses" if field.default is None else field.default
    return f"{text.removesuffix('.')} ({default})."


def _given(options: Any, kind: Kind) -> dict[str, Any]:
    """The fields of this kind that were given. Raises `ConfigurationError` for one that it does not have."""
    values = {name: value for name, value in attrs.asdict(options).items() if value not in (None, (), False)}
    known = {field.name for field in fields_of(kind)}
    for name in values:
        if name not in known:
            raise ConfigurationError(f"{FIELDS[name].flag}: only for avatars from a prompt, not from images")
    return values


_NO_AVATAR_FIELDS: Any = _options_of("AvatarFields", PromptAvatar, ImageAvatar)()
_NO_EDIT_FIELDS: Any = _options_of("EditFields", LookEdit)()
if TYPE_CHECKING:
    _AvatarFields = Any
    _EditFields = Any
else:  # cyclopts reads the options from them
    _AvatarFields, _EditFields = type(_NO_AVATAR_FIELDS), type(_NO_EDIT_FIELDS)


def create(
    prompt: str | None = None,
    /,
    *,
    fields: _AvatarFields = _NO_AVATAR_FIELDS,
    options: LookOptions = LookOptions(),
    connection: StoreConnection = StoreConnection(),
    output: Output = Output(),
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
        request = ImageAvatar(**_given(fields, ImageAvatar))
    else:
        request = PromptAvatar(prompt, **_given(fields, PromptAvatar))
    return _make_look(request, options, connection, output.terminal())


def edit(
    source: str,
    prompt: str,
    /,
    *,
    fields: _EditFields = _NO_EDIT_FIELDS,
    options: LookOptions = LookOptions(),
    connection: StoreConnection = StoreConnection(),
    output: Output = Output(),
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
    request = LookEdit(_source(source), prompt, **_given(fields, LookEdit))
    return _make_look(request, options, connection, output.terminal())


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


def _make_look(
    request: Request, options: LookOptions, connection: StoreConnection, terminal: Terminal
) -> int:
    options.check()
    store = named_store(options.store, connection.location) if options.store is not None else None
    before = None
    if store is not None and options.key is not None and store.exists():
        before = asyncio.run(read_outcomes(store)).get(options.key)
    options.check_out(may_exist=before is not None and before.state is OutcomeState.READY)
    accepted = _AcceptedHook(terminal)
    if before is not None:
        accepted.ref = before.ref
    trouble, connected = ApiWatch(), connection.arguments()
    session = connection.session(store=store, hooks=[accepted, trouble])
    try:
        return asyncio.run(_submit_and_wait(session, request, options, before, terminal, trouble))
    except OutcomeUnknown as error:
        if store is not None and error.key is not None:
            terminal.suggest("Decide about it with:", "resolve", *key_words(store, error.key), *connected)
        else:
            text = "Before you send it again, see whether the workspace has it:"
            terminal.suggest(text, "looks", *connected)
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
        text = f"not ready {moment}{cause}; go on with:"
    except _PictureNotSaved as error:
        text = f"{error}; save it with:"
    saving = ["--out", free_name(options.out)] if options.out is not None else []
    terminal.suggest(text, "wait", str(accepted.ref), *saving, *connected)
    return Exit.UNFINISHED


async def _submit_and_wait(
    session: HooxSession,
    request: Request,
    options: LookOptions,
    before: Outcome | None,
    terminal: Terminal,
    trouble: ApiWatch,
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
