"""Lost POSTs of a store that can't be read: each is reported, and every item has its outcome."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from batch_kit import avatar, lose, opened, space_of
from internals_kit import Intent, MarkUnknown, MemoryLedger, Transition

from hoox_async import BatchRunner, LookEdit
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


class NoReads(MemoryLedger):
    """Reads nothing any more once a POST was lost, with an error of its own."""

    lost = False

    async def advance(self, key: str, *steps: Transition) -> Intent:
        self.lost = self.lost or isinstance(steps[0], MarkUnknown)
        return await super().advance(key, *steps)

    async def get(self, keys: Collection[str]) -> dict[str, Intent]:
        if self.lost:
            raise OSError("gone")
        return await super().get(keys)


async def test_a_loss_is_reported_though_the_store_cannot_be_read() -> None:
    """The caller gets OutcomeUnknown although the store fails."""
    space, store = space_of(), NoReads()
    async with opened(space, store=store) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_AFTER)


class Unreadable(MemoryLedger):
    """Once it is told to, it can't be read: what it raises is no error of ours."""

    is_broken = False

    async def get(self, keys: Collection[str]) -> dict[str, Intent]:
        if self.is_broken:
            raise OSError("the disk is gone")
        return await super().get(keys)

    async def advance(self, key: str, *steps: Transition) -> Intent:
        after = await super().advance(key, *steps)
        self.is_broken = True
        return after


@pytest.mark.parametrize("charged_and_lost", [False, True])
async def test_every_item_has_its_outcome_whatever_a_reading_store_raises(charged_and_lost: bool) -> None:
    """A store that raises what is no error of ours, after the POSTs, takes no outcome from the batch."""
    space, store = space_of(), Unreadable()
    async with opened(space, store=store) as session:
        ref = await avatar(session)
        store.is_broken = False
        if charged_and_lost:
            space.faults.fail_next("edit", Fault.DROP_AFTER)
        report = await BatchRunner(session, look_timeout=60).run([LookEdit(ref, "a scene")])
        assert [outcome.state for outcome in report.outcomes] == ["unknown" if charged_and_lost else "ready"]
