"""Runs a batch for the command line: shows progress, saves pictures and stops on Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path

import attrs

from hoox_async import BatchItem, BatchRunner, HooxSession, Outcome, OutcomeStream

from ..json_output import outcome_record
from ..signals import StopRequest, run_until, stop_on_signals
from ..small_pictures import FourKGuard
from ..terminal import Terminal
from ..text import format_credits
from .counters import RunCounters
from .picture_saver import NameFunction, PictureSaver
from .progress import Progress


@attrs.frozen
class RunResult:
    """How a run ended. ``outcomes`` are those received before it ended, in the order of the items.

    ``pictures`` maps keys to saved files, ``missing`` maps keys to the reason why a picture was not saved,
    and ``smaller`` maps keys to the sizes of pictures with fewer pixels than was paid for. ``held_4k``: the
    pictures at 4K were too small, so that no more looks were made at 4K.
    """

    outcomes: tuple[Outcome, ...]
    seconds: float
    interrupted: bool = False
    pictures: dict[str, Path] = attrs.field(factory=dict)
    missing: dict[str, str] = attrs.field(factory=dict)
    smaller: dict[str, str] = attrs.field(factory=dict)
    held_4k: bool = False


@attrs.frozen
class PictureTarget:
    """Where the pictures go. With ``replace`` an older picture of the same key is overwritten.

    ``accept_small``: go on making looks at 4K although their pictures are too small. ``earlier`` are looks
    whose pictures may have been saved by earlier runs.
    """

    folder: Path
    name_of: NameFunction
    replace: bool = False
    accept_small: bool = False
    earlier: Iterable[Outcome] = ()


@attrs.define
class TerminalRun:
    """One run of a batch. ``session`` must not be open yet, and its hooks must include ``counters``."""

    session: HooxSession
    runner: BatchRunner
    items: Sequence[BatchItem]
    counters: RunCounters
    terminal: Terminal
    pictures: PictureTarget | None = None
    outcomes: list[Outcome] = attrs.field(factory=list)
    saver: PictureSaver | None = None
    progress: Progress | None = None
    held_4k: bool = False

    async def run(self) -> RunResult:
        """Run to the end, or until Ctrl-C; outstanding POSTs are then awaited and recorded."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        with stop_on_signals(self._show_stopping) as stop:
            try:
                await self.session.__aenter__()
                await self._stream(stop)
            finally:
                # closing waits for outstanding POSTs, until a second signal
                await run_until(stop.at_once, self.session.aclose())
        saver = self.saver
        position = {item.key: number for number, item in enumerate(self.items)}
        return RunResult(
            tuple(sorted(self.outcomes, key=lambda outcome: position.get(outcome.key, len(position)))),
            loop.time() - began,
            stop.requested.is_set(),
            dict(saver.files) if saver else {},
            dict(saver.missing) if saver else {},
            dict(saver.smaller) if saver else {},
            self.held_4k,
        )

    def _show_stopping(self) -> None:
        if self.progress is not None:
            self.progress.extra = "stopping"
        self.terminal.notice(
            "stopping: waiting for the answers to requests already sent; Ctrl-C again leaves at once"
        )

    async def _stream(self, stop: StopRequest) -> None:
        if stop.requested.is_set():
            return
        self.progress = Progress(self.terminal, self.counters, lambda: self.session.quota)
        if self.pictures is not None:
            self.saver = PictureSaver(
                self.session,
                self.pictures.folder,
                self.pictures.name_of,
                self.terminal,
                replace=self.pictures.replace,
                guard=None if self.pictures.accept_small else FourKGuard(self._hold_4k),
            )
        async with self.progress, self.runner.stream(self.items) as stream:
            if self.saver is not None and self.pictures is not None:
                self.saver.count_earlier(self.pictures.earlier)
            await run_until(stop.requested, self._consume(stream))

    def _hold_4k(self, small: tuple[Outcome, ...]) -> None:
        """The pictures of these looks at 4K were too small: buy no more of them."""
        self.held_4k = True
        self.runner.stop("4K")
        cost = format_credits(sum((outcome.credits for outcome in small), Decimal(0)))
        self.terminal.notice(
            f"the last {len(small)} pictures at 4K are too small for that and cost {cost}: no more looks are "
            "made at 4K (--accept-small makes them all the same)"
        )

    async def _consume(self, stream: OutcomeStream) -> None:
        try:
            async for outcome in stream:
                self.outcomes.append(outcome)
                self.counters.count_outcome(outcome)
                self.terminal.record("outcome", **outcome_record(outcome))
                if self.saver is not None:
                    self.saver.add(outcome)
            if self.saver is not None:
                if self.progress is not None:
                    self.progress.extra = "saving pictures"
                await self.saver.finish()
        finally:
            if self.saver is not None:
                await self.saver.cancel()
