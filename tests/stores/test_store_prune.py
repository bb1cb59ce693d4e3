"""`prune_store`: the content of settled requests is erased, and what money needs is kept."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx
from internals_kit import Drop, FileLedger, Intent, IntentState, Ledger, MarkUnknown, Settle
from store_kit import SOURCE, WORKSPACE, accept, planned, send

from hoox_async import (
    BatchItem,
    BatchReport,
    BatchRunner,
    Look,
    LookEdit,
    LookRef,
    LookStatus,
    PromptAvatar,
    PrunedRequest,
    prune_store,
)
from hoox_async._io.ledger import ledger, offline
from hoox_async._io.ledger.sqlite_file import SQLiteFile as Database
from hoox_async.errors import ConfigurationError, KeyConflict, StoreError, StoreLocked
from hoox_async.sandbox import Sandbox

SECRET = "Ada-Lovelace"
LONG_AGO = timedelta(days=90)
SETTLED = datetime.now(UTC) - timedelta(days=100)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "campaign.db"


async def fill(store: Ledger, count: int = 3) -> None:
    """Plan, and settle long ago, so many; and leave one in each state that is not settled."""
    edit = LookEdit(SOURCE, f"{SECRET} on stage " * 20, metadata={"customer": SECRET}, resolution="4K")
    for number in range(count):
        key, ref = f"ready {number}", LookRef("avtr_1", f"look_{number}")
        await store.plan(planned(key, edit))
        look = Look(ref, LookStatus.READY, f"https://cdn.example/{SECRET}.jpg", None, {"a": SECRET})
        await store.advance(key, send(f"att_{number}"), accept(ref.look_id), Settle(look, SETTLED))
    await store.plan(planned("planned", edit))
    await store.plan(planned("accepted", edit))
    await store.advance("accepted", send("att_accepted"), accept("look_accepted"))
    for key in ("unknown", "dropped"):
        await store.plan(planned(key, edit))
        await store.advance(key, send(f"att_{key}"), MarkUnknown("lost"))
    await store.advance("dropped", Drop())


async def filled(path: Path, count: int = 3) -> dict[str, Intent]:
    """The intents of a new store that `fill` has filled, and that is closed."""
    store = FileLedger(path)
    await store.open(WORKSPACE)
    await fill(store, count)
    await store.aclose()
    return await stored(path)


async def stored(path: Path) -> dict[str, Intent]:
    """What a session finds there."""
    store = FileLedger(path)
    await store.open(WORKSPACE)
    found = {intent.key: intent async for intent in store.stream()}
    await store.aclose()
    return found


async def test_nothing_of_the_content_is_left_in_the_file(path: Path) -> None:
    """After pruning, no byte of a pruned prompt is in the store's files, and the file is smaller."""
    store = FileLedger(path)
    await store.open(WORKSPACE)
    for number in range(300):
        key = f"ready {number}"
        await store.plan(planned(key, LookEdit(SOURCE, f"{SECRET} on stage " * 20)))
        look = Look(LookRef("avtr_1", f"look_{number}"), LookStatus.READY)
        await store.advance(key, send(f"att_{number}"), accept(look.look_id), Settle(look, SETTLED))
    await store.aclose()
    with blockbuster_ctx():
        result = await prune_store(path, older_than=LONG_AGO)
    assert (result.pruned, result.already) == (300, 0)
    assert result.size_after == path.stat().st_size < result.size_before
    assert not any(SECRET.encode() in file.read_bytes() for file in path.parent.iterdir())


async def test_what_is_not_settled_is_not_touched(path: Path) -> None:
    """Planned, accepted, unknown and dropped requests are as before; settled ones lose their content only."""
    before = await filled(path)
    assert (await prune_store(path, older_than=LONG_AGO)).pruned == 3
    after = await stored(path)
    for key in ("planned", "accepted", "unknown", "dropped"):
        assert after[key] == before[key]
    ready = after["ready 1"]
    assert ready.state is IntentState.READY
    assert ready.request == PrunedRequest("edit", Decimal(4))
    assert (ready.digest, ready.ref, ready.attempts) == (
        "digest of ready 1",
        before["ready 1"].ref,
        before["ready 1"].attempts,
    )


async def test_indexes_are_kept(path: Path) -> None:
    """A pruned look is still found by its attempt and its ref, and is among the looks its avatar had."""
    await filled(path)
    await prune_store(path, older_than=LONG_AGO)
    store = FileLedger(path)
    await store.open(WORKSPACE)
    by_attempt, by_ref = await store.delivered("att_1"), await store.by_ref(LookRef("avtr_1", "look_1"))
    assert by_attempt is not None
    assert by_attempt.intent == by_ref
    assert "look_1" in await store.claimed_looks("avtr_1")
    await store.aclose()


