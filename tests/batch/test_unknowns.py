"""Lost POSTs without webhooks: each is held as an unknown, and nothing is claimed for it."""

from __future__ import annotations

import asyncio

import pytest
from batch_kit import arrives, avatar, edits, lose, opened, space_of
from session_kit import now

from hoox_async import BatchRunner, LookEdit, LookRef, PromptAvatar
from hoox_async.errors import OutcomeUnknown
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time

CHARGED = [Fault.DROP_AFTER, Fault.HANG, Fault.ERROR_500_AFTER, Fault.TRUNCATED, Fault.NOT_JSON]
UNCHARGED = [Fault.DROP_BEFORE, Fault.HANG_BEFORE, Fault.ERROR_500_BEFORE, Fault.BAD_GATEWAY, Fault.TEAPOT]


@pytest.mark.parametrize("fault", CHARGED + UNCHARGED, ids=lambda fault: fault.name)
async def test_a_lost_edit_is_held_at_risk_and_the_others_are_made(fault: Fault) -> None:
    """Charged or not, a lost edit of a batch is paid once at most and stays unknown; the rest is READY."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", fault, after=1)
        began = now()
        report = await BatchRunner(session).run(edits(source, 4))
        assert now() - began < 150, "no proof is waited for, since none can come"
        (unknown,) = await session.unknowns()
    assert sorted(str(outcome.state) for outcome in report) == ["ready"] * 3 + ["unknown"]
    (held,) = [outcome for outcome in report if str(outcome.state) == "unknown"]
    assert (float(held.credits), float(held.at_risk)) == (0, 2)
    made = [charge.ref for charge in space.ledger if charge.request.get("prompt") == held.key]
    assert list(unknown.candidates) == made
    assert len(made) == int(fault.charges)


async def test_a_lost_edit_holds_no_other_back_and_is_listed() -> None:
    """The look that a lost edit may have made is listed as its candidate, and other edits go on."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_AFTER)
        began = now()
        job = await session.submit(LookEdit(source, "next"))
        assert now() - began < 3
        await asyncio.sleep(500)
        (unknown,) = await session.unknowns()
        assert unknown.candidates == (space.ledger[1].ref,)
        assert job.ref not in unknown.candidates
        assert unknown.sent_at is not None


async def test_a_strangers_look_is_never_claimed() -> None:
    """No look is claimed for a lost edit without a proof, whenever a stranger's look comes."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)

        task = asyncio.create_task(keep_on(space, source))
        space.faults.fail_next("edit", Fault.DROP_BEFORE, times=3)
        report = await BatchRunner(session).run(edits(source, 10))
        task.cancel()
    assert [str(outcome.evidence) for outcome in report if outcome.ref] == ["answer"] * 7
    assert sum(str(outcome.state) == "unknown" for outcome in report) == 3


async def keep_on(space: Space, source: LookRef) -> None:
    """A stranger who never stops."""
    while True:
        arrives(space, source)
        await asyncio.sleep(0.7)


async def test_a_lost_creation_is_held() -> None:
    """A lost creation stays unknown and has no candidates, since its avatar is not known."""
    space = space_of()
    async with opened(space) as session:
        space.faults.fail_next("create", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown):
            await session.submit(PromptAvatar("a host"), key="host")
        (unknown,) = await session.unknowns()
        assert unknown.key == "host"
        assert unknown.candidates == ()
        with pytest.raises(OutcomeUnknown):
            await session.submit(PromptAvatar("a host"), key="host")
    assert space.credits_spent == 2
