"""What stops a batch: its budget, refusals of the workspace, failures, the user, trouble with the store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from batch_kit import avatar, counts, edits, hooked, opened, space_of, states, stopped
from session_kit import now, paid_prompts

from hoox_async import BatchItem, BatchRunner, ImageAvatar, LookEdit, LookRef, PromptAvatar
from hoox_async.errors import (
    BudgetExceeded,
    HooxError,
    InsufficientCredits,
    InvalidRequest,
    NotFound,
    PermissionDenied,
)
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


# --- credits


async def test_max_credits_is_never_passed() -> None:
    """As many items as fit under ``max_credits`` are made; the others are UNSENT with a `BudgetExceeded`."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        report = await BatchRunner(session, max_credits=7).run(edits(source, 10))
    assert counts(report) == {"ready": 3, "unsent": 7}
    assert space.credits_spent == 6
    unsent = [outcome for outcome in report if str(outcome.state) == "unsent"]
    assert all(isinstance(outcome.error, BudgetExceeded) for outcome in unsent)


async def test_what_is_at_risk_counts_as_spent() -> None:
    """The credits of a lost POST count as spent, since they may be."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.DROP_BEFORE, times=2)
        report = await BatchRunner(session, max_credits=6).run(edits(source, 5))
    assert counts(report) == {"ready": 1, "unsent": 2, "unknown": 2}
    assert sum(outcome.credits + outcome.at_risk for outcome in report) == 6


async def test_the_credits_of_a_refused_item_go_to_the_next() -> None:
    """An item that waits for the cap goes when an earlier one turns out to cost nothing."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.status(400), times=2)
        report = await BatchRunner(session, max_credits=4).run(edits(source, 5))
    assert counts(report) == {"rejected": 2, "ready": 2, "unsent": 1}


async def test_free_items_fit_under_any_cap() -> None:
    """An avatar from images, which costs nothing, is made under a cap of 0."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        items: list[Any] = [*edits(source, 2), ImageAvatar(["https://example.com/b.jpg"])]
        report = await BatchRunner(session, max_credits=0).run(items)
    assert counts(report) == {"unsent": 2, "ready": 1}


@pytest.mark.parametrize("as_list", [True, False])
async def test_what_the_same_items_spent_in_earlier_runs_counts(as_list: bool) -> None:
    """What items of this input spent in earlier runs counts under the cap, also if they come last."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        old, new = edits(source, 4, "old"), edits(source, 400, "new")
        await BatchRunner(session).run(old)
        items = [*new, *old] if as_list else [*old, *new]
        report = await BatchRunner(session, max_credits=14).run(items if as_list else iter(items))
    assert counts(report) == {"ready": 4 + 3, "unsent": 397}
    assert space.credits_spent == 14
    assert sum(outcome.credits for outcome in report) == 14


async def test_retries_count_beside_what_they_cost_before() -> None:
    """Two rounds of one item are two payments under the cap."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        items = [BatchItem(f"f{n}", LookEdit(source, f"f{n} [fail]")) for n in range(3)]
        await BatchRunner(session).run(items)
        report = await BatchRunner(session, max_credits=8, retry=["failed"]).run(items)
    assert counts(report) == {"failed": 1, "unsent": 2}
    assert space.credits_spent == 8
    assert sum(outcome.credits for outcome in report) == 8


# --- refusals of the workspace


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.status(402, '{"error":"none","code":"insufficient_credits"}'), InsufficientCredits),
        (Fault.status(403, '{"error":"no","code":"plan_required"}'), PermissionDenied),
        (Fault.status(404, '{"error":"no","code":"SPACE_NOT_FOUND"}'), NotFound),
    ],
    ids=["402", "plan", "space"],
)
async def test_a_refusal_of_the_workspace_stops_the_batch(fault: Fault, error: type[HooxError]) -> None:
    """After a refusal of the workspace accepted looks are awaited and all other items are UNSENT."""
    space = space_of(60.0)
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", fault, after=4)
        report = await BatchRunner(session).run(edits(source, 200))
        got = counts(report)
        assert got["ready"] >= 4
        assert got["ready"] + got["unsent"] == 200
        assert got["unsent"] > 150
        assert any(isinstance(outcome.error, error) for outcome in report)
        again = await BatchRunner(session).run(edits(source, 20))
    assert counts(again) == {"ready": 20}
    assert set(paid_prompts(space).values()) == {1}


async def test_the_workspace_runs_out_of_credits() -> None:
    """At the API's own 402 the batch stops: what could be paid is made, once each."""
    space = space_of(credits=7)
    async with opened(space) as session:
        source = await avatar(session)
        report = await BatchRunner(session).run(edits(source, 10))
        assert counts(report) == {"ready": 3, "unsent": 7}
        space.balance += 100
        assert counts(await BatchRunner(session).run(edits(source, 10))) == {"ready": 10}


