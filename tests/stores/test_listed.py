"""Which looks a ledger knows to be older than a paid POST: those that were listed before its SENDING."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from internals_kit import MarkUnknown, RecentWrite, Replace, Resend, Revert, advance, dump_intent, restore
from internals_kit import postgres as dialect_of
from postgres_kit import Server
from store_kit import CREATE, WORKSPACE, accept, planned, send, settle

from hoox_async import LookStatus
from hoox_async._io.ledger import statements as sql
from hoox_async.postgres import PostgresDatabase

LOST = MarkUnknown("dropped")


async def before(store: Any, key: str, *avatars: str) -> dict[str, set[str]]:
    """The looks that were listed before this intent was sent, by their avatars."""
    found = await store.listed_before(key, avatars or ("avtr_1",))
    return {avatar_id: set(looks - {""}) for avatar_id, looks in found.items()}


async def test_looks_are_older_that_were_listed_before(store: Any) -> None:
    """Of each avatar that was listed; without those that an intent has, and without what is listed later."""
    for key in "ab":
        await store.plan(planned(key))
    await store.advance("b", send("att_b"), accept("look_of_b"))
    await store.note_listed("avtr_1", {"look_1", "look_of_b"})
    await store.note_listed("avtr_3", set())
    await store.advance("a", send("att_a"))
    await store.note_listed("avtr_1", {"look_1", "look_2"})
    await store.note_listed("avtr_2", {"look_9"})
    assert await before(store, "a", "avtr_1", "avtr_2", "avtr_3") == {"avtr_1": {"look_1"}, "avtr_3": set()}
    assert await store.listed_before("a", []) == {}


async def test_the_first_sending_that_may_have_cost_something_counts(store: Any) -> None:
    """A throttled one does not count, one that was lost does; other content begins anew."""
    await store.plan(planned("a"))
    await store.advance("a", send("att_1"), Revert("att_1"))
    await store.note_listed("avtr_1", {"look_1"})
    await store.advance("a", send("att_2"))
    await store.advance("a", LOST)
    await store.note_listed("avtr_1", {"look_2"})
    await store.advance("a", Resend(), send("att_3"))
    assert await before(store, "a") == {"avtr_1": {"look_1"}}
    await store.advance("a", accept("look_3"), settle("look_3", status=LookStatus.FAILED))
    await store.advance("a", Replace(CREATE, "d2"), send("att_4"))
    assert await before(store, "a") == {"avtr_1": {"look_1", "look_2"}}


async def test_a_restart_forgets_nothing(store: Any) -> None:
    """What was listed, and the place of a SENDING in it, is the same when the store is opened again."""
    await store.note_listed("avtr_1", {"look_1"})
    await store.plan(planned("a"))
    await store.advance("a", send("att_a"))
    await store.aclose()
    await store.open(WORKSPACE)
    await store.note_listed("avtr_1", {"look_2"})
    assert await before(store, "a") == {"avtr_1": {"look_1"}}
    await store.plan(planned("b"))
    await store.advance("b", send("att_b"))
    assert await before(store, "b") == {"avtr_1": {"look_1", "look_2"}}


async def test_after_a_failover_the_age_of_what_was_lost_is_not_known(store: Any) -> None:
    """A SENDING that has to be written again may name a place that was given again since."""
    await store.note_listed("avtr_1", {"look_1"})
    await store.plan(planned("a"))
    sent = await store.advance("a", send("att_a"))
    lost = dump_intent(advance(sent, LOST))
    assert await store._run(partial(restore, store._place, "a", RecentWrite(0.0, 9, lost))) is not None
    assert await before(store, "a") == {}


async def test_of_two_processes_only_what_is_certain_is_older(
    postgres: Server, postgres_url: str, postgres_schema: str
) -> None:
    """A listing that another process has not committed at the SENDING is not older, nor is what follows."""
    async with PostgresDatabase(postgres_url, schema=postgres_schema) as database:
        store = database.workspace("shop")
        await store.open(WORKSPACE)
        await store.note_listed("avtr_1", {"look_1"})
        for key in "ab":
            await store.plan(planned(key))
        with postgres.connect() as connection, connection.transaction():
            values = store._place.values(avatar_id="avtr_1", look_id="look_2")
            connection.execute(dialect_of(postgres_schema).compile(sql.ADD_LISTED).encode(), values)
            async with asyncio.timeout(60):  # it waits for nobody
                await store.advance("a", send("att_a"))
        await store.advance("b", send("att_b"))
        assert await before(store, "a") == {"avtr_1": {"look_1"}}
        assert await before(store, "b") == {"avtr_1": {"look_1", "look_2"}}
        await store.aclose()
