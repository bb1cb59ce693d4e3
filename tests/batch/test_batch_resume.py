"""Running again is a resume: over a store on disk, with another input, and also days later."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from batch_kit import avatar, edits, opened, space_of, states
from session_kit import paid_prompts

from hoox_async import BatchItem, BatchReport, BatchRunner, Costs, LookEdit, LookRef, read_costs
from hoox_async.errors import KeyConflict
from hoox_async.sandbox import DeliveryOptions, Fault, Space
from hoox_async.testing import VirtualTimeLoop
from hoox_async.webhooks import WebhookHub

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "campaign.db")


async def run(space: Space, store: str, items: Iterable[Any], **options: Any) -> BatchReport:
    """One process's run: a session of its own over the store."""
    async with opened(space, store=store) as session:
        return await BatchRunner(session, **options).run(items)


async def source_of(space: Space) -> LookRef:
    async with opened(space) as session:
        return await avatar(session)


async def test_what_is_settled_is_not_paid_again(store: str) -> None:
    """A second run gives the same outcomes without a request."""
    space = space_of()
    items = edits(await source_of(space), 6)
    items[2] = BatchItem("e2", LookEdit(items[0].request.source, "e2 [fail]"))  # type: ignore[union-attr]
    first = await run(space, store, items)
    sent = len(space.requests)
    again = await run(space, store, items)
    assert len(space.requests) == sent
    assert [(o.key, o.state, o.ref, o.credits) for o in again] == [
        (o.key, o.state, o.ref, o.credits) for o in first
    ]
    assert str(again.outcomes[2].error) == str(first.outcomes[2].error)


async def test_what_failed_looks_cost_stays_named_when_they_are_paid_again(store: str) -> None:
    """Sums name the credits of looks that failed, in earlier rounds too: nobody says if they are refunded.

    The report, one that is opened from the store, its lines of JSON and the store's costs say the same.
    """
    space = space_of()
    source = await source_of(space)

    def items(prompt: str) -> list[BatchItem]:
        four, two = LookEdit(source, prompt, resolution="4K"), LookEdit(source, prompt)
        return [BatchItem("e0", four), BatchItem("e1", two)]

    first = await run(space, store, items("[fail]"))
    again = await run(space, store, items("better"), changed="redo")
    assert (len(first.failed), len(again.ready)) == (2, 2)
    unknown = "(whether they are refunded is not known)"
    assert f"\n6 credits spent, of which 6 for failed looks {unknown}" in str(first)
    said = f"12 credits spent, of which 6 for failed looks {unknown}"
    opened_again = await BatchReport.open(store)
    assert said in str(again)
    assert said in str(opened_again)
    assert [outcome.credits_failed for outcome in opened_again] == [4, 2]
    assert str(Costs.total(await read_costs(store, by="state"))) == said
    lines = (await again.to_jsonl(Path(store).with_suffix(".jsonl"))).read_text().splitlines()
    assert [json.loads(line)["credits_failed"] for line in lines] == ["4", "2"]


async def test_additions_removals_and_another_order(store: str) -> None:
    """New items are sent, items that are gone have no outcome, and the order does not matter."""
    space = space_of()
    source = await source_of(space)
    await run(space, store, edits(source, 6))
    changed = [*edits(source, 9)[:1:-1], BatchItem("new", LookEdit(source, "new"))]
    report = await run(space, store, changed)
    assert [outcome.key for outcome in report] == [item.key for item in changed]
    assert set(states(report).values()) == {"ready"}
    assert set(paid_prompts(space).values()) == {1}
    assert paid_prompts(space).total() == 1 + 10


async def test_digest_keys_survive_too(store: str) -> None:
    """Of equal requests without keys only those beyond the earlier runs' number are paid."""
    space = space_of()
    source = await source_of(space)
    same = LookEdit(source, "same")
    await run(space, store, [same, LookEdit(source, "other"), same])
    await run(space, store, [LookEdit(source, "third"), same, same, same])
    assert paid_prompts(space)["same"] == 3
    assert paid_prompts(space)["other"] == paid_prompts(space)["third"] == 1