# --- failures


async def test_max_failures_stops() -> None:
    """``max_failures`` failed or rejected items stop the batch."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        items = [BatchItem(f"f{n}", LookEdit(source, f"{n} [fail]")) for n in range(100)]
        report = await BatchRunner(session, max_failures=3, max_in_flight=2).run(items)
        assert counts(report)["failed"] in (3, 4)
        assert "max_failures" in str(report.outcomes[-1].error)
        nowhere = LookRef("avtr_none", "look_none")
        report = await BatchRunner(session, max_failures=3, max_in_flight=1).run(edits(nowhere, 50))
        assert counts(report) == {"rejected": 3, "unsent": 47}


# --- the user


async def test_stop_sends_nothing_more_and_awaits_what_was_accepted() -> None:
    """After `stop` nothing is sent, accepted looks are awaited, and the next run makes the others."""
    space = space_of(60.0)
    async with opened(space) as session:
        source = await avatar(session)
        runner = BatchRunner(session)
        report = await stopped(runner, edits(source, 100), 10.0)
        sent = paid_prompts(space)
        assert set(counts(report)) == {"ready", "unsent"}
        assert 5 < counts(report)["ready"] == sent.total() - 1 < 30
        assert all(record.at < 15 for record in space.requests if record.endpoint == "edit")
        again = await runner.run(edits(source, 100))
    assert counts(again) == {"ready": 100}
    assert set(paid_prompts(space).values()) == {1}


async def test_a_stop_of_one_resolution_holds_its_requests_alone() -> None:
    """After `stop("4K")` nothing more is sent at 4K, nor made from those looks; the rest is, and 4K later."""
    space = space_of(60.0)
    async with opened(space) as session:
        source = await avatar(session)
        items: list[BatchItem] = []
        for n in range(40):
            items.append(BatchItem(f"4k{n}", LookEdit(source, f"4k{n}", resolution="4K")))
            items.append(BatchItem(f"2k{n}", LookEdit(source, f"2k{n}")))
        items.append(BatchItem("after", LookEdit("4k39", "after")))
        runner = BatchRunner(session)
        with pytest.raises(InvalidRequest, match="resolution"):
            runner.stop("8K")  # type: ignore[arg-type]
        outcomes = {}
        async with runner.stream(items) as stream:
            asyncio.get_running_loop().call_later(10.0, runner.stop, "4K")
            began = now()
            async for outcome in stream:
                outcomes[outcome.key] = outcome
        sent_in_4k = [n for n in range(40) if outcomes[f"4k{n}"].state == "ready"]
        assert 5 < len(sent_in_4k) < 15
        late = [
            record.body["prompt"] for record in space.requests if record.at > began + 10.0 and record.body
        ]
        assert not any(prompt.startswith("4k") for prompt in late)
        assert all(outcomes[f"2k{n}"].state == "ready" for n in range(40))
        assert {
            outcome.state
            for key, outcome in outcomes.items()
            if key not in {f"4k{n}" for n in sent_in_4k} and not key.startswith("2k")
        } == {"unsent"}
        assert "4K" in str(outcomes["4k39"].error)
        again = await runner.run(items)
    assert counts(again) == {"ready": 81}
    assert set(paid_prompts(space).values()) == {1}


async def test_a_stop_ends_at_once_whatever_items_wait_for() -> None:
    """After a stop each item that waits is UNSENT within a second, whatever it waits for."""
    space = space_of(duration=lambda index, body: 5000.0 if body.get("prompt") == "old" else 400.0)
    async with opened(space) as session:
        source = await avatar(session)
        await BatchRunner(session, look_timeout=1).run([BatchItem("old", PromptAvatar("old"))])
        space.faults.fail_next("edit", Fault.HANG_BEFORE)
        space.faults.fail_next("edit", Fault.rate_limited(retry_after=300))
        items = [
            *edits(source, 30),
            *edits("old", 3, "behind-old"),
            BatchItem("s", PromptAvatar("s")),
            *edits("s", 3, "behind-s"),
            *edits("behind-s0", 2, "behind-behind"),
        ]
        began = now()
        ended: dict[str, float] = {}
        runner = BatchRunner(session, max_credits=20)
        asyncio.get_running_loop().call_later(130.0, runner.stop)
        async for outcome in runner.stream(items):
            ended[outcome.key] = now() - began
            if str(outcome.state) == "unsent":
                assert ended[outcome.key] < 131.0, outcome.key
    assert len(ended) == len(items)


async def test_a_stop_while_posts_are_outstanding_reports_their_outcomes() -> None:
    """Whenever a stop comes, the outcome of each item covers what it has cost."""
    for tenth in range(0, 60, 2):
        space = space_of(5.0)
        async with opened(space, transport={"latency": 2.0}) as session:
            source = await avatar(session)
            space.faults.fail_next("edit", Fault.DROP_AFTER, after=2)
            space.faults.fail_next("edit", Fault.RATE_LIMITED, after=1)
            space.faults.fail_next("edit", Fault.status(400), after=1)
            report = await stopped(BatchRunner(session), edits(source, 12), tenth / 10)
            paid = paid_prompts(space)
            for outcome in report:
                cost = 2 * paid[outcome.key]
                assert outcome.credits <= cost <= outcome.credits + outcome.at_risk, (tenth, outcome)


async def test_a_stop_of_an_input_without_an_end_ends_it() -> None:
    """After a stop an endless generator is read no further, and each item of a list has its outcome."""

    def endless() -> Iterator[LookEdit]:
        n = 0
        while True:
            n += 1
            yield LookEdit(source, f"p{n}")

    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        report = await stopped(BatchRunner(session), endless(), 20.0)
        assert counts(report)["ready"] < 40
        assert counts(report)["unsent"] < 1200
        whole = await stopped(BatchRunner(session), edits(source, 3000), 1.0)
    assert len(whole) == 3000


async def test_a_stop_before_the_start_and_after_the_end_harms_nothing() -> None:
    """A stop concerns only runs that go on at that time; the next run sends as usual."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        runner = BatchRunner(session)
        runner.stop()
        assert counts(await runner.run(edits(source, 3))) == {"ready": 3}
        runner.stop()
        assert counts(await runner.run(edits(source, 3, "f"))) == {"ready": 3}


async def test_a_stop_holds_what_would_be_resent() -> None:
    """After a stop a lost item is not resent, not even with ``on_unknown="resend"``."""
    space = space_of()
    async with hooked(space) as session:  # so a delivery is waited for first
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.DROP_BEFORE)
        runner = BatchRunner(session, on_unknown="resend")
        report = await stopped(runner, edits(source, 1), 2.0)
        assert states(report) == {"e0": "unknown"}
    assert paid_prompts(space)["e0"] == 0
