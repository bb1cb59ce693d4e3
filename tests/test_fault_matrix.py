"""The fault matrix: every fault of the sandbox, at every endpoint, at a first call and at a later one.

What is raised, what it says of the charge beside what the sandbox charged, how often the request was sent,
and that the session still works after. The test writes what it found as one Markdown table; give it a place
with ``HOOX_FAULT_TABLE=faults.md``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from itertools import groupby, product
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import attrs
import pytest
from session_kit import IntentState, edit, made, on_space, prompt, store_of

from hoox_async import Budget, Endpoint, HooxSession, Look, LookRef, LookStatus, Timeouts
from hoox_async.errors import HooxError
from hoox_async.sandbox import Fault, Sandbox, Space
from hoox_async.testing import VirtualTimeLoop

DOWNLOAD = "picture"
PAID = [endpoint.value for endpoint in Endpoint if endpoint.paid]
READS = [endpoint.value for endpoint in Endpoint if not endpoint.paid]
FAULTS = [fault for fault in vars(Fault).values() if isinstance(fault, Fault)]
SERVED = [fault for fault in FAULTS if fault is not Fault.REFUSED]
HARMLESS = {Fault.REFUSED.name, Fault.RATE_LIMITED.name, Fault.RATE_LIMITED_RETRY_AFTER.name}
WORKERS = 24
FEW = Timeouts(connect=4.0, read=4.0, answer=3.0)


class Plan(NamedTuple):
    """One cell of the matrix. ``fails``: once or always; ``call``: the session's first or a later one."""

    fault: Fault
    endpoint: str
    fails: str
    call: str


class Cell(NamedTuple):
    """What was found."""

    plan: Plan
    raised: str
    says: str
    charged: str
    sent: int
    works: bool
    listed: bool
    budget: str


class Bench:
    """A workspace with one look in it, and a session on it for each cell."""

    def __init__(self, space: Space, folder: Path) -> None:
        self.space = space
        self.folder = folder
        self.ref = made(space)
        self.count = 0

    def call(
        self, session: HooxSession, endpoint: str, budget: Budget, max_wait: float | None = None
    ) -> Awaitable[Any]:
        self.count += 1
        key = f"k{self.count}"
        look = Look(self.ref, LookStatus.READY, f"{self.space.picture_base}/{self.ref.look_id}.jpg")
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "create": lambda: session.submit(prompt(key), key=key, budget=budget, max_wait=max_wait),
            "edit": lambda: session.submit(edit(self.ref, key), key=key, budget=budget, max_wait=max_wait),
            "status": lambda: session.status(self.ref),
            "avatar": lambda: session.avatar(self.ref.avatar_id),
            "look": lambda: session.look(self.ref),
            "list": lambda: session.looks(only_public=True),
            DOWNLOAD: lambda: session.download(look, self.folder / f"{key}.jpg"),
        }
        return calls[endpoint]()

    async def cell(self, session: HooxSession, plan: Plan) -> Cell:
        budget = Budget(1000)
        if plan.call == "later":
            await self.call(session, plan.endpoint, budget)
        before, spent, asked = self.space.credits_spent, budget.spent, self.asked(plan.endpoint)
        times = 1 if plan.fails == "once" else 1000
        self.space.faults.fail_next(plan.endpoint, plan.fault, times=times)
        error: HooxError | None = None
        try:
            await self.call(session, plan.endpoint, budget, max_wait=30)
        except HooxError as raised:
            error = raised
        cell = Cell(
            plan,
            raised=type(error).__name__ if error else "—",
            says=error.charged if error else "—",
            charged=f"{self.space.credits_spent - before:g}",
            sent=self.asked(plan.endpoint) - asked,
            works=False,
            listed=f"k{self.count}" in [unknown.key for unknown in await session.unknowns()],
            budget=f"{budget.spent - spent:g}",
        )
        return cell._replace(works=await self.works(session, plan))

    def asked(self, endpoint: str) -> int:
        return sum(record.endpoint == endpoint for record in self.space.requests)

    async def works(self, session: HooxSession, plan: Plan) -> bool:
        """The same endpoint once more, where it fails only once; a submission and a read in any case."""
        again = [plan.endpoint] if plan.fails == "once" else []
        for endpoint in dict.fromkeys([*again, "edit", "look"]):
            if plan.fails == "once" or endpoint != plan.endpoint:
                await self.call(session, endpoint, Budget(1000))
        return True


