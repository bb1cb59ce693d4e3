"""Another run, or a single submission, uses an item's key between its admission and its sending."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from batch_kit import avatar, edits, lose, opened, space_of, states
from internals_kit import IntentState, runtime_of
from session_kit import paid_prompts, store_of

from hoox_async import BatchItem, BatchRunner, LookEdit, PromptAvatar
from hoox_async.errors import HooxError, InsufficientCredits, KeyConflict, SessionClosed
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


async def test_two_runs_of_the_same_items_in_other_orders_pay_each_once() -> None:
    """Two runs of the same items in opposite orders pay each item once and give the same looks."""
    space = space_of(requests_per_minute=None)
    async with opened(space) as session:
        source = await avatar(session)
        items = edits(source, 40)
        one, two = await asyncio.gather(
            BatchRunner(session).run(items), BatchRunner(session).run(items[::-1])
        )
    assert set(states(one).values()) == set(states(two).values()) == {"ready"}
    assert {o.key: o.ref for o in one} == {o.key: o.ref for o in two}
    assert set(paid_prompts(space).values()) == {1}


@pytest.mark.parametrize(
    ("how", "failing"),
    [({"retry": ["failed"]}, True), ({"retry": ["ready"]}, False), ({"changed": "redo"}, False)],
    ids=lambda value: str(value),
)
async def test_two_runs_that_pay_again_pay_each_once_more(how: dict[str, Any], failing: bool) -> None:
    """Two runs that pay the same items again pay each of them once more, and not twice."""
    space = space_of(requests_per_minute=None)
    async with opened(space) as session:
        source = await avatar(session)
        fails = " [fail]" if failing else ""
        items = [BatchItem(f"e{n}", LookEdit(source, f"e{n}{fails}")) for n in range(40)]
        await BatchRunner(session).run(items)
        if "changed" in how:
            items = [BatchItem(f"e{n}", LookEdit(source, f"e{n} v2")) for n in range(40)]
        before = len(space.ledger)
        one, two = await asyncio.gather(
            BatchRunner(session, **how).run(items), BatchRunner(session, **how).run(items[::-1])
        )
    assert len(space.ledger) - before == 40
    assert set(states(one).values()) == set(states(two).values()) == {"failed" if failing else "ready"}
    assert {o.credits for o in (*one, *two)} == {4}


async def test_two_runs_that_resend_resend_once() -> None:
    """Two runs that resend the same unknowns resend each of them once."""
    space = space_of(requests_per_minute=None)
    async with opened(space) as session:
        source = await avatar(session)
        items = edits(source, 40)
        for item in items:
            await lose(session, space, source, item.key, Fault.DROP_AFTER)
        assert paid_prompts(space).total() == 1 + 40
        one, two = await asyncio.gather(
            *(BatchRunner(session, on_unknown="resend").run(order) for order in (items, items[::-1]))
        )
    assert paid_prompts(space).total() == 1 + 80
    assert set(states(one).values()) == set(states(two).values()) == {"ready"}


async def test_a_key_that_a_single_submission_had_meanwhile_is_found() -> None:
    """A key that a submission paid since the batch read the store is not paid again by the batch."""
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
    assert paid_prompts(space)["e119"] == 1


@pytest.mark.parametrize("changed", ["error", "keep", "redo"])
async def test_a_key_that_was_paid_for_other_content_meanwhile(changed: Any) -> None:
    """Other content that a submission paid meanwhile is a conflict, kept or redone, as ``changed`` says."""
    space = space_of(requests_per_minute=None)
    async with opened(space) as session:
        source = await avatar(session)
        run = asyncio.create_task(BatchRunner(session, changed=changed).run(edits(source, 120)))
        await asyncio.sleep(0.5)
        job = await session.submit(LookEdit(source, "other"), key="e119")
        outcome = (await run).outcomes[-1]
    assert paid_prompts(space)["other"] == 1
    assert paid_prompts(space)["e119"] == (1 if changed == "redo" else 0)
    if changed == "error":
        assert isinstance(outcome.error, KeyConflict)
        assert str(outcome.state) == "rejected"
        assert outcome.credits == 2  # for the other one
    else:
        assert str(outcome.state) == "ready"
        assert (outcome.ref == job.ref) is (changed == "keep")
        assert outcome.credits == (4 if changed == "redo" else 2)


async def test_the_stored_request_is_always_the_one_that_was_sent() -> None:
    """Each accepted intent has the request that was sent, though a submission planned other content."""
    space = space_of(requests_per_minute=None)
    async with opened(space) as session:
        source = await avatar(session)
        run = asyncio.create_task(BatchRunner(session).run(edits(source, 120)))
        await asyncio.sleep(0.5)
        space.faults.fail_next("edit", Fault.status(402))
        with suppress(HooxError):
            await session.submit(LookEdit(source, "other"), key="e119")
        await run
        intents = {intent.key: intent async for intent in store_of(session).stream()}
    made = {charge.ref: charge.request.get("prompt") for charge in space.ledger}
    sent = [intent for intent in intents.values() if isinstance(intent.request, LookEdit) and intent.ref]
    assert len(sent) >= 119
    for intent in sent:
        assert isinstance(intent.request, LookEdit)
        assert intent.ref is not None
        assert made[intent.ref] == intent.request.prompt


async def test_corrected_prompts_are_sent_after_a_402() -> None:
    """After a 402 corrected prompts are sent under their old keys without any option."""
    space = space_of(credits=4)
    async with opened(space) as session:
        source = await avatar(session)
        first = await BatchRunner(session).run(edits(source, 5))
        assert sorted(states(first).values()) == ["ready"] * 2 + ["unsent"] * 3
        planned = [i.key async for i in store_of(session).stream() if i.state is IntentState.PLANNED]
        assert planned
        space.balance += 100
        corrected = [BatchItem(key, LookEdit(source, f"{key} v2")) for key in planned]
        second = await BatchRunner(session).run(corrected)
    assert set(states(second).values()) == {"ready"}
    assert {f"{key} v2" for key in planned} <= set(paid_prompts(space))
    assert not set(planned) & set(paid_prompts(space))


async def test_the_same_key_twice_with_two_contents_is_a_conflict_at_its_turn_too() -> None:
    """A second content under one key is a conflict, even if the first item had ended UNSENT before."""
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
    assert paid_prompts(space).total() == 0


@pytest.mark.parametrize("at", [n / 10 for n in range(1, 60, 2)])
async def test_a_batch_cancelled_anywhere_and_run_again_at_once_pays_once(at: float) -> None:
    """A batch that is cancelled at any moment and run again at once pays each item once."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        items = [*edits(source, 4), *edits("e0", 3, "f")]
        run = asyncio.create_task(BatchRunner(session, max_credits=14).run(items))
        await asyncio.sleep(at)
        run.cancel()
        await asyncio.wait([run])
        report = await BatchRunner(session, max_credits=14).run(items)
        assert runtime_of(session).rate_limiter.window.held == 0
    assert set(states(report).values()) == {"ready"}
    assert max(paid_prompts(space).values()) == 1


async def test_a_run_beside_one_that_is_stopped_is_not_stopped() -> None:
    """Of two runs of the same items the second ends READY, whenever the first one is stopped."""
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
        assert set(paid_prompts(space).values()) == {1}


async def test_a_session_closed_under_two_runs_leaves_each_paid_once() -> None:
    """Where the session is closed under two runs, both raise `SessionClosed` and no item is paid twice."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        items = edits(source, 30)
        runs = [asyncio.create_task(BatchRunner(session).run(order)) for order in (items, items[::-1])]
        await asyncio.sleep(3)
    results = await asyncio.gather(*runs, return_exceptions=True)
    assert [type(result) for result in results] == [SessionClosed, SessionClosed]
    assert max(paid_prompts(space).values()) == 1
