"""After a process stood still for longer than its timeouts, the answers in its sockets are read."""

from __future__ import annotations

import asyncio
import time

from hoox_async import HooxSession, LookRef, PromptAvatar, Timeouts
from hoox_async.sandbox import Sandbox

SHORT = 0.4


async def stand_still(sandbox: Sandbox, requests: int) -> None:
    """Wait until so many requests have reached the server, then block the loop past every timeout."""
    while len(sandbox.requests) < requests:
        await asyncio.sleep(0.005)
    time.sleep(3 * SHORT)


async def test_answers_to_paid_requests_that_came_meanwhile_are_read() -> None:
    """No paid request becomes unknown because the process stood still."""
    with Sandbox(latency=0.1) as sandbox:
        async with sandbox.session(timeouts=Timeouts(answer=SHORT)) as session:
            tasks = [
                asyncio.create_task(session.submit(PromptAvatar(f"p{n}"), key=f"k{n}")) for n in range(4)
            ]
            await stand_still(sandbox, 4)
            jobs = await asyncio.gather(*tasks)
            assert {job.ref for job in jobs} == {charge.ref for charge in sandbox.ledger}
            assert await session.unknowns() == []


async def test_answers_to_reads_that_came_meanwhile_are_read() -> None:
    """Reads whose answers came during a standstill are not sent again."""
    with Sandbox(latency=0.1) as sandbox:
        async with sandbox.session(timeouts=Timeouts(read=SHORT), poll="awaited") as session:
            ref = await made(session)
            before = len(sandbox.requests)
            tasks = [asyncio.create_task(session.status(ref)) for _ in range(4)]
            await stand_still(sandbox, before + 4)
            await asyncio.gather(*tasks)
            assert len(sandbox.requests) == before + 4


async def made(session: HooxSession) -> LookRef:
    return (await session.submit(PromptAvatar("a host"), key="made")).ref
