"""What the tests of batches share: a session on the fake workspace in virtual time, and short requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from session_kit import now

from hoox_async import (
    BatchItem,
    BatchReport,
    BatchRunner,
    HooxSession,
    ImageAvatar,
    LookEdit,
    LookRef,
    Outcome,
    Timeouts,
)
from hoox_async.errors import OutcomeUnknown
from hoox_async.sandbox import DeliveryOptions, Fault, InProcessTransport, Space
from hoox_async.sandbox.received_requests import IncomingRequest
from hoox_async.webhooks import WebhookHub

PICTURE = "https://example.com/a.jpg"


def steady(seconds: float) -> Callable[..., float]:
    """Every look takes this long."""
    return lambda index, body: seconds


def space_of(seconds: float = 10.0, **options: Any) -> Space:
    """A workspace whose looks all take the same time, unless a ``duration`` is given."""
    return Space(**{"duration": steady(seconds), **options})


@asynccontextmanager
async def opened(
    space: Space, *, transport: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[HooxSession]:
    """An open session on the workspace."""
    carried = InProcessTransport(space, **(transport or {}))
    async with HooxSession(space.api_key, transport=carried, **options) as session:
        yield session


@asynccontextmanager
async def hooked(
    space: Space, *, deliveries: DeliveryOptions | None = None, **options: Any
) -> AsyncIterator[HooxSession]:
    """An open session to which the workspace delivers webhooks."""
    hub = WebhookHub("https://example.com/hooks", "a secret for tests only")

    async def deliver(url: str, body: dict[str, Any]) -> int:
        return await hub.handle(url.rpartition("/")[2], json.dumps(body).encode())

    async with opened(
        space, transport={"deliver": deliver, "deliveries": deliveries}, webhooks=hub, **options
    ) as session:
        yield session


async def avatar(session: HooxSession) -> LookRef:
    """A new avatar's look, to be edited."""
    return (await session.run(ImageAvatar([PICTURE]))).ref


async def lose(session: HooxSession, space: Space, source: LookRef, key: str, fault: Fault) -> None:
    """Submit an edit under the key, whose prompt is its key; its answer is lost."""
    space.faults.fail_next("edit", fault)
    with pytest.raises(OutcomeUnknown) as lost:
        await session.submit(LookEdit(source, key), key=key)
    assert lost.value.key == key
    assert lost.value.charged == "maybe"


def arrives(space: Space, source: LookRef, prompt: str = "a stranger's") -> LookRef:
    """The API takes an edit only now, or somebody else's; gives its look."""
    body = {"avatar_id": source.avatar_id, "look_id": source.look_id, "prompt": prompt}
    space.receive(
        IncomingRequest("POST", "avatar/edit", body=body, authorization=f"Bearer {space.api_key}"), now()
    )
    return space.ledger[-1].ref


def edits(source: LookRef | str, count: int, prefix: str = "e") -> list[BatchItem]:
    """Edits of one source under the keys e0, e1 …, whose prompts are their keys."""
    return [BatchItem(f"{prefix}{n}", LookEdit(source, f"{prefix}{n}")) for n in range(count)]


def states(outcomes: Iterable[Outcome]) -> dict[str, str]:
    """The state of each key."""
    return {outcome.key: str(outcome.state) for outcome in outcomes}


QUICK = Timeouts(answer=10.0)


def counts(report: BatchReport) -> dict[str, int]:
    """How many outcomes of each state, where there are any."""
    return {str(state): count for state, count in report.counts.items() if count}


async def stopped(runner: BatchRunner, items: Any, after: float) -> BatchReport:
    """Run the batch, and stop it after so many seconds."""
    asyncio.get_running_loop().call_later(after, runner.stop)
    return await runner.run(items)
