"""What earlier runs spent counts before anything is sent; what cannot be read or stored is reported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest
from batch_kit import avatar, edits, opened, space_of, states
from internals_kit import Intent, MemoryLedger
from session_kit import paid_prompts

from hoox_async import BatchItem, BatchRunner, LookEdit, PromptAvatar
from hoox_async.errors import BudgetExceeded, InvalidRequest, StoreError
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


def as_generator(items: list[BatchItem]) -> Any:
    return (item for item in items)


async def slowly(items: list[BatchItem]) -> AsyncIterator[BatchItem]:
    for item in items:
        yield item
        await asyncio.sleep(1)


@pytest.mark.parametrize("given", [list, as_generator, slowly])
async def test_a_cap_counts_what_earlier_runs_spent_before_it_sends(given: Any) -> None:
    """What earlier runs spent counts under the cap before anything is sent, though those items come last."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        old, new = edits(source, 5, "old"), edits(source, 5, "new")
        await BatchRunner(session, max_credits=10).run(old)
        report = await BatchRunner(session, max_credits=14).run(given([*new, *old]))
    got = states(report)
    assert [got[item.key] for item in old] == ["ready"] * 5
    assert sorted(got[item.key] for item in new) == ["ready"] * 2 + ["unsent"] * 3
    assert space.credits_spent == 14


async def test_of_a_generator_all_that_was_spent_under_a_key_counts() -> None:
    """Before a generator is read, all that was spent or lost under any key counts under the cap."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        await BatchRunner(session).run(edits(source, 2, "old"))
        space.faults.fail_next("edit", Fault.DROP_BEFORE)
        await BatchRunner(session).run(edits(source, 1, "lost"))
        await session.submit(LookEdit(source, "single"))
        report = await BatchRunner(session, max_credits=8).run(as_generator(edits(source, 3, "new")))
        assert sorted(states(report).values()) == ["ready"] + ["unsent"] * 2
        assert isinstance(report.outcomes[2].error, BudgetExceeded)
        report = await BatchRunner(session, max_credits=6).run(edits(source, 3, "new"))
        assert set(states(report).values()) == {"ready"}


class Unreadable(MemoryLedger):
    """A store whose reading fails for the methods named in ``broken``."""

    broken = ""

    async def get(self, keys: Collection[str]) -> dict[str, Intent]:
        if "get" in self.broken:
            raise StoreError("a record is damaged")
        return await super().get(keys)

    def stream(self, *args: Any, **options: Any) -> AsyncIterator[Intent]:
        if "stream" in self.broken:
            raise StoreError("a record is damaged")
        return super().stream(*args, **options)


async def test_items_that_cannot_be_looked_up_are_unsent_and_say_that_their_cost_is_not_known() -> None:
    """Items that the store cannot look up are UNSENT, and their error says that their cost is not known."""
    space, store = space_of(), Unreadable()
    async with opened(space, store=store) as session:
        source = await avatar(session)
        items = [*edits(source, 3), BatchItem("chained", LookEdit("e0", "chained"))]
        await BatchRunner(session).run(items)
        store.broken = "get"
        report = await BatchRunner(session).run([*items, items[0]])
        assert set(states(report).values()) == {"unsent"}
        for outcome in report:
            assert isinstance(outcome.error, StoreError)
        assert "costs in earlier runs could not be read" in str(report.outcomes[0].error)
    assert space.credits_spent == 8


@pytest.mark.parametrize(("given", "broken"), [(list, "get"), (as_generator, "stream")])
async def test_a_cap_that_cannot_be_counted_sends_nothing(given: Any, broken: str) -> None:
    """Where the store cannot say what earlier runs spent, a batch with a cap sends nothing."""
    space, store = space_of(), Unreadable()
    async with opened(space, store=store) as session:
        source = await avatar(session)
        store.broken = broken
        report = await BatchRunner(session, max_credits=100).run(given(edits(source, 3)))
    assert {str(outcome.state) for outcome in report} <= {"unsent"}
    assert space.credits_spent == 0


async def test_a_key_that_no_store_can_hold_rejects_its_item_alone(tmp_path: Any) -> None:
    """Items with a lone surrogate in their key or source are REJECTED, and the others are sent."""
    space = space_of()
    async with opened(space, store=str(tmp_path / "a.db")) as session:
        items: list[BatchItem | LookEdit] = [
            BatchItem("ok", PromptAvatar("a")),
            BatchItem("bad\ud800", PromptAvatar("b")),
            BatchItem("edit", LookEdit("bad\ud800", "c")),
            LookEdit("bad\ud800", "d"),
        ]
        report = await BatchRunner(session).run(items)
    assert [str(outcome.state) for outcome in report] == ["ready"] + ["rejected"] * 3
    assert [outcome.key for outcome in report] == ["ok", "item 2", "edit", "item 4"]
    assert all(isinstance(outcome.error, InvalidRequest) for outcome in report.outcomes[1:])
    assert paid_prompts(space).total() == 1
