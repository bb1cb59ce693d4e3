"""Lost POSTs: avatar locks, baselines, searches, adoption and retiring; and what a user does about them."""

from __future__ import annotations

import asyncio

import pytest
from batch_kit import QUICK, arrives, avatar, edits, lose, now, opened, prompts, space_of

from hoox_async import BatchRunner, LookEdit, LookRef, PromptAvatar, Timeouts
from hoox_async.errors import OutcomeUnknown
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time

CHARGED = [Fault.DROP_AFTER, Fault.HANG, Fault.ERROR_500_AFTER, Fault.TRUNCATED, Fault.NOT_JSON]
UNCHARGED = [Fault.DROP_BEFORE, Fault.HANG_BEFORE, Fault.ERROR_500_BEFORE, Fault.BAD_GATEWAY, Fault.TEAPOT]


def reads(space: Space) -> list[float]:
    """When the avatar was asked for."""
    return [record.at for record in space.requests if record.endpoint == "avatar"]


# --- adoption


@pytest.mark.parametrize("fault", CHARGED, ids=lambda fault: fault.name)
async def test_the_look_of_a_charged_unknown_is_found_by_elimination(fault: Fault) -> None:
    """The one look of the avatar that is in no baseline and no intent's is the lost edit's."""
    space = space_of()
    async with opened(space, exclusive=True) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", fault, after=1)
        report = await BatchRunner(session).run(edits(source, 4))
        assert await session.unknowns() == []
    assert {str(outcome.state) for outcome in report} == {"ready"}
    inferred = [outcome for outcome in report if str(outcome.evidence) == "inferred"]
    assert len(inferred) == 1
    charge = next(charge for charge in space.ledger if charge.ref == inferred[0].ref)
    assert charge.request["prompt"] == inferred[0].key
    assert inferred[0].credits == 2
    assert inferred[0].at_risk == 0


@pytest.mark.parametrize("fault", UNCHARGED, ids=lambda fault: fault.name)
async def test_an_uncharged_unknown_is_held_and_its_avatar_lock_opens_again(fault: Fault) -> None:
    """A lost edit that is not found stays at risk, and the avatar's other edits are made."""
    space = space_of()
    async with opened(space, exclusive=True) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", fault, after=1)
        report = await BatchRunner(session).run(edits(source, 4))
        assert len(await session.unknowns()) == 1
    assert sorted(str(outcome.state) for outcome in report) == ["ready"] * 3 + ["unknown"]
    assert sum(outcome.credits for outcome in report) == space.credits_spent == 6


async def test_an_avatar_that_this_session_made_needs_no_baseline() -> None:
    """No request is spent on the baseline of an avatar that this session made."""
    space = space_of()
    async with opened(space, exclusive=True) as session:
        source = await avatar(session)
        await session.submit(LookEdit(source, "a"))
        assert reads(space) == []


async def test_another_avatar_has_its_looks_put_on_record_once() -> None:
    """The looks that an avatar had before its first edit are read once and never adopted."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        await session.submit(LookEdit(source, "before"))
    async with opened(space, exclusive=True) as session:
        await session.submit(LookEdit(source, "first"))
        assert len(reads(space)) == 1
        edited = next(r.at for r in space.requests if r.body and r.body.get("prompt") == "first")
        assert reads(space)[0] < edited
        await session.submit(LookEdit(source, "second"))
        assert len(reads(space)) == 1
        await lose(session, space, source, "lost", Fault.DROP_BEFORE)
        await session.submit(LookEdit(source, "after"))
        (unknown,) = await session.unknowns()
    assert unknown.candidates == ()


async def test_many_that_come_at_once_share_one_baseline() -> None:
    """Edits of one avatar that are submitted together make one request for its baseline."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
    async with opened(space, exclusive=True) as session:
        await asyncio.gather(*(session.submit(LookEdit(source, f"p{n}")) for n in range(10)))
    assert len(reads(space)) == 1


async def test_the_searches_take_place_at_the_times_of_timeouts_search() -> None:
    """The searches come after the times of Timeouts.search, the last after the POST's deadline."""
    space = space_of()
    timeouts = Timeouts(answer=60.0, search=(2.0, 10.0, 30.0))
    async with opened(space, exclusive=True, timeouts=timeouts) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_BEFORE)
        lost_at = now()
        await session.submit(LookEdit(source, "next"))  # it wants the avatar lock
        took = [at - lost_at for at in reads(space)]
        assert took == pytest.approx([2, 10, 30, 90], abs=1.5)
        assert now() - lost_at == pytest.approx(91, abs=2)


async def test_an_edit_that_wants_the_avatar_lock_waits_for_the_search() -> None:
    """The next edit of the avatar is sent as soon as the lost look was found."""
    space = space_of()
    async with opened(space, exclusive=True) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_AFTER)
        began = now()
        await session.submit(LookEdit(source, "next"))
        assert now() - began < 5
        job = await session.submit(LookEdit(source, "lost"), key="lost")
        assert prompts(space)["lost"] == 1
        assert (await job).status == "ready"


# --- what is not adopted


