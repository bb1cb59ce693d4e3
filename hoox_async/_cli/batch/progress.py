"""Shows the progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hoox_async import QuotaSnapshot

from ..display import Display
from ..terminal import Terminal
from ..text import format_amount, format_duration, sanitize
from .counters import RunCounters

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

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
