"""A session, a batch and deliveries whole, over real sockets, on asyncio's own loop and on uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from session_kit import prompt

from hoox_async import BatchRunner, HooxSession, LookEdit, LookStatus, OutcomeState
from hoox_async.errors import NotSent
from hoox_async.events import DeliveryReceived, Event
from hoox_async.sandbox import Sandbox
from hoox_async.webhooks import WebhookHub

pytestmark = pytest.mark.both_loops

FAST = 60_000  # requests a minute


@asynccontextmanager
async def hub_serving() -> AsyncIterator[WebhookHub]:
    """A hub that listens at a real port."""
    port = unused_port()
    hub = WebhookHub(f"http://127.0.0.1:{port}/hooks", "a secret that is long enough")
    app = web.Application()
    app.add_routes(hub.aiohttp_routes())
    async with TestServer(app, port=port):
        yield hub


@pytest.mark.parametrize("webhooks", [False, True], ids=["polled", "webhooks"])
async def test_a_batch_of_a_hundred_edits_is_ready_and_paid_once(webhooks: bool, tmp_path: Path) -> None:
    """All of a hundred edits are READY and paid once, with a store on disk, polled or with webhooks."""
    events: list[Event] = []

    async def hook(event: Event) -> None:
        await asyncio.sleep(0)
        events.append(event)

    async with hub_serving() as hub, Sandbox(requests_per_minute=None) as sandbox:
        session = sandbox.session(
            requests_per_minute=FAST,
            store=tmp_path / "a.db",
            webhooks=hub if webhooks else None,
            hooks=[hook],
        )
        async with session:
            avatars = [await session.run(prompt(f"host {n}")) for n in range(4)]
            requests = [LookEdit(avatars[n % 4], f"scene {n}") for n in range(100)]
            report = await BatchRunner(session, max_in_flight=50).run(requests)
        assert {outcome.state for outcome in report.outcomes} == {OutcomeState.READY}
        assert len(sandbox.ledger) == 104
    assert bool([event for event in events if isinstance(event, DeliveryReceived)]) is webhooks


async def test_callers_whose_max_wait_ends_together_with_a_permit_are_sent_or_raise_not_sent() -> None:
    """A caller whose max_wait ends at the time of its permit is either sent or gets NotSent.

    The wait ends within microseconds of the rate limiter's timer, which is set for now or just before. On
    uvloop such a timer has no ``when()``.
    """
    async with (
        Sandbox(requests_per_minute=None) as sandbox,
        sandbox.session(requests_per_minute=6000) as session,
    ):
        look = await session.run(prompt())

        async def submit(n: int) -> bool:
            try:
                await session.submit(LookEdit(look, f"scene {n}"), max_wait=0.001 * (n % 40))
            except NotSent:
                return False
            return True

        sent = await asyncio.gather(*(submit(n) for n in range(120)))
        assert sent.count(True) == len(sandbox.ledger) - 1
        assert sent.count(True) > 0


async def test_reads_run_beside_jobs_that_are_awaited() -> None:
    """Status requests, an avatar's looks and a picture can be read while several tasks await jobs."""
    async with (
        Sandbox(requests_per_minute=None) as sandbox,
        sandbox.session(requests_per_minute=FAST) as session,
    ):
        jobs = [await session.submit(prompt(f"host {n}")) for n in range(5)]
        looks = await asyncio.gather(*(job.wait() for job in jobs for _ in range(3)))
        assert {look.status for look in looks} == {LookStatus.READY}
        await asyncio.gather(
            *(session.status(job) for job in jobs), *(session.avatar(job.avatar_id) for job in jobs)
        )
        assert (await session.picture(looks[0])).data


def test_one_process_can_open_sessions_one_after_the_other() -> None:
    """A process can call asyncio.run several times and open a session in each of its loops."""

    async def once(session: HooxSession) -> LookStatus:
        async with session:
            return (await session.run(prompt())).status

    with Sandbox(requests_per_minute=None) as sandbox:
        assert {asyncio.run(once(sandbox.session())) for _ in range(3)} == {LookStatus.READY}
