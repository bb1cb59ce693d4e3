"""Refusals that cost nothing: a batch does not repeat the same content, and sends corrected content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from batch_kit import PICTURE, avatar, opened, space_of, states
from session_kit import paid_prompts

from hoox_async import BatchItem, BatchRunner, ImageAvatar, LookEdit
from hoox_async.errors import BadRequest, KeyConflict
from hoox_async.sandbox import Fault, Sandbox

REFUSAL = Fault.status(400, '{"error": "bad", "code": "INVALID_VALUE"}')


@pytest.mark.virtual_time
@pytest.mark.parametrize("changed", ["error", "keep", "redo"])
async def test_corrected_content_is_sent_under_the_key_that_was_refused(changed: Any) -> None:
    """Corrected content under a refused key is sent, whatever ``changed`` says, since nothing was paid."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", REFUSAL)
        runner = BatchRunner(session, changed=changed)
        assert states(await runner.run([BatchItem("k", LookEdit(source, "wrong"))])) == {"k": "rejected"}
        estimate = await runner.estimate([BatchItem("k", LookEdit(source, "right"))])
        assert estimate.credits == 2
        (outcome,) = (await runner.run([BatchItem("k", LookEdit(source, "right"))])).outcomes
    assert (str(outcome.state), int(outcome.credits)) == ("ready", 2)
    assert (paid_prompts(space)["wrong"], paid_prompts(space)["right"]) == (0, 1)


async def test_corrected_content_is_sent_after_a_restart_too_over_a_real_socket(tmp_path: Path) -> None:
    """Corrected content under a key that an earlier process had refused is sent without any option."""
    async with Sandbox(speed=50) as sandbox:
        async with sandbox.session(store=tmp_path / "looks.db") as session:
            source = (await session.run(ImageAvatar([PICTURE]), key="s")).ref
            sandbox.fail_next("edit", REFUSAL)
            first = await BatchRunner(session).run([BatchItem("k", LookEdit(source, "wrong"))])
            assert states(first) == {"k": "rejected"}
        async with sandbox.session(store=tmp_path / "looks.db") as session:
            second = await BatchRunner(session).run([BatchItem("k", LookEdit(source, "right"))])
            assert states(second) == {"k": "ready"}


@pytest.mark.virtual_time
async def test_refused_content_is_sent_again_only_if_retry_names_rejected() -> None:
    """An item that was REJECTED is not sent again unless ``retry`` names ``"rejected"``."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        items = [BatchItem("k", LookEdit(source, "k"))]
        space.faults.fail_next("edit", REFUSAL)
        for _ in range(2):
            (outcome,) = (await BatchRunner(session).run(items)).outcomes
            assert str(outcome.state) == "rejected"
            assert isinstance(outcome.error, BadRequest)
        assert sum(record.endpoint == "edit" for record in space.requests) == 1
        assert states(await BatchRunner(session, retry=["rejected"]).run(items)) == {"k": "ready"}
    assert paid_prompts(space)["k"] == 1


@pytest.mark.virtual_time
@pytest.mark.parametrize("changed", ["error", "keep", "redo"])
async def test_the_same_key_twice_in_one_input_with_two_contents_is_a_conflict(changed: Any) -> None:
    """A second content under one key is a conflict, even if the first was refused before it was read."""
    space = space_of()

    async def given() -> Any:
        yield BatchItem("k", LookEdit(source, "one"))
        while not any(record.status == 400 for record in space.requests):
            await anext(ticks)
        yield BatchItem("k", LookEdit(source, "two"))

    async def seconds() -> Any:
        while True:
            await session.looks()
            yield None

    ticks = seconds()
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next("edit", REFUSAL)
        report = await BatchRunner(session, changed=changed).run(given())
        await ticks.aclose()
    assert [str(outcome.state) for outcome in report] == ["rejected", "rejected"]
    assert isinstance(report.outcomes[1].error, KeyConflict)
    assert paid_prompts(space)["two"] == 0
