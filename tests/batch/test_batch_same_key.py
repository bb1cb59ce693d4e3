"""Another run, or a single submission, uses an item's key between its admission and its sending."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from batch_kit import avatar, edits, lose, opened, prompts, space_of, states

from hoox_async import BatchItem, BatchRunner, LookEdit, PromptAvatar
from hoox_async._core.intents.intent import IntentState
from hoox_async.errors import HooxError, InsufficientCredits, KeyConflict, SessionClosed
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


async def test_two_runs_of_the_same_items_in_other_orders_pay_each_once() -> None:
    """What the other run has sent meanwhile is found, and neither run fails."""
    space = space_of(requests_per_minute=None)
    async with opened(space) as session:
        source = await avatar(session)
        items = edits(source, 120)
        one, two = await asyncio.gather(
            BatchRunner(session).run(items), BatchRunner(session).run(items[::-1])
        )
    assert set(states(one).values()) == set(states(two).values()) == {"ready"}
    assert {o.key: o.ref for o in one} == {o.key: o.ref for o in two}
    assert set(prompts(space).values()) == {1}


@pytest.mark.parametrize(
    ("how", "failing"),
    [({"retry": ["failed"]}, True), ({"retry": ["ready"]}, False), ({"changed": "redo"}, False)],
    ids=lambda value: str(value),
)
async def test_two_runs_that_pay_again_pay_each_once_more(how: dict[str, Any], failing: bool) -> None:
    """What the other run has paid again is not paid a third time."""
    space = space_of(requests_per_minute=None)
    async with opened(space) as session:
        source = await avatar(session)
        fails = " [fail]" if failing else ""
        items = [BatchItem(f"e{n}", LookEdit(source, f"e{n}{fails}")) for n in range(120)]
        await BatchRunner(session).run(items)
        if "changed" in how:
            items = [BatchItem(f"e{n}", LookEdit(source, f"e{n} v2")) for n in range(120)]
        before = len(space.ledger)
        one, two = await asyncio.gather(
            BatchRunner(session, **how).run(items), BatchRunner(session, **how).run(items[::-1])
        )
    assert len(space.ledger) - before == 120
    assert set(states(one).values()) == set(states(two).values()) == {"failed" if failing else "ready"}
    assert {o.credits for o in (*one, *two)} == {4}


async def test_two_runs_that_resend_resend_once() -> None:
    """The unknown that the first run resent is a result for the second run."""
    space = space_of(requests_per_minute=None)
    async with opened(space) as session:
        source = await avatar(session)
        items = edits(source, 120)
        for item in items:
            await lose(session, space, source, item.key, Fault.DROP_AFTER)
        assert prompts(space).total() == 1 + 120
        one, two = await asyncio.gather(
            *(BatchRunner(session, on_unknown="resend").run(order) for order in (items, items[::-1]))
        )
    assert prompts(space).total() == 1 + 240
    assert set(states(one).values()) == set(states(two).values()) == {"ready"}


async def test_a_key_that_a_single_submission_had_meanwhile_is_found() -> None:
    """The batch read the store before that; the look is there when the item is to be sent."""
    space = space_of(requests_per_minute=None)
    async with opened(space) as session:
        source = await avatar(session)
        items = edits(source, 120)
        run = asyncio.create_task(BatchRunner(session).run(items))
        await asyncio.sleep(0.5)
        job = await session.submit(items[-1].request, key=items[-1].key)
        report = await run
    assert set(states(report).values()) == {"ready"}
    assert report.outcomes[-1].ref == job.ref
    assert prompts(space)["e119"] == 1


@pytest.mark.parametrize("changed", ["error", "keep", "redo"])
async def test_a_key_that_was_paid_for_other_content_meanwhile(changed: Any) -> None:
    """As with what an earlier run paid: a conflict, kept, or redone."""
    space = space_of(requests_per_minute=None)
    async with opened(space) as session:
        source = await avatar(session)
        run = asyncio.create_task(BatchRunner(session, changed=changed).run(edits(source, 120)))
        await asyncio.sleep(0.5)
        job = await session.submit(LookEdit(source, "other"), key="e119")
        outcome = (await run).outcomes[-1]
    assert prompts(space)["other"] == 1
    assert prompts(space)["e119"] == (1 if changed == "redo" else 0)
    if changed == "error":
        assert isinstance(outcome.error, KeyConflict)
        assert str(outcome.state) == "rejected"
        assert outcome.credits == 0
    else:
        assert str(outcome.state) == "ready"
        assert (outcome.ref == job.ref) is (changed == "keep")
        assert outcome.credits == (4 if changed == "redo" else 2)


async def test_the_stored_request_is_always_the_one_that_was_sent() -> None:
    """A single submission leaves the key planned with other content: the batch's content replaces it."""
    space = space_of(requests_per_minute=None)
    async with opened(space) as session:
        source = await avatar(session)
        run = asyncio.create_task(BatchRunner(session).run(edits(source, 120)))
        await asyncio.sleep(0.5)
        space.faults.fail_next("edit", Fault.status(402))
        with suppress(HooxError):
            await session.submit(LookEdit(source, "other"), key="e119")
        await run
        intents = {intent.key: intent async for intent in session._store.stream()}
    made = {charge.ref: charge.request.get("prompt") for charge in space.ledger}
    sent = [intent for intent in intents.values() if isinstance(intent.request, LookEdit) and intent.ref]
    assert len(sent) >= 119
    for intent in sent:
        assert isinstance(intent.request, LookEdit)
        assert intent.ref is not None
        assert made[intent.ref] == intent.request.prompt


