"""The batch runner, and the stream of the outcomes of one run."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

from .._api.requests import AnyResolution, checked_resolution
from .._checks import option
from .._core.intents.budget import Budget, Credits
from .._core.intents.outcomes import Outcome
from .._report import BatchReport
from .._session import HooxSession, runtime_of
from .._tracebacks import short_tracebacks
from ..errors import HooxError, SessionClosed
from .estimate import Estimate, estimate
from .input_reader import BatchInput, Requests
from .input_run import InputRun
from .options import BatchOptions, Changed, OnUnknown, retry_states
from .progress import ProgressCallback


@short_tracebacks
class OutcomeStream:
    """The outcomes of a batch, each as its item settles: an async iterator, and an async context manager.

    Nothing is sent before the first outcome is asked for. Leaving early (``break``, an exception, a
    cancellation) ends the batch: what was accepted is still known to the session, and what was not sent is
    not sent. `aclose`, or the end of ``async with``, does that at once; otherwise it happens within a few
    turns of the loop after the last reference to the stream is gone.
    """

    # The tasks of the run hold no reference to the stream, so it is deleted as soon as its reader drops it.

    def __init__(self, run: InputRun) -> None:
        self._run = run
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def __repr__(self) -> str:
        state = "ended" if self._closed else "not begun" if self._loop is None else "running"
        return f"<OutcomeStream: {state}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        """The next outcome. Raises `SessionClosed` if the session was closed under the batch."""
        if self._closed:
            raise StopAsyncIteration
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._run.start()
        found = await self._run.next()
        if found is None:
            self._closed = True
            raise StopAsyncIteration
        return found[1]

    async def aclose(self) -> None:
        """End the batch and wait until its tasks are gone. Can be called again."""
        self._closed = True
        await self._run.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        loop, run = getattr(self, "_loop", None), getattr(self, "_run", None)
        if loop is None or run is None or loop.is_closed():
            return
        try:
            loop.call_soon_threadsafe(run.cancel)
        except RuntimeError:  # the loop was closed meanwhile, and ended the tasks
            return


@short_tracebacks
class BatchRunner:
    """Makes many looks at once and waits for each of them.

    Running the same requests again on the same store resumes the batch: settled looks are not paid twice,
    pending ones are waited for, and only the rest is sent.

    Parameters (all of them but ``session`` by keyword):

    - ``session``: an open `HooxSession`.
    - ``max_in_flight`` (400): how many items may be in flight at a time, from waiting for a permit of the
      quota to the end of their looks.
    - ``max_credits`` (no cap): a cap in credits for all items together. What these items spent or put at risk
      in earlier runs on the same store counts too. The keys of a generator or an async input are not known
      in advance: for these, everything counts that was spent under any key of the store.
    - ``budget`` (none): a `Budget` in credits that the batch shares with other batches and with
      ``session.submit(…, budget=…)``. It counts what is spent from now on, and earlier runs only as far as
      its ``spent`` says; one with a name is kept in the store, which counts for all runs and processes. With
      both ``budget`` and ``max_credits`` neither is exceeded. An item that fits only if credits that are
      reserved now are not spent waits for that.
    - ``max_failures`` (no limit): stop after so many failures. Each item counts once, if its look is FAILED,
      if it was refused (REJECTED) when this run sent it, or if its POST was lost in this run. It does
      not count any more once the look of its lost POST is found.
    - ``look_timeout`` (900): for how many seconds this run waits for a look before its outcome is PENDING:
      from its acceptance, or from when this run starts to wait, if an earlier one sent it. It also bounds the
      wait for proof of a lost POST's look.
    - ``on_unknown`` (``"hold"``): what to do with an item whose POST was lost, so that it may have been paid.
      ``"hold"`` leaves it UNKNOWN. ``"resend"`` sends it a second time in this run, if nothing has proved its
      look by then; the first sending stays counted as at risk.
    - ``retry`` (none): states of earlier runs that are to be paid again: any of ``"failed"``, ``"rejected"``,
      ``"pending"`` and ``"ready"``. For ``"pending"`` the look's status is asked for first, free of charge:
      one that is READY by now is the result, and one that FAILED is paid again only if ``retry`` names
      ``"failed"`` as well.
    - ``changed`` (``"error"``): what to do when the store has other content under an item's key. ``"error"``
      rejects the item (`KeyConflict`), ``"keep"`` gives the old look, ``"redo"`` pays for the new one. What
      never cost anything, such as a refused request, is replaced in any case.
    - ``progress`` (none): a plain function that is called with a `Progress` whenever something has changed,
      at most ten times a second, and once when the run ends. One that raises is logged, and harms nothing.

    Several processes whose sessions use the same PostgreSQL store can run the same requests at the same time:
    each item is sent by one of them, and each process gets all outcomes. A process may begin later, stop, or
    be killed. There a cap must be a ``budget`` with a name, and ``retry``, ``changed="redo"`` and
    ``on_unknown="resend"`` pay again only for what was sent before this run began, or was lost by it.

    Raises `ConfigurationError` for an invalid option, and for a cap that would not hold for all processes.
    `run` and `stream` raise it where the store has the budget with another cap.

    What ends a batch early, so that nothing more is sent and the rest is UNSENT (what was accepted is still
    waited for):

    - `stop`, and ``max_failures``.
    - A refusal that applies to every item: the API key (401), the credits of the account (402), the plan, or
      the workspace. The item that got it is UNSENT as well.
    - A store that cannot be read or written.
    - An outage of the API. The first items are sent a few at a time until one is answered. Nothing is sent
      while the oldest outstanding POST was sent over 10 s ago and none was answered since. After 5 lost POSTs
      in a row the batch pauses, and sends one item as a probe after 30, 60 and 120 s. When the third probe is
      lost, the batch stops.

    A cap does not end it: items that still fit are sent. Only an input without a length is read no further
    after 10,000 items in a row that did not fit; its remaining items have no outcome. A list is read to its
    end.
    """

    def __init__(
        self,
        session: HooxSession,
        *,
        max_in_flight: int = 400,
        max_credits: Credits | None = None,
        budget: Budget | None = None,
        max_failures: int | None = None,
        look_timeout: float = 900.0,
        on_unknown: OnUnknown = "hold",
        retry: Iterable[str] = (),
        changed: Changed = "error",
        progress: ProgressCallback | None = None,
    ) -> None:
        option.instance("session", session, HooxSession, "a HooxSession")
        self._session = session
        self._options = BatchOptions(
            max_in_flight,
            max_credits,
            budget,
            max_failures,
            look_timeout,
            on_unknown,
            retry_states(retry),
            changed,
            progress,
        )
        self._options.check()
        with suppress(SessionClosed):  # not open yet: then `run` and `stream` check it
            self._require_caps_for_all()
        self._runs: weakref.WeakSet[InputRun] = weakref.WeakSet()

    def __repr__(self) -> str:
        named = ("max_in_flight", "max_credits", "budget", "max_failures")
        options = {name: getattr(self._options, name) for name in named}
        shown = ", ".join(f"{name}={value}" for name, value in options.items() if value is not None)
        return f"<BatchRunner: {shown}>"

    def stream(self, requests: Requests) -> OutcomeStream:
        """The outcomes, each as its item settles. Nothing is sent before the first one is asked for.

        ``requests`` is any iterable or async iterable of requests or `BatchItem`\\ s, read lazily: up to
        20,000 of them are read ahead, so that looks of one avatar are sent in a row. While 1,000 looks (or
        twice ``max_in_flight``) are in flight or have outcomes that were not taken, nothing more is sent.
        Raises `InvalidRequest` if ``requests`` is no iterable, and `SessionClosed`.
        """
        return OutcomeStream(self._run(requests))

    async def run(self, requests: Requests) -> BatchReport:
        """All outcomes, in the order of the input. ``requests`` is as in `stream`.

        Raises `InvalidRequest` if ``requests`` is no iterable, and `SessionClosed`. An error of one item is
        in its outcome, and not raised.
        """
        run = self._run(requests)
        outcomes: list[Outcome | None] = []
        run.start()
        try:
            while (one := await run.next()) is not None:
                index, outcome = one
                outcomes += [None] * (index + 1 - len(outcomes))
                outcomes[index] = outcome
        finally:
            await run.aclose()
        return BatchReport(filter(None, outcomes))

    def stop(self, resolution: AnyResolution | None = None) -> None:
        """Send nothing more. What was accepted is still awaited; what was not sent ends UNSENT.

        With a ``resolution``, such as ``"4K"``, only requests at that one are sent no more, and what is made
        from their looks. Raises `InvalidRequest` for one that does not exist.
        """
        only = None if resolution is None else checked_resolution(resolution)
        reason = "the batch was stopped" if only is None else f"the batch sends nothing more at {only}"
        for run in tuple(self._runs):
            run.stop(HooxError(reason), only)

    async def estimate(self, requests: Requests) -> Estimate:
        """What running these would send now: nothing is sent, and the input is read to its end.

        ``requests`` is as in `stream`; caps are ignored. Of a session that was never opened the store is only
        read: nothing is locked or written there, whoever has it open, and its API key is not used. Raises
        `InvalidRequest` for what is no iterable, `StoreError` and `SessionClosed`.
        """
        return await estimate(self._session, self._options, BatchInput(requests))

    def _run(self, requests: Requests) -> InputRun:
        runtime, options = runtime_of(self._session), self._options
        self._require_caps_for_all()
        if runtime.store.is_shared:
            options = options._replace(began_at=runtime.clock.utc())
        run = InputRun(runtime, options, BatchInput(requests))
        self._runs.add(run)
        return run

    def _require_caps_for_all(self) -> None:
        if runtime_of(self._session).store.is_shared:
            self._options.check_shared()
