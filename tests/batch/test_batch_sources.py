"""Edits whose source is another item: they wait for it, and are sent, skipped or left unsent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from batch_kit import PICTURE, avatar, edits, hooked, opened, space_of, states
from session_kit import now, paid_prompts

from hoox_async import BatchItem, BatchRunner, ImageAvatar, LookEdit, LookRef, PromptAvatar
from hoox_async.errors import InvalidRequest
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


def chain(length: int, first: Any) -> list[BatchItem]:
    """Each item edits the one before."""
    items = [BatchItem("c0", first)]
    items += [BatchItem(f"c{n}", LookEdit(f"c{n - 1}", f"c{n}")) for n in range(1, length)]
    return items


async def test_an_edit_waits_until_its_source_is_ready() -> None:
    """Each edit in a chain is sent when its source is READY, and edits that look."""
    space = space_of()
    async with opened(space) as session:
        report = await BatchRunner(session).run(chain(4, PromptAvatar("a host")))
    assert set(states(report).values()) == {"ready"}
    refs = [outcome.ref for outcome in report]
    assert len({ref.avatar_id for ref in refs if ref}) == 1
    for charge, source in zip(space.ledger[1:], refs, strict=False):
        assert source is not None
        assert charge.request["look_id"] == source.look_id


async def test_many_depend_on_one() -> None:
    """All dependents of an item are made, also with one item in flight at a time."""
    space = space_of()
    items = [BatchItem("s", PromptAvatar("a host")), *edits("s", 20)]
    for flying in (1, 400):
        async with opened(space) as session:
            report = await BatchRunner(session, max_in_flight=flying).run(items)
            assert set(states(report).values()) == {"ready"}


async def test_waiting_for_a_source_takes_no_place_in_flight() -> None:
    """Items that wait for their source do not count for ``max_in_flight``."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        items = [BatchItem("s", LookEdit(source, "s")), *edits("s", 5), *edits(source, 5, "f")]
        got = [outcome.key async for outcome in BatchRunner(session, max_in_flight=2).stream(items)]
    assert sorted(got) == sorted(item.key for item in items)


@pytest.mark.parametrize(
    ("first", "fault", "state", "rest"),
    [
        (PromptAvatar("x [fail]"), None, "failed", "skipped"),
        (PromptAvatar("x"), Fault.status(400), "rejected", "skipped"),
        (PromptAvatar("x"), Fault.DROP_AFTER, "unknown", "unsent"),
        (PromptAvatar("x"), Fault.REFUSED, "unsent", "unsent"),
    ],
)
async def test_the_outcome_of_a_source_decides_on_the_whole_chain(
    first: Any, fault: Fault | None, state: str, rest: str
) -> None:
    """A source that will never be READY skips its dependents; one that may still be leaves them unsent."""
    space = space_of()
    async with opened(space) as session:
        if fault is not None:
            space.faults.fail_next("create", fault, times=8)
        report = await BatchRunner(session).run(chain(4, first))
    got = states(report)
    assert got == {"c0": state, "c1": rest, "c2": rest, "c3": rest}
    assert report.outcomes[1].error is not None
    assert "'c0'" in str(report.outcomes[1].error)
    assert sum(record.endpoint == "edit" for record in space.requests) == 0


async def test_a_pending_source_leaves_its_dependents_unsent_until_it_is_done() -> None:
    """Dependents of a PENDING source are UNSENT, and the next run makes them."""
    space = space_of(100.0)
    async with opened(space) as session:
        items = chain(3, PromptAvatar("a host"))
        first = await BatchRunner(session, look_timeout=30).run(items)
        assert states(first) == {"c0": "pending", "c1": "unsent", "c2": "unsent"}
        second = await BatchRunner(session).run(items)
        assert set(states(second).values()) == {"ready"}
    assert set(paid_prompts(space).values()) == {1}


async def test_a_chain_of_a_thousand_is_skipped_without_recursion() -> None:
    """All 2,999 dependents of a rejected item in a chain are SKIPPED, without a RecursionError."""
    space = space_of()
    async with opened(space) as session:
        space.faults.fail_next("create", Fault.status(400))
        report = await BatchRunner(session).run(chain(3000, PromptAvatar("x")))
    assert list(states(report).values()) == ["rejected"] + ["skipped"] * 2999


async def test_a_source_in_the_store_of_an_earlier_run() -> None:
    """An edit can name a source of an earlier run: it waits for an ACCEPTED one and uses a READY one."""
    space = space_of(60.0)
    async with opened(space) as session:
        await BatchRunner(session, look_timeout=5).run([BatchItem("s", PromptAvatar("a host"))])
        report = await BatchRunner(session).run(edits("s", 3))
        assert set(states(report).values()) == {"ready"}
        assert now() > 120
        again = await BatchRunner(session).run(edits("s", 3, "f"))
        assert set(states(again).values()) == {"ready"}
    assert paid_prompts(space)["a host"] == 1