async def test_corrected_prompts_are_sent_after_a_402() -> None:
    """What never cost anything is replaced without any option."""
    space = space_of(credits=4)
    async with opened(space) as session:
        source = await avatar(session)
        first = await BatchRunner(session).run(edits(source, 5))
        assert sorted(states(first).values()) == ["ready"] * 2 + ["unsent"] * 3
        planned = [i.key async for i in session._store.stream() if i.state is IntentState.PLANNED]
        assert planned
        space.balance += 100
        corrected = [BatchItem(key, LookEdit(source, f"{key} v2")) for key in planned]
        second = await BatchRunner(session).run(corrected)
    assert set(states(second).values()) == {"ready"}
    assert {f"{key} v2" for key in planned} <= set(prompts(space))
    assert not set(planned) & set(prompts(space))


async def test_the_same_key_twice_with_two_contents_is_a_conflict_at_its_turn_too() -> None:
    """Also if the first one ended UNSENT before the second was read."""
    space = space_of(credits=0)

    async def given() -> Any:
        yield BatchItem("k", PromptAvatar("one"))
        await asyncio.sleep(60)
        space.balance += 100
        yield BatchItem("k", PromptAvatar("two"))

    async with opened(space) as session:
        with pytest.raises(InsufficientCredits):
            await session.submit(PromptAvatar("one"), key="k")
        report = await BatchRunner(session, max_credits=0).run(given())
    assert [str(outcome.state) for outcome in report] == ["unsent", "rejected"]
    assert isinstance(report.outcomes[1].error, KeyConflict)
    assert prompts(space).total() == 0


@pytest.mark.parametrize("at", [n / 10 for n in range(1, 60)])
async def test_a_batch_cancelled_anywhere_and_run_again_at_once_pays_once(at: float) -> None:
    """With avatar locks, a chain and a cap: whatever was outstanding, connecting or waiting in that
    moment."""
    space = space_of()
    async with opened(space, exclusive=True) as session:
        source = await avatar(session)
        items = [*edits(source, 4), *edits("e0", 3, "f")]
        run = asyncio.create_task(BatchRunner(session, max_credits=14).run(items))
        await asyncio.sleep(at)
        run.cancel()
        await asyncio.wait([run])
        report = await BatchRunner(session, max_credits=14).run(items)
        assert session._ready().services.rate_limiter.window.held == 0
    assert set(states(report).values()) == {"ready"}
    assert max(prompts(space).values()) == 1


async def test_a_run_beside_one_that_is_stopped_is_not_stopped() -> None:
    """Also if the stopped run holds the lock of a key, or has a POST outstanding."""
    for after in (0.1, 0.4, 1.0):
        space = space_of(requests_per_minute=None)
        async with opened(space) as session:
            source = await avatar(session)
            items = edits(source, 60)
            first = BatchRunner(session)
            asyncio.get_running_loop().call_later(after, first.stop)
            one, two = await asyncio.gather(first.run(items), BatchRunner(session).run(items))
        assert set(states(two).values()) == {"ready"}
        assert set(states(one).values()) <= {"ready", "unsent"}
        assert set(prompts(space).values()) == {1}


async def test_a_session_closed_under_two_runs_leaves_each_paid_once() -> None:
    """Both runs raise `SessionClosed`; what was outstanding is recorded."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        items = edits(source, 30)
        runs = [asyncio.create_task(BatchRunner(session).run(order)) for order in (items, items[::-1])]
        await asyncio.sleep(3)
    results = await asyncio.gather(*runs, return_exceptions=True)
    assert [type(result) for result in results] == [SessionClosed, SessionClosed]
    assert max(prompts(space).values()) == 1
