"""A store file that version 0.1.0 wrote opens today, and every fact in it is read as it was written.

The file `fixtures/store-0.1.0.db` was written by the code of that version, with an intent in each
state and seven POSTs outstanding. It is never written again: the tests open copies.
"""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest
from store_kit import API_KEY, WORKSPACE

from hoox_async import HooxSession, OutcomeUnknown
from hoox_async._api.models import LookRef, LookStatus
from hoox_async._core.intents.intent import Evidence, Intent, IntentState
from hoox_async._io.stores.sqlite.reader import read_store
from hoox_async._io.stores.sqlite.store import SQLiteStore
from hoox_async.sandbox import InProcessTransport, Space

FIXTURE = Path(__file__).parent / "fixtures" / "store-0.1.0.db"
S = IntentState


class Facts(NamedTuple):
    """What the file says of one intent."""

    state: IntentState
    spent: int = 0
    at_risk: int = 0
    attempts: tuple[str, ...] = ()
    look: str | None = None
    evidence: Evidence | None = None
    candidates: tuple[str, ...] = ()


WRITTEN: dict[str, Facts] = {
    "planned": Facts(S.PLANNED),
    "sending": Facts(S.SENDING, 0, 2, ("attempt-sending",)),
    "unknown": Facts(S.UNKNOWN, 0, 2, ("attempt-unknown",)),
    "accepted": Facts(S.ACCEPTED, 2, 0, ("attempt-accepted",), "avtr_2:look_a", Evidence.ANSWER),
    "ready": Facts(S.READY, 2, 0, ("attempt-ready",), "avtr_1:look_ready", Evidence.ANSWER),
    "failed": Facts(S.FAILED, 2, 0, ("attempt-failed",), "avtr_1:look_failed", Evidence.WEBHOOK),
    "rejected": Facts(S.REJECTED, 0, 0, ("attempt-rejected",)),
    "dropped": Facts(S.DROPPED, 0, 2, ("attempt-dropped",)),
    "images": Facts(S.READY, 0, 0, ("attempt-images",), "avtr_3:look_i", Evidence.ANSWER),
    "search ended": Facts(
        S.UNKNOWN, 0, 2, ("attempt-ended",), candidates=("avtr_1:look_c1", "avtr_1:look_c2")
    ),
    "inferred": Facts(S.READY, 2, 0, ("attempt-inferred",), "avtr_1:look_inferred", Evidence.INFERRED),
    "by the user": Facts(S.ACCEPTED, 2, 0, ("attempt-user",), "avtr_1:look_user", Evidence.USER),
    "resent and sending": Facts(S.SENDING, 0, 4, ("attempt-resent-1", "attempt-resent-2")),
    "renewed and ready": Facts(
        S.READY, 4, 0, ("attempt-renewed-1", "attempt-renewed-2"), "avtr_1:look_r2", Evidence.ANSWER
    ),
    "renewed and sending": Facts(S.SENDING, 2, 2, ("attempt-rb-1", "attempt-rb-2")),
    "once-0123456789abcdef": Facts(S.ACCEPTED, 2, 0, ("attempt-once",), "avtr_1:look_once", Evidence.ANSWER),
    "delivered pending": Facts(S.SENDING, 0, 2, ("attempt-early-pending",)),
    "delivered processing": Facts(S.SENDING, 0, 2, ("attempt-early-processing",)),
    "delivered ready": Facts(S.SENDING, 0, 2, ("attempt-early-ready",)),
    "delivered failed": Facts(S.SENDING, 0, 2, ("attempt-early-failed",)),
}
OPENED = {
    key: facts._replace(state=S.UNKNOWN) if facts.state is S.SENDING else facts
    for key, facts in WRITTEN.items()
}
UNKNOWN_KEYS = {key for key, facts in OPENED.items() if facts.state is S.UNKNOWN}


