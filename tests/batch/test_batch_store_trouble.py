"""The batch runner when its store fails."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from batch_kit import QUICK, avatar, counts, edits, opened, space_of, stopped
from internals_kit import Accept, Intent, MarkUnknown, MemoryLedger, Send, Transition
from session_kit import paid_prompts

from hoox_async import BatchItem, BatchRunner, LookEdit, LookStatus, PromptAvatar
from hoox_async.errors import StoreError
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


class Failing(MemoryLedger):
    """A store that fails from its n-th write of a kind of step on."""

    def __init__(self, kind: type[Any], after: int) -> None:
        super().__init__()
        self.kind = kind
        self.left = after

    def _spend(self, kind: type[Any]) -> None:
        if kind is self.kind:
            self.left -= 1
            if self.left < 0:
                raise StoreError("the disk is full")

    async def plan(self, intent: Intent) -> Intent:
        self._spend(Send if intent.attempts else type(None))
        return await super().plan(intent)

    async def advance(self, key: str, *steps: Transition) -> Intent:
        for step in steps:
            self._spend(type(step))
        return await super().advance(key, *steps)

    async def get(self, keys: Any) -> dict[str, Intent]:
        self._spend(dict)
        return await super().get(keys)


async def test_a_store_that_cannot_be_written_stops_the_batch_before_money_is_spent() -> None:
    """A store that cannot be written stops the batch: items are UNSENT with its error, and not paid."""
    space = space_of()
    async with opened(space, store=Failing(Send, 3)) as session:
        source = await avatar(session)
        report = await BatchRunner(session).run(edits(source, 30))
    assert counts(report) == {"ready": 2, "unsent": 28}
    assert isinstance(report.outcomes[-1].error, StoreError)
    assert space.credits_spent == 4


async def test_an_accepted_look_that_could_not_be_recorded_is_pending_with_its_ref() -> None:
    """The outcome of a look that could not be recorded has its ref and its credits."""
    space = space_of()
    async with opened(space, store=Failing(Accept, 2)) as session:
        source = await avatar(session)
        report = await BatchRunner(session).run(edits(source, 3))
    lost = [outcome for outcome in report if str(outcome.state) == "pending"]
    assert len(lost) == 2
    assert {outcome.ref for outcome in lost} <= {charge.ref for charge in space.ledger}
    assert all(outcome.credits == 2 for outcome in lost)


@pytest.mark.parametrize("kind", [MarkUnknown, dict])
async def test_trouble_with_the_store_never_makes_a_lost_post_unsent(kind: Any) -> None:
    """Whichever write the store fails at, the outcome of each item covers what it has cost."""
    for after in range(8):
        space = space_of()
        store = Failing(kind, 0 if kind is MarkUnknown else 4 + after)
        async with opened(space, store=store, timeouts=QUICK) as session:
            source = await avatar(session)
            space.faults.fail_next("edit", Fault.DROP_AFTER, times=2)
            report = await asyncio.wait_for(BatchRunner(session).run(edits(source, 4)), 3600)
        paid = paid_prompts(space)
        for outcome in report:
            cost = 2 * paid[outcome.key]
            assert outcome.credits <= cost <= outcome.credits + outcome.at_risk, (after, outcome)


async def test_a_store_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    """A session whose store's folder does not exist cannot be opened."""
    with pytest.raises(StoreError):
        async with opened(space_of(), store=str(tmp_path / "none" / "campaign.db")):
            pass


async def test_after_a_stop_each_item_of_a_chain_has_one_outcome() -> None:
    """After a stop each item of a chain of sources has exactly one outcome."""
    space = space_of(50.0)
    items = [BatchItem("c0", PromptAvatar("c0"))]
    items += [BatchItem(f"c{n}", LookEdit(f"c{n - 1}", f"c{n}")) for n in range(1, 6)]
    async with opened(space) as session:
        report = await stopped(BatchRunner(session), items, 10.0)
    assert [outcome.key for outcome in report] == [f"c{n}" for n in range(6)]
    assert [str(outcome.state) for outcome in report] == ["ready"] + ["unsent"] * 5


async def test_a_stop_leaves_what_was_to_be_tried_again_unsent() -> None:
    """Items that ``retry`` would pay again are UNSENT after a stop, and the store keeps their looks."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        await BatchRunner(session).run(edits(source, 60))
        report = await stopped(BatchRunner(session, retry=["ready"]), edits(source, 60), 5.0)
        got = counts(report)
        assert got["unsent"] > 40
        assert got["unsent"] + got["ready"] == 60
        assert space.credits_spent == 2 * (60 + got["ready"])
        assert sum(outcome.credits for outcome in report) == space.credits_spent
        assert counts(await BatchRunner(session).run(edits(source, 60))) == {"ready": 60}


class Hanging(MemoryLedger):
    """A store that does not answer while ``hangs``."""

    hangs = False

    async def _answer(self) -> None:
        while self.hangs:
            await asyncio.sleep(1.0)

    async def advance(self, key: str, *steps: Transition) -> Intent:
        await self._answer()
        return await super().advance(key, *steps)

    async def get(self, keys: Any) -> dict[str, Intent]:
        await self._answer()
        return await super().get(keys)

    async def note_sends(self, sent_at: Any) -> None:
        await self._answer()
        await super().note_sends(sent_at)


async def test_looks_are_asked_for_and_reported_while_the_store_does_not_answer() -> None:
    """Neither the status requests nor the outcomes wait for the store: the looks are paid for and known."""
    store, space = Hanging(), space_of()
    async with opened(space, store=store) as session:
        source = await avatar(session)
        run = asyncio.create_task(BatchRunner(session).run(edits(source, 3)))
        await asyncio.sleep(5.0)
        assert space.credits_spent == 6
        store.hangs = True
        async with asyncio.timeout(60.0):
            report = await run
        assert counts(report) == {"ready": 3}
        assert (await session.status(source)).status is LookStatus.READY
        store.hangs = False
