"""Pictures that are saved: their names, their files, the index of a folder, and those that are too small."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import string
import tempfile
import unicodedata
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from filecmp import cmp
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import attrs

from hoox_async import (
    BatchItem,
    ConfigurationError,
    HooxError,
    HooxSession,
    Look,
    Outcome,
    OutcomeState,
    Picture,
    PrunedRequest,
    Request,
    Resolution,
)
from hoox_async._core.formatting import format_pixels
from hoox_async._io.publishing import publish_new

from .campaign.builder import Campaign, ItemOrigin
from .campaign.problems import did_you_mean
from .terminal import Terminal

PLACEHOLDERS = ("avatar", "scene", "n", "key", "style", "format", "look_id")
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)")
_LETTERS = frozenset("LNM")
_WIDTH = re.compile(r"0?[1-9]")


def picture_name(
    template: str, item: BatchItem | Outcome, origin: ItemOrigin, *, look_id: str = ""
) -> PurePosixPath:
    """The path of an item's picture, relative to the folder of the pictures and without a suffix.

    Whatever the values are, the path stays in the folder and its parts are safe on every system.
    Raises `ConfigurationError` for a template that can't be used.
    """
    return PurePosixPath(*map(safe_part, _filled_parts(template, item, origin, look_id)))


def _filled_parts(
    template: str, item: BatchItem | Outcome, origin: ItemOrigin, look_id: str
) -> tuple[str, ...]:
    values: dict[str, str | int] = {
        "avatar": origin.avatar,
        "scene": origin.scene,
        "n": origin.variation,
        "key": item.key,
        "style": str(getattr(item.request, "style", None) or "default"),
        "format": str(getattr(item.request, "format", None) or "default"),
        "look_id": look_id,
    }
    return tuple(
        "".join(literal + _filled(field, spec, values) for literal, field, spec in _fields(part))
        for part in _split(template)
    )


def check_template(template: str, campaign: Campaign) -> None:
    """Raise `ConfigurationError` when the template is wrong or does not tell two items of the campaign apart.

    Texts that differ may still give one file name; such files are numbered when they are saved.
    """
    used: dict[tuple[str, ...], BatchItem] = {}
    for item in campaign.items:
        origin = campaign.origins[item.key]
        # the key is used as the look's id: it too is different for each item
        other = used.setdefault(_filled_parts(template, item, origin, item.key), item)
        if other.key != item.key:
            name = picture_name(template, item, origin, look_id=item.key)
            raise ConfigurationError(
                f"--names {template!r}: {other.key} and {item.key} would both be saved as {name}; "
                "add {n}, {key} or {look_id}"
            )


def safe_part(text: str) -> str:
    """Any text as one part of a path, of letters and digits of any script, ``-``, ``_`` and ``.``.

    It is never empty, ``.``, ``..`` or a name that Windows reserves, has no separator, and has at most
    120 bytes in UTF-8. Different texts may give the same part.
    """
    kept = "".join(c if _usable(c) else " " for c in unicodedata.normalize("NFKC", text))
    part = re.sub(r"[ -]*[ ][ -]*", "-", kept.strip(" .-")).strip("-.")
    part = part.encode()[:120].decode(errors="ignore").rstrip("-.") or "look"
    return f"_{part}" if _RESERVED.match(part) else part


def _usable(character: str) -> bool:
    return character in "-_." or unicodedata.category(character)[0] in _LETTERS


def _split(template: str) -> list[str]:
    parts = template.replace("\\", "/").split("/")
    if any(part.strip() in ("", ".", "..") for part in parts):
        raise ConfigurationError(f"--names {template!r}: expected a path below the folder, such as "
                                 "{avatar}/{scene}-{n}")  # fmt: skip
    return parts


def _fields(part: str) -> list[tuple[str, str, str]]:
    """The literal texts of a part, each with the placeholder that follows it and its width."""
    try:
        parsed = list(string.Formatter().parse(part))
    except ValueError as error:
        raise ConfigurationError(f"--names: {part!r}: {error}") from None
    fields = []
    for literal, name, spec, conversion in parsed:
        if name is not None and name not in PLACEHOLDERS:
            hint = did_you_mean(name, PLACEHOLDERS) or f": expected one of {', '.join(PLACEHOLDERS)}"
            raise ConfigurationError(f"--names: {{{name}}} is not a placeholder{hint}")
        if conversion or (spec and (name != "n" or not _WIDTH.fullmatch(spec))):
            raise ConfigurationError(f"--names: {part!r}: only {{n}} takes a width, such as {{n:03}}")
        fields.append((literal, name or "", spec or ""))
    return fields


def _filled(field: str, spec: str, values: dict[str, str | int]) -> str:
    return format(values[field], spec) if field else ""


_SAME = {".jpeg": ".jpg", ".jpe": ".jpg"}
_KNOWN = {".jpg", ".png", ".webp", ".gif", ".avif"}


async def save(
    session: HooxSession, look: Look, out: str, terminal: Terminal, request: Request | None = None
) -> None:
    """Save a look's picture, and print its path and size, and whether it is too small for the request.

    ``out`` is the text that was typed: a `Path` would lose the slash that makes it a folder. A file's suffix
    is corrected if the picture is of another type. Raises `ConfigurationError` if another file is there.
    """
    folder, wanted = _folder_of(out)
    incoming = Path(tempfile.mkdtemp(prefix=".hoox-", dir=folder))
    try:
        # in a folder the library names the file by the picture's type
        downloaded = await session.download(look, f"{incoming}/")
        named = folder / downloaded.name if wanted is None else corrected(wanted, downloaded.suffix)
        _publish(downloaded, named, out)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    if wanted is not None and named != wanted:
        terminal.notice(f"it is a {named.suffix} picture, so its name is {named.name}, not {wanted.name}")
    picture = measure(named, request)
    terminal.record("picture", ref=str(look.ref), **picture.record())
    terminal.result(f"saved {named}" + (f" ({picture.size})" if picture.size else ""))
    if picture.is_too_small:
        terminal.notice(f"{named} has only {picture.size} pixels, fewer than was paid for")


def is_folder(out: str) -> bool:
    """Whether a folder was typed for a picture, and not a file."""
    return out.endswith(("/", os.sep)) or Path(out).is_dir()


def _folder_of(out: str) -> tuple[Path, Path | None]:
    """The folder, which is made if it is missing, and the file in it; None if a folder was typed."""
    target = Path(out)
    is_file = not is_folder(out)
    folder = target.parent if is_file else target
    folder.mkdir(parents=True, exist_ok=True)
    return folder, target if is_file else None


def corrected(wanted: Path, suffix: str) -> Path:
    """The path with this suffix, if its own is that of another type of picture."""
    own = wanted.suffix.lower()
    own = _SAME.get(own, own)
    return wanted.with_suffix(suffix) if own in _KNOWN and suffix in _KNOWN and own != suffix else wanted


def in_the_way(wanted: Path) -> Path | None:
    """The file that has the name which the picture would get, as typed or with its suffix corrected."""
    names = (wanted, *(corrected(wanted, suffix) for suffix in sorted(_KNOWN)))
    return next((name for name in names if name.exists()), None)


def free_name(out: str) -> str:
    """What was typed as a file, or the first numbered name beside it that is free; a folder as it is."""
    return out if is_folder(out) else str(_unused(Path(out), lambda name: in_the_way(name) is not None))


def _publish(downloaded: Path, target: Path, out: str) -> None:
    """Move the picture to its name, unless it is there already. Never replaces another file."""
    if target.is_file() and cmp(downloaded, target, shallow=False):
        return
    try:
        publish_new(downloaded, target)
    except FileExistsError:
        raise ConfigurationError(
            f"--out {out}: the file {target} exists already; choose another name"
        ) from None


_HEAD = 1 << 16  # bytes; nearly always enough for the size
IN_A_ROW = 3
"""How many pictures at 4K that are too small end the buying of looks at 4K."""


class SavedPicture(NamedTuple):
    """A saved picture: its size in pixels, None if that cannot be read."""

    path: Path
    width: int | None
    height: int | None
    is_too_small: bool

    @property
    def size(self) -> str:
        """The size for people, empty if it cannot be read."""
        return "" if self.width is None or self.height is None else format_pixels(self.width, self.height)

    def record(self) -> dict[str, Any]:
        """Its part of a record."""
        size = {"width": self.width, "height": self.height}
        return {"path": str(self.path), **size, "smaller": self.is_too_small}


def measure(path: Path, request: Request | PrunedRequest | None = None) -> SavedPicture:
    """Measure a saved picture, and compare it with what was paid for. Blocks."""
    try:
        picture = _beginning_of(path)
    except OSError:  # it was saved; whoever needs its bytes will say what is wrong
        picture = Picture(b"", "")
    is_too_small = request is not None and picture.is_too_small(request)
    return SavedPicture(path, picture.width, picture.height, is_too_small)


def _beginning_of(path: Path) -> Picture:
    with path.open("rb") as file:
        picture = Picture(file.read(_HEAD), "")
        return Picture(picture.data + file.read(), "") if picture.width is None else picture


class FourKGuard:
    """Calls ``on_small`` once, when the last three pictures of looks at 4K were all too small.

    It is called with the outcomes of those three.
    """

    def __init__(self, on_small: Callable[[tuple[Outcome, ...]], None]) -> None:
        self._on_small = on_small
        self._row: list[Outcome] = []
        self._counted: set[str] = set()
        self._is_called = False

    def count(self, outcome: Outcome, picture: SavedPicture) -> None:
        """Count the picture of a look, unless it was counted before or has no size that can be read."""
        if not is_in_4k(outcome) or not picture.size or str(outcome.ref) in self._counted:
            return
        self._counted.add(str(outcome.ref))
        self._row = [*self._row, outcome] if picture.is_too_small else []
        if len(self._row) == IN_A_ROW and not self._is_called:
            self._is_called = True
            self._on_small(tuple(self._row))


def is_in_4k(outcome: Outcome) -> bool:
    """Whether the request is one at 4K."""
    return getattr(outcome.request, "resolution", None) is Resolution.FOUR_K


INDEX_NAME = "pictures.jsonl"


def read_picture_index(folder: Path) -> dict[str, tuple[str, Path]]:
    """Read the index: the look's ref and the picture's file by key, for files that still exist. Blocks.

    A line that was cut off by a crash or cannot be read is skipped.
    """
    try:
        lines = (folder / INDEX_NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    found: dict[str, tuple[str, Path]] = {}
    for line in lines:
        try:
            entry = json.loads(line)
            key, ref, name = str(entry["key"]), str(entry["ref"]), str(entry["file"])
        except (ValueError, KeyError, TypeError):
            continue
        file = folder / name
        if not Path(name).is_absolute() and ".." not in Path(name).parts and file.is_file():
            found[key] = (ref, file)
    return found


class PictureIndex:
    """The index of one folder, kept up to date while pictures are saved."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = read_picture_index(folder)

    def file_of(self, key: str, ref: str) -> Path | None:
        """The saved picture of this look, or None."""
        known = self._known.get(key)
        return known[1] if known is not None and known[0] == ref else None

    def owner_of(self, file: Path) -> tuple[str, str] | None:
        """Key and ref of the look whose picture this file is, or None."""
        for key, (ref, known) in self._known.items():
            if known == file:
                return key, ref
        return None

    def add(self, key: str, ref: str, file: Path) -> None:
        """Record a saved picture. Blocks; raises `OSError`."""
        path = self._folder / INDEX_NAME
        name = file.relative_to(self._folder).as_posix()
        line = json.dumps({"key": key, "ref": ref, "file": name}) + "\n"
        with path.open("a+b") as lines:
            if lines.tell() and not _ends_with_newline(path):
                line = "\n" + line  # a crash left half a line
            lines.write(line.encode())
        self._known[key] = (ref, file)


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as lines:
        lines.seek(-1, 2)
        return lines.read(1) == b"\n"