async def test_of_two_possible_looks_none_is_adopted() -> None:
    """Of two possible looks none is adopted, and both are listed as candidates."""
    space = space_of()
    async with opened(space, exclusive=True, timeouts=QUICK) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_AFTER)
        other = arrives(space, source)
        await session.submit(LookEdit(source, "next"))
        (unknown,) = await session.unknowns()
        assert set(unknown.candidates) == {space.ledger[1].ref, other}


async def test_a_look_of_another_format_is_not_adopted() -> None:
    """A vertical look is not adopted for a lost edit that asked for a horizontal one."""
    space = space_of()
    async with opened(space, exclusive=True, timeouts=QUICK) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.DROP_BEFORE)
        with pytest.raises(OutcomeUnknown):
            await session.submit(LookEdit(source, "lost", format="horizontal"), key="lost")
        other = arrives(space, source)
        await session.submit(LookEdit(source, "next"))
        (unknown,) = await session.unknowns()
        assert unknown.candidates == (other,)


async def test_looks_of_a_search_without_a_find_are_never_adopted_later() -> None:
    """Looks that a search saw and did not adopt join the baseline, and are never adopted later."""
    space = space_of()
    async with opened(space, exclusive=True, timeouts=QUICK) as session:
        source = await avatar(session)
        await lose(session, space, source, "first", Fault.DROP_AFTER)
        arrives(space, source)
        await lose(session, space, source, "second", Fault.DROP_BEFORE)
        await session.submit(LookEdit(source, "next"))
        unknowns = {unknown.key: unknown for unknown in await session.unknowns()}
    assert len(unknowns["first"].candidates) == 2
    assert unknowns["second"].candidates == ()


async def test_without_exclusive_nothing_is_inferred() -> None:
    """Without exclusive=True, possible looks are listed as candidates and no edit is held back."""
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


async def test_a_strangers_look_is_never_adopted() -> None:
    """With exclusive=False no outcome is inferred, whenever a stranger's look comes."""
    space = space_of()
    async with opened(space, timeouts=QUICK) as session:
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
    """A lost creation stays unknown, since there is no avatar to search."""
    space = space_of()
    async with opened(space, exclusive=True) as session:
        space.faults.fail_next("create", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown):
            await session.submit(PromptAvatar("a host"), key="host")
        (unknown,) = await session.unknowns()
        assert unknown.key == "host"
        assert unknown.candidates == ()
        with pytest.raises(OutcomeUnknown):
            await session.submit(PromptAvatar("a host"), key="host")
    assert space.credits_spent == 2


# --- when the avatar can't be read


async def test_searches_that_get_no_answer_end_and_unlock_the_avatar() -> None:
    """Searches that get no answer end: the edit stays unknown, and nothing is inferred for the avatar."""
    space = space_of()
    async with opened(space, exclusive=True, timeouts=QUICK) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_AFTER)
        space.faults.fail_next("avatar", Fault.ERROR_500_BEFORE, times=200)
        report = await asyncio.wait_for(BatchRunner(session).run(edits(source, 3)), 3600)
        assert {str(outcome.state) for outcome in report} <= {"ready", "unknown"}
        space.faults = type(space.faults)(space.generation._rng)
        await lose(session, space, source, "again", Fault.DROP_AFTER)
        await session.submit(LookEdit(source, "next"))
        await asyncio.sleep(300)
        assert {unknown.key for unknown in await session.unknowns()} == {"lost", "again"}


async def test_a_search_goes_on_after_failed_ones() -> None:
    """A search whose last time got no answer is repeated, and finds the look then."""
    space = space_of()
    async with opened(space, exclusive=True, timeouts=QUICK) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_AFTER)
        space.faults.fail_next("avatar", Fault.NOT_JSON, times=4)
        await asyncio.wait_for(session.submit(LookEdit(source, "next")), 600)
        assert await session.unknowns() == []


async def test_every_lost_one_of_many_gets_its_own_look_or_none() -> None:
    """A third of all POSTs is lost, half of those were charged: an adopted look is its own prompt's.

    One that was charged stays unknown only where a search of its avatar ended in vain, and is then listed.
    """
    rates = {Fault.DROP_AFTER: 0.15, Fault.DROP_BEFORE: 0.15}
    space = space_of(20.0)
    async with opened(space, exclusive=True, timeouts=QUICK) as session:
        sources = [await avatar(session) for _ in range(4)]
        space.faults._rates = rates
        items = [item for n, source in enumerate(sources) for item in edits(source, 15, f"s{n}-")]
        report = await BatchRunner(session).run(items)
        space.faults._rates = {}
        candidates = {unknown.key: unknown.candidates for unknown in await session.unknowns()}
    owner = {charge.ref: charge.request.get("prompt") for charge in space.ledger}
    unknown = {outcome.key for outcome in report if outcome.ref is None}
    in_vain = {key.split("-")[0] for key in unknown if prompts(space)[key] == 0}
    assert any(str(outcome.evidence) == "inferred" for outcome in report)
    for outcome in report:
        if outcome.ref is not None:
            assert owner[outcome.ref] == outcome.key
        elif prompts(space)[outcome.key]:
            assert outcome.key.split("-")[0] in in_vain
            assert outcome.key in {owner[ref] for ref in candidates[outcome.key]}
