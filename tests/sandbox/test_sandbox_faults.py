"""Faults: what the client sees, and whether the sandbox charged."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from random import Random

import aiohttp
import pytest

from hoox_async.errors import ConfigurationError
from hoox_async.sandbox import Fault, Sandbox
from hoox_async.sandbox.fault_injection import FaultPlan


class Bench:
    """A sandbox, a client and one look to edit."""

    def __init__(self, sandbox: Sandbox, http: aiohttp.ClientSession, ids: dict[str, str]) -> None:
        self.sandbox = sandbox
        self.http = http
        self.ids = ids

    async def edit(self) -> tuple[int, bytes]:
        post = self.http.post("avatar/edit", json={**self.ids, "prompt": "x"}, allow_redirects=False)
        async with asyncio.timeout(60), post as response:
            return response.status, await response.read()

    @property
    def charged(self) -> int:
        return len(self.sandbox.ledger) - 1


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Sandbox() as sandbox:
        headers = {"Authorization": f"Bearer {sandbox.api_key}"}
        async with aiohttp.ClientSession(sandbox.base_url + "/", headers=headers) as http:
            made = http.post("avatar/create", json={"imageUrls": ["https://example.com/a.jpg"]})
            async with made as response:
                yield Bench(sandbox, http, await response.json())


@pytest.mark.parametrize(
    "fault", [Fault.DROP_BEFORE, Fault.DROP_AFTER, Fault.DROP_IN_BODY], ids=lambda f: f.name
)
async def test_a_dropped_connection_charges_as_its_fault_says(
    bench: Bench, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets no complete response, and the server logs no error."""
    caplog.set_level(logging.WARNING)
    bench.sandbox.fail_next("edit", fault)
    with pytest.raises(aiohttp.ClientError):
        await bench.edit()
    assert bench.charged == fault.charges
    assert caplog.records == []
    assert (await bench.edit())[0] == 201


@pytest.mark.parametrize("fault", [Fault.HANG_BEFORE, Fault.HANG], ids=lambda f: f.name)
async def test_a_request_that_hangs_charges_as_its_fault_says(bench: Bench, fault: Fault) -> None:
    """The client gets no response."""
    bench.sandbox.fail_next("edit", fault)
    hung = asyncio.ensure_future(bench.edit())
    while bench.sandbox.requests[-1].fault is None:
        await asyncio.sleep(0.001)
    assert bench.charged == fault.charges
    assert bench.sandbox.requests[-1].status is None
    assert not hung.done()
    hung.cancel()


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.ERROR_500_BEFORE, 500),
        (Fault.ERROR_500_AFTER, 500),
        (Fault.BAD_GATEWAY, 502),
        (Fault.RATE_LIMITED, 429),
        (Fault.RATE_LIMITED_RETRY_AFTER, 429),
        (Fault.TEAPOT, 418),
        (Fault.REDIRECT, 302),
        (Fault.status(204), 204),
        (Fault.status(503, "<html>", json=False), 503),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
async def test_a_fault_with_a_status_charges_as_it_says(bench: Bench, fault: Fault, status: int) -> None:
    """The client gets that status, and the request's record has it too."""
    bench.sandbox.fail_next("edit", fault)
    assert (await bench.edit())[0] == status
    assert bench.charged == fault.charges
    assert (bench.sandbox.requests[-1].status, bench.sandbox.requests[-1].fault) == (status, fault.name)


async def test_a_rate_limit_fault_has_quota_headers_and_optionally_retry_after(bench: Bench) -> None:
    """The quota headers say that nothing is left, and when the quota resets."""
    bench.sandbox.fail_next("list", Fault.RATE_LIMITED)
    bench.sandbox.fail_next("list", Fault.RATE_LIMITED_RETRY_AFTER)
    for expected in (None, "1"):
        async with bench.http.get("avatar/list") as response:
            assert response.headers.get("Retry-After") == expected
            assert response.headers["X-RateLimit-Remaining"] == "0"
            now = bench.sandbox.space.epoch + asyncio.get_running_loop().time()
            assert 0 <= int(response.headers["X-RateLimit-Reset"]) - now <= 1


