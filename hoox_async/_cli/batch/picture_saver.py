"""Saves each picture the moment it is ready, and those that an earlier run could not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from hoox_async import HooxError, HooxSession, Look, Outcome, OutcomeState

from ..terminal import Terminal
from .picture_index import Manifest

NameOf = Callable[[Outcome], PurePosixPath]
_AT_ONCE = 6
_TOLD = 5


class Saver:
    """Saves pictures beside the batch. A picture that is there already is never overwritten,
    unless ``replace`` says that older pictures of the same key may go.

    ``name_of`` gives a picture's path below ``folder``, without a suffix. Made on the loop.
    """

    def __init__(
        self,
        session: HooxSession,
        folder: Path,
        name_of: NameOf,
        terminal: Terminal,
        *,
        replace: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.saved = 0
        self.files: dict[str, Path] = {}
        self.missing: dict[str, str] = {}
        self._session = session
        self._name_of = name_of
        self._terminal = terminal
        self._replace = replace
        self._manifest = Manifest(folder)
        self._incoming = folder / ".incoming"
        self._queue: asyncio.Queue[Outcome] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []

    def add(self, outcome: Outcome) -> None:
        """Save this one's picture, if it has one and it isn't saved."""
        if outcome.state is not OutcomeState.READY or outcome.look is None:
            return
        file = self._manifest.file_of(outcome.key, str(outcome.look.ref))
        if file is not None:
            self.files[outcome.key] = file
            return
        self._queue.put_nowait(outcome)
        if len(self._workers) < _AT_ONCE:
            self._workers.append(asyncio.create_task(self._work(), name="hoox-save"))

    async def finish(self) -> None:
        """Wait until all are saved or have failed. Raises what ended a worker, such as a full disk."""
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
        """Leave what is not saved for the next run."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._workers.clear()
        with suppress(OSError):  # not empty: somebody else's
            self._incoming.rmdir()

    async def _work(self) -> None:
        while True:
            outcome = await self._queue.get()
            assert outcome.look is not None
            try:
                arrived = await self._fetch(outcome.look)
                file = self._place(outcome, arrived)
            except HooxError as error:
                self._miss(outcome.key, error)
            else:
                self.saved += 1
                self.files[outcome.key] = file
                self._terminal.record("picture", key=outcome.key, path=str(file))
            self._queue.task_done()

    async def _fetch(self, look: Look) -> Path:
        try:
            return await self._session.download(look, f"{self._incoming}/", overwrite=True)
        except HooxError:
            # URLs may not live for ever: ask for the look anew and try once more
            fresh = await self._session.status(look.ref)
            return await self._session.download(fresh, f"{self._incoming}/", overwrite=True)

    def _place(self, outcome: Outcome, arrived: Path) -> Path:
        """Give the picture its name. What stands there already makes room or is left alone."""
        assert outcome.look is not None
        ref = outcome.look.ref
        base = self.folder / self._name_of(outcome)
        target = base.with_name(base.name + arrived.suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            owner = self._manifest.owner_of(target)
            if owner is not None and owner[0] == outcome.key and self._replace:
                target.unlink()
            elif owner is not None and owner[0] == outcome.key:
                # the look was paid for anew: the picture of the first one was paid for too
                target.rename(_free(base.with_name(f"{base.name}.old{arrived.suffix}")))
            else:
                target = _free(base.with_name(f"{base.name}.{ref.look_id}{arrived.suffix}"))
        arrived.rename(target)
        self._manifest.note(outcome.key, str(ref), target)
        return target

    def _miss(self, key: str, error: HooxError) -> None:
        self.missing[key] = str(error)
        if len(self.missing) <= _TOLD:
            self._terminal.say(f"{key}: the picture could not be saved: {error}")
        elif len(self.missing) == _TOLD + 1:
            self._terminal.say("more pictures could not be saved")


def _free(path: Path) -> Path:
    """This path, or the first numbered one beside it that is free."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