async def test_the_same_key_with_other_content(store: str) -> None:
    """Other content is a conflict by default; with ``changed`` the old look is kept, or the new one paid."""
    space = space_of()
    source = await source_of(space)
    (old,) = (await run(space, store, edits(source, 1))).outcomes
    changed = [BatchItem("e0", LookEdit(source, "changed"))]
    (conflict,) = (await run(space, store, changed)).outcomes
    assert str(conflict.state) == "rejected"
    assert conflict.credits == 2  # for the old one
    assert isinstance(conflict.error, KeyConflict)
    (kept,) = (await run(space, store, changed, changed="keep")).outcomes
    assert kept.ref == old.ref
    assert kept.request == old.request
    assert kept.credits == 2
    assert paid_prompts(space)["changed"] == 0
    (redone,) = (await run(space, store, changed, changed="redo")).outcomes
    assert redone.ref != old.ref
    assert redone.credits == 4  # over all runs of the store
    assert paid_prompts(space)["changed"] == 1
    (again,) = (await run(space, store, changed, changed="redo")).outcomes
    assert again.ref == redone.ref


@pytest.mark.parametrize("word", ["ready", "failed"])
async def test_retry_pays_again_and_counts_both_payments(store: str, word: str) -> None:
    """An item that is paid again has the credits of both rounds; other states are not paid again."""
    space = space_of()
    source = await source_of(space)
    items = [BatchItem("ready", LookEdit(source, "r")), BatchItem("failed", LookEdit(source, "f [fail]"))]
    first = {o.key: o for o in await run(space, store, items)}
    second = {o.key: o for o in await run(space, store, items, retry=[word])}
    assert {key: o.credits for key, o in second.items()} == {"ready": 2, "failed": 2, word: 4}
    assert second[word].ref != first[word].ref
    assert paid_prompts(space).total() == 1 + 3


async def test_retry_pending_pays_again_for_a_look_that_never_ends(store: str) -> None:
    """With ``retry=["pending"]`` a look that never ends is paid again, and both prices count."""
    space = space_of(duration=lambda index, body: 10**7 if index == 0 else 10.0)
    source = await source_of(space)
    (first,) = (await run(space, store, edits(source, 1), look_timeout=60)).outcomes
    (second,) = (await run(space, store, edits(source, 1), retry=["pending"])).outcomes
    assert str(second.state) == "ready"
    assert second.ref != first.ref
    assert second.credits == 4 == space.credits_spent


async def test_accepted_looks_are_asked_for_in_groups_and_not_paid_again(store: str) -> None:
    """Looks of a run that was cut off are not paid again, and hardly any is polled alone."""
    space = space_of(120.0)
    sources = [await source_of(space), await source_of(space)]
    items = [*edits(sources[0], 20), *edits(sources[1], 20, "f")]
    with suppress(TimeoutError):
        async with asyncio.timeout(30):
            await run(space, store, items)
    paid = paid_prompts(space)
    assert paid.total() == 2 + 40
    asked = len(space.requests)
    report = await run(space, store, items)
    assert paid_prompts(space) == paid
    assert set(states(report).values()) == {"ready"}
    new = [record.endpoint for record in space.requests[asked:]]
    assert "edit" not in new
    assert new.count("status") <= 2
    assert all(outcome.watched_since is not None for outcome in report.ready)
    assert report.seconds == ()  # the first run ended before they were done


