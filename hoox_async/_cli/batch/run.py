"""Runs a batch under the eyes of a user: progress, pictures, Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import attrs

from hoox_async import BatchItem, BatchRunner, HooxSession, Outcome, OutcomeStream

from ..lines import outcome_record
from ..signals import Stop, stopping
from ..terminal import Terminal
from .progress import Progress
from .saver import NameOf, Saver
from .tally import Tally


@attrs.frozen
class Ran:
    """What a run came to, as far as it was heard."""

    outcomes: tuple[Outcome, ...]
    seconds: float
    interrupted: bool = False
    at_once: bool = False
    pictures: dict[str, Path] = attrs.field(factory=dict)
    missing: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Pictures:
    """Where the pictures go."""

    folder: Path
    name_of: NameOf


@attrs.define
class Running:
    """One run. ``session`` is not open yet; its hooks include ``tally``."""

    session: HooxSession
    runner: BatchRunner
    items: Sequence[BatchItem]
    tally: Tally
    terminal: Terminal
    pictures: Pictures | None = None
    outcomes: list[Outcome] = attrs.field(factory=list)
    saver: Saver | None = None
    progress: Progress | None = None

    async def run(self) -> Ran:
        """Run to the end, or until Ctrl-C: then what is in the air is finished and written down."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        with stopping(self._stopping) as stop:
            try:
                await self._run(stop)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not stop.at_once or task is None:
                    raise
                task.uncancel()  # it was the second Ctrl-C that cancelled
        saver = self.saver
        return Ran(
            tuple(self.outcomes),
            loop.time() - began,
            stop.requested.is_set(),
            stop.at_once,
            dict(saver.files) if saver else {},
            dict(saver.missing) if saver else {},
        )

    def _stopping(self) -> None:
        if self.progress is not None:
            self.progress.extra = "stopping"
        self.terminal.say("stopping: what is in the air is finished; Ctrl-C again leaves at once")

    async def _run(self, stop: Stop) -> None:
        self.progress = Progress(self.terminal, self.tally, lambda: self.session.quota)
        async with self.session:
            if self.pictures is not None:
                self.saver = Saver(self.session, self.pictures.folder, self.pictures.name_of, self.terminal)
            async with self.progress, self.runner.stream(self.items) as stream:
                await _unless(stop, self._consume(stream))

    async def _consume(self, stream: OutcomeStream) -> None:
        try:
            async for outcome in stream:
                self.outcomes.append(outcome)
                self.tally.settled(outcome)
                self.terminal.record("outcome", **outcome_record(outcome))
                if self.saver is not None:
                    self.saver.add(outcome)
            if self.saver is not None:
                await self.saver.finish()
        finally:
            if self.saver is not None:
                await self.saver.cancel()


async def _unless(stop: Stop, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, and leave it when a stop is requested."""
    doing = asyncio.create_task(work)
    waiting = asyncio.create_task(stop.requested.wait())
    try:
        await asyncio.wait([doing, waiting], return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
    finally:
        waiting.cancel()
        doing.cancel()
        await asyncio.gather(doing, waiting, return_exceptions=True)