async def test_one_task_waits_for_a_source_of_an_earlier_run_for_all_who_need_it() -> None:
    """500 edits of one source of an earlier run wait for it in one task."""
    space = space_of(60.0)
    async with opened(space) as session:
        await BatchRunner(session, look_timeout=5).run([BatchItem("s", PromptAvatar("a host"))])
        running = asyncio.ensure_future(BatchRunner(session).run(edits("s", 500)))
        await asyncio.sleep(10)
        names = [task.get_name() for task in asyncio.all_tasks()]
        assert names.count("hoox-batch-source") == 1
        running.cancel()
        await asyncio.wait((running,))


async def test_a_pending_source_in_the_store_that_stays_pending() -> None:
    """Dependents of an earlier run's source that stays pending are UNSENT after ``look_timeout``."""
    space = space_of(10**6)
    async with opened(space) as session:
        await BatchRunner(session, look_timeout=5).run([BatchItem("s", PromptAvatar("a host"))])
        report = await BatchRunner(session, look_timeout=50).run(edits("s", 2))
    assert set(states(report).values()) == {"unsent"}


async def test_an_edit_whose_source_comes_later_or_nowhere_is_rejected() -> None:
    """An edit whose source comes later in the input, or is the edit itself, is REJECTED."""
    space = space_of()
    items = [
        BatchItem("early", LookEdit("late", "x")),
        BatchItem("self", LookEdit("self", "x")),
        BatchItem("late", ImageAvatar([PICTURE])),
        BatchItem("after", LookEdit("late", "x")),
        BatchItem("behind", LookEdit("early", "x")),
    ]
    async with opened(space) as session:
        report = await BatchRunner(session).run(items)
    assert states(report) == {
        "early": "rejected", "self": "rejected", "late": "ready", "after": "ready", "behind": "skipped",
    }  # fmt: skip
    error = report.outcomes[0].error
    assert isinstance(error, InvalidRequest)
    assert error.field == "source"


async def test_a_source_whose_key_was_refused_here_skips_though_the_store_has_a_look() -> None:
    """Edits of an item that is a key conflict are SKIPPED, though the store has a look under that key."""
    space = space_of()
    async with opened(space) as session:
        await BatchRunner(session).run([BatchItem("s", PromptAvatar("old"))])
        items = [BatchItem("s", PromptAvatar("new")), *edits("s", 300)]
        report = await BatchRunner(session).run(items)
    assert list(states(report).values()) == ["rejected"] + ["skipped"] * 300


async def test_dependents_of_a_source_that_is_twice_in_the_input_are_sent() -> None:
    """The duplicates of an item have its outcome, and its dependents are sent."""
    space = space_of()
    source = BatchItem("s", PromptAvatar("a host"))
    async with opened(space) as session:
        report = await BatchRunner(session).run([source, source, *edits("s", 2), source])
    assert [str(outcome.state) for outcome in report] == ["ready"] * 5
    assert paid_prompts(space)["a host"] == 1


async def test_an_edit_of_a_source_that_was_proved_by_a_delivery() -> None:
    """The edits of a lost look that its delivery has proved are made."""
    space = space_of()
    async with hooked(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.DROP_AFTER)
        report = await BatchRunner(session).run(chain(3, LookEdit(source, "first")))
    assert set(states(report).values()) == {"ready"}
    assert str(report.outcomes[0].evidence) == "webhook"


async def test_a_source_ref_that_does_not_exist_rejects_its_item_alone() -> None:
    """Edits of a look that does not exist are REJECTED, and the others are made."""
    space = space_of()
    async with opened(space) as session:
        good = await avatar(session)
        nowhere = LookRef("avtr_none", "look_none")
        report = await BatchRunner(session).run([*edits(nowhere, 2), *edits(good, 2, "f")])
    assert states(report) == {"e0": "rejected", "e1": "rejected", "f0": "ready", "f1": "ready"}


async def test_an_edit_of_a_look_named_by_text_is_made_from_that_look() -> None:
    """An edit whose source is the text of a ref is the same item as the edit of that ref, paid once."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        [by_text] = await BatchRunner(session).run([BatchItem("e", LookEdit(str(source.ref), "a beach"))])
        [by_ref] = await BatchRunner(session).run([BatchItem("e", LookEdit(source, "a beach"))])
    assert by_text.unwrap() == by_ref.unwrap()
    assert [charge.request["look_id"] for charge in space.ledger[1:]] == [source.ref.look_id]


async def test_a_source_that_is_a_key_and_a_ref_costs_nothing() -> None:
    """An edit whose source is both a key and a ref is REJECTED, and the item with that key is made."""
    space = space_of()
    items = [
        BatchItem("avtr_a:look_1", PromptAvatar("a host")),
        BatchItem("e", LookEdit("avtr_a:look_1", "a beach")),
    ]
    async with opened(space) as session:
        report = await BatchRunner(session).run(items)
    assert states(report) == {"avtr_a:look_1": "ready", "e": "rejected"}
    assert isinstance(report.outcomes[1].error, InvalidRequest)
    assert len(space.ledger) == 1
