"""The batch runner on the fake workspace: outcomes, their order and their money."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from batch_kit import PICTURE, QUICK, avatar, edits, opened, space_of, states
from internals_kit import MemoryLedger
from session_kit import paid_prompts

from hoox_async import BatchItem, BatchRunner, HooxSession, ImageAvatar, LookEdit, LookRef, PromptAvatar
from hoox_async.errors import (
    GenerationFailed,
    InvalidRequest,
    KeyConflict,
    NotSent,
    OutcomeUnknown,
    SessionClosed,
    WaitTimeout,
)
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


async def test_outcomes_come_in_the_order_given() -> None:
    """A report has its outcomes in the order of the input, each with its look, credits and times."""
    space = space_of(duration=lambda index, body: 50.0 - 5 * index)  # later ones are done first
    async with opened(space) as session:
        source = await avatar(session)
        report = await BatchRunner(session).run(edits(source, 8))
    assert [outcome.key for outcome in report] == [f"e{n}" for n in range(8)]
    assert {str(outcome.state) for outcome in report} == {"ready"}
    for outcome in report:
        assert outcome.credits == 2
        assert outcome.at_risk == 0
        assert str(outcome.evidence) == "answer"
        assert outcome.submitted_at is not None
        assert outcome.settled_at is not None
        assert outcome.submitted_at < outcome.settled_at
        assert outcome.unwrap().thumbnail_url
    assert space.credits_spent == 16


async def test_an_empty_input_is_an_empty_report() -> None:
    """An empty input gives an empty report without a request."""
    space = space_of()
    async with opened(space) as session:
        report = await BatchRunner(session).run([])
    assert len(report) == 0
    assert space.requests == []


async def test_every_kind_and_an_async_input() -> None:
    """An async generator of creations without keys gives outcomes with their credits and metadata."""
    space = space_of()

    async def given() -> Any:
        yield PromptAvatar("a host", resolution="4K", metadata={"row": "1"})
        yield ImageAvatar([PICTURE])

    async with opened(space) as session:
        report = await BatchRunner(session).run(given())
    assert [outcome.credits for outcome in report] == [4, 0]
    assert report.outcomes[0].metadata == {"row": "1"}
    assert all(len(outcome.key) == 32 for outcome in report)


async def test_equal_requests_without_keys_are_each_made() -> None:
    """Three equal requests without keys are three looks."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        report = await BatchRunner(session).run([LookEdit(source, "the same")] * 3)
    assert len({outcome.ref for outcome in report}) == 3
    assert paid_prompts(space)["the same"] == 3


async def test_a_key_that_is_given_twice_has_two_outcomes_and_is_paid_once() -> None:
    """A key that is repeated at once, and again after its first item has ended, is paid only once."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        item = BatchItem("a", LookEdit(source, "a"))
        rest = edits(source, 150)
        report = await BatchRunner(session).run([item, item, *rest, item])
    got = [outcome for outcome in report if outcome.key == "a"]
    assert [outcome.credits for outcome in got] == [2, 0, 0]
    assert len({outcome.ref for outcome in got}) == 1
    assert paid_prompts(space)["a"] == 1
    assert sum(outcome.credits for outcome in report) == space.credits_spent


async def test_a_key_that_is_given_twice_with_other_content_is_a_conflict() -> None:
    """Of two items with one key and different contents the first is made and the second is REJECTED."""
    async with opened(space_of()) as session:
        source = await avatar(session)
        items = [BatchItem("a", LookEdit(source, "one")), BatchItem("a", LookEdit(source, "two"))]
        first, second = (await BatchRunner(session).run(items)).outcomes
    assert str(first.state) == "ready"
    assert str(second.state) == "rejected"
    assert isinstance(second.error, KeyConflict)


async def test_failed_rejected_and_no_request() -> None:
    """FAILED was paid and REJECTED was not; an item that is no request is REJECTED."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        items: list[Any] = [
            BatchItem("fails", LookEdit(source, "x [fail]")),
            BatchItem("gone", LookEdit(LookRef("avtr_none", "look_none"), "x")),
            "text",
        ]
        fails, gone, text = (await BatchRunner(session).run(items)).outcomes
    assert str(fails.state) == "failed"
    assert fails.credits == 2
    assert isinstance(fails.error, GenerationFailed)
    assert str(gone.state) == "rejected"
    assert gone.credits == 0
    assert gone.error is not None
    assert gone.error.charged == "no"
    assert text.key == "item 3"
    assert str(text.state) == "rejected"
    assert isinstance(text.error, InvalidRequest)
    with pytest.raises(GenerationFailed):
        fails.unwrap()


