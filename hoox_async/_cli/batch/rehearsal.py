"""``batch --rehearse``: runs the whole campaign on a sandbox with a temporary store."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import attrs

from hoox_async import BatchItem, BatchRunner, HooxSession, LookEdit, LookRef, Request
from hoox_async.sandbox import Sandbox

from ..terminal import Terminal
from ..text import format_duration
from .batch_options import BatchOptions
from .counters import RunCounters
from .terminal_run import PictureTarget, RunResult, TerminalRun


async def rehearse(
    items: Sequence[BatchItem],
    options: BatchOptions,
    terminal: Terminal,
    *,
    rpm: int,
    pictures: PictureTarget | None,
) -> RunResult:
    """Run these items on a sandbox that is ``options.speed`` times as fast as the real API."""
    limit = max(1, round(rpm * options.speed))
    counters = RunCounters(len(items), len(items), interval=60 / limit, max_credits=options.max_credits)
    with tempfile.TemporaryDirectory(prefix="hoox-rehearsal-", ignore_cleanup_errors=True) as folder:
        async with Sandbox(speed=options.speed, requests_per_minute=limit) as sandbox:
            async with sandbox.session() as session:
                prepared = await _with_stand_ins(session, items)
            session = sandbox.session(store=Path(folder, "rehearsal.hoox.db"), hooks=[counters])
            runner = BatchRunner(
                session,
                max_credits=options.max_credits,
                budget=options.named_budget(),
                max_failures=options.max_failures,
                look_timeout=options.look_timeout,
            )
            result = await TerminalRun(session, runner, prepared, counters, terminal, pictures).run()
    terminal.say(f"rehearsed at {options.speed:g} times the speed, in {format_duration(result.seconds)}")
    return result


async def _with_stand_ins(session: HooxSession, items: Sequence[BatchItem]) -> list[BatchItem]:
    """The items without webhook URLs, edits of existing avatars made from stand-ins on the sandbox."""
    refs = {item.request.source for item in items if isinstance(item.request, LookEdit)}
    stand_ins: dict[LookRef | str, LookRef] = {}
    for ref in refs:
        if isinstance(ref, LookRef):
            made = await session.create_avatar_from_images(
                ["https://rehearsal.invalid/portrait.jpg"], name=ref.avatar_id
            )
            stand_ins[ref] = made.ref
    return [attrs.evolve(item, request=_for_sandbox(item, stand_ins)) for item in items]


def _for_sandbox(item: BatchItem, stand_ins: dict[LookRef | str, LookRef]) -> Request:
    request = item.request
    if isinstance(request, LookEdit):
        source = stand_ins.get(request.source, request.source)
        return attrs.evolve(request, source=source, webhook_url=None)
    return attrs.evolve(request, webhook_url=None)
