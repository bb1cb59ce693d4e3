"""The one way a paid POST goes: at most one paid send, or an unknown that is reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from session_kit import edit, intent_of, intents, made, on_space, prompt, sends, turns

from hoox_async import Budget, HooxSession, ImageAvatar, LookStatus
from hoox_async._core.intents import IntentState
from hoox_async._protocols import BeforeSend, WireRequest, WireResponse
from hoox_async._store.memory import MemoryStore
from hoox_async.errors import (
    ApiError,
    AuthenticationError,
    BadRequest,
    BudgetExceeded,
    Conflict,
    HooxError,
    InsufficientCredits,
    InvalidRequest,
    KeyConflict,
    NotFound,
    NotSent,
    OutcomeUnknown,
    PermissionDenied,
    SessionClosed,
    StoreError,
    TransportError,
)
from hoox_async.events import Event, LookAccepted, OutcomeLost, RequestSent, Retried
from hoox_async.sandbox import Fault, InProcessTransport, Space

pytestmark = pytest.mark.virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


def money(budget: Budget) -> tuple[float, float]:
    """Reserved and spent."""
    return float(budget.reserved), float(budget.spent)


async def give_up(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# --- keys


async def test_the_same_key_is_the_same_job() -> None:
    """Sent once, charged once, whatever comes of it."""
    async with on_space() as (session, space):
        job = await session.submit(prompt(), key="k")
        assert await session.submit(prompt(), key="k") is job
        await job
        assert await session.submit(prompt(), key="k") is job
        failed = await session.submit(prompt("[fail]"), key="f")
        await asyncio.gather(failed.wait(), return_exceptions=True)
        assert await session.submit(prompt("[fail]"), key="f") is failed
        assert len(space.ledger) == 2


async def test_the_same_key_at_the_same_time_is_sent_once() -> None:
    """However many ask."""
    async with on_space() as (session, space):
        jobs = await asyncio.gather(*(session.submit(prompt(), key="k") for _ in range(20)))
        assert len({job.ref for job in jobs}) == 1
        assert (len(space.ledger), sends(space, "create")) == (1, 1)


async def test_without_a_key_each_call_is_a_new_look() -> None:
    """Also with the same content."""
    async with on_space() as (session, space):
        jobs = await asyncio.gather(*(session.submit(prompt()) for _ in range(3)))
        assert len({job.ref for job in jobs}) == len(space.ledger) == 3


async def test_a_key_survives_its_first_callers_cancellation() -> None:
    """In the air at that moment: the next caller joins the very same POST."""
    async with on_space(transport={"latency": 10.0}) as (session, space):
        first = asyncio.create_task(session.submit(prompt(), key="k"))
        await asyncio.sleep(1)
        await give_up(first)
        job = await session.submit(prompt(), key="k")
        assert job.ref == space.ledger[0].ref
        assert sends(space, "create") == 1


async def test_a_key_with_other_content_is_a_conflict() -> None:
    """Before anything is sent, also for the source, and not for what is the user's own."""
    async with on_space() as (session, space):
        ref, other = made(space), made(space)
        await session.submit(edit(ref, metadata={"a": "b"}), key="k")
        await session.submit(edit(ref, metadata={"c": "d"}, webhook_url="https://me.example"), key="k")
        for request in (edit(ref, "another scene"), edit(other), prompt(), edit(ref, resolution="4K")):
            with pytest.raises(KeyConflict) as caught:
                await session.submit(request, key="k")
            assert (caught.value.key, caught.value.charged) == ("k", "no")
        assert len(space.ledger) == 1


async def test_a_key_holds_over_a_restart() -> None:
    """With the same store, also for what was lost."""
    store, space = MemoryStore(), Space(rng=Random(1))
    async with on_space(space, store=store) as (session, _):
        job = await session.submit(prompt("a"), key="a")
        space.faults.fail_next("create", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown):
            await session.submit(prompt("b"), key="b")
    async with on_space(space, store=store) as (session, _):
        assert (await session.submit(prompt("a"), key="a")).ref == job.ref
        with pytest.raises(OutcomeUnknown) as caught:
            await session.submit(prompt("b"), key="b")
        assert caught.value.key == "b"
        with pytest.raises(KeyConflict):
            await session.submit(prompt("c"), key="a")
    assert len(space.ledger) == 2


