"""How the golden stores are opened, and what is read from them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from zipfile import ZipFile

from hoox_async import (
    BatchReport,
    Event,
    HooxError,
    HooxSession,
    LookEdit,
    LookSettled,
    Outcome,
    OutcomeState,
    PromptAvatar,
    PrunedRequest,
    Unknown,
    read_costs,
    store_budget,
)
from hoox_async.postgres import PostgresDatabase
from hoox_async.sandbox import InProcessTransport, Space
from hoox_async.webhooks import WebhookHub

API_KEY = "hx_live_golden"
HUB = ("https://shop.example/hooks/hoox", "the secret of the golden files")
BUDGET = "spring"


def space() -> Space:
    """A workspace of the API without looks of ours, in which new ones are done at once."""
    return Space(rng=Random(1), api_key=API_KEY, requests_per_minute=None, speed=1e6)


def unpacked(golden: Path, folder: Path) -> Path:
    """The SQLite store as its process left it when it was killed."""
    with ZipFile(golden / "store.sqlite.zip") as archive:
        archive.extractall(folder)
    return folder / "looks.db"


def restored(golden: Path, url: str) -> str:
    """The PostgreSQL store, in this empty database, whose URL is returned."""
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute((golden / "store.postgresql.sql").read_bytes())
    return url


class Opened(NamedTuple):
    """A session on a golden store, whose API knows none of its looks.

    ``told`` are the keys of whose end its hook was told.
    """

    session: HooxSession
    space: Space
    told: list[str | None]

    async def told_of(self, key: str) -> None:
        """Wait until hooks were told of it: on PostgreSQL its process has to be taken for dead."""
        async with asyncio.timeout(60):
            while key not in self.told:
                await asyncio.sleep(0.05)


@asynccontextmanager
async def opened(store: str) -> AsyncIterator[Opened]:
    """A session on the store, with the webhooks' secret of its process."""
    told: list[str | None] = []

    def hear(event: Event) -> None:
        if isinstance(event, LookSettled):
            told.append(event.key)

    api = space()
    options: dict[str, Any] = {
        "transport": InProcessTransport(api, latency=0.0, connect=0.0),
        "webhooks": WebhookHub(*HUB),
        "hooks": [hear],
        "requests_per_minute": 6000,
    }
    async with AsyncExitStack() as stack:
        place: Any = store
        if store.startswith("postgresql:"):  # for a whole lease it takes no other process for dead
            database = PostgresDatabase(store, lease=1.0)
            place = (await stack.enter_async_context(database)).workspace("default")
        session = await stack.enter_async_context(HooxSession(API_KEY, store=place, **options))
        yield Opened(session, api, told)


async def what_it_says(store: str) -> list[str]:
    """What this version reads from a golden store. The session that it opens changes the store."""
    lines = ["# before a session has opened it"]
    lines += [line async for line in _offline(store)]
    async with opened(store) as on:
        for key in ("owed news", "sending and delivered"):
            await on.told_of(key)
        lines += ["# in a session", f"told of {sorted(map(str, on.told))}"]
        lines += [f"job {job.key}: {job.ref}, done {job.done}" for job in await on.session.jobs()]
        lines += [line async for line in _unknowns(on.session)]
        lines += [line async for line in _resumed(on.session, await BatchReport.open(store))]
        assert on.space.ledger == [], "nothing is sent"
    after = outcomes(await BatchReport.open(store))
    return [*lines, "# what is different afterwards", *(line for line in after if line not in lines)]


async def _offline(store: str) -> AsyncIterator[str]:
    """What is told without a session."""
    for line in outcomes(await BatchReport.open(store)):
        yield line
    found = await store_budget(store, BUDGET)
    yield f"budget {BUDGET}: {found.charged} of {found.max_credits}"
    for group in await read_costs(store, by="metadata.customer"):
        yield f"costs {group.group}: {group.requests} requests, {group.spent} spent, {group.at_risk} at risk"


def outcomes(report: BatchReport) -> Iterator[str]:
    """The counts, and how each request ended."""
    counts = ", ".join(f"{count} {state}" for state, count in report.counts.items() if count)
    yield f"{counts}; {report.credits_spent} credits, {report.credits_at_risk} at risk"
    yield from (f"{outcome.key}: {_ending(outcome)}" for outcome in report.outcomes)


def _ending(outcome: Outcome) -> str:
    """How it ended, but for the words of an error, which may change."""
    error = outcome.error and f"{type(outcome.error).__name__} charged {outcome.error.charged}"
    candidates = f"{[*map(str, outcome.candidates)]}, older {[*map(str, outcome.older)]}"
    return (
        f"{outcome.state} {outcome.ref}, {outcome.credits} credits ({outcome.credits_failed} failed), "
        f"{outcome.at_risk} at risk, attempt {outcome.attempt}, {outcome.evidence}, {error}, "
        f"candidates {candidates}, unlisted {[*outcome.unlisted]}, {_content(outcome)}"
    )


def _content(of: Outcome | Unknown) -> str:
    request = of.request
    if isinstance(request, LookEdit):
        return f"edit of {request.source}: {request.prompt}"
    return request.prompt if isinstance(request, PromptAvatar) else type(request).__name__


async def _unknowns(session: HooxSession) -> AsyncIterator[str]:
    for unknown in await session.unknowns():
        yield (
            f"unknown {unknown.key}: {_content(unknown)}, attempt {unknown.attempt} at {unknown.sent_at}, "
            f"candidates {[*map(str, unknown.candidates)]} of {unknown.candidates_from}, "
            f"older {[*map(str, unknown.older)]}, unlisted {[*unknown.unlisted]}, "
            f"delivered {unknown.delivered}"
        )


async def _resumed(session: HooxSession, report: BatchReport) -> AsyncIterator[str]:
    """What submitting the same content again under each key gives. It pays for nothing."""
    for outcome in report.outcomes:
        would_be_sent = outcome.state in (OutcomeState.UNSENT, OutcomeState.REJECTED)
        if would_be_sent or isinstance(outcome.request, PrunedRequest):
            continue
        try:
            job = await session.submit(outcome.request, key=outcome.key)
            yield f"again {outcome.key}: {job.ref}"
        except HooxError as error:
            yield f"again {outcome.key}: {type(error).__name__} charged {error.charged}"
