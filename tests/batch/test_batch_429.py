"""Against a server that answers nothing but 429, one request probes after each pause, and at last all end."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise

import pytest
from batch_kit import avatar, counts, edits, opened, space_of
from session_kit import edit, end_faults, made, now, on_space, sends

from hoox_async import BatchRunner, Timeouts
from hoox_async.errors import ConfigurationError, NotSent, RateLimited
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time

FOR_EVER = 10**9


async def test_a_submission_ends_after_the_throttle_timeout() -> None:
    """A submission that meets only 429 raises `RateLimited` after `Timeouts.refused`; its key stays free."""
    async with on_space(timeouts=Timeouts(refused=300.0)) as (session, space):
        ref = made(space)
        space.faults.fail_next("edit", Fault.rate_limited(retry_after=30), times=FOR_EVER)
        began = now()
        with pytest.raises(RateLimited) as caught:
            await session.submit(edit(ref), key="k")
        assert caught.value.charged == "no"
        assert 300.0 <= now() - began <= 340.0
        end_faults(space)
        await session.submit(edit(ref), key="k")
        assert len(space.ledger) == 1


async def test_a_batch_stops_after_the_throttle_timeout() -> None:
    """The items of a batch that meets only 429 end UNSENT, and one POST is sent after each pause."""
    space = space_of()
    async with opened(space, timeouts=Timeouts(refused=300.0)) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.rate_limited(retry_after=30), times=FOR_EVER)
        began = now()
        report = await BatchRunner(session).run(edits(source, 50))
        assert counts(report) == {"unsent": 50}
        assert all(isinstance(outcome.error, RateLimited) for outcome in report)
        assert 300.0 <= now() - began <= 340.0
        asked = [record.at for record in space.requests if record.status == 429]
    first = sum(at - began < 5.0 for at in asked)  # what was on the way when the first was refused
    assert all(later - at >= 29.0 for at, later in pairwise(asked[first:]))
    assert len(asked) <= first + 11


async def test_a_batch_goes_on_after_a_pause_with_one_request_first() -> None:
    """After a pause one request is sent first, and the others follow its answer at the even interval."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        await asyncio.sleep(100)
        space.faults.fail_next("edit", Fault.rate_limited(retry_after=30), times=30)
        before = len(space.requests)
        report = await BatchRunner(session).run(edits(source, 60))
    assert counts(report) == {"ready": 60}
    posts = [r.at for r in space.requests[before:] if r.endpoint == "edit" and r.status != 429]
    assert posts[1] - posts[0] >= 0.3
    assert sum(at - posts[0] < 5.0 for at in posts) <= 10
    assert Counter(r.status for r in space.requests)[429] == 30


async def test_reads_that_meet_only_429_end_too() -> None:
    """All reads that meet only 429 raise `RateLimited`, also those that were never sent."""
    async with on_space() as (session, space):
        ref = made(space)
        for endpoint in ("edit", "status"):
            space.faults.fail_next(endpoint, Fault.rate_limited(retry_after=3000), times=FOR_EVER)
        submitting = asyncio.create_task(session.submit(edit(ref)))
        await asyncio.sleep(1)
        began = now()
        ends = await asyncio.gather(*(session.status(ref) for _ in range(20)), return_exceptions=True)
        assert {type(end) for end in ends} == {RateLimited}
        assert now() - began <= 180.0
        assert sends(space, "status", "edit") <= 5
        with pytest.raises(RateLimited):
            await submitting


async def test_max_wait_bounds_a_submission_that_meets_only_429() -> None:
    """A submission that meets only 429 raises `NotSent` after its ``max_wait``."""
    async with on_space() as (session, space):
        ref = made(space)
        space.faults.fail_next("edit", Fault.rate_limited(retry_after=30), times=FOR_EVER)
        began = now()
        with pytest.raises(NotSent):
            await session.submit(edit(ref), max_wait=70.0)
        assert now() - began <= 71.0


async def test_a_later_submission_has_the_whole_throttle_timeout() -> None:
    """The time for which earlier submissions met only 429 does not count for a later one."""
    async with on_space(timeouts=Timeouts(refused=300.0)) as (session, space):
        ref = made(space)
        space.faults.fail_next("edit", Fault.rate_limited(retry_after=30), times=15)
        with pytest.raises(RateLimited):
            await session.submit(edit(ref))
        await session.submit(edit(ref))
        assert len(space.ledger) == 1


async def test_a_pause_that_begins_while_a_post_connects_holds_it_back() -> None:
    """A POST that connects when a pause begins is sent only after the pause."""
    async with on_space(transport={"connect": 5.0}) as (session, space):
        ref = made(space)
        space.faults.fail_next("status", Fault.rate_limited(retry_after=20))
        submitting = asyncio.create_task(session.submit(edit(ref)))
        await asyncio.sleep(1)
        await session.status(ref)
        await submitting
        status, edits = ([r.at for r in space.requests if r.endpoint == e] for e in ("status", "edit"))
        assert edits[0] - status[0] >= 20.0
        assert len(space.ledger) == 1


def test_the_throttle_timeout_must_be_a_positive_finite_number() -> None:
    """`Timeouts` raises `ConfigurationError` for a ``refused`` that is no positive finite number."""
    assert Timeouts().refused == 3600.0
    for wrong in (0, -1, float("inf"), float("nan"), "5", True):
        with pytest.raises(ConfigurationError, match="refused"):
            Timeouts(refused=wrong)  # type: ignore[arg-type]
