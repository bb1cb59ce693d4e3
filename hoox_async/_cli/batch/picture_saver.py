"""Saves pictures while the batch runs, and those that an earlier run could not save."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import attrs

from hoox_async import HooxError, HooxSession, Outcome, OutcomeState

from ..small_pictures import IN_A_ROW, FourKGuard, SavedPicture, is_in_4k, measure
from ..terminal import Terminal
from .picture_index import PictureIndex

NameFunction = Callable[[Outcome], PurePosixPath]
_WORKERS = 6
_MOST_REPORTED = 5


class PictureSaver:
    """Downloads the pictures of ready looks into ``folder``, a few at a time.

    An existing file is never overwritten, except that with ``replace`` an older picture of the same key
    is. ``name_of`` gives a picture's path below ``folder``, without a suffix. ``guard`` is given the picture
    of each look. ``smaller`` has the sizes of those with fewer pixels than was paid for, by key.
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


def _unused(path: Path) -> Path:
    """This path, or the first numbered one beside it that is free."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
