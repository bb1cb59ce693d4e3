"""The databases of the benchmarks: on a server started for them, also behind PgBouncer, or a given one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

PGBOUNCER = "pgbouncer"
"""In place of a database's URL: a new one behind a PgBouncer in transaction mode."""


@contextmanager
def databases(*, behind_pgbouncer: bool = False) -> Iterator[Callable[[], AbstractContextManager[str]]]:
    """A server of the wheel of the extra ``dev``. Each call makes an empty database, and gives its URL.

    All of it is deleted afterwards.
    """
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from postgres_kit import TestRun

    with TestRun.owned() as run:
        yield partial(run.shared_server().database, run.pooler() if behind_pgbouncer else None)


@contextmanager
def database(url: str | None) -> Iterator[str]:
    """The URL of an empty database: the given one, or for None and `PGBOUNCER` one that is made for this."""
    if url is not None and url != PGBOUNCER:
        yield url
        return
    with databases(behind_pgbouncer=url == PGBOUNCER) as new, new() as made:
        yield made


async def connect(url: str) -> psycopg.AsyncConnection[Any]:
    """A connection that prepares no statement: behind PgBouncer the next one may reach another backend."""
    import psycopg

    return await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=None)
