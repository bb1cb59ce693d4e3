"""Batches that several processes run together over one store: what each sends, gets and may spend."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from batch_kit import space_of
from internals_kit import runtime_of
from machines_kit import LEASE, Machine, machines
from session_kit import paid_prompts

from hoox_async import BatchItem, BatchReport, BatchRunner, Budget, ImageAvatar, LookEdit, PromptAvatar
from hoox_async._io.ledger.intent_rows import to_units
from hoox_async._io.ledger.statements import SET_CAP
from hoox_async.errors import (
    BudgetExceeded,
    ConfigurationError,
    GenerationFailed,
    InsufficientCredits,
    KeyConflict,
    OutcomeUnknown,
    StoreError,
)
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time

PRICE = PromptAvatar("a").credits


def items(count: int, text: str = "scene") -> list[BatchItem]:
    return [BatchItem(f"k{n}", PromptAvatar(f"{text} {n}")) for n in range(count)]


def states(report: BatchReport) -> Counter[str]:
    return Counter(str(outcome.state) for outcome in report)


async def begin(machine: Machine, batch: list[BatchItem], **options: Any) -> asyncio.Task[BatchReport]:
    task = asyncio.create_task(BatchRunner(machine.session, **options).run(batch))
    await asyncio.sleep(0)
    return task


# --- sharing the work


@pytest.mark.parametrize("count", [2, 4])
async def test_machines_share_the_items_of_one_input(count: int) -> None:
    """Each of 60 items is sent once, and each machine gets all looks; few permits go unused."""
    async with machines(space_of()) as world:
        running = [await begin(await world.start(), items(60)) for _ in range(count)]
        reports = [await task for task in running]
        for report in reports:
            assert states(report) == {"ready": 60}
        refs = [{outcome.key: outcome.ref for outcome in report} for report in reports]
        assert all(each == refs[0] for each in refs)
        assert set(paid_prompts(world.space).values()) == {1}
        assert len(world.space.ledger) == 60
        assert (
            world.unused_permits <= 0.1
        )  # by the order in which machines claim keys: 0.006 to 0.055 in 80 runs


async def test_edits_of_few_avatars_are_shared_too() -> None:
    """Of 60 edits of 3 avatars each is sent once, whichever machine sends it."""
    async with machines(space_of()) as world:
        first = await world.start()
        made = [(await first.session.run(ImageAvatar(["https://example.com/a.jpg"]))).ref for _ in range(3)]
        batch = [BatchItem(f"e{n}", LookEdit(made[n % 3], f"edit {n}")) for n in range(60)]
        running = [await begin(machine, batch) for machine in (first, await world.start())]
        for task in running:
            assert states(await task) == {"ready": 60}
        assert len(world.space.ledger) == 60 + 3


async def test_one_may_come_later_and_one_may_leave() -> None:
    """A machine that begins later gets all outcomes, and one that stops leaves its part to the others."""
    async with machines(space_of()) as world:
        first, second = await world.start(), await world.start()
        leaving = BatchRunner(second.session)
        left = asyncio.create_task(leaving.run(items(60)))
        early = await begin(first, items(60))
        await asyncio.sleep(10)
        leaving.stop()
        late = await begin(await world.start(), items(60))
        assert states(await early) == states(await late) == {"ready": 60}
        assert states(await left).keys() <= {"ready", "unsent"}
        assert set(paid_prompts(world.space).values()) == {1}


async def test_a_killed_machines_items_are_sent_by_the_others() -> None:
    """After a kill in the middle only what was outstanding then is unknown; all else is ready, paid once."""
    async with machines(space_of()) as world:
        first, second = await world.start(), await world.start()
        killed, going_on = await begin(first, items(60)), await begin(second, items(60))
        await asyncio.sleep(12)
        await first.kill(killed)
        report = await going_on
        outstanding = states(report)["unknown"]
        assert outstanding <= 1
        assert states(report)["ready"] == 60 - outstanding
        assert set(paid_prompts(world.space).values()) == {1}


async def test_a_dead_processs_unknowns_count_in_no_others_max_failures() -> None:
    """A batch with ``max_failures=1`` goes on though a POST of a killed process is unknown."""
    async with machines(space_of()) as world:
        first, second = await world.start(transport={"latency": 30.0}), await world.start()
        killed = await begin(first, items(1))
        await asyncio.sleep(5)
        going_on = await begin(second, items(40), max_failures=1)
        await first.kill(killed)
        report = await going_on
        assert states(report) == {"ready": 39, "unknown": 1}


# --- what may be paid again


async def test_what_failed_is_retried_by_one_machine_only() -> None:
    """With ``retry=("failed",)`` on two machines each failed look is paid once more, however it ends."""
    space = space_of(failures=1.0)
    async with machines(space) as world:
        first, second = await world.start(), await world.start()
        assert states(await (await begin(first, items(8)))) == {"failed": 8}
        one = await begin(first, items(8), retry=("failed",))
        await asyncio.sleep(3)
        other = await begin(second, items(8), retry=("failed",))
        await asyncio.gather(one, other)
        assert set(paid_prompts(space).values()) == {2}


async def test_a_machine_that_reads_what_anothers_retry_has_just_failed_at_does_not_pay_again() -> None:
    """An item that is admitted late, when the other machine's retry has failed already, is a failed one."""
    space = space_of(seconds=2.0, failures=1.0)
    async with machines(space) as world:
        first, second = await world.start(), await world.start()
        await (await begin(first, items(3)))
        gate = asyncio.Event()

        async def slowly() -> Any:
            yield items(1)[0]
            await gate.wait()
            for item in items(3)[1:]:
                yield item

        late = asyncio.create_task(BatchRunner(second.session, retry=("failed",)).run(slowly()))
        await asyncio.sleep(1)
        assert states(await (await begin(first, items(3), retry=("failed",)))) == {"failed": 3}
        gate.set()
        assert states(await late) == {"failed": 3}
        assert set(paid_prompts(space).values()) == {2}