async def test_looks_are_polled_at_once_days_later(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks of a run that was cut off three days ago are delivered within 5 s."""
    space = space_of(30.0)
    source = await source_of(space)
    with suppress(TimeoutError):
        async with asyncio.timeout(15):
            await run(space, store, edits(source, 8))
    assert paid_prompts(space).total() == 1 + 8
    monkeypatch.setattr(VirtualTimeLoop, "epoch", VirtualTimeLoop.epoch + timedelta(days=3))
    await asyncio.sleep(3600)
    began = asyncio.get_running_loop().time()
    report = await run(space, store, edits(source, 8))
    assert set(states(report).values()) == {"ready"}
    assert asyncio.get_running_loop().time() - began < 5
    assert paid_prompts(space).total() == 1 + 8


async def test_what_was_unsent_is_sent(store: str) -> None:
    """Items that were UNSENT under a cap are sent when the cap is raised."""
    space = space_of()
    source = await source_of(space)
    first = await run(space, store, edits(source, 5), max_credits=4)
    assert sorted(states(first).values()) == ["ready"] * 2 + ["unsent"] * 3
    second = await run(space, store, edits(source, 5), max_credits=10)
    assert set(states(second).values()) == {"ready"}
    assert space.credits_spent == 10


async def test_a_report_can_be_read_from_the_store(store: str) -> None:
    """`BatchReport.open` gives the same credits and states as the outcomes of the run."""
    space = space_of()
    got = await run(space, store, edits(await source_of(space), 4))
    read = await BatchReport.open(store)
    assert states(read) == states(got)
    assert [outcome.credits for outcome in read] == [outcome.credits for outcome in got]


async def test_a_retry_that_is_not_sent_leaves_the_old_look_in_the_store(store: str) -> None:
    """An item whose retry did not fit under the cap is UNSENT, and READY in a run without ``retry``."""
    space = space_of()
    source = await source_of(space)
    (old,) = (await run(space, store, edits(source, 1))).outcomes
    (unsent,) = (await run(space, store, edits(source, 1), retry=["ready"], max_credits=3)).outcomes
    assert str(unsent.state) == "unsent"
    assert unsent.credits == 2
    assert unsent.ref is None
    (again,) = (await run(space, store, edits(source, 1))).outcomes
    assert again.ref == old.ref


async def test_a_delivery_of_an_earlier_round_proves_nothing_of_the_next(store: str) -> None:
    """The delivery of a failed first round does not confirm the lost POST of the second."""
    space = space_of()
    source = await source_of(space)
    hub = WebhookHub("https://example.com/hooks", "a secret for tests only")

    async def deliver(url: str, body: dict[str, Any]) -> int:
        return await hub.handle(url.rpartition("/")[2], json.dumps(body).encode())

    how = {"deliver": deliver, "deliveries": DeliveryOptions(early=1.0, lose=1.0)}
    items = [BatchItem("f", LookEdit(source, "f [fail]"))]
    async with opened(space, transport=how, store=store, webhooks=hub) as session:
        (first,) = (await BatchRunner(session).run(items)).outcomes
        space.faults.fail_next("edit", Fault.DROP_BEFORE)
        await BatchRunner(session, retry=["failed"], look_timeout=60).run(items)
    async with opened(space, transport=how, store=store, webhooks=hub) as session:
        await asyncio.sleep(100)
        (outcome,) = (await BatchRunner(session).run(items)).outcomes
    assert str(first.state) == "failed"
    assert str(outcome.state) == "unknown"
    assert outcome.credits == 2 == space.credits_spent
    assert outcome.at_risk == 2


async def test_with_webhooks_the_looks_of_an_earlier_process_are_asked_for_at_once(store: str) -> None:
    """Looks of an earlier process are polled at once, since their deliveries may have been missed."""
    space = space_of(40.0)
    source = await source_of(space)
    hub = WebhookHub("https://example.com/hooks", "a secret for tests only")
    with suppress(TimeoutError):
        async with asyncio.timeout(15), opened(space, store=store, webhooks=hub) as session:
            await BatchRunner(session).run(edits(source, 8))
    await asyncio.sleep(60)
    began = asyncio.get_running_loop().time()
    async with opened(space, store=store, webhooks=hub) as session:
        report = await BatchRunner(session).run(edits(source, 8))
    assert set(states(report).values()) == {"ready"}
    assert asyncio.get_running_loop().time() - began < 5