@pytest.mark.parametrize("key", ["", "  ", 7, b"k"])
async def test_a_key_is_text(key: Any) -> None:
    """That is not empty."""
    async with on_space() as (session, space):
        with pytest.raises(InvalidRequest, match="key"):
            await session.submit(prompt(), key=key)
        assert space.requests == []


async def test_a_budget_is_a_budget() -> None:
    """A bare number would be shared by nobody."""
    async with on_space() as (session, space):
        with pytest.raises(InvalidRequest, match="budget"):
            await session.submit(prompt(), budget=10)  # type: ignore[arg-type]
        assert space.requests == []


async def test_what_is_no_request_is_refused() -> None:
    """And an edit of another item's key, which is a batch's alone."""
    async with on_space() as (session, space):
        for request in ("a prompt", None, made(space), edit("an item's key")):  # type: ignore[arg-type]
            with pytest.raises(InvalidRequest):
                await session.submit(request)  # type: ignore[arg-type]
        assert space.requests == []


# --- cancellation


async def test_cancelled_at_the_gate_nothing_is_sent() -> None:
    """And nothing stands in the store, in the budget or in the quota."""
    async with on_space(requests_per_minute=1) as (session, space):
        await session.submit(prompt(), key="first")
        budget = Budget(10)
        task = asyncio.create_task(session.submit(prompt(), key="k", budget=budget))
        await asyncio.sleep(1)
        assert budget.reserved == 2
        await give_up(task)
        assert money(budget) == (0, 0)
        assert await intents(session) == {"first": IntentState.ACCEPTED}
        assert sends(space, "create") == 1


async def test_cancelled_before_the_connection_stands_it_goes_on() -> None:
    """The POST is the session's: a caller that leaves does not decide halfway."""
    async with on_space(transport={"connect": 5.0}) as (session, space):
        task = asyncio.create_task(session.submit(prompt(), key="k"))
        await asyncio.sleep(1)
        await give_up(task)
        await asyncio.sleep(10)
        assert await intents(session) == {"k": IntentState.ACCEPTED}
        assert len(space.ledger) == 1


async def test_cancelled_in_the_air_its_answer_is_written_down() -> None:
    """Its job is in session.jobs(), and its credits count."""
    async with on_space(transport={"latency": 10.0}) as (session, space):
        budget = Budget(10)
        task = asyncio.create_task(session.submit(prompt(), key="k", budget=budget))
        await asyncio.sleep(1)
        await give_up(task)
        assert await session.jobs() == []
        await asyncio.sleep(20)
        (job,) = await session.jobs()
        assert (job.key, job.ref) == ("k", space.ledger[0].ref)
        assert money(budget) == (0, 2)


async def test_a_timeout_around_a_submission_is_no_resend() -> None:
    """asyncio.timeout pierces everything but the session's own task."""
    async with on_space(transport={"latency": 10.0}) as (session, space):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await session.submit(prompt(), key="k")
        assert (await session.submit(prompt(), key="k")).ref == space.ledger[0].ref
        assert len(space.ledger) == 1


async def test_closing_lets_the_posts_in_the_air_end() -> None:
    """And be written down; what waits at the gate ends unsent."""
    store = MemoryStore()
    async with on_space(transport={"latency": 10.0}, store=store, requests_per_minute=2) as (session, space):
        tasks = [asyncio.create_task(session.submit(prompt(str(n)), key=str(n))) for n in range(3)]
        await asyncio.sleep(1)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    accepted = [result for result in results if not isinstance(result, BaseException)]
    assert len(accepted) == len(space.ledger) < 3
    assert {type(result) for result in results if isinstance(result, BaseException)} == {SessionClosed}


async def test_a_cancelled_closing_leaves_what_was_in_the_air_unknown() -> None:
    """It is found so by the next session; the budget counts it as spent."""
    store, space, budget = MemoryStore(), Space(rng=Random(1)), Budget(10)
    session = HooxSession(space.api_key, transport=InProcessTransport(space, latency=10.0), store=store)
    await session.__aenter__()
    task = asyncio.create_task(session.submit(prompt(), key="k", budget=budget))
    await asyncio.sleep(1)
    closing = asyncio.create_task(session.aclose())
    await asyncio.sleep(1)
    await give_up(closing)
    with pytest.raises(OutcomeUnknown) as caught:
        await task
    assert (caught.value.key, caught.value.charged) == ("k", "maybe")
    assert money(budget) == (0, 2)
    async with on_space(space, store=store) as (session, _):
        assert [unknown.key for unknown in await session.unknowns()] == ["k"]