async def test_only_what_is_older_is_pruned(path: Path) -> None:
    """What was settled more recently than ``older_than`` is left alone."""
    before = await filled(path)
    assert (await prune_store(path, older_than=timedelta(days=101))).pruned == 0
    assert await stored(path) == before
    assert (await prune_store(path, older_than=timedelta.max)).pruned == 0


async def test_a_dry_run_changes_nothing(path: Path) -> None:
    """A dry run counts and estimates, also while a session has the store open, and changes no byte."""
    before = await filled(path)
    store = FileLedger(path)
    await store.open(WORKSPACE)
    result = await prune_store(path, older_than=LONG_AGO, dry_run=True)
    assert (result.pruned, result.already) == (3, 0)
    assert result.size_after < result.size_before
    with pytest.raises(StoreLocked):
        await prune_store(path, older_than=LONG_AGO)
    await store.aclose()
    assert await stored(path) == before


async def test_pruning_again_changes_nothing(path: Path) -> None:
    """A second time nothing is left to be erased, and what is pruned already is counted."""
    await filled(path)
    await prune_store(path, older_than=LONG_AGO)
    content = path.read_bytes()
    again = await prune_store(path, older_than=LONG_AGO)
    assert (again.pruned, again.already) == (0, 3)
    assert len(path.read_bytes()) == len(content)


async def test_more_than_a_page(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pages are pruned, and counted by the dry run."""
    monkeypatch.setattr(ledger, "PAGE", 2)
    monkeypatch.setattr(offline, "PAGE", 2)
    await filled(path, 5)
    assert (await prune_store(path, older_than=LONG_AGO, dry_run=True)).pruned == 5
    assert (await prune_store(path, older_than=LONG_AGO)).pruned == 5


async def test_no_store_is_created(path: Path) -> None:
    """A missing file and a file without a store are refused, and what is no age and no flag."""
    for dry_run in (False, True):
        for missing in (path, path.parent / "folder" / "campaign.db", path.parent):
            with pytest.raises(StoreError, match="no such file"):
                await prune_store(missing, older_than=LONG_AGO, dry_run=dry_run)
    assert list(path.parent.iterdir()) == []
    path.touch()
    with pytest.raises(StoreError, match="no store"):
        await prune_store(path, older_than=LONG_AGO)
    for no_age in (timedelta(days=-1), 90, None):
        with pytest.raises(ConfigurationError, match=r"older_than: .* expected a timedelta of 0 or more"):
            await prune_store(path, older_than=no_age)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="dry_run: None is not usable; expected True or False"):
        await prune_store(path, older_than=LONG_AGO, dry_run=None)  # type: ignore[arg-type]


async def test_a_full_disk_while_the_file_is_written_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file cannot be written anew, the content is erased from the records nevertheless."""

    def full(_: object) -> None:
        raise StoreError("the disk is full")

    await filled(path)
    monkeypatch.setattr(Database, "vacuum", full)
    with pytest.raises(StoreError, match="full"):
        await prune_store(path, older_than=LONG_AGO)
    with closing(sqlite3.connect(path)) as db:
        left = db.execute(
            "SELECT count(*) FROM intents WHERE state = 'ready' AND record LIKE ?", (f"%{SECRET}%",)
        )
        assert left.fetchone() == (0,)


async def test_a_pruned_key_is_not_paid_again(tmp_path: Path) -> None:
    """The same content under a pruned key is the same look without a request; other content is a conflict.

    A batch counts its credits and pays nothing, and a report lists it as pruned.
    """
    path = tmp_path / "campaign.db"
    async with Sandbox(speed=1000, requests_per_minute=100_000) as sandbox:
        async with sandbox.session(store=path) as session:
            wanted = PromptAvatar(f"{SECRET} at a desk", resolution="4K", metadata={"customer": SECRET})
            look = await session.run(wanted, key="ada")
        assert (await prune_store(path, older_than=timedelta())).pruned == 1
        spent = sandbox.credits_spent
        async with sandbox.session(store=path) as session:
            job = await session.submit(wanted, key="ada")
            assert (job.ref, (await job).ref, job.credits, dict(job.metadata)) == (
                look.ref,
                look.ref,
                Decimal(4),
                {},
            )
            with pytest.raises(KeyConflict):
                await session.submit(PromptAvatar("someone else"), key="ada")
            runner = BatchRunner(session, max_credits=5)
            report = await runner.run([BatchItem("ada", wanted), BatchItem("bob", PromptAvatar("Bob"))])
            assert [outcome.state.value for outcome in report] == ["ready", "unsent"]
            assert report.credits_spent == Decimal(4)
        assert sandbox.credits_spent == spent == Decimal(4)
    lines = await (await BatchReport.open(path)).to_jsonl(tmp_path / "report.jsonl")
    text = lines.read_text()
    assert '"request": {"kind": "prompt", "price": "4", "pruned": true}' in text
    assert SECRET not in text
    sheet = await (await BatchReport.open(path)).write_contact_sheet(tmp_path / "sheet", download=False)
    assert "pruned" in sheet.read_text()
