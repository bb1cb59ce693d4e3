"""The narrow interface that a session offers to a batch."""

from __future__ import annotations

from decimal import Decimal

import pytest
from batch_kit import avatar, edits, lose, now, opened, space_of

from hoox_async import LookEdit
from hoox_async._session import runtime_of
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


async def test_no_proof_is_waited_for_where_none_can_come() -> None:
    """A session without webhooks waits for no proof of an unknown, since none can come."""
    space = space_of()
    async with opened(space) as session:
        access = runtime_of(session).batch_access
        await lose(session, space, await avatar(session), "lost", Fault.DROP_AFTER)
        (unknown,) = (await access.intents(["lost"])).values()
        began = now()
        await access.wait_for_proof(unknown, 900.0)
        assert now() == began


async def test_intents_are_found_by_key_by_ref_and_in_the_stream() -> None:
    """An intent is found by key, by ref and in the stream; keys of nothing are left out."""
    space = space_of()
    async with opened(space) as session:
        access = runtime_of(session).batch_access
        source = await avatar(session)
        job = await session.submit(LookEdit(source, "a beach"), key="a")
        known = await access.intents(["a", "b"])
        assert list(known) == ["a"]
        assert await access.intent_of(job.ref) == known["a"]
        assert "a" in [intent.key async for intent in access.all_intents()]
        assert known["a"].spent == Decimal(2)
        assert await access.join_outstanding("a") is None


async def test_expectations_are_those_of_the_session() -> None:
    """The expectations have the session's quota, whether it has webhooks, and how long looks take."""
    space = space_of(requests_per_minute=300)
    async with opened(space, requests_per_minute=300) as session:
        source = await avatar(session)
        for item in edits(source, 3):
            await session.run(item.request)
        expected = runtime_of(session).batch_access.expectations()
        assert (expected.requests_per_minute, expected.has_webhooks) == (300, False)
        assert expected.quantile("edit", 1.0) > expected.quantile("edit", 0.0) > 0.0