async def test_changed_content_is_redone_by_one_machine() -> None:
    """With ``changed="redo"`` and two new contents for a key, one is paid; for the other it is a conflict."""
    async with machines(space_of()) as world:
        first, second = await world.start(), await world.start()
        await (await begin(first, items(3)))
        new = [
            await begin(first, items(3, "new"), changed="redo"),
            await begin(second, items(3, "other"), changed="redo"),
        ]
        reports = await asyncio.gather(*new)
        assert len(world.space.ledger) == 6
        outcomes = [outcome for report in reports for outcome in report]
        assert sum(isinstance(outcome.error, KeyConflict) for outcome in outcomes) == 3
        assert sum(outcome.error is None for outcome in outcomes) == 3


async def test_an_unknown_is_resent_by_one_machine_and_not_again_when_that_is_lost() -> None:
    """With ``on_unknown="resend"`` on two machines an earlier unknown is sent once more in all."""
    async with machines(space_of()) as world:
        first, second = await world.start(), await world.start()
        world.space.faults.fail_next("create", Fault.DROP_AFTER, times=3)
        with pytest.raises(OutcomeUnknown):
            await first.session.submit(items(1)[0].request, key="k0")
        running = [await begin(each, items(1), on_unknown="resend") for each in (first, second)]
        for task in running:
            assert states(await task) == {"unknown": 1}
        assert len(world.space.ledger) == 2


# --- content that a living process is about to send


async def test_other_content_does_not_replace_what_a_429_has_put_back() -> None:
    """While its process waits to send it again, another content is a conflict; the same content is sent."""
    async with machines(space_of(requests_per_minute=None)) as world:
        first, second = await world.start(), await world.start()
        world.space.faults.fail_next("create", Fault.rate_limited(retry_after=20))
        sending = asyncio.create_task(first.session.submit(PromptAvatar("mine"), key="k"))
        await asyncio.sleep(3)
        with pytest.raises(KeyConflict):
            await second.session.submit(PromptAvatar("other"), key="k")
        same = await second.session.submit(PromptAvatar("mine"), key="k")
        assert (await sending).ref == same.ref
        assert paid_prompts(world.space) == {"mine": 1}


