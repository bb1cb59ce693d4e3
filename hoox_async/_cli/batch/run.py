"""Runs a batch for the command line: shows progress, saves pictures and stops on Ctrl-C."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from hoox_async import (
    BatchItem,
    BatchRunner,
    Event,
    HooxSession,
    Outcome,
    OutcomeState,
    OutcomeStream,
    Paused,
    Progress,
    QuotaSnapshot,
    RequestSent,
    Timeouts,
)
from hoox_async._core.formatting import format_amount, format_credits, format_duration

from ..json_output import outcome_record
from ..pictures import FourKGuard, NameFunction, PictureSaver
from ..signals import StopRequest, run_until, stop_on_signals
from ..terminal import Terminal, sanitize
from ..waiting import ApiWatch, Display

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live


_NOTHING = Decimal(0)


class RunState:
    """What the display of a run shows: the batch's `Progress`, how its looks ended, and what is wrong now.

    It is a hook of the session, and `show` is the batch's ``progress``. ``elsewhere``: the credits of the
    store's other items, which ``max_credits`` counts as well.
    """

    def __init__(self, total: int, *, max_credits: Decimal | None, elsewhere: Decimal = _NOTHING) -> None:
        self.progress = Progress(0, 0, 0, total, _NOTHING, None)
        self.total = total
        self.max_credits = max_credits
        self.elsewhere = elsewhere
        self.ended: Counter[OutcomeState] = Counter()
        """The outcomes by their states."""
        self.trouble = ApiWatch()
        self.pause: Paused | None = None
        """Why no paid request is sent at the moment; None once one is sent again."""

    @property
    def done(self) -> int:
        """How many items have their outcome. What the batch tells of itself can be older than these."""
        return max(self.progress.done, self.ended.total())

    def show(self, progress: Progress) -> None:
        """Take what the batch tells of itself."""
        self.progress = progress

    def __call__(self, event: Event) -> None:
        """Take in an event of the session."""
        self.trouble(event)
        match event:
            case RequestSent(endpoint=endpoint):
                self.pause = None if endpoint.paid else self.pause
            case Paused():
                self.pause = event

    def paused(self) -> str:
        """Why nothing is sent, where something is left to send; else empty."""
        is_left = self.progress.done + self.progress.in_flight < self.total
        return f"nothing is sent: {self.pause.reason}" if self.pause is not None and is_left else ""


_ALWAYS_SHOWN = (OutcomeState.READY, OutcomeState.FAILED)
_REDRAW_SECONDS = 0.2
_NARROW = 60  # columns: the time left then has a line of its own


def line_pause(elapsed: float) -> float:
    """The seconds until the next line of a run that began ``elapsed`` seconds ago.

    So a campaign of two hours writes about 140 lines.
    """
    if elapsed < 60.0:
        return 5.0
    return 30.0 if elapsed < 600.0 else 60.0


class ProgressDisplay(Display):
    """Shows progress while the ``async with`` block runs. ``extra`` gives a note such as "stopping"."""

    def __init__(self, terminal: Terminal, state: RunState, quota: Callable[[], QuotaSnapshot]) -> None:
        super().__init__()
        self.extra: Callable[[], str] = str
        self._terminal = terminal
        self._state = state
        self._quota = quota
        self._live: Live | None = None

    def _start(self) -> None:
        if self._terminal.live:
            from rich.live import Live

            self._live = Live(console=self._terminal.err, auto_refresh=False, transient=True)
            self._live.start()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()

    async def _draw(self) -> None:
        if self._live is None:
            began = time.monotonic()
            while True:
                await asyncio.sleep(line_pause(time.monotonic() - began))
                self._terminal.say(self.line())
        while True:
            self._live.update(self.render(), refresh=True)
            await asyncio.sleep(_REDRAW_SECONDS)

    def line(self) -> str:
        """All figures in one line of text."""
        parts = [self._done(), *self._counts(), *self._resources()]
        notes = [self._time_left(), self._state.paused(), self._state.trouble.outage(), self.extra()]
        return ", ".join([*parts, *filter(None, notes)])

    def render(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        state = self._state
        bar = ProgressBar(total=max(1, state.total), completed=state.done, width=30)
        head = Text(self._done())
        time = Text(self.extra() or self._time_left())
        wrong = filter(None, [state.paused(), state.trouble.outage()])
        first = Table.grid(padding=(0, 2))
        is_narrow = self._terminal.err.width < _NARROW
        first.add_row(bar, head, *([] if is_narrow else [time]))
        return Group(
            first,
            *([time] if is_narrow else []),
            Text("  ".join(self._counts())),
            Text("  ".join(self._resources())),
            *(Text(sanitize(line)) for line in wrong),
        )

    def _done(self) -> str:
        return f"{self._state.done:,} of {self._state.total:,} done"

    def _counts(self) -> list[str]:
        ended = self._state.ended
        states = [*_ALWAYS_SHOWN, *sorted(ended.keys() - set(_ALWAYS_SHOWN))]
        return [
            f"in flight {self._state.progress.in_flight:,}",
            *(f"{state} {ended[state]:,}" for state in states),
        ]

    def _resources(self) -> list[str]:
        state, quota = self._state, self._quota()
        cap = f" of {format_amount(state.max_credits)}" if state.max_credits is not None else ""
        return [
            f"credits {format_amount(state.progress.credits + state.elsewhere)}{cap}",
            f"requests left {quota.remaining:,} of {quota.limit:,}",
        ]

    def _time_left(self) -> str:
        trouble, seconds = self._state.trouble, self._state.progress.seconds_left
        if not seconds or self._state.paused() or trouble.outage() or trouble.is_unanswered:
            return ""  # it is over, or nobody knows
        return f"about {format_duration(round(seconds))} left"


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
    """One run of a batch. ``session`` must not be open yet, and its hooks must include ``state``."""

    session: HooxSession
    runner: BatchRunner
    items: Sequence[BatchItem]
    state: RunState
    terminal: Terminal
    pictures: PictureTarget | None = None
    outcomes: list[Outcome] = attrs.field(factory=list)
    saver: PictureSaver | None = None
    progress: ProgressDisplay | None = None
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
            self.progress.extra = lambda: "stopping"
        longest = format_duration(Timeouts().answer)
        self.terminal.notice(
            f"stopping: waiting for the answers to requests already sent, {longest} at most; "
            "Ctrl-C again leaves at once"
        )

    async def _stream(self, stop: StopRequest) -> None:
        if stop.requested.is_set():
            return
        self.progress = ProgressDisplay(self.terminal, self.state, lambda: self.session.quota)
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
                self.state.ended[outcome.state] += 1
                self.terminal.record("outcome", **outcome_record(outcome))
                if self.saver is not None:
                    self.saver.add(outcome)
            if (saver := self.saver) is not None:
                if self.progress is not None:
                    self.progress.extra = lambda: f"saving pictures, {saver.left:,} left"
                await saver.finish()
        finally:
            if self.saver is not None:
                await self.saver.cancel()
