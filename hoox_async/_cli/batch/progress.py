"""Shows how a run goes: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hoox_async import QuotaSnapshot

from ..terminal import Terminal
from ..text import amount, duration
from .counters import Tally

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

_TICK = 0.2
_LINE = 5.0


class Progress:
    """Use it as ``async with`` around a run. ``extra`` adds a word of the moment, such as "stopping"."""

    def __init__(self, terminal: Terminal, tally: Tally, quota: Callable[[], QuotaSnapshot]) -> None:
        self.extra = ""
        self._terminal = terminal
        self._tally = tally
        self._quota = quota
        self._task: asyncio.Task[None] | None = None
        self._live: Live | None = None

    async def __aenter__(self) -> Self:
        if self._terminal.live:
            from rich.live import Live

            self._live = Live(console=self._terminal.err, auto_refresh=False, transient=True)
            self._live.start()
        self._task = asyncio.create_task(self._run(), name="hoox-progress")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._live is not None:
            self._live.stop()

    async def _run(self) -> None:
        if self._live is None:
            while True:
                await asyncio.sleep(_LINE)
                self._terminal.say(self.line())
        while True:
            self._live.update(self._drawn(), refresh=True)
            await asyncio.sleep(_TICK)

    def line(self) -> str:
        """All of it as one line of text."""
        parts = [f"{self._tally.done:,} of {self._tally.total:,} done", *self._counts(), *self._means()]
        return ", ".join([*parts, *filter(None, [self._time_left(), self._pause(), self.extra])])

    def _drawn(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        tally = self._tally
        bar = ProgressBar(total=max(1, tally.total), completed=tally.done, width=30)
        head = Text(f"{tally.done:,} of {tally.total:,} done")
        time = Text(self.extra or self._time_left())
        first = Table.grid(padding=(0, 2))
        first.add_row(bar, head, time)
        return Group(
            first,
            Text("  ".join(self._counts())),
            Text("  ".join(self._means())),
            *(Text(line, overflow="ellipsis", no_wrap=True) for line in (self._pause(),) if line),
        )

    def _counts(self) -> list[str]:
        tally = self._tally
        counts = [
            f"submitted {tally.submitted:,}",
            f"in flight {tally.in_flight:,}",
            f"ready {tally.ready:,}",
            f"failed {tally.failed:,}",
        ]
        return [*counts, f"other {tally.other:,}"] if tally.other else counts

    def _means(self) -> list[str]:
        tally, quota = self._tally, self._quota()
        cap = f" of {amount(tally.max_credits)}" if tally.max_credits is not None else ""
        return [
            f"credits {amount(tally.credits)}{cap}",
            f"requests left {quota.remaining:,} of {quota.limit:,}",
        ]

    def _pause(self) -> str:
        pause, is_left = self._tally.pause, self._tally.accepted < self._tally.to_send
        return f"nothing is sent: {pause.reason}" if pause is not None and is_left else ""

    def _time_left(self) -> str:
        seconds = self._tally.seconds_left()
        return f"about {duration(round(seconds))} left" if seconds is not None else ""