@pytest.mark.parametrize("end", ["gives up", "cancelled", "closed", "killed"])
async def test_other_content_replaces_it_once_nobody_is_going_to_send_it(end: str) -> None:
    """It is replaced when the submission has ended, its session was closed, or its lease is over."""
    async with machines(space_of(requests_per_minute=None)) as world:
        first, second = await world.start(), await world.start()
        world.space.faults.fail_next("create", Fault.rate_limited(retry_after=20))
        wait = 2.0 if end == "gives up" else None
        sending = asyncio.create_task(first.session.submit(PromptAvatar("mine"), key="k", max_wait=wait))
        await asyncio.sleep(1)
        if end == "cancelled":
            sending.cancel()
        elif end == "closed":
            await first.session.aclose()
        elif end == "killed":
            await first.kill(sending)
            await asyncio.sleep(LEASE)
        await asyncio.wait((sending,))
        await asyncio.sleep(1)
        await second.session.submit(PromptAvatar("other"), key="k")
        assert paid_prompts(world.space) == {"other": 1}


async def test_it_is_free_after_a_refusal_that_stops_the_batch() -> None:
    """A lack of credits puts it back for good, as far as that process is concerned."""
    async with machines(space_of()) as world:
        first, second = await world.start(), await world.start()
        world.space.faults.fail_next("create", Fault.status(402))
        with pytest.raises(InsufficientCredits):
            await first.session.submit(PromptAvatar("mine"), key="k")
        await asyncio.sleep(1)
        await second.session.submit(PromptAvatar("other"), key="k")
        assert paid_prompts(world.space) == {"other": 1}


@pytest.mark.parametrize("works_again", [True, False])
async def test_an_own_post_whose_end_is_not_written_is_not_taken_for_another_processs(
    works_again: bool,
) -> None:
    """Joining it writes its end, or raises what its caller was told; no other process is waited for."""
    async with machines(space_of()) as world:
        machine = await world.start(transport={"latency": 2.0})
        session, fails = machine.session, True

        async def fault(when: str, name: str) -> None:
            if fails and name == "put":
                raise StoreError("the connection was cut")

        submission = asyncio.create_task(session.submit(PromptAvatar("a"), key="a"))
        await asyncio.sleep(1.0)
        machine.database.fault = fault
        with pytest.raises(StoreError) as told:
            await submission
        fails = not works_again
        joining = runtime_of(session).submitter.join("a")
        try:
            if works_again:
                joined = await asyncio.wait_for(joining, 1.0)
                assert joined is not None
                assert joined.ref == told.value.ref
            else:
                with pytest.raises(StoreError) as joined_told:
                    await asyncio.wait_for(joining, 1.0)
                assert (joined_told.value.charged, joined_told.value.ref) == ("yes", told.value.ref)
        finally:
            fails = False


# --- budgets for all


async def test_machines_never_exceed_a_cap_for_all() -> None:
    """Two batches of 40 items with a budget for 25 send 25; all machines get these, the rest is UNSENT."""
    async with machines(space_of()) as world:
        running = []
        for _ in range(2):
            budget = Budget(25 * PRICE, name="spring")
            running.append(await begin(await world.start(), items(40), budget=budget))
        reports = await asyncio.gather(*running)
        assert len(world.space.ledger) == 25
        assert set(paid_prompts(world.space).values()) == {1}
        for report in reports:
            assert {type(outcome.error) for outcome in report if outcome.error} == {BudgetExceeded}
        assert world.charged("spring") == 25 * PRICE
        await world.check_books()
        again = Budget(25 * PRICE, name="spring")
        report = await BatchRunner((await world.start()).session, budget=again).run(items(40))
        assert states(report) == {"ready": 25, "unsent": 15}