@pytest.mark.parametrize("fault", [Fault.TRUNCATED, Fault.DEEP_JSON, Fault.NOT_JSON], ids=lambda f: f.name)
async def test_a_fault_can_give_a_2xx_response_that_is_no_valid_json(bench: Bench, fault: Fault) -> None:
    """The request is accepted and charged."""
    bench.sandbox.fail_next("edit", fault)
    status, body = await bench.edit()
    assert status in (200, 201)
    assert bench.charged == 1
    with pytest.raises((ValueError, RecursionError)):
        json.loads(body)


async def test_a_slow_body_arrives_complete_after_its_seconds(bench: Bench) -> None:
    """The body comes in pieces, for as long as the fault says."""
    bench.sandbox.fail_next("edit", Fault.slow(0.06))
    bench.sandbox.fail_next("edit", Fault.late(0.06))
    for charged in (1, 2):
        start = asyncio.get_running_loop().time()
        _, body = await bench.edit()
        assert asyncio.get_running_loop().time() - start >= 0.05
        assert json.loads(body)["look_id"] == bench.sandbox.ledger[-1].look_id
        assert bench.charged == charged


async def test_an_endless_body_ends_when_the_client_disconnects(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The client can read as much as it likes, and the server logs no error."""
    bench.sandbox.fail_next("edit", Fault.HUGE)
    async with bench.http.post("avatar/edit", json={**bench.ids, "prompt": "x"}) as response:
        assert len(await response.content.readexactly(2_000_000)) == 2_000_000
    assert (await bench.edit())[0] == 201
    assert caplog.records == []


async def test_faults_can_be_planned_by_number_and_by_fail_next() -> None:
    """The constructor takes the number of the request; calls of `fail_next` follow one another."""
    plan = FaultPlan(Random(0), [("edit", 2, Fault.TEAPOT)])
    assert [plan.next_fault("edit") for _ in range(3)] == [None, Fault.TEAPOT, None]
    plan.fail_next("edit", Fault.HANG, times=2, after=1)
    plan.fail_next("edit", Fault.HUGE)
    assert plan.next_fault("status") is None
    assert [plan.next_fault("edit") for _ in range(5)] == [None, Fault.HANG, Fault.HANG, Fault.HUGE, None]


def test_random_faults_meet_paid_requests_only() -> None:
    """Each fault meets about its share of them, and the same seed gives the same faults."""
    rates = {Fault.DROP_AFTER: 0.2, Fault.ERROR_500_BEFORE: 0.1}
    one, other = (FaultPlan(Random(3), rates=rates) for _ in range(2))
    met = [one.next_fault("edit") for _ in range(1000)]
    assert met == [other.next_fault("edit") for _ in range(1000)]
    assert 150 < met.count(Fault.DROP_AFTER) < 250
    assert 60 < met.count(Fault.ERROR_500_BEFORE) < 140
    assert {one.next_fault("status") for _ in range(100)} == {None}


def test_an_unknown_endpoint_and_a_refused_connection_cannot_be_planned() -> None:
    """A server that listens cannot refuse a connection."""
    with pytest.raises(ValueError, match="'edits' is not usable; expected one of create, edit, "):
        Sandbox().fail_next("edits", Fault.HANG)
    with pytest.raises(ConfigurationError, match="InProcessTransport"):
        Sandbox().fail_next("edit", Fault.REFUSED)
    with pytest.raises(ConfigurationError, match="'hang' is not usable; expected a Fault"):
        Sandbox().fail_next("edit", "hang")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="times: 0"):
        Sandbox().fail_next("edit", Fault.HANG, times=0)
    with pytest.raises(ConfigurationError, match="REFUSED"):
        Sandbox(faults=[("edit", 1, Fault.REFUSED)])
    with pytest.raises(ConfigurationError, match="REFUSED"):
        Sandbox(fault_rates={Fault.REFUSED: 0.1})