async def test_a_slot_that_comes_with_the_closing_sends_nothing() -> None:
    """Let through the gate in the very moment of the end: slot and credits are given back."""
    async with on_space(requests_per_minute=100) as (session, space):
        budget = Budget(10)
        session._ready().parts.posts.closed = True
        with pytest.raises(SessionClosed):
            await session.submit(prompt(), key="k", budget=budget)
        assert money(budget) == (0, 0)
        assert session.quota.remaining == 100
        assert space.requests == []


# --- what is sent again


@pytest.mark.parametrize(
    "fault", [Fault.REFUSED, Fault.RATE_LIMITED, Fault.RATE_LIMITED_RETRY_AFTER], ids=str
)
async def test_what_surely_cost_nothing_is_sent_again(fault: Fault) -> None:
    """A connection that was never made, and a 429; each is back in the plan before the pause."""
    told: list[Event] = []
    async with on_space(hooks=[told.append]) as (session, space):
        space.faults.fail_next("create", fault, times=2)
        task = asyncio.create_task(session.submit(prompt(), key="k"))
        await asyncio.sleep(0.5)
        assert (await intents(session)).get("k") in (None, IntentState.PLANNED)
        job = await task
        assert (len(space.ledger), sends(space, "create")) == (1, 3)
        assert len((await intent_of(session, "k")).attempts) == (1 if fault is Fault.REFUSED else 3)
        assert job.credits == Decimal(2)
    assert sum(isinstance(event, Retried) for event in told) == 2


@pytest.mark.parametrize(
    "fault",
    [
        Fault.DROP_BEFORE, Fault.DROP_AFTER, Fault.ERROR_500_BEFORE, Fault.ERROR_500_AFTER, Fault.BAD_GATEWAY,
        Fault.HANG, Fault.HANG_BEFORE, Fault.TRUNCATED, Fault.DROP_IN_BODY, Fault.TEAPOT, Fault.REDIRECT,
        Fault.HUGE, Fault.DEEP_JSON, Fault.NOT_JSON, Fault.status(503), Fault.status(200, "{}"),
        Fault.status(201, '{"avatar_id": 5}'), Fault.status(422), Fault.status(204, " "),
    ],
    ids=lambda fault: fault.name,
)  # fmt: skip
async def test_whatever_else_happens_it_is_sent_once(fault: Fault) -> None:
    """It may have been charged: unknown at once, listed, and refused when it is tried again."""
    told: list[Event] = []
    async with on_space(hooks=[told.append], transport={"answer": 30.0}) as (session, space):
        budget = Budget(10)
        space.faults.fail_next("create", fault)
        with pytest.raises(OutcomeUnknown) as caught:
            await session.submit(prompt(), key="k", budget=budget)
        assert (caught.value.charged, caught.value.key) == ("maybe", "k")
        assert money(budget) == (0, 2)
        assert await intents(session) == {"k": IntentState.UNKNOWN}
        assert [unknown.key for unknown in await session.unknowns()] == ["k"]
        with pytest.raises(OutcomeUnknown):
            await session.submit(prompt(), key="k")
        assert sends(space, "create") == 1
        assert len(await session.looks()) > 0
    assert [event.key for event in told if isinstance(event, OutcomeLost)] == ["k"]


async def test_a_connection_that_is_never_made_ends_with_not_sent() -> None:
    """After some tries, and the key is free to be sent later."""
    async with on_space() as (session, space):
        budget = Budget(10)
        space.faults.fail_next("create", Fault.REFUSED, times=4)
        with pytest.raises(NotSent) as caught:
            await session.submit(prompt(), key="k", budget=budget)
        assert (caught.value.charged, *money(budget)) == ("no", 0, 0)
        assert sends(space, "create") == 4
        await session.submit(prompt(), key="k", budget=budget)
        assert (len(space.ledger), *money(budget)) == (1, 0, 2)