def facts_of(intent: Intent) -> Facts:
    """What is read of one intent, in the form of the table above."""
    assert intent.spent == intent.spent.to_integral_value()
    return Facts(
        intent.state,
        int(intent.spent),
        int(intent.at_risk),
        tuple(attempt.id for attempt in intent.attempts),
        str(intent.ref) if intent.ref is not None else None,
        intent.evidence,
        tuple(map(str, intent.candidates)),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A copy of the file, which a test may write to."""
    return Path(shutil.copy(FIXTURE, tmp_path / "campaign.db"))


async def opened(path: Path) -> SQLiteStore:
    """A store on the copy, open under the workspace that the file is bound to."""
    store = SQLiteStore(path)
    await store.open(WORKSPACE)
    return store


async def test_read_store_reads_every_intent_as_it_was_written(path: Path) -> None:
    """A snapshot needs no API key, changes nothing, and gives each intent as version 0.1.0 left it."""
    async with await read_store(path) as snapshot:
        assert snapshot.base_url == WORKSPACE.base_url
        assert {intent.key: facts_of(intent) async for intent in snapshot} == WRITTEN
    assert path.read_bytes() == FIXTURE.read_bytes()


async def test_an_opened_store_holds_the_same_money_and_marks_outstanding_posts_unknown(path: Path) -> None:
    """Opening changes one thing: what was SENDING is UNKNOWN, since its process is gone."""
    store = await opened(path)
    assert {intent.key: facts_of(intent) async for intent in store.stream()} == OPENED
    await store.aclose()
    again = await opened(path)
    assert {intent.key: facts_of(intent) async for intent in again.stream()} == OPENED
    await again.aclose()


async def test_the_content_of_requests_and_looks_is_read_whole(path: Path) -> None:
    """Each field of a request that was set, a failed look's reason and the API's raw answer are there."""
    store = await opened(path)
    found = await store.get(list(OPENED))
    planned = found["planned"].content
    assert (planned.metadata, planned.extra, planned.credits) == ({"scene": "7"}, {"seed": 3}, Decimal("5.5"))
    assert found["planned"].digest == "6568f3d99d200e7ea7389e98cebf633c"
    failed = found["failed"].look
    assert failed is not None
    assert failed.error is not None
    assert (failed.status, failed.error.code, failed.error.message) == (
        LookStatus.FAILED, "LOOK_GENERATION_FAILED", "no face"
    )  # fmt: skip
    assert failed.raw == {"status": "completed", "odd": 1}
    assert [key for key, intent in found.items() if not intent.own_key] == ["once-0123456789abcdef"]
    await store.aclose()


async def test_why_an_intent_was_refused_or_lost_is_read(path: Path) -> None:
    """The API's refusal, and the reason of a loss, are those that were written."""
    store = await opened(path)
    found = await store.get(["rejected", "unknown", "sending"])
    reasons = {key: intent.reason for key, intent in found.items()}
    assert {
        key: (reason.status, reason.code, reason.message) for key, reason in reasons.items() if reason
    } == {
        "rejected": (400, "INVALID_VALUE", "prompt is too long"),
        "unknown": (None, None, "the connection was lost"),
        "sending": (None, None, "the process ended while the request was being sent"),
    }
    await store.aclose()


async def test_an_ended_search_and_its_lock_are_read(path: Path) -> None:
    """That an edit was lost under its avatar's lock, and that its search has ended, is not forgotten."""
    store = await opened(path)
    found = await store.get(["search ended", "unknown"])
    assert (found["search ended"].search_ended, found["search ended"].attempts[0].under_lock) == (True, True)
    assert (found["unknown"].search_ended, found["unknown"].attempts[0].under_lock) == (False, False)
    await store.aclose()


async def test_what_stood_before_a_resend_or_a_replacement_is_read(path: Path) -> None:
    """Until the new POST has cost something, the file holds what it goes back to otherwise."""
    async with await read_store(path) as snapshot:
        found = {intent.key: intent async for intent in snapshot}
    resent, replaced = found["resent and sending"].previous, found["renewed and sending"].previous
    assert resent is not None
    assert replaced is not None
    assert facts_of(resent) == Facts(S.UNKNOWN, 0, 2, ("attempt-resent-1",))
    assert facts_of(replaced) == Facts(S.READY, 2, 0, ("attempt-rb-1",), "avtr_1:look_rb1", Evidence.ANSWER)
    assert found["renewed and ready"].past_attempts == ("attempt-renewed-1",)


@pytest.mark.parametrize("status", ["pending", "processing", "ready", "failed"])
async def test_a_kept_delivery_of_each_status_is_read(path: Path, status: str) -> None:
    """A delivery that came before the answer is proof of money: its look and its status are those it had."""
    store = await opened(path)
    delivery = await store.kept_delivery(f"attempt-early-{status}")
    assert delivery is not None
    assert (delivery.look_id, delivery.avatar_id) == (f"look_d_{status}", "avtr_1")
    assert delivery.status is LookStatus[status.upper()]
    failed = status == "failed"
    assert (delivery.error_code, delivery.error_message) == (("CODE", "text") if failed else (None, None))
    await store.aclose()


async def test_a_kept_delivery_of_an_unrecognized_status_is_read(path: Path) -> None:
    """The word "unknown" in a stored delivery is the status for words that this library doesn't know."""
    store = await opened(path)
    delivery = await store.kept_delivery("attempt-unknown")
    assert delivery is not None
    assert delivery.look_id == "look_d_unknown"
    named = {LookStatus.PENDING, LookStatus.PROCESSING, LookStatus.READY, LookStatus.FAILED}
    assert {delivery.status} == set(LookStatus) - named
    await store.aclose()


async def test_the_indexes_find_attempts_looks_and_baselines(path: Path) -> None:
    """An earlier attempt, a look that is claimed, and an avatar's baseline are found without a scan."""
    store = await opened(path)
    earlier = await store.by_attempt("attempt-renewed-1")
    claimed = await store.by_ref(LookRef("avtr_1", "look_user"))
    assert earlier is not None
    assert claimed is not None
    assert (earlier.key, claimed.key) == ("renewed and ready", "by the user")
    seen = await store.seen_looks("avtr_1")
    assert seen is not None
    assert {"look_source", "look_b1", "look_inferred", "look_r1"} <= seen
    assert await store.seen_looks("avtr_2") == frozenset({"look_a"}), (
        "an avatar that the store's own intent made"
    )
    await store.aclose()


async def test_a_session_works_over_the_file(path: Path) -> None:
    """The jobs that were accepted go on, the unknowns are listed, and one can be dropped."""
    carrier = InProcessTransport(Space())
    async with HooxSession(
        API_KEY, base_url=WORKSPACE.base_url, store=path, transport=carrier, poll="awaited"
    ) as session:
        jobs = {job.key: (str(job.ref), job.credits) for job in await session.jobs()}
        assert jobs == {
            "accepted": ("avtr_2:look_a", Decimal(2)),
            "by the user": ("avtr_1:look_user", Decimal(2)),
            "once-0123456789abcdef": ("avtr_1:look_once", Decimal(2)),
        }
        listed = {unknown.key: unknown for unknown in await session.unknowns()}
        assert set(listed) == UNKNOWN_KEYS
        candidates = set(map(str, listed["search ended"].candidates))
        assert candidates == {"avtr_1:look_c1", "avtr_1:look_c2"}
        await session.drop("unknown")
        assert {unknown.key for unknown in await session.unknowns()} == UNKNOWN_KEYS - {"unknown"}
        with pytest.raises(OutcomeUnknown):
            await session.submit(listed["search ended"].request, key="search ended")
