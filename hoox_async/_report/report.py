"""`BatchReport`: the outcome of every item of a batch, with counts, credits and times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from os import PathLike
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

import anyio.to_thread
import attrs

from .._api.models import LookDetails
from .._api.requests import FREE, ImageAvatar
from .._checks import argument
from .._core.formatting import format_count, format_duration
from .._core.intents.costs import Costs
from .._core.intents.outcomes import Outcome, OutcomeState, explanation, outcome_of, seconds_of
from .._io.ledger.offline import open_offline
from .._tracebacks import short_tracebacks
from .jsonl import REQUEST_KINDS, write_lines

if TYPE_CHECKING:
    from .._io.protocols import Fetched

    Fetch = Callable[[str], AbstractAsyncContextManager[Fetched]]


_T = TypeVar("_T")
_CALL = "BatchReport.open(...)"  # without its argument: the URL of a store can hold a password
_ADVICE = f"{_CALL} was not awaited; write: report = await {_CALL}"


def _as_tuple(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    return argument.each("outcomes", outcomes, Outcome, "a list of Outcome")


@attrs.frozen(repr=False)
class BatchReport:
    """The report of a batch. ``outcomes`` are in the order in which the items were given.

    Credits are summed over all runs with the store; durations are those of the last submission.
    """

    outcomes: tuple[Outcome, ...] = attrs.field(converter=_as_tuple)

    @classmethod
    def open(
        cls, store: str | PathLike[str], *, workspace: str = "default", schema: str = "hoox"
    ) -> Coroutine[Any, Any, BatchReport]:
        """Read the report of a store, also while a batch writes to it: ``await`` this.

        ``store`` is the path of a file or a ``postgresql://`` URL. ``workspace`` and ``schema`` choose what
        of the database is read. It changes nothing and needs no API key. Items that the batch has not reached
        yet are not in the store, and so not in the report.

        Raises `StoreError` if there is no such store or it can't be read, and `InvalidRequest` for what is no
        path. What is returned is a coroutine: outside async code write
        ``asyncio.run(BatchReport.open(path))``.
        """
        return _Opening(cls._open(store, workspace, schema))

    @classmethod
    @short_tracebacks
    async def _open(cls, store: str | PathLike[str], workspace: str, schema: str) -> BatchReport:
        async with open_offline(store, workspace, schema) as records:
            return cls([outcome_of(intent) async for intent in records.stream()])

    def __len__(self) -> int:
        return len(self.outcomes)

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.outcomes)

    def __repr__(self) -> str:
        shown = ", ".join(f"{count} {state.value}" for state, count in self.counts.items() if count)
        return f"<BatchReport: {shown or 'empty'}>"

    def __str__(self) -> str:
        """The report in a few lines: counts, credits and times."""
        lines = [f"{len(self.ready):,} of {format_count(len(self), 'look')} ready"]
        explained = Counter((outcome.state, explanation(outcome)) for outcome in self.outcomes)
        lines += [
            f"{count:,} {state.value}: {words}"
            for listed in OutcomeState
            for (state, words), count in explained.items()
            if state is listed and state is not OutcomeState.READY
        ]
        lines.append(str(self.costs))
        middle, slowest = self.median_seconds, self.slowest_seconds
        if middle is not None and slowest is not None:
            lines.append(
                f"a look took {format_duration(middle)} (median), {format_duration(slowest)} at most"
            )
        return "\n".join(lines)

    @property
    def counts(self) -> dict[OutcomeState, int]:
        """The number of outcomes in each state, zeros included."""
        counts = dict.fromkeys(OutcomeState, 0)
        for outcome in self.outcomes:
            counts[outcome.state] += 1
        return counts

    def in_state(self, state: OutcomeState) -> tuple[Outcome, ...]:
        """The outcomes in this state, in order. Raises `InvalidRequest` for what is no state."""
        argument.choice("state", state, OutcomeState)
        return tuple(outcome for outcome in self.outcomes if outcome.state is state)

    @property
    def ready(self) -> tuple[Outcome, ...]:
        """Looks that are ready."""
        return self.in_state(OutcomeState.READY)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Looks that were paid for but could not be made."""
        return self.in_state(OutcomeState.FAILED)

    @property
    def rejected(self) -> tuple[Outcome, ...]:
        """Requests that were invalid or refused by the API; nothing was charged."""
        return self.in_state(OutcomeState.REJECTED)

    @property
    def skipped(self) -> tuple[Outcome, ...]:
        """Not sent because the source failed; or an unknown that was dropped, whose credits are at risk."""
        return self.in_state(OutcomeState.SKIPPED)

    @property
    def unsent(self) -> tuple[Outcome, ...]:
        """Not sent; the next run of the batch sends them."""
        return self.in_state(OutcomeState.UNSENT)

    @property
    def pending(self) -> tuple[Outcome, ...]:
        """Paid for and not settled yet."""
        return self.in_state(OutcomeState.PENDING)

    @property
    def unknown(self) -> tuple[Outcome, ...]:
        """May have been paid for; the outcome of the request is not known."""
        return self.in_state(OutcomeState.UNKNOWN)

    @property
    def credits_spent(self) -> Decimal:
        """Credits that were certainly spent."""
        return sum((outcome.credits for outcome in self.outcomes), FREE)

    @property
    def credits_at_risk(self) -> Decimal:
        """Credits that may have been spent in addition to `credits_spent`."""
        return sum((outcome.at_risk for outcome in self.outcomes), FREE)

    @property
    def costs(self) -> Costs:
        """What all outcomes have cost together; ``str(report.costs)`` says it in words."""
        failed = sum((outcome.credits_failed for outcome in self.outcomes), FREE)
        return Costs(None, False, len(self), self.credits_spent, failed, self.credits_at_risk, self.counts)

    @property
    def credits_refused(self) -> Decimal:
        """The price of the REJECTED requests, in credits; it was not spent."""
        requests = (outcome.request for outcome in self.rejected)
        return sum((request.credits for request in requests if isinstance(request, REQUEST_KINDS)), FREE)

    @property
    def seconds(self) -> tuple[float, ...]:
        """The seconds that each ready look took from its submission until it was known to be ready.

        Left out are those of which it is not known how long they took: a session that was opened later found
        them ready, or a search or a person found them after their POST was lost. And avatars from images,
        which are ready at once.
        """
        taken = (seconds_of(o) for o in self.ready if not isinstance(o.request, ImageAvatar))
        return tuple(seconds for seconds in taken if seconds is not None)

    @property
    def median_seconds(self) -> float | None:
        """The median of `seconds`; None if no look is ready."""
        return median(self.seconds) if self.seconds else None

    @property
    def slowest_seconds(self) -> float | None:
        """The largest of `seconds`; None if no look is ready."""
        return max(self.seconds, default=None)

    async def to_jsonl(self, path: str | PathLike[str]) -> Path:
        """Write one line with a JSON object for each outcome, in order; return the path.

        The file is replaced atomically. Raises `InvalidRequest` for what is no path, and `OSError` if the
        file can't be written.
        """
        place = Path(argument.path("path", path))
        if await anyio.to_thread.run_sync(place.is_dir):
            raise argument.error("path", path, "the path of a file, not of a folder")
        return await anyio.to_thread.run_sync(write_lines, self.outcomes, place)

    async def write_contact_sheet(
        self,
        folder: str | PathLike[str],
        *,
        title: str = "Contact sheet",
        pictures: Mapping[str, str | PathLike[str]] | None = None,
        fetch: Fetch | None = None,
        download: bool = True,
        candidates: Iterable[LookDetails] = (),
        resolve_command: Sequence[str] | None = None,
        picks_commands: Mapping[str, Sequence[str]] | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> Path:
        """Write a page with every look, its picture, prompt, time and credits; return its ``index.html``.

        The page opens from disk without a network. Pictures are stored beside it and not fetched again
        when it is written again; one that can't be fetched gets a placeholder that says why. Ready looks can
        be marked on it, and the marks saved as a file, ``picks.json``:
        ``{"format": "hoox-async picks 1", "picked": [keys], "rejected": [keys]}``.
        ``pictures`` maps keys to files that exist already. ``fetch`` opens a picture's URL (a
        connection of its own, without the API key, by default); ``download=False`` fetches nothing.
        ``candidates`` and ``resolve_command`` are those of `write_unknowns_page`, for the unknowns.
        ``picks_commands``: the words of commands that go on with a saved ``picks.json``, by what they do.
        ``progress`` is called with the numbers of pictures that are collected and to be collected.

        Raises `InvalidRequest` for values that can't be used, `ConfigurationError` without the extra
        ``report``, and `OSError` if the folder can't be written.
        """
        from .pages import write_sheet

        place, candidates = _checked(folder, title, fetch, download, candidates, resolve_command)
        argument.instance("pictures", pictures, Mapping | None, "a mapping of keys to paths, or None")
        given = {
            key: Path(argument.path(f"pictures[{key!r}]", file)) for key, file in (pictures or {}).items()
        }
        commands = argument.instance(
            "picks_commands", {} if picks_commands is None else picks_commands, Mapping, "a mapping of words"
        )
        for label, words in commands.items():
            argument.texts(f"picks_commands[{label!r}]", words)
        if progress is not None:
            argument.function("progress", progress, "a function of two numbers, or None")
        return await write_sheet(
            self,
            place,
            title=title,
            given=given,
            fetch=fetch,
            download=download,
            candidates=candidates,
            resolve_command=resolve_command,
            picks_commands=commands,
            progress=progress,
        )

    async def write_unknowns_page(
        self,
        folder: str | PathLike[str],
        *,
        title: str = "What may have been paid for",
        fetch: Fetch | None = None,
        download: bool = True,
        candidates: Iterable[LookDetails] = (),
        resolve_command: Sequence[str] | None = None,
    ) -> Path:
        """Write a page with each unknown beside the looks that it may have made; return its ``index.html``.

        It shows how each unknown is settled, and saves decisions as a file for ``hoox-async resolve``.
        ``candidates`` are details of looks, such as ``(await session.avatar(avatar_id)).looks``: the page
        shows the pictures of those that are an unknown's candidates, or were edited. Looks that are older
        than the request are folded. ``resolve_command`` is how a command begins that settles an unknown, such
        as ``["hoox-async", "resolve", "campaign.db"]``; without it the page shows lines of Python. ``fetch``
        and ``download`` are those of `write_contact_sheet`.

        Raises as `write_contact_sheet` does.
        """
        from .pages import write_unknowns

        place, candidates = _checked(folder, title, fetch, download, candidates, resolve_command)
        return await write_unknowns(
            self,
            place,
            title=title,
            fetch=fetch,
            download=download,
            candidates=candidates,
            resolve_command=resolve_command,
        )


def _checked(
    folder: object,
    title: object,
    fetch: object,
    download: object,
    candidates: object,
    resolve_command: object,
) -> tuple[Path, tuple[LookDetails, ...]]:
    """What both pages are given: the folder, and the candidates. Raises `InvalidRequest`."""
    argument.instance("title", title, str, "a text")
    argument.flag("download", download)
    if fetch is not None:
        argument.function("fetch", fetch, "a function that opens a URL, or None")
    if resolve_command is not None:
        argument.texts("resolve_command", resolve_command)
    place = Path(argument.path("folder", folder, "the path of a folder"))
    return place, argument.each("candidates", candidates, LookDetails, "a list of LookDetails")


class _Opening(Coroutine[Any, Any, _T], Generic[_T]):
    """A coroutine, to be awaited once. Any other use raises an error that shows how to await it.

    A plain coroutine is true, prints as an address, and answers that it has no such attribute.
    """

    __slots__ = ("_work",)

    def __init__(self, work: Coroutine[Any, Any, _T]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, Any, _T]:
        return self._work.__await__()

    def send(self, value: Any) -> Any:
        """Go on, as a coroutine does."""
        return self._work.send(value)

    def throw(self, *raised: Any) -> Any:
        """Raise inside, as a coroutine does."""
        return self._work.throw(*raised)

    def close(self) -> None:
        """End it, as a coroutine does."""
        self._work.close()

    def __repr__(self) -> str:
        return f"<{_CALL}, not awaited yet>"

    def __getattr__(self, name: str) -> NoReturn:
        # asyncio asks whether it has attributes such as `cr_code`
        raise AttributeError(f"{name}: {_ADVICE}", name=name, obj=self)

    def __len__(self) -> int:
        raise TypeError(_ADVICE)

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(_ADVICE)

    def __bool__(self) -> bool:
        return True  # a task asks whether it has a coroutine when it is shown