# --- refusals


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.status(401, '{"error": "no", "code": "invalid_api_key"}'), AuthenticationError),
        (Fault.status(402, '{"error": "no", "code": "insufficient_credits"}'), InsufficientCredits),
        (Fault.status(403, '{"error": "no", "code": "PLAN_REQUIRED"}'), PermissionDenied),
        (Fault.status(404, '{"error": "no", "code": "SPACE_NOT_FOUND"}'), NotFound),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_a_refusal_of_the_workspace_is_taken_back(fault: Fault, error: type[ApiError]) -> None:
    """It says nothing of the request: the same key is sent when that is mended."""
    async with on_space() as (session, space):
        budget = Budget(10)
        space.faults.fail_next("create", fault)
        with pytest.raises(error) as caught:
            await session.submit(prompt(), key="k", budget=budget)
        assert (caught.value.charged, *money(budget)) == ("no", 0, 0)
        assert await intents(session) == {"k": IntentState.PLANNED}
        await session.submit(prompt(), key="k")
        assert len(space.ledger) == 1


@pytest.mark.parametrize(
    ("status", "error"), [(400, BadRequest), (403, PermissionDenied), (404, NotFound), (409, Conflict)]
)
async def test_a_refusal_of_the_request_stands(status: int, error: type[ApiError]) -> None:
    """It would be refused again: the same key gives the same error, without a request."""
    async with on_space() as (session, space):
        space.faults.fail_next("create", Fault.status(status, '{"error": "bad", "code": "INVALID_VALUE"}'))
        for _ in range(2):
            with pytest.raises(error) as caught:
                await session.submit(prompt(), key="k")
            assert (caught.value.charged, caught.value.code) == ("no", "INVALID_VALUE")
        assert sends(space, "create") == 1
        assert space.ledger == []


async def test_a_failed_submission_without_a_key_leaves_nothing_in_memory() -> None:
    """Nobody can ask for it again."""
    async with on_space() as (session, space):
        for fault in (Fault.status(400), Fault.status(402)):
            space.faults.fail_next("create", fault)
            with pytest.raises(ApiError):
                await session.submit(prompt())
        assert await intents(session) == {}


# --- money and time


async def test_a_budget_is_shared() -> None:
    """Together they never pass the cap, and what is refused is not sent."""
    async with on_space() as (session, space):
        budget = Budget(5)
        results = await asyncio.gather(
            *(session.submit(prompt(str(n)), budget=budget) for n in range(5)), return_exceptions=True
        )
        assert sum(isinstance(result, BudgetExceeded) for result in results) == 3
        assert (float(space.credits_spent), *money(budget)) == (4, 0, 4)
        await session.submit(ImageAvatar(["https://example.com/a.jpg"]), budget=budget)
        assert budget.spent == 4


async def test_max_wait_bounds_the_wait_for_the_quota() -> None:
    """Foreseen at once, with when to come again; and a wait that fits is waited."""
    async with on_space(requests_per_minute=2) as (session, space):
        for text in "ab":
            await session.submit(prompt(text))
        began = now()
        with pytest.raises(NotSent) as caught:
            await session.submit(prompt("c"), key="c", max_wait=10)
        assert caught.value.retry_after is not None
        assert 10 < caught.value.retry_after <= 61
        assert now() - began <= 10
        await session.submit(prompt("c"), key="c", max_wait=120)
        assert len(space.ledger) == 3


async def test_a_429_does_not_outlast_max_wait() -> None:
    """The pause that it asks for is longer than the caller would wait."""
    async with on_space() as (session, space):
        space.faults.fail_next("create", Fault.rate_limited(retry_after=50), times=9)
        with pytest.raises(NotSent) as caught:
            await session.submit(prompt(), key="k", max_wait=5)
        assert caught.value.retry_after
        assert await intents(session) == {"k": IntentState.PLANNED}
        assert sends(space, "create") == 1


# --- the store


def failing(
    session: HooxSession, monkeypatch: pytest.MonkeyPatch, name: str, when: Callable[..., bool]
) -> None:
    store = session._store
    method = getattr(store, name)

    async def wrapped(*args: Any) -> Any:
        if when(*args):
            raise StoreError("disk full")
        return await method(*args)

    monkeypatch.setattr(store, name, wrapped)


