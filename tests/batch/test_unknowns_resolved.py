"""Lost POSTs that the user settles: with a look, by sending again, or by leaving them alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from batch_kit import avatar, hooked, lose, opened, space_of
from session_kit import now, paid_prompts

from hoox_async import BatchItem, BatchRunner, LookEdit, LookRef
from hoox_async.errors import InvalidRequest, KeyConflict, OutcomeUnknown
from hoox_async.sandbox import DeliveryOptions, Fault

pytestmark = pytest.mark.virtual_time


async def test_resolve_with_a_look() -> None:
    """`resolve` with a candidate makes it the look of the unknown's key, which is not paid again."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_AFTER)
        (unknown,) = await session.unknowns()
        job = await session.resolve("lost", unknown.candidates[0])
        assert job is not None
        assert (await job).status == "ready"
        assert await session.unknowns() == []
        same = await session.submit(LookEdit(source, "lost"), key="lost")
        assert same.ref == job.ref
    assert paid_prompts(space)["lost"] == 1


async def test_resolve_with_resend_pays_once_more() -> None:
    """A resend is paid once more, and what the first time may have cost stays at risk."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_AFTER)
        job = await session.resend("lost")
        assert job is not None
        await job
        (outcome,) = (await BatchRunner(session).run([item_of(source)])).outcomes
    assert paid_prompts(space)["lost"] == 2
    assert outcome.credits == 2
    assert outcome.at_risk == 2


def item_of(source: LookRef) -> BatchItem:
    return BatchItem("lost", LookEdit(source, "lost"))


async def test_resolve_with_drop_leaves_it_alone_for_good() -> None:
    """A dropped unknown is listed no more, stays at risk, and is never sent again by itself."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_AFTER)
        await session.drop("lost")
        assert await session.unknowns() == []
        report = await BatchRunner(session).run([item_of(source), BatchItem("b", LookEdit("lost", "b"))])
        assert [str(outcome.state) for outcome in report] == ["skipped", "skipped"]
        assert [outcome.error and outcome.error.charged for outcome in report] == ["maybe", "no"]
        assert [outcome.at_risk for outcome in report] == [2, 0]
        assert report.credits_at_risk == 2
        with pytest.raises(OutcomeUnknown):
            await session.submit(LookEdit(source, "lost"), key="lost")
        await session.submit(LookEdit(source, "next"))
    assert paid_prompts(space)["lost"] == 1


@pytest.mark.parametrize("word", ["drop", "resend", "resolve"])
async def test_a_batch_that_waits_for_a_delivery_goes_on_with_a_decision(word: str) -> None:
    """A run that waits for the delivery of a lost edit, which never comes, goes on once a person decides."""
    space = space_of()
    async with hooked(space, deliveries=DeliveryOptions(lose=1.0)) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_AFTER)
        run = asyncio.create_task(BatchRunner(session).run([item_of(source)]))
        await asyncio.sleep(60)
        assert not run.done()
        match word:
            case "drop":
                await session.drop("lost")
            case "resend":
                await (await session.resend("lost"))
            case _:
                await (await session.resolve("lost", space.ledger[-1].ref))
        known_at = now()
        (outcome,) = await run
        assert str(outcome.state) == ("skipped" if word == "drop" else "ready")
        assert now() - known_at < 2
    assert paid_prompts(space)["lost"] == 1 + (word == "resend")


async def test_resolve_refuses_what_makes_no_sense() -> None:
    """`resolve`, `resend` and `drop` raise InvalidRequest for a key of no unknown and for another's look."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        other = await session.submit(LookEdit(source, "other"), key="other")
        await lose(session, space, source, "lost", Fault.DROP_AFTER)
        wrong: list[tuple[str, Any]] = [("nobody", source), ("other", source), ("lost", other), ("lost", "x")]
        for key, look in wrong:
            with pytest.raises(InvalidRequest):
                await session.resolve(key, look)
        for key in ("nobody", "other"):
            with pytest.raises(InvalidRequest):
                await session.drop(key)
            with pytest.raises(InvalidRequest):
                await session.resend(key)
        with pytest.raises(KeyConflict):
            await session.submit(LookEdit(source, "something else"), key="lost")
    assert paid_prompts(space)["lost"] == 1