NameFunction = Callable[[Outcome], PurePosixPath]
_WORKERS = 6
_MOST_REPORTED = 5


class PictureSaver:
    """Downloads the pictures of ready looks into ``folder``, a few at a time.

    An existing file is never overwritten, except that with ``replace`` an older picture of the same key
    is. ``name_of`` gives a picture's path below ``folder``, without a suffix. ``guard`` is given the picture
    of each look. ``smaller`` has the sizes of those with fewer pixels than was paid for, by key, and ``left``
    is the number of pictures that are still to be saved.
    """

    def __init__(
        self,
        session: HooxSession,
        folder: Path,
        name_of: NameFunction,
        terminal: Terminal,
        *,
        replace: bool = False,
        guard: FourKGuard | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.files: dict[str, Path] = {}
        self.missing: dict[str, str] = {}
        self.smaller: dict[str, str] = {}
        self.left = 0
        self._session = session
        self._name_of = name_of
        self._terminal = terminal
        self._replace = replace
        self._guard = guard
        self._index = PictureIndex(folder)
        self._incoming = folder / ".incoming"
        self._queue: asyncio.Queue[Outcome] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []

    def add(self, outcome: Outcome) -> None:
        """Queue the picture of this outcome, if it has one that is not saved yet."""
        if outcome.state is not OutcomeState.READY or outcome.look is None:
            return
        file = self._file_of(outcome)
        if file is not None:
            self._count(outcome, file)
            return
        self._queue.put_nowait(outcome)
        self.left += 1
        if len(self._workers) < _WORKERS:
            # a folder for each worker: two looks' ids may make one file name
            incoming = self._incoming / str(len(self._workers))
            self._workers.append(asyncio.create_task(self._work(incoming), name="hoox-save"))

    def count_earlier(self, outcomes: Iterable[Outcome]) -> None:
        """Let the guard count the last pictures at 4K that are saved already."""
        never = datetime.min.replace(tzinfo=UTC)
        in_order = sorted(filter(is_in_4k, outcomes), key=lambda outcome: outcome.settled_at or never)
        for outcome in [one for one in in_order if self._file_of(one) is not None][-IN_A_ROW:]:
            file = self._file_of(outcome)
            if file is not None and self._guard is not None:
                self._guard.count(outcome, measure(file, outcome.request))

    def _file_of(self, outcome: Outcome) -> Path | None:
        return self._index.file_of(outcome.key, str(outcome.ref))

    async def finish(self) -> None:
        """Wait until every queued picture is saved or has failed. Raises what ended a worker."""
        done = asyncio.create_task(self._queue.join())
        try:
            await asyncio.wait([done, *self._workers], return_when=asyncio.FIRST_COMPLETED)
            for worker in self._workers:
                if worker.done():
                    worker.result()
        finally:
            done.cancel()
            await self.cancel()

    async def cancel(self) -> None:
        """Stop saving; the next run saves what is missing."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._workers.clear()
        for folder in (*self._incoming.glob("*"), self._incoming):
            with suppress(OSError):  # not empty: it holds files that are not ours
                folder.rmdir()

    async def _work(self, incoming: Path) -> None:
        while True:
            outcome = await self._queue.get()
            assert outcome.look is not None
            try:
                downloaded = await self._fetch(outcome, incoming)
                file = self._move_into_place(outcome, downloaded)
                picture = self._count(outcome, file)
            except HooxError as error:
                self._report_missing(outcome.key, str(error))
            except OSError as error:  # such as a full disk: the look is paid for, so the run goes on
                self._report_missing(outcome.key, f"{self.folder}: {error.strerror or error}")
            else:
                self._terminal.record("picture", key=outcome.key, **picture.record())
            self.left -= 1
            self._queue.task_done()

    def _count(self, outcome: Outcome, file: Path) -> SavedPicture:
        """Note the picture of a look, and whether it is too small."""
        self.files[outcome.key] = file
        picture = measure(file, outcome.request)
        if picture.is_too_small:
            self.smaller[outcome.key] = picture.size
        if self._guard is not None:
            self._guard.count(outcome, picture)
        return picture

    async def _fetch(self, outcome: Outcome, incoming: Path) -> Path:
        folder = f"{incoming}/"
        try:
            # the outcome says what was paid for: a larger picture is looked for where this one is too small
            return await self._session.download(outcome, folder, overwrite=True)
        except HooxError:
            # the URL may have expired: get a new one and try once more
            assert outcome.look is not None
            fresh = attrs.evolve(outcome, look=await self._session.status(outcome.look))
            return await self._session.download(fresh, folder, overwrite=True)

    def _move_into_place(self, outcome: Outcome, downloaded: Path) -> Path:
        """Move the downloaded picture to its name, or to a numbered one if that is another look's."""
        assert outcome.look is not None
        ref = outcome.look.ref
        base = self.folder / self._name_of(outcome)
        target = base.with_name(base.name + downloaded.suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            owner = self._index.owner_of(target)
            if owner is not None and owner[0] == outcome.key and self._replace:
                target.unlink()
            elif owner is not None and owner[0] == outcome.key:
                # the look was paid for a second time; its first picture was paid for too, so keep it
                target.rename(_unused(base.with_name(f"{base.name}.old{downloaded.suffix}")))
            else:
                target = _unused(target)
        downloaded.rename(target)
        try:
            self._index.add(outcome.key, str(ref), target)
        except OSError:
            target.unlink()  # the next run would take it for another look's
            raise
        return target

    def _report_missing(self, key: str, why: str) -> None:
        self.missing[key] = why
        if len(self.missing) <= _MOST_REPORTED:
            self._terminal.notice(f"{key}: the picture could not be saved: {why}")
        elif len(self.missing) == _MOST_REPORTED + 1:
            self._terminal.notice("more pictures could not be saved")


def _unused(path: Path, is_taken: Callable[[Path], bool] = Path.exists) -> Path:
    """This path, or the first numbered one beside it that is free."""
    number, free = 1, path
    while is_taken(free):
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