def in_turn(plans: Iterable[Plan]) -> list[Plan]:
    """Those that take their time first."""
    return sorted(plans, key=lambda plan: plan.fault.kind not in ("hang", "drip") and plan.fault.code != 429)


async def over_sockets(plans: Iterable[Plan], folder: Path) -> list[Cell]:
    """On real servers, one for each worker."""
    waiting, cells = in_turn(plans), []

    async def work(number: int) -> None:
        async with Sandbox(seed=number) as sandbox:
            bench = Bench(sandbox.space, folder / str(number))
            while waiting:
                plan = waiting.pop(0)
                async with sandbox.session(timeouts=FEW) as session:
                    cells.append(await bench.cell(session, plan))

    async with asyncio.TaskGroup() as group:
        for number in range(WORKERS):
            group.create_task(work(number))
    return cells


async def in_process(plans: Iterable[Plan], folder: Path) -> list[Cell]:
    """Without sockets, for what can't be served or takes minutes."""
    cells = []
    for plan in plans:
        space = Space(rng=Random(1), requests_per_minute=6000)
        options: dict[str, Any] = {"requests_per_minute": 6000}
        async with on_space(space, **options, transport={"answer": 30.0}) as (session, _):
            cells.append(await Bench(space, folder).cell(session, plan))
    return cells


def on_virtual_time(plans: Iterable[Plan], folder: Path) -> list[Cell]:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(in_process(plans, folder))


def plans() -> tuple[list[Plan], list[Plan]]:
    """Those on servers, and those in the process."""
    calls = ("first", "later")
    served = [
        Plan(fault, endpoint, "once", call)
        for fault, endpoint, call in product(SERVED, [*PAID, *READS, DOWNLOAD], calls)
    ]
    lasting = [
        Plan(fault, endpoint, "always", call) for fault, endpoint, call in product(FAULTS, READS, calls)
    ]
    lasting += [
        Plan(fault, endpoint, fails, call)
        for fault, endpoint, fails, call in product(FAULTS, PAID, ("once", "always"), calls)
        if fault.name in HARMLESS and (fails == "always" or fault is Fault.REFUSED)
    ]
    lasting += [Plan(Fault.REFUSED, endpoint, "once", call) for endpoint, call in product(READS, calls)]
    return served, lasting


def wrong(cell: Cell) -> str | None:
    """What is wrong with a cell; None where all is well."""
    plan = cell.plan
    paid = plan.endpoint in PAID
    raised = cell.raised != "—"
    rules = {
        "charged, and the error says it was not": cell.charged != "0" and raised and cell.says == "no",
        "a read is charged": not paid and cell.charged != "0",
        "paid for twice": float(cell.charged) > 2,
        "sent again on a guess": paid and plan.fault.name not in HARMLESS and cell.sent != 1,
        "an unknown that is not listed": (cell.says == "maybe") is not cell.listed,
        "the budget knows less than was charged": float(cell.budget) < float(cell.charged),
        "the budget counts what surely cost nothing": cell.says == "no" and cell.budget != "0",
        "a free failure was not sent again": plan.fault.name in HARMLESS and plan.fails == "once"
        and plan.endpoint != DOWNLOAD and raised,
        "tries without end": cell.sent > (30 if plan.fault.code == 429 and paid else 10),
        "the session works no more": not cell.works,
    }  # fmt: skip
    found = [rule for rule, broken in rules.items() if broken]
    where = f"{plan.fault.name} at {plan.endpoint}, {plan.fails}, {plan.call}"
    return f"{where}: {', '.join(found)} ({cell})" if found else None


