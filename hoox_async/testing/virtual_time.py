"""An event loop whose clock jumps to the next timer, so that hours of waiting pass in an instant."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from contextvars import Context
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    from asyncio import Future

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Ready = list[tuple[selectors.SelectorKey, int]]

STUCK_AFTER = 5.0


class _JumpingSelector(selectors.DefaultSelector):
    """Returns at once as if the time-out had passed, unless work outside of the loop is in progress."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.outside = 0
        self._limiter: anyio.CapacityLimiter | None = None

    def select(self, timeout: float | None = None) -> Ready:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self.outside or self._thread_limiter().borrowed_tokens:
            return super().select(None)
        if timeout is None:
            return self._wait_for_late_call()
        self.now += timeout
        return ready

    def _thread_limiter(self) -> anyio.CapacityLimiter:
        if self._limiter is None:
            self._limiter = _limiter_of_threads()
        return self._limiter

    def _wait_for_late_call(self) -> Ready:
        ready = super().select(STUCK_AFTER)
        if ready:
            return ready
        names = sorted(task.get_name() for task in asyncio.all_tasks(asyncio.get_running_loop()))
        raise RuntimeError(
            "VirtualTimeLoop: deadlock: nothing is ready, no timer is set and no outside work is counted "
            f"(for {STUCK_AFTER:g} s); tasks that wait: {', '.join(names) or 'none'}"
        )


def _limiter_of_threads() -> anyio.CapacityLimiter:
    """anyio's limiter of the running loop. Outside of tasks anyio asks sniffio, where that is installed."""
    context = Context()
    with suppress(ImportError):
        context.run(import_module("sniffio").current_async_library_cvar.set, "asyncio")
    return context.run(anyio.to_thread.current_default_thread_limiter)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on a virtual clock: when nothing is ready, time jumps to the next timer.

    `asyncio.sleep`, `asyncio.timeout`, `loop.call_at` and anyio's cancel scopes keep their meaning and
    their order, but take no real time. The clock starts at 0 and stops while work in threads is in
    progress (``run_in_executor``, `asyncio.to_thread`, `anyio.to_thread` with its default
    limiter). Put anything else outside of the loop that it has to wait for into `outside_work`.
    Sockets do not stop the clock: it would jump ahead of the peer's response.

    Raises `RuntimeError` from ``run`` when the program can never continue: nothing is ready, no timer is
    set and no outside work is in progress, for 5 real seconds.

    Outside pytest::

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(main())                       # an hour of asyncio.sleep takes milliseconds

    With pytest-asyncio (1.4 or newer), in ``conftest.py``::

        def pytest_asyncio_loop_factories(config, item):
            virtual = item.get_closest_marker("virtual_time")
            return {"virtual": VirtualTimeLoop} if virtual else {"real": asyncio.new_event_loop}
    """

    epoch: datetime = datetime(2030, 1, 1, tzinfo=UTC)
    """The UTC moment at which the loop's time is 0, so that runs repeat to the microsecond."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """The virtual time in seconds since the loop was made."""
        return self._jumping.now

    @contextmanager
    def outside_work(self) -> Iterator[None]:
        """Stop the clock: inside, the loop waits in real time."""
        self._jumping.outside += 1
        try:
            yield
        finally:
            self._jumping.outside -= 1

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> Future[T]:
        """As asyncio's. The clock stops until the call is done or cancelled."""
        future = super().run_in_executor(executor, func, *args)
        self._jumping.outside += 1
        future.add_done_callback(self._outside_work_done)
        return future

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        """As asyncio's. The clock stops until the threads have ended."""
        with self.outside_work():
            await super().shutdown_default_executor(*args, **kwargs)

    def _outside_work_done(self, _: Future[Any]) -> None:
        self._jumping.outside -= 1