async def test_a_look_that_takes_too_long_is_pending_and_goes_on_next_time() -> None:
    """A look that takes longer than ``look_timeout`` is PENDING, and the next run awaits it for free."""
    space = space_of(500.0)
    async with opened(space) as session:
        source = await avatar(session)
        runner = BatchRunner(session, look_timeout=30.0)
        (pending,) = (await runner.run(edits(source, 1))).outcomes
        assert str(pending.state) == "pending"
        assert pending.ref is not None
        assert pending.credits == 2
        assert isinstance(pending.error, WaitTimeout)
        (ready,) = (await BatchRunner(session).run(edits(source, 1))).outcomes
    assert str(ready.state) == "ready"
    assert ready.ref == pending.ref
    assert space.credits_spent == 2


@pytest.mark.parametrize(
    ("fault", "charged"),
    [(Fault.DROP_AFTER, 2), (Fault.DROP_BEFORE, 0), (Fault.HANG, 2), (Fault.ERROR_500_AFTER, 2)],
)
async def test_a_lost_post_is_unknown_and_sent_once(fault: Fault, charged: int) -> None:
    """A lost POST is UNKNOWN, its credits are at risk, and neither this run nor the next sends it again."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", fault)
        for _ in range(2):
            (lost,) = (await BatchRunner(session).run(edits(source, 1))).outcomes
            assert str(lost.state) == "unknown"
            assert lost.credits == 0
            assert lost.at_risk == 2
            assert isinstance(lost.error, OutcomeUnknown)
    assert space.credits_spent == charged
    assert sum(record.endpoint == "edit" for record in space.requests) == 1


async def test_on_unknown_resend_pays_again_and_reports_what_is_at_risk() -> None:
    """With ``on_unknown="resend"`` a lost item is paid again, and its first price stays at risk."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.DROP_AFTER)
        runner = BatchRunner(session, on_unknown="resend")
        (outcome,) = (await runner.run(edits(source, 1))).outcomes
    assert str(outcome.state) == "ready"
    assert outcome.credits == 2
    assert outcome.at_risk == 2
    assert space.credits_spent == 4


async def test_resend_is_done_once_a_run() -> None:
    """An item whose resend is lost too is UNKNOWN and not sent a third time in the run."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.DROP_AFTER, times=5)
        item = edits(source, 1)[0]
        runner = BatchRunner(session, on_unknown="resend")
        first, again = (await runner.run([item, item])).outcomes
        assert str(first.state) == "unknown"
        assert first.at_risk == 4
        assert again.at_risk == 0
    assert paid_prompts(space)["e0"] == 2


async def test_an_unknown_that_is_twice_in_one_input_is_resent_once() -> None:
    """An unknown whose key is twice in the input is resent once."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.DROP_AFTER, times=9)
        item = BatchItem("a", LookEdit(source, "a"))
        await BatchRunner(session).run([item])
        rest = edits(source, 3)
        report = await BatchRunner(session, on_unknown="resend", max_in_flight=1).run([item, *rest, item])
    assert paid_prompts(space)["a"] == 2
    assert sum(outcome.at_risk for outcome in report) == space.credits_spent