def table(cells: Iterable[Cell]) -> str:
    """All cells as Markdown; the first and the later call in one line where they are alike."""
    lines = [
        "| fault | endpoint | it fails | call | raised | says charged | was charged | sent | works after |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]

    def place(cell: Cell) -> tuple[str, str, str]:
        return cell.plan.fault.name, cell.plan.endpoint, cell.plan.fails

    ordered = sorted(cells, key=lambda cell: (*place(cell), cell.plan.call))
    for (fault, endpoint, fails), group in groupby(ordered, key=place):
        alike: dict[tuple[Any, ...], list[str]] = {}
        for cell in group:
            found = (cell.raised, cell.says, cell.charged, cell.sent, "yes" if cell.works else "NO")
            alike.setdefault(found, []).append(cell.plan.call)
        name = "download" if endpoint == DOWNLOAD else endpoint
        for found, calls in alike.items():
            texts = (fault, name, fails, " and ".join(calls), *map(str, found))
            lines.append("| " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


@pytest.mark.slow
def test_no_fault_at_any_endpoint_breaks_the_rules_of_money(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is paid twice or called free although charged, and the session works afterwards."""
    monkeypatch.setattr("hoox_async.sandbox.http_server.paint", lambda _: b"\xff\xd8\xff" * 50)
    monkeypatch.setattr("hoox_async._core.retry._backoff", lambda *_: 0.02)
    monkeypatch.setattr("hoox_async._session.HooxSession.unknowns", _listed)
    served, lasting = plans()
    cells = asyncio.run(over_sockets(served, tmp_path / "a")) + on_virtual_time(lasting, tmp_path / "b")
    assert len(cells) == len(served) + len(lasting)
    place = Path(os.environ.get("HOOX_FAULT_TABLE") or tmp_path / "faults.md")
    place.write_text(table(cells), encoding="utf-8")
    assert [text for text in map(wrong, cells) if text is not None] == []
    assert list(tmp_path.rglob("*.part")) == []


async def _listed(session: HooxSession) -> list[Any]:
    """The unknowns without their candidates, which would be one request more for each avatar."""
    return await store_of(session).in_states((IntentState.UNKNOWN,))


def test_all_faults_of_the_sandbox_are_in_the_matrix() -> None:
    """A new fault must be added to the matrix."""
    served, lasting = plans()
    assert {plan.fault.name for plan in [*served, *lasting]} == {fault.name for fault in FAULTS}
    assert len(FAULTS) >= 18
    assert len(served) == len(SERVED) * 7 * 2


def test_the_matrix_finds_broken_rules() -> None:
    """Each made-up violation is reported, so the matrix can fail."""
    plan = Plan(Fault.DROP_AFTER, "create", "once", "first")
    good = Cell(plan, "OutcomeUnknown", "maybe", "2", 1, True, True, "2")
    assert wrong(good) is None
    for bad in (
        good._replace(says="no", listed=False),
        good._replace(sent=2),
        good._replace(charged="4", budget="4"),
        good._replace(listed=False),
        good._replace(budget="0"),
        good._replace(works=False),
    ):
        assert wrong(bad) is not None
    assert "| DROP_AFTER | create | once | first | OutcomeUnknown | maybe | 2 | 1 | yes |" in table([good])


async def test_a_download_whose_server_refuses_connections_is_an_error(tmp_path: Path) -> None:
    """The matrix cannot contain it, since a listening server refuses no connection."""
    async with Sandbox() as gone:
        url = f"{gone.space.picture_base}/a.jpg"
    async with Sandbox() as sandbox, sandbox.session(timeouts=FEW) as session:
        ref = made(sandbox.space)
        look = attrs.evolve(await session.status(ref), thumbnail_url=url)
        with pytest.raises(HooxError) as caught:
            await session.download(look, tmp_path / "a.jpg")
        assert caught.value.charged == "no"
        assert list(tmp_path.iterdir()) == []
        assert await session.look(LookRef(ref.avatar_id, ref.look_id))