async def test_what_is_refused_makes_room() -> None:
    """A refusal gives its credits back, and an item that waited for them is sent."""
    async with machines(space_of()) as world:
        machine = await world.start()
        world.space.faults.fail_next("create", Fault.status(400), times=3)
        budget = Budget(5 * PRICE, name="spring")
        report = await BatchRunner(machine.session, budget=budget).run(items(8))
        assert states(report) == {"rejected": 3, "ready": 5}
        assert (budget.spent, budget.reserved, world.charged("spring")) == (5 * PRICE, Decimal(0), 5 * PRICE)
        await world.check_books()


@pytest.mark.parametrize("end", ["refused", "accepted", "killed"])
async def test_the_cap_waits_for_what_other_machines_may_give_back(end: str) -> None:
    """While another machine's POST holds the last credits, an item is neither sent nor given up.

    It is sent if that POST is refused, and UNSENT if it is accepted, or unknown since its machine was killed.
    """
    space = space_of()
    async with machines(space) as world:
        first, second = await world.start(transport={"latency": 5.0}), await world.start()
        if end == "refused":
            space.faults.fail_next("create", Fault.status(400))
        theirs = await begin(first, items(1, "their"), budget=Budget(PRICE, name="spring"))
        await asyncio.sleep(2.0)
        ours = await begin(
            second, [BatchItem("ours", PromptAvatar("ours"))], budget=Budget(PRICE, name="spring")
        )
        await asyncio.sleep(2.0)
        assert not ours.done()
        if end == "killed":
            await first.kill(theirs)
        [outcome] = await ours
        if end == "refused":
            assert (str(outcome.state), paid_prompts(space)) == ("ready", {"ours": 1})
            assert states(await theirs) == {"rejected": 1}
        else:
            assert (str(outcome.state), "ours" in paid_prompts(space)) == ("unsent", False)
            assert isinstance(outcome.error, BudgetExceeded)
        assert world.charged("spring") == PRICE
        await world.check_books()


@pytest.mark.parametrize("cause", ["lost", "unreadable"])
async def test_what_the_store_refuses_and_cannot_explain_is_tried_once(cause: str) -> None:
    """An item that the store refuses to charge is UNSENT where its budget can't be read afterwards.

    Either a failover has lost the budget, or reading fails. What was read before would allow the item, so
    that another try would be refused as well, and the next one, without end.
    """
    async with machines(space_of()) as world:
        machine, puts, reads = await world.start(), 0, 0
        database = machine.database.memory.db

        async def fault(when: str, name: str) -> None:
            nonlocal puts, reads
            reads += (when, name) == ("before", "row")
            if (when, name) == ("before", "put"):
                puts += 1
                database.execute("UPDATE budgets SET charged = max_credits")
            if (when, name, cause) == ("before", "row", "lost") and puts:
                database.execute("DELETE FROM budgets")
            if puts and name == "budget" and cause == "unreadable":
                raise StoreError("the connection was cut")

        machine.database.fault = fault
        running = await begin(machine, items(2), budget=Budget(10 * PRICE, name="spring"))
        report = await asyncio.wait_for(running, 60.0)
        assert (states(report), puts) == ({"unsent": 2}, 1)
        assert reads <= 10
        assert all(isinstance(outcome.error, BudgetExceeded) for outcome in report)


async def test_a_customers_cap_survives_the_process() -> None:
    """``spent`` counts once, an unknown and a failed look stay charged, and a resend is charged as well."""
    space = space_of(failures=1.0)
    async with machines(space) as world:
        machine = await world.start()
        budget = Budget(5 * PRICE, name="ada", spent=PRICE)
        with pytest.raises(GenerationFailed):
            await (await machine.session.submit(PromptAvatar("a"), key="a", budget=budget)).wait()
        space.faults.fail_next("create", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown):
            await machine.session.submit(PromptAvatar("b"), key="b", budget=budget)
        await machine.session.aclose()
        later = await world.start()
        budget = Budget(5 * PRICE, name="ada", spent=4 * PRICE)
        await later.session.drop("b")
        await later.session.resend("b")
        assert world.charged("ada") == 4 * PRICE
        other = Budget(PRICE, name="house")
        space.faults.fail_next("create", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown):
            await later.session.submit(PromptAvatar("c"), key="c", budget=budget)
        with pytest.raises(BudgetExceeded):
            await later.session.resend("c")
        await later.session.resend("c", budget=other)
        assert (world.charged("ada"), world.charged("house")) == (5 * PRICE, PRICE)
        with pytest.raises(BudgetExceeded):
            await later.session.submit(PromptAvatar("d"), key="d", budget=budget)
        await world.check_books(ada=PRICE)


