"""Runs a batch for the command line: counts, shows progress, saves pictures and stops on Ctrl-C."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import attrs

from hoox_async import (
    BatchItem,
    BatchRunner,
    Event,
    HooxSession,
    LookAccepted,
    LookSettled,
    Outcome,
    OutcomeLost,
    OutcomeState,
    OutcomeStream,
    Paused,
    QuotaSnapshot,
    RequestSent,
)

from ..json_output import outcome_record
from ..pictures import FourKGuard, NameFunction, PictureSaver
from ..signals import StopRequest, run_until, stop_on_signals
from ..terminal import Terminal
from ..text import format_amount, format_credits, format_duration, sanitize
from ..waiting import Display, Trouble

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live


_PAID = (OutcomeState.READY, OutcomeState.FAILED, OutcomeState.PENDING)
_EXPECTED_LOOK_SECONDS = 40.0  # used until the first looks of this run have settled


class RunCounters:
    """What the progress display shows. It is a hook of the session; `count_outcome` takes the outcomes.

    ``interval`` is the number of seconds between two submissions.
    """

    def __init__(self, total: int, to_send: int, *, interval: float, max_credits: Decimal | None) -> None:
        self.total = total
        self.to_send = to_send
        self.max_credits = max_credits
        self.credits = Decimal(0)
        self.ready = 0
        self.failed = 0
        self.others: Counter[OutcomeState] = Counter()
        """The outcomes that are neither ready nor failed, by their states."""
        self.accepted = 0
        self._interval = interval
        self._submitted: set[str] = set()
        self._lost: set[str] = set()
        self._paid_earlier: dict[str, Decimal] = {}
        self._in_flight: set[str] = set()
        self._look_seconds: list[float] = []
        self.trouble = Trouble()
        self.pause: Paused | None = None
        """Why no paid request is sent at the moment; None once one is sent again."""

    def count_earlier_runs(self, stored: Mapping[str, Outcome], keys: set[str], again: set[str]) -> None:
        """Add what earlier runs paid, from all outcomes of the store.

        ``keys`` are this run's items, ``again`` those to pay again.
        """
        self._paid_earlier = {key: outcome.credits + outcome.at_risk for key, outcome in stored.items()}
        self.credits += sum(self._paid_earlier.values(), Decimal(0))
        for key in keys & stored.keys() - again:
            if stored[key].state in _PAID:
                self._submitted.add(key)
            if stored[key].state is OutcomeState.PENDING:
                self._in_flight.add(key)

    def __call__(self, event: Event) -> None:
        """Count an event of the session."""
        self.trouble(event)
        match event:
            case RequestSent(endpoint=endpoint):
                self.pause = None if endpoint.paid else self.pause
            case LookAccepted(key=key, credits=credits):
                self.accepted += 1
                self.credits += credits
                self._submitted.add(key)
                self._in_flight.add(key)
            case LookSettled(key=key, seconds=seconds):
                self._in_flight.discard(key or "")
                if seconds is not None and seconds > 0:
                    self._look_seconds.append(seconds)
            case OutcomeLost(key=key, credits=credits):
                self._lost.add(key)
                self.credits += credits
                self.accepted += 1
            case Paused():
                self.pause = event

    def count_outcome(self, outcome: Outcome) -> None:
        """Count an outcome of the batch. With a store in PostgreSQL, another machine may have sent it."""
        self._in_flight.discard(outcome.key)
        paid = outcome.credits + outcome.at_risk - self._paid_earlier.get(outcome.key, Decimal(0))
        if paid > 0 and outcome.key not in self._submitted and outcome.key not in self._lost:
            self.credits += paid
            self.accepted += 1
            self._submitted.add(outcome.key)
        if outcome.state is OutcomeState.READY:
            self.ready += 1
        elif outcome.state is OutcomeState.FAILED:
            self.failed += 1
        else:
            self.others[outcome.state] += 1

    @property
    def submitted(self) -> int:
        """The number of this campaign's looks that were paid for, now or earlier."""
        return len(self._submitted)

    @property
    def in_flight(self) -> int:
        """Looks that were paid for and are not settled yet."""
        return len(self._in_flight)

    @property
    def done(self) -> int:
        """The number of items with an outcome."""
        return self.ready + self.failed + self.others.total()

    def seconds_left(self) -> float | None:
        """The estimated seconds until the end of the run; None when all items have an outcome."""
        if self.done >= self.total:
            return None
        look = median(self._look_seconds) if self._look_seconds else _EXPECTED_LOOK_SECONDS
        left = max(0, self.to_send - self.accepted)
        # a tenth of the quota is spent on polling; the last looks take longer than the median
        return 1.1 * left * self._interval + 1.5 * look


_REDRAW_SECONDS = 0.2
_NARROW = 60  # columns: the time left then has a line of its own


def line_pause(elapsed: float) -> float:
    """The seconds until the next line of a run that began ``elapsed`` seconds ago.

    So a campaign of two hours writes about 140 lines.
    """
    if elapsed < 60.0:
        return 5.0
    return 30.0 if elapsed < 600.0 else 60.0


class Progress(Display):
    """Shows progress while the ``async with`` block runs. ``extra`` is a note such as "stopping"."""

    def __init__(self, terminal: Terminal, counters: RunCounters, quota: Callable[[], QuotaSnapshot]) -> None:
        super().__init__()
        self.extra = ""
        self._terminal = terminal
        self._counters = counters
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
        parts = [
            f"{self._counters.done:,} of {self._counters.total:,} done",
            *self._counts(),
            *self._resources(),
        ]
        notes = [self._time_left(), self._pause(), self._counters.trouble.outage(), self.extra]
        return ", ".join([*parts, *filter(None, notes)])

    def render(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        counters = self._counters
        bar = ProgressBar(total=max(1, counters.total), completed=counters.done, width=30)
        head = Text(f"{counters.done:,} of {counters.total:,} done")
        time = Text(self.extra or self._time_left())
        wrong = filter(None, [self._pause(), self._counters.trouble.outage()])
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

    def _counts(self) -> list[str]:
        counters = self._counters
        counts = [
            f"submitted {counters.submitted:,}",
            f"in flight {counters.in_flight:,}",
            f"ready {counters.ready:,}",
            f"failed {counters.failed:,}",
        ]
        return [*counts, *(f"{state} {count:,}" for state, count in sorted(counters.others.items()))]

    def _resources(self) -> list[str]:
        counters, quota = self._counters, self._quota()
        cap = f" of {format_amount(counters.max_credits)}" if counters.max_credits is not None else ""
        return [
            f"credits {format_amount(counters.credits)}{cap}",
            f"requests left {quota.remaining:,} of {quota.limit:,}",
        ]

    def _pause(self) -> str:
        pause, is_left = self._counters.pause, self._counters.accepted < self._counters.to_send
        return f"nothing is sent: {pause.reason}" if pause is not None and is_left else ""

    def _time_left(self) -> str:
        trouble = self._counters.trouble
        if self._pause() or trouble.outage() or trouble.is_unanswered:
            return ""  # nobody knows
        seconds = self._counters.seconds_left()
        return f"about {format_duration(round(seconds))} left" if seconds is not None else ""


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
