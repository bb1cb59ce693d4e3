"""Runs a batch under the eyes of a user: progress, pictures, Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import attrs

from hoox_async import BatchItem, BatchRunner, HooxSession, Outcome, OutcomeStream

from ..json_output import outcome_record
from ..signals import Stop, stopping, unless
from ..terminal import Terminal
from .counters import Tally
from .picture_saver import NameOf, Saver
from .progress import Progress


@attrs.frozen
class Ran:
    """What a run came to, as far as it was heard: the outcomes in the order of the items."""

    outcomes: tuple[Outcome, ...]
    seconds: float
    interrupted: bool = False
    pictures: dict[str, Path] = attrs.field(factory=dict)
    missing: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Pictures:
    """Where the pictures go. ``replace``: the folder is ours, and older pictures of a key may go."""

    folder: Path
    name_of: NameOf
    replace: bool = False


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
                await self.session.__aenter__()
                await self._run(stop)
            finally:
                # closing waits for the paid requests in the air, unless the user can't
                await unless(stop.at_once, self.session.aclose())
        saver = self.saver
        place = {item.key: number for number, item in enumerate(self.items)}
        return Ran(
            tuple(sorted(self.outcomes, key=lambda outcome: place.get(outcome.key, len(place)))),
            loop.time() - began,
            stop.requested.is_set(),
            dict(saver.files) if saver else {},
            dict(saver.missing) if saver else {},
        )

    def _stopping(self) -> None:
        if self.progress is not None:
            self.progress.extra = "stopping"
        self.terminal.say("stopping: what is in the air is finished; Ctrl-C again leaves at once")

    async def _run(self, stop: Stop) -> None:
        if stop.requested.is_set():
            return
        self.progress = Progress(self.terminal, self.tally, lambda: self.session.quota)
        if self.pictures is not None:
            self.saver = Saver(
                self.session,
                self.pictures.folder,
                self.pictures.name_of,
                self.terminal,
                replace=self.pictures.replace,
            )
        async with self.progress, self.runner.stream(self.items) as stream:
            await unless(stop.requested, self._consume(stream))

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
