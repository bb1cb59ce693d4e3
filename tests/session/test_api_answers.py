"""While requests get no usable answer, hooks, the log and those who wait are told so, and why."""

from __future__ import annotations

import asyncio
import logging
import socket
from copy import copy

import pytest
from session_kit import RawServer, cancel_and_wait, end_faults, made, on_space, prompt

from hoox_async import (
    Endpoint,
    Event,
    HooxSession,
    LookRef,
    NotSent,
    OutcomeUnknown,
    RequestFailed,
    Retried,
    SessionClosed,
    WaitTimeout,
)
from hoox_async.sandbox import Fault, Sandbox

REF = LookRef("avtr_1", "look_1")
REFUSED = "the connection was refused (sandbox)"


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def _failures(events: list[Event]) -> list[RequestFailed]:
    return [event for event in events if isinstance(event, RequestFailed)]


async def _cause_of_waiting(session: HooxSession, events: list[Event]) -> WaitTimeout:
    """The error of a wait for a look after its first status request has failed."""
    job = session.job(REF)
    waiting = asyncio.create_task(job.wait(None))
    while not _failures(events):
        await asyncio.sleep(0.01)
    with pytest.raises(WaitTimeout) as caught:
        await job.wait(0)
    await cancel_and_wait(waiting)
    return caught.value


async def test_a_wait_for_a_server_that_is_down_names_the_cause() -> None:
    """WaitTimeout says for how long no answer came, from where, and why, without the name of a class."""
    events: list[Event] = []
    port = _free_port()
    async with HooxSession("k", base_url=f"http://127.0.0.1:{port}/v1", hooks=[events.append]) as session:
        error = await _cause_of_waiting(session, events)
    cause = f"cannot reach 127.0.0.1:{port}: the connection was refused"
    assert error.cause == cause
    assert f"not known to be done after 0 s: no answer for 0 s ({cause})" in str(error)
    assert copy(error).cause == cause
    assert {(event.endpoint, event.reason, event.status) for event in _failures(events)} == {
        (Endpoint.STATUS, cause, None)
    }


async def test_a_connection_that_is_cut_is_told_in_words() -> None:
    """A server that hangs up without an answer is reported as a connection that was cut."""
    events: list[Event] = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with (
        RawServer(hang_up) as server,
        HooxSession("k", base_url=server.url, hooks=[events.append]) as session,
    ):
        assert (await _cause_of_waiting(session, events)).cause == "the connection was cut"
        with pytest.raises(OutcomeUnknown, match="the connection was cut; it may have been charged"):
            await session.submit(prompt())
    assert {event.reason for event in _failures(events)} == {"the connection was cut"}


@pytest.mark.virtual_time
async def test_each_failed_read_is_an_event_until_an_answer_comes() -> None:
    """The event has the cause, the HTTP status of a 5xx, and the seconds without a usable answer."""
    events: list[Event] = []
    async with on_space(hooks=[events.append]) as (session, space):
        ref = made(space)
        space.faults.fail_next("status", Fault.REFUSED)
        space.faults.fail_next("status", Fault.BAD_GATEWAY)
        await session.status(ref)
        space.faults.fail_next("status", Fault.REFUSED)
        await session.status(ref)
    first, second, third = _failures(events)
    assert (first.reason, first.status, first.key) == (REFUSED, None, None)
    assert (second.status, second.reason[:8]) == (502, "HTTP 502")
    assert second.seconds > first.seconds
    assert third.seconds < second.seconds
    reasons = [event.reason for event in events if isinstance(event, Retried)]
    assert reasons == [event.reason for event in (first, second, third)]


@pytest.mark.virtual_time
async def test_a_paid_request_without_a_connection_is_an_event_with_its_key() -> None:
    """Each connection of a paid request that is not made is reported under its key; nothing was paid."""
    events: list[Event] = []
    async with on_space(hooks=[events.append]) as (session, space):
        space.faults.fail_next("create", Fault.REFUSED, times=10)
        with pytest.raises(NotSent):
            await session.submit(prompt(), key="alex")
        assert space.ledger == []
    found = _failures(events)
    assert len(found) == 4
    assert {(event.endpoint, event.key, event.reason) for event in found} == {
        (Endpoint.CREATE, "alex", REFUSED)
    }
    assert found[-1].seconds > found[0].seconds == 0


@pytest.mark.virtual_time
async def test_a_submission_that_gave_up_waiting_is_no_failure_of_the_api() -> None:
    """NotSent because ``max_wait`` ended at the quota is no RequestFailed event."""
    events: list[Event] = []
    async with on_space(requests_per_minute=1, hooks=[events.append]) as (session, _):
        await session.submit(prompt())
        with pytest.raises(NotSent):
            await session.submit(prompt("b"), max_wait=1)
    assert _failures(events) == []