async def test_a_store_that_fails_before_the_post_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would cost cannot be written down."""
    async with on_space() as (session, space):
        budget = Budget(10)
        failing(session, monkeypatch, "plan", lambda *_: True)
        with pytest.raises(StoreError) as caught:
            await session.submit(prompt(), key="k", budget=budget)
        assert (caught.value.charged, caught.value.ref) == ("no", None)
        assert (space.requests, *money(budget)) == ([], 0, 0)
        monkeypatch.undo()
        await session.submit(prompt(), key="k", budget=budget)
        assert len(space.ledger) == 1


async def test_a_store_that_fails_after_the_post_says_what_was_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the look; the key is not sent again, and after a crash it is found unknown."""
    store, space = MemoryStore(), Space(rng=Random(1))
    async with on_space(space, store=store) as (session, _):
        budget = Budget(10)
        failing(session, monkeypatch, "advance", lambda *_: True)
        with pytest.raises(StoreError) as caught:
            await session.submit(prompt(), key="k", budget=budget)
        assert (caught.value.charged, caught.value.ref) == ("yes", space.ledger[0].ref)
        assert money(budget) == (0, 2)
        with pytest.raises(StoreError) as again:
            await session.submit(prompt(), key="k")
        assert (again.value.charged, again.value.ref) == ("yes", space.ledger[0].ref)
    monkeypatch.undo()
    async with on_space(space, store=store) as (session, _):
        (unknown,) = await session.unknowns()
        assert caught.value.ref is not None
        job = await session.resolve(unknown.key, caught.value.ref)
        assert job is not None
        assert (await job).status is LookStatus.READY
    assert len(space.ledger) == 1


async def test_a_lost_post_in_a_failing_store_is_unknown_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What matters for money is said, whatever else goes wrong."""
    async with on_space() as (session, space):
        for broken in ("advance", "get"):
            space.faults.fail_next("create", Fault.DROP_AFTER)
            budget, key = Budget(10), broken
            task = asyncio.create_task(session.submit(prompt(), key=key, budget=budget))
            await asyncio.sleep(0.1)
            failing(session, monkeypatch, broken, lambda *_: True)
            with pytest.raises(OutcomeUnknown) as caught:
                await task
            monkeypatch.undo()
            assert (caught.value.charged, *money(budget)) == ("maybe", 0, 2)
        assert len(space.ledger) == 2


# --- transports of the user's own


class Odd(InProcessTransport):
    """Fails in a way of its own, before or after its before_send."""

    def __init__(self, space: Space, error: Exception, *, begins: bool) -> None:
        super().__init__(space)
        self.error = error
        self.begins = begins
        self.sent = 0

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        self.sent += 1
        if self.begins and before_send is not None:
            await before_send()
        raise self.error


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("error", [TransportError("lost"), RuntimeError("odd")], ids=["ours", "odd"])
async def test_an_odd_transport_is_believed_only_so_far(error: Exception, begins: bool) -> None:
    """What it raises once it has begun may follow an accepted request; so may a loss before it said so."""
    space = Space(rng=Random(1))
    odd = Odd(space, error, begins=begins)
    async with HooxSession(space.api_key, transport=odd) as session:
        budget = Budget(10)
        maybe = begins or isinstance(error, HooxError)
        with pytest.raises(OutcomeUnknown if maybe else RuntimeError):
            await session.submit(prompt(), key="k", budget=budget)
        assert money(budget) == (0, 2 if maybe else 0)
        assert await intents(session) == ({"k": IntentState.UNKNOWN} if maybe else {})
        assert odd.sent == 1


async def test_the_events_of_a_submission() -> None:
    """Sent, then accepted, both with the key."""
    told: list[Event] = []
    async with on_space(hooks=[told.append]) as (session, space):
        await session.submit(prompt(metadata={"who": "me"}), key="k")
    (sent,) = [event for event in told if isinstance(event, RequestSent)]
    (accepted,) = [event for event in told if isinstance(event, LookAccepted)]
    assert (sent.endpoint, sent.key, accepted.key) == ("create", "k", "k")
    assert (accepted.ref, accepted.evidence) == (space.ledger[0].ref, "answer")
    assert accepted.credits == 2
    assert accepted.metadata == {"who": "me"}


async def test_a_batch_and_a_single_submission_of_one_key_are_sent_once() -> None:
    """At the same time, whoever is first."""
    from hoox_async import BatchItem, BatchRunner

    async with on_space() as (session, space):
        run = asyncio.create_task(BatchRunner(session).run([BatchItem("k", prompt())]))
        await turns(5)
        job, report = await asyncio.gather(session.submit(prompt(), key="k"), run)
        assert len(space.ledger) == sends(space, "create") == 1
        assert [outcome.ref for outcome in report.outcomes] == [job.ref]
