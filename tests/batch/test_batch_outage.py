"""A batch in an outage of the API: little is put at risk, and it goes on by itself when that is over."""

from __future__ import annotations

import asyncio
import logging
import time
from itertools import pairwise
from typing import Any

import pytest
from batch_kit import avatar, counts, edits, hooked, lose, opened, space_of
from session_kit import now, paid_prompts

from hoox_async import BatchRunner, ImageAvatar, LookEdit
from hoox_async.events import Event, Paused
from hoox_async.sandbox import Fault, Sandbox, Space
from hoox_async.testing import VirtualTimeLoop

PICTURE = "https://example.com/a.jpg"


def sent_at(space: Space) -> list[float]:
    """When each edit went out."""
    return [record.at for record in space.requests if record.endpoint == "edit"]


async def test_max_failures_counts_the_losses_of_this_run_over_a_real_socket() -> None:
    """With ``max_failures=3`` and each POST answered 502, three are lost and the other 57 are not sent."""
    async with Sandbox() as sandbox, sandbox.session() as session:
        source = await session.run(ImageAvatar([PICTURE]))
        sandbox.fail_next("edit", Fault.BAD_GATEWAY, times=1_000)
        report = await BatchRunner(session, max_failures=3).run(edits(source.ref, 60))
    assert counts(report) == {"unknown": 3, "unsent": 57}
    assert sum(outcome.at_risk for outcome in report) == 6
    assert "max_failures" in str(report.outcomes[-1].error)


@pytest.mark.virtual_time
async def test_an_unknown_of_an_earlier_run_does_not_count_for_max_failures() -> None:
    """Only POSTs that were lost in this run are failures of this run."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        for n in range(3):
            await lose(session, space, source, f"e{n}", Fault.DROP_BEFORE)
        report = await BatchRunner(session, max_failures=1).run(edits(source, 8))
    assert counts(report) == {"unknown": 3, "ready": 5}


@pytest.mark.virtual_time
async def test_a_lost_post_whose_look_is_delivered_is_no_failure() -> None:
    """Lost POSTs whose looks are proved by deliveries do not count for ``max_failures``."""
    space = space_of(2.0)
    async with hooked(space) as session:
        source = await avatar(session)
        for n in range(6):
            space.faults.fail_next("edit", Fault.DROP_AFTER, after=0)
            report = await BatchRunner(session, max_failures=2).run(edits(source, 1, f"r{n}-"))
            assert counts(report) == {"ready": 1}
        for _ in range(3):
            space.faults.fail_next("edit", Fault.DROP_AFTER, after=1)
        report = await BatchRunner(session, max_failures=2, max_in_flight=1).run(edits(source, 12))
    assert counts(report) == {"ready": 12}


@pytest.mark.virtual_time
async def test_an_outage_from_the_start_loses_five_and_three_probes() -> None:
    """Five POSTs and the probes after 30, 60 and 120 s are lost; the other items are UNSENT and say why."""
    space = space_of()
    events: list[Event] = []
    async with opened(space, hooks=[events.append]) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.BAD_GATEWAY, times=1_000)
        report = await BatchRunner(session).run(edits(source, 300))
        at = sent_at(space)
        again = await BatchRunner(session, max_failures=1).run(edits(source, 300))
    assert counts(report) == {"unknown": 8, "unsent": 292}
    assert [round(late - early) for early, late in pairwise(at[4:])] == [30, 60, 120]
    assert "does not answer" in str(report.outcomes[-1].error)
    assert [event.seconds for event in events if isinstance(event, Paused)] == [30.0, 60.0, 120.0]
    assert counts(again) == {"unknown": 9, "unsent": 291}, "what was lost before is no failure of this run"


class EarlyLoop(VirtualTimeLoop):
    """Calls its timers early, by less than its clock's resolution, as asyncio may do."""

    def __init__(self) -> None:
        super().__init__()
        select, early = self._jumping.select, 0.9 * time.get_clock_info("monotonic").resolution

        def select_early(timeout: float | None = None) -> Any:
            return select(timeout - early if timeout is not None and timeout > 2 * early else timeout)

        self._jumping.select = select_early  # type: ignore[method-assign]


def test_a_timer_that_fires_early_does_not_end_the_probes() -> None:
    """Where the loop calls the timer of a pause a moment early, the probe is sent all the same."""

    async def run() -> dict[str, int]:
        space = space_of()
        async with asyncio.timeout(3_600), opened(space) as session:
            source = await avatar(session)
            space.faults.fail_next("edit", Fault.DROP_BEFORE, times=5)
            return counts(await BatchRunner(session).run(edits(source, 20)))

    with asyncio.Runner(loop_factory=EarlyLoop) as runner:
        assert runner.run(run()) == {"unknown": 5, "ready": 15}