async def test_a_connection_that_is_never_made_is_tried_again_then_unsent() -> None:
    """After three refused connections an item is sent; after eight it is UNSENT with a `NotSent`."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.REFUSED, times=3)
        assert states(await BatchRunner(session).run(edits(source, 1))) == {"e0": "ready"}
        space.faults.fail_next("edit", Fault.REFUSED, times=8)
        (unsent,) = (await BatchRunner(session).run(edits(source, 1, "f"))).outcomes
    assert str(unsent.state) == "unsent"
    assert isinstance(unsent.error, NotSent)


async def test_a_429_is_sent_again_until_it_is_accepted() -> None:
    """Items are sent again after twelve 429 and end READY."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.RATE_LIMITED, times=12)
        assert states(await BatchRunner(session).run(edits(source, 2))) == {"e0": "ready", "e1": "ready"}


async def test_two_runs_of_the_same_items_at_once_pay_once() -> None:
    """Two simultaneous runs of the same items on one session pay each item once."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        runner = BatchRunner(session)
        one, two = await asyncio.gather(runner.run(edits(source, 20)), runner.run(edits(source, 20)))
    assert [outcome.ref for outcome in one] == [outcome.ref for outcome in two]
    assert set(paid_prompts(space).values()) == {1}


async def test_estimate_says_what_would_be_sent_now() -> None:
    """`estimate` sends nothing, counts a repeated key once, and does not count items that are settled."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        items = [*edits(source, 10), BatchItem("up", LookEdit(source, "up", resolution="4K", upscale=True))]
        runner = BatchRunner(session)
        sent = len(space.requests)
        before = await runner.estimate([*items, items[0]])
        assert len(space.requests) == sent
        assert before.credits == Decimal("25.5")
        assert before.by_kind == {"edit": 11}
        assert str(before).startswith("11 edits: 25.5 credits, about ")
        assert repr(BatchRunner(session, max_credits=9)) == "<BatchRunner: max_in_flight=400, max_credits=9>"
        assert repr(runner.stream([])) == "<OutcomeStream: not begun>"
        assert before.count == 11
        assert before.duration > 0
        await runner.run(items)
        after = await runner.estimate([*items, BatchItem("e0", LookEdit(source, "other")), "no request"])  # type: ignore[list-item]
    assert after.credits == 0
    assert after.count == 0


async def test_estimate_of_a_session_that_was_never_opened_only_reads() -> None:
    """It says what the same session says once it is open, also while another one has the store open.

    A closed session estimates nothing.
    """
    space, store = space_of(), MemoryLedger()
    async with opened(space, store=store) as session:
        source = await avatar(session)
        items = edits(source, 10)
        await BatchRunner(session).run(items[:4])
        expected = await BatchRunner(session).estimate(items)
        unopened = await BatchRunner(HooxSession("not_the_key", store=store)).estimate(items)
    assert (unopened.credits, unopened.by_kind) == (expected.credits, expected.by_kind)
    assert unopened.count == 6
    with pytest.raises(SessionClosed):
        await BatchRunner(session).estimate(items)


async def test_estimate_of_unknowns_and_retries() -> None:
    """`estimate` counts unknown and failed items only where the options would send them again."""
    space = space_of()
    async with opened(space, timeouts=QUICK) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.DROP_AFTER)
        items = [BatchItem("u", LookEdit(source, "u")), BatchItem("f", LookEdit(source, "f [fail]"))]
        await BatchRunner(session).run(items)
        for options, credits in [({}, 0), ({"on_unknown": "resend"}, 2), ({"retry": ["failed"]}, 2)]:
            assert (await BatchRunner(session, **options).estimate(items)).credits == credits  # type: ignore[arg-type]


async def test_what_the_input_raises_is_raised_to_the_caller() -> None:
    """An exception of the input is raised to the caller, and no task of the batch is left."""
    space = space_of(60.0)

    def broken() -> Any:
        yield from edits(LookRef("avtr_none", "look_none"), 3)
        raise LookupError

    async with opened(space) as session:
        with pytest.raises(LookupError):
            await BatchRunner(session).run(broken())
        tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("hoox-batch")]
        assert tasks == []