async def test_another_cap_under_the_name_is_an_error() -> None:
    """It names both caps and the command that changes it, in a submission and in a batch."""
    async with machines(space_of()) as world:
        machine = await world.start()
        await machine.session.submit(PromptAvatar("a"), budget=Budget(400, name="spring"))
        wanted = r"400 credits.*500.*hoox-async store budget spring --cap 500"
        with pytest.raises(ConfigurationError, match=wanted):
            await machine.session.submit(PromptAvatar("b"), budget=Budget(500, name="spring"))
        with pytest.raises(ConfigurationError, match=wanted):
            await BatchRunner(machine.session, budget=Budget(500, name="spring")).run(items(1))
        assert len(world.space.ledger) == 1


async def test_a_cap_of_one_process_is_refused_on_a_shared_store() -> None:
    """``max_credits`` and a budget without a name raise `ConfigurationError`, which says what to write."""
    async with machines(space_of()) as world:
        session = (await world.start()).session
        with pytest.raises(ConfigurationError, match=r"budget=Budget\(12, name="):
            await BatchRunner(session, max_credits=12).run(items(1))
        with pytest.raises(ConfigurationError, match=r"Budget\(7, name="):
            BatchRunner(session, budget=Budget(7)).stream(items(1))
        with pytest.raises(ConfigurationError, match="name"):
            await session.submit(PromptAvatar("a"), budget=Budget(7))
        for options in ({"max_credits": 12}, {"budget": Budget(7)}):
            with pytest.raises(ConfigurationError):
                BatchRunner(session, **options)
        assert world.space.requests == []


async def test_a_cap_that_was_raised_meanwhile_holds_at_once() -> None:
    """A process that runs goes by the stored cap, without being started again."""
    async with machines(space_of()) as world:
        machine = await world.start()
        budget = Budget(PRICE, name="spring")
        await machine.session.submit(PromptAvatar("a"), budget=budget)
        with pytest.raises(BudgetExceeded):
            await machine.session.submit(PromptAvatar("b"), budget=budget)
        machine.database.memory.ask(SET_CAP, workspace=1, name="spring", cap=to_units(2 * PRICE))
        await machine.session.submit(PromptAvatar("b"), budget=budget)
        assert budget.max_credits == 2 * PRICE


@pytest.mark.parametrize("seed", range(4))
async def test_budgets_hold_whatever_happens_to_the_statements(seed: int) -> None:
    """While statements fail before or after they took place, budgets have the sums over all intents."""
    rng = Random(seed)
    space = space_of(failures=0.2, fault_rates={Fault.DROP_AFTER: 0.05, Fault.status(400): 0.1})
    async with machines(space) as world:
        opened = [await world.start() for _ in range(2)]
        for machine in opened:
            machine.database.fault = _flaky(rng)
        caps = {"spring": Decimal(20) * PRICE, "summer": Decimal(10) * PRICE}
        running = [
            await begin(machine, items(20, name), budget=Budget(cap, name=name), on_unknown="resend")
            for machine, (name, cap) in zip(opened, caps.items(), strict=True)
        ]
        await asyncio.wait(running)
        for machine in opened:
            machine.database.fault = _never
        await asyncio.sleep(100)  # deferred writes
        await world.check_books()


async def _never(_: str, __: str) -> None:
    await asyncio.sleep(0)


def _flaky(rng: Random) -> Any:
    from hoox_async.errors import StoreError

    async def fault(when: str, name: str) -> None:
        await asyncio.sleep(0.01)
        if name == "put" and rng.random() < 0.1:
            raise StoreError(f"{when} {name}: the connection broke")

    return fault