@pytest.mark.virtual_time
@pytest.mark.parametrize("lost_probes", [0, 1, 2])
async def test_the_batch_goes_on_once_a_probe_is_answered(
    lost_probes: int, caplog: pytest.LogCaptureFixture
) -> None:
    """All items that were held back are made, once each; a refusal by the API counts as an answer too."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.DROP_BEFORE, times=5 + lost_probes)
        space.faults.fail_next("edit", Fault.status(400))
        with caplog.at_level(logging.WARNING, "hoox_async"):
            report = await BatchRunner(session).run(edits(source, 60))
    lost = 5 + lost_probes
    assert counts(report) == {"unknown": lost, "rejected": 1, "ready": 60 - lost - 1}
    assert max(paid_prompts(space).values()) == 1
    messages = [record.getMessage() for record in caplog.records]
    assert sum("a batch sends nothing new" in message for message in messages) == 1 + lost_probes
    assert sum("the batch goes on" in message for message in messages) == 1


@pytest.mark.virtual_time
async def test_a_server_that_never_answers_gets_few_posts() -> None:
    """A server that never answers gets five POSTs in two minutes, and then three probes."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        began = now()
        space.faults.fail_next("edit", Fault.HANG_BEFORE, times=1_000)
        report = await BatchRunner(session).run(edits(source, 250))
    assert sum(at - began < 125.0 for at in sent_at(space)) == 5
    assert counts(report) == {"unknown": 8, "unsent": 242}


@pytest.mark.virtual_time
async def test_a_server_that_stops_answering_in_the_middle_gets_nothing_new_after_ten_seconds() -> None:
    """Only what is sent in ten seconds of silence is lost, and a `Paused` event reports the pause."""
    space = space_of()
    events: list[Event] = []
    async with opened(space, hooks=[events.append]) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.HANG_BEFORE, after=30, times=1_000)
        report = await BatchRunner(session).run(edits(source, 250))
    first = sent_at(space)[30]
    in_silence = [at for at in sent_at(space) if first <= at < first + 120.0]
    assert max(in_silence) <= first + 10.6
    assert len(in_silence) < 20
    assert counts(report)["ready"] == 30
    assert counts(report)["unknown"] == len(in_silence) + 3
    silences = [event for event in events if isinstance(event, Paused) and "no answer" in event.reason]
    assert len(silences) == 1
    assert 100.0 < silences[0].seconds <= 110.0


@pytest.mark.virtual_time
async def test_answers_that_take_15_s_are_no_outage() -> None:
    """Where each answer takes 15 s, all items are made at almost the pace of the quota."""
    space = space_of(1.0)
    async with opened(space, transport={"latency": 15.0}) as session:
        source = await avatar(session)
        began = now()
        report = await BatchRunner(session).run(edits(source, 100))
        lasted = now() - began
    assert counts(report) == {"ready": 100}
    assert lasted < 0.6 * 100 + 100


@pytest.mark.virtual_time
async def test_single_submissions_are_not_held_back() -> None:
    """A single submission is sent and paid while the batch pauses: its caller decided so."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.DROP_BEFORE, times=5)
        run = asyncio.create_task(BatchRunner(session).run(edits(source, 20)))
        await asyncio.sleep(15)
        assert paid_prompts(space)["e19"] == 0
        before = now()
        await session.submit(LookEdit(source, "single"))
        assert now() - before < 2
        assert counts(await run) == {"unknown": 5, "ready": 15}


@pytest.mark.virtual_time
async def test_a_probe_that_cannot_connect_is_neither_lost_nor_answered() -> None:
    """A probe that cannot connect is repeated, and the batch goes on when it is answered."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.DROP_BEFORE, times=5)
        space.faults.fail_next("edit", Fault.REFUSED, times=3)
        report = await BatchRunner(session).run(edits(source, 20))
    assert counts(report) == {"unknown": 5, "ready": 15}


@pytest.mark.virtual_time
async def test_a_stop_ends_a_pause() -> None:
    """A stop ends a pause: the items that wait for its end are UNSENT at once."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.DROP_BEFORE, times=1_000)
        runner = BatchRunner(session)
        began = now()
        asyncio.get_running_loop().call_later(20.0, runner.stop)
        report = await runner.run(edits(source, 50))
        assert now() - began < 21
    assert counts(report) == {"unknown": 5, "unsent": 45}


@pytest.mark.virtual_time
async def test_resending_unknowns_stops_in_an_outage_too() -> None:
    """``on_unknown="resend"`` sends each lost one once more at most, and a pause holds that back too."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", Fault.BAD_GATEWAY, times=1_000)
        report = await BatchRunner(session, on_unknown="resend").run(edits(source, 100))
        assert len(sent_at(space)) == 8
    assert counts(report)["unsent"] >= 92
    assert sum(outcome.at_risk for outcome in report) == 16