@pytest.mark.virtual_time
async def test_the_log_has_few_lines_about_a_long_outage(caplog: pytest.LogCaptureFixture) -> None:
    """An outage of five minutes is logged at once, every 30 s at most, and when it is over."""
    caplog.set_level(logging.WARNING, "hoox_async")
    async with on_space() as (session, space):
        job = await session.submit(prompt())
        for endpoint in ("avatar", "status"):
            space.faults.fail_next(endpoint, Fault.REFUSED, times=10_000)
        with pytest.raises(WaitTimeout) as caught:
            await job.wait(timeout=300)
        assert caught.value.cause == REFUSED
        end_faults(space)
        await job
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == f"a request (status) failed: {REFUSED}"
    assert 2 <= len(lines) <= 12
    assert all(f" s ({REFUSED})" in line for line in lines[1:-1])
    assert lines[-1].startswith("the API answers again, after ")


@pytest.mark.virtual_time
async def test_an_avatar_that_fails_alone_is_named_as_the_cause() -> None:
    """While other avatars are answered, a wait for a look of the failing one still names the cause."""
    async with on_space() as (session, space):
        failing, answered = await session.submit(prompt("a")), await session.submit(prompt("b"))
        space.hold(0.0)
        space.faults.fail_next("status", Fault.ERROR_500_BEFORE, times=10_000)
        space.faults.fail_next("avatar", Fault.ERROR_500_BEFORE, times=10_000)
        with pytest.raises(WaitTimeout) as caught:
            await failing.wait(timeout=120)
        await session.looks()  # the API as a whole answers
        with pytest.raises(WaitTimeout) as still:
            failing.result()
        assert caught.value.cause is not None
        assert caught.value.cause.startswith("HTTP 500")
        assert still.value.cause == caught.value.cause
        end_faults(space)
        await session.status(failing)
        await session.status(answered)
        with pytest.raises(WaitTimeout) as unharmed:
            failing.result()
        assert unharmed.value.cause is None
        assert "not done after" in str(unharmed.value)


@pytest.mark.virtual_time
async def test_a_request_that_is_open_for_long_is_the_cause() -> None:
    """While a status request has no answer for more than 10 s, a wait that ends says so."""
    async with on_space(transport={"read": 600.0}) as (session, space):
        job = await session.submit(prompt())
        space.faults.fail_next("status", Fault.HANG, times=100)
        with pytest.raises(WaitTimeout, match=r"no answer for \d+ s \(the request is still open\)"):
            await job.wait(timeout=120)


@pytest.mark.virtual_time
async def test_a_look_that_is_only_slow_has_no_cause() -> None:
    """While status requests are answered, WaitTimeout has no cause."""
    async with on_space() as (session, space):
        job = await session.submit(prompt())
        space.hold(0.0)
        with pytest.raises(WaitTimeout) as caught:
            await job.wait(timeout=60)
        assert caught.value.cause is None


@pytest.mark.parametrize("fault", [Fault.DROP_BEFORE, Fault.BAD_GATEWAY], ids=lambda fault: fault.name)
@pytest.mark.fast_clock
async def test_no_message_has_the_name_of_a_class(fault: Fault, caplog: pytest.LogCaptureFixture) -> None:
    """Errors, events and log lines of a failed read and a lost paid request hold no name of an exception."""
    events: list[Event] = []
    async with Sandbox(speed=1000) as sandbox, sandbox.session(hooks=[events.append]) as session:
        sandbox.fail_next("create", fault)
        sandbox.fail_next("list", fault, times=1)
        with pytest.raises(OutcomeUnknown) as lost:
            await session.submit(prompt())
        await session.looks()
    told = [str(lost.value), *caplog.messages]
    told += [event.reason for event in events if isinstance(event, RequestFailed | Retried)]
    assert len(told) >= 4
    for name in ("Error", "Exception", "Disconnected"):
        assert all(name not in text.replace("HTTP 502", "") for text in told)


# --- the session is closed


async def test_a_job_whose_session_is_closed_says_how_to_go_on() -> None:
    """SessionClosed of a paid look has its ref, is marked as charged, and a new session goes on with it."""
    async with Sandbox(speed=1000) as sandbox:
        sandbox.hold()
        async with sandbox.session() as session:
            job = await session.submit(prompt())
            waiting = asyncio.create_task(job.wait())
            await asyncio.sleep(0)
        for use in (waiting, job.wait(), job.status(), anext(job.updates())):
            with pytest.raises(SessionClosed) as caught:
                await use
            assert (caught.value.ref, caught.value.charged) == (job.ref, "yes")
            assert "the look is paid for and not lost" in str(caught.value)
            assert f'await session.wait(LookRef.parse("{job.ref}"))' in str(caught.value)
        sandbox.settle(job.ref, "ready")
        async with sandbox.session() as session:
            assert (await session.wait(LookRef.parse(str(job.ref)))).ref == job.ref


async def test_a_closed_session_claims_no_payment_of_a_foreign_look() -> None:
    """SessionClosed of a look that the session did not submit does not say that it was paid for."""
    async with Sandbox(speed=1000) as sandbox, sandbox.session() as session:
        job = session.job(REF)
        await session.aclose()
        with pytest.raises(SessionClosed) as caught:
            await job
        assert caught.value.ref == REF
        assert "paid" not in str(caught.value)
