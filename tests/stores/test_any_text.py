"""Any text of a request is kept by every store; names that a store could not hold are refused before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
from internals_kit import Connections, DatabaseUrl, Delivery, Ledger
from store_kit import WORKSPACE, accept, planned, send

from hoox_async import (
    BatchItem,
    BatchRunner,
    Budget,
    HooxSession,
    LookEdit,
    LookRef,
    LookStatus,
    PromptAvatar,
    Request,
)
from hoox_async.errors import ConfigurationError, InvalidRequest, StoreError
from hoox_async.postgres import PostgresDatabase
from hoox_async.sandbox import InProcessTransport, Space

SOURCE = LookRef("avtr_public_ada", "look_public_ada")
NUL, SURROGATE = "a\0b", "a\ud800b"
LONG = "é" * 257  # 514 bytes
REQUESTS: dict[str, Request] = {
    "NUL in a prompt": LookEdit(SOURCE, NUL),
    "surrogate in a prompt": LookEdit(SOURCE, SURROGATE),
    "metadata": LookEdit(SOURCE, "x", metadata={NUL: SURROGATE, "long": "x" * 2_000_000}),
    "name and extra": PromptAvatar("x", name=NUL, extra={NUL: SURROGATE}),
}
UNUSABLE: dict[str, Callable[[HooxSession], Awaitable[object]]] = {
    "source with NUL": lambda session: session.submit(LookEdit(LookRef("avtr_a", NUL), "x")),
    "source with a surrogate": lambda session: session.submit(LookEdit(LookRef(SURROGATE, "look"), "x")),
    "text of a source": lambda session: session.submit(LookEdit(f"avtr_a:{NUL}", "x")),
    "source that is too long": lambda session: session.submit(LookEdit(LookRef("avtr_a", LONG), "x")),
    "avatar that is too long": lambda session: session.avatar(LONG),
    "a look to wait for": lambda session: session.wait(LookRef("avtr_a", NUL), 1.0),
    "key to submit": lambda session: session.submit(LookEdit(SOURCE, "x"), key=SURROGATE),
    "key to drop": lambda session: session.drop(NUL),
    "key to resend": lambda session: session.resend(SURROGATE),
    "key to resolve": lambda session: session.resolve(NUL, SOURCE),
}


async def test_any_text_is_kept_and_what_no_store_can_hold_is_refused(closed: Ledger) -> None:
    """The same requests are sent and read back as they were, whatever the store; none is in doubt.

    Ids and keys that are no plain text are `InvalidRequest`, without a request. In a batch such an item is
    rejected, and the others are sent.
    """
    space = Space(rng=Random(1), requests_per_minute=None)
    async with HooxSession(
        space.api_key, transport=InProcessTransport(space), store=closed, requests_per_minute=60_000
    ) as session:
        for key, request in REQUESTS.items():
            await session.submit(request, key=key)
        asked = len(space.requests)
        for use in UNUSABLE.values():
            with pytest.raises(InvalidRequest):
                await use(session)
        assert len(space.requests) == asked
        items = [
            BatchItem("bad source", LookEdit(LookRef("avtr_a", NUL), "x")),
            BatchItem(NUL, LookEdit(SOURCE, "x")),
            BatchItem("good", LookEdit(SOURCE, NUL)),
        ]
        report = await BatchRunner(session, look_timeout=0.01).run(items)
        assert [outcome.state.value for outcome in report] == ["rejected", "rejected", "pending"]
        stored = await closed.get(tuple(REQUESTS))
        assert {key: intent.request for key, intent in stored.items()} == REQUESTS
    assert len(space.ledger) == len(REQUESTS) + 1


def random_id(length: int, seed: int) -> str:
    """A text of three bytes a character that nothing can compress."""
    return "".join(map(chr, Random(seed).choices(range(0x4E00, 0x9FA0), k=length)))


async def test_the_longest_ids_are_kept_by_every_store(closed: Ledger) -> None:
    """Ids of 510 bytes are stored, claimed and found."""
    avatar_id, look_id, seen = [random_id(170, seed) for seed in range(3)]
    await closed.open(WORKSPACE)
    await closed.plan(planned("a"))
    await closed.advance("a", send("att_1"), accept(look_id, avatar_id))
    await closed.note_listed(avatar_id, [seen])
    await closed.keep_delivery("att_1", Delivery(seen, LookStatus.READY))
    found = await closed.by_ref(LookRef(avatar_id, look_id))
    assert found is not None
    assert found.key == "a"
    await closed.aclose()


async def test_an_id_that_postgresql_cannot_index_is_an_error(
    postgres_url: str, postgres_schema: str
) -> None:
    """The write of a look whose id comes past the door raises `StoreError`, and is not tried for ever."""
    async with PostgresDatabase(postgres_url, schema=postgres_schema) as database:
        store = database.workspace("shop")
        await store.open(WORKSPACE)
        await store.plan(planned("a"))
        await store.advance("a", send("att_1"))
        async with asyncio.timeout(30):
            with pytest.raises(StoreError, match="too long"):
                await store.advance("a", accept(random_id(2000, 0)))
        await store.aclose()


@pytest.mark.parametrize("name", [SURROGATE, NUL, " "])
def test_names_that_a_store_could_not_hold_are_refused(name: str) -> None:
    """Budgets, workspaces and schemas have names that every store can hold."""
    for use in (
        lambda: Budget(1, name=name),
        lambda: PostgresDatabase("postgresql://host/db").workspace(name),
        lambda: PostgresDatabase("postgresql://host/db", schema=name),
    ):
        with pytest.raises(ConfigurationError):
            use()


async def test_a_value_that_the_driver_refuses_is_no_failure_of_the_connection(postgres_url: str) -> None:
    """A text with NUL that reaches the database after all is told as what it is."""
    connections = Connections(DatabaseUrl.parse(postgres_url), 1)
    values: list[Any] = [NUL, SURROGATE]
    for value in values:
        with pytest.raises(StoreError, match="it failed") as caught:
            await connections.fetch("SELECT %s::text", (value,))
        assert "connection" not in str(caught.value)
    await connections.aclose()
