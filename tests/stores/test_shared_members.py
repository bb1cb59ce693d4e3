"""Leases, the sweep and the feed of changes, over a real database and one in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import attrs
import pytest
from internals_kit import (
    Clock,
    Coordination,
    Delivery,
    Intent,
    IntentState,
    Row,
    Send,
    SharedLedger,
    Workspace,
)
from shared_store_kit import LEASE, Process, World
from store_kit import WORKSPACE, accept, planned, send, settle, turns_counted

from hoox_async import LookStatus
from hoox_async._io.ledger import member
from hoox_async._io.ledger.news import write_told
from hoox_async._io.ledger.statements import CONFIRM_KEY
from hoox_async._io.protocols import PollDuty
from hoox_async.errors import StoreError, StoreLocked, StoreMismatch

A_THIRD = LEASE / 3


async def sending(process: Process, key: str = "a") -> Intent:
    """An intent that the process is sending."""
    await process.store.plan(planned(key))
    return await process.store.advance(key, send(f"att_{key}"))


async def state_of(process: Process, key: str = "a") -> IntentState:
    return (await process.store.get([key]))[key].state


async def live_on(world: World, *processes: Process, thirds: int) -> None:
    """Let time pass while these processes renew their leases and sweep every third of one."""
    for _ in range(thirds):
        await world.pass_time(A_THIRD)
        for process in processes:
            await process.renew()
        for process in processes:
            await process.sweep()


async def test_what_a_living_process_sends_is_not_swept(world: World) -> None:
    """While a process renews its lease, what it is sending stays SENDING, however long that takes."""
    a, b = await world.process(), await world.process()
    await sending(a)
    await live_on(world, a, b, thirds=12)
    assert await state_of(b) is IntentState.SENDING


async def test_what_a_dead_process_sent_is_unknown_once_its_lease_is_over(world: World) -> None:
    """A steady process marks it as UNKNOWN: not before the end of the lease, and at once after it."""
    a, b = await world.process(), await world.process()
    await sending(a)
    await live_on(world, a, b, thirds=3)
    await live_on(world, b, thirds=2)
    assert await state_of(b) is IntentState.SENDING
    await live_on(world, b, thirds=2)
    swept = (await b.store.get(["a"]))["a"]
    assert swept.state is IntentState.UNKNOWN
    assert swept.reason is not None
    assert "lease" in swept.reason.message


async def test_a_process_that_has_just_begun_takes_nobody_for_dead(world: World) -> None:
    """A new process, or one that was without the database, waits for one lease before its first sweep."""
    a = await world.process()
    await sending(a)
    await world.pass_time(5 * LEASE)
    b = await world.process()
    await b.sweep()
    assert await state_of(b) is IntentState.SENDING
    await live_on(world, b, thirds=4)
    assert await state_of(b) is IntentState.UNKNOWN


async def test_after_the_database_was_gone_for_all_nobody_is_taken_for_dead(world: World) -> None:
    """Two processes are without the database for three leases; the first that is back waits for the other."""
    a, b = await world.process(), await world.process()
    await sending(a)
    await live_on(world, a, b, thirds=4)
    await world.pass_time(3 * LEASE)  # no statement reaches it meanwhile
    await live_on(world, b, thirds=2)
    await a.renew()
    await live_on(world, a, b, thirds=6)
    assert await state_of(b) is IntentState.SENDING


@pytest.mark.parametrize("gap", [0.55, 0.95])
async def test_a_renewal_that_is_late_but_within_the_lease_delays_the_sweep(world: World, gap: float) -> None:
    """The database is gone for less than a lease, and one lease ends meanwhile: its owner is waited for."""
    a, b = await world.process(), await world.process()
    await sending(a)
    await live_on(world, a, b, thirds=4)
    await world.pass_time(A_THIRD)
    await b.renew()  # the last statement that reaches the database
    await world.pass_time(gap * LEASE)
    await b.renew()
    await b.sweep()
    assert await state_of(b) is IntentState.SENDING
    await a.renew()
    await live_on(world, a, b, thirds=6)
    assert await state_of(b) is IntentState.SENDING


async def test_a_sweep_that_was_interrupted_finds_the_living_alive(world: World) -> None:
    """A process is stopped between reading who is dead and writing it: a lease renewed meanwhile counts."""
    a, b = await world.process(), await world.process()
    await sending(a)
    await live_on(world, b, thirds=2)
    await world.pass_time(0.45 * LEASE)
    await b.renew()
    [row] = await b.member._rows(member.DEAD_SENDINGS, [a.workspace])
    await a.renew()
    await b.member._mark_unknown(Row(*row), presumed=True)
    assert await state_of(b) is IntentState.SENDING


async def test_an_answer_that_comes_after_the_sweep_counts(world: World) -> None:
    """A process that was stopped for longer than its lease goes on: its answer is accepted after all."""
    a, b = await world.process(), await world.process()
    await sending(a)
    await live_on(world, b, thirds=5)
    assert await state_of(b) is IntentState.UNKNOWN
    accepted = await a.store.advance("a", accept("look_1"))
    assert accepted.state is IntentState.ACCEPTED
    assert await state_of(b) is IntentState.ACCEPTED


async def test_what_dead_processes_sent_is_marked_once(world: World) -> None:
    """Several processes sweep at the same time: each intent is marked by one, and by the others not again."""
    a = await world.process()
    for key in "abc":
        await sending(a, key)
    others = [await world.process() for _ in range(3)]
    await live_on(world, *others, thirds=3)
    await world.pass_time(A_THIRD)
    for process in others:
        await process.renew()
    await asyncio.gather(*(process.sweep() for process in others))
    assert [(await others[0].row(key)).version for key in "abc"] == [3, 3, 3]


async def test_a_process_whose_lease_is_over_renews_it_before_it_sends(world: World) -> None:
    """SENDING commits only under a living lease. A process that comes back revives its own first."""
    a, b = await world.process(), await world.process()
    await a.store.plan(planned("a"))
    await live_on(world, b, thirds=5)
    assert (await a.store.advance("a", send("att_1"))).state is IntentState.SENDING
    await b.renew()
    await b.sweep()
    assert await state_of(b) is IntentState.SENDING


async def test_without_a_lease_nothing_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the lease can't be renewed either, SENDING is a `StoreError` and the intent stays PLANNED."""
    a = await world.process()
    await a.store.plan(planned("a"))
    await world.pass_time(2 * LEASE)

    async def no_renewal() -> None:
        return None

    monkeypatch.setattr(a.member, "renew", no_renewal)
    with pytest.raises(StoreError, match="lease"):
        await a.store.advance("a", send("att_1"))
    assert await state_of(a) is IntentState.PLANNED


async def test_a_process_that_ends_properly_leaves_nothing_to_wait_for(world: World) -> None:
    """A closed session marks what it could not write the end of as UNKNOWN; nobody waits for a lease."""
    a, b = await world.process(), await world.process()
    await sending(a)
    await a.close()
    assert await state_of(b) is IntentState.UNKNOWN


async def test_other_processes_changes_are_read_once(world: World) -> None:
    """A change is told to the sessions of other processes, once, and not to the process that made it."""
    a, b = await world.process(), await world.process()
    seen_by_a: list[Intent] = []
    seen_by_b: list[Intent] = []
    a.store.on_changed_elsewhere(seen_by_a.append)
    end = b.store.on_changed_elsewhere(seen_by_b.append)
    await a.store.plan(planned("a"))
    last = await a.store.advance("a", send("att_1"), accept("look_1"))
    for process in (a, b, b):
        await process.read_changes()
    assert (seen_by_a, seen_by_b) == ([], [last])
    end()
    await a.store.plan(planned("b"))
    await b.read_changes()
    assert seen_by_b == [last]


async def test_a_sweep_is_told_to_the_sessions_of_its_own_process(world: World) -> None:
    """Who waits for an intent of a dead process hears that it is unknown, also in the process that sweeps."""
    a, b = await world.process(), await world.process()
    seen: list[IntentState] = []
    b.store.on_changed_elsewhere(lambda intent: seen.append(intent.state))
    await sending(a)
    await live_on(world, b, thirds=5)
    assert seen == [IntentState.UNKNOWN]


async def test_a_listener_that_raises_harms_nobody(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The error of a listener is logged, and the other listeners are called."""
    a, b = await world.process(), await world.process()
    seen: list[str] = []

    def fail(intent: Intent) -> None:
        raise RuntimeError(intent.key)

    b.store.on_changed_elsewhere(fail)
    b.store.on_changed_elsewhere(lambda intent: seen.append(intent.key))
    await a.store.plan(planned("a"))
    await b.read_changes()
    assert seen == ["a"]
    assert "failed" in caplog.text


async def test_own_means_that_this_process_sent_it_last(world: World) -> None:
    """`in_states(own=True)` has what this process was the last to send, whoever planned or settled it."""
    a, b = await world.process(), await world.process()
    await a.store.plan(planned("a"))
    await b.store.plan(planned("b"))
    await a.store.plan(planned("c"))
    await b.store.advance("a", send("att_a"))
    await a.store.advance("a", accept("look_a"))
    await a.store.advance("b", send("att_b"), accept("look_b"))
    accepted = [IntentState.ACCEPTED]
    assert [intent.key for intent in await a.store.in_states(accepted, own=True)] == ["b"]
    assert [intent.key for intent in await b.store.in_states(accepted, own=True)] == ["a"]
    assert len(await a.store.in_states(accepted)) == 2


async def test_of_two_processes_that_send_one_key_one_does(world: World) -> None:
    """Twenty keys are sent by two processes at the same moment: each is sent by one of them."""
    a, b = await world.process(), await world.process()
    keys = [f"k{n}" for n in range(20)]

    async def send_it(process: Process, key: str) -> bool:
        await process.store.plan(planned(key))
        try:
            await process.store.advance(key, send(f"att_{key}_{id(process)}"))
        except RuntimeError:
            return False
        return True

    sent = await asyncio.gather(*(send_it(process, key) for key in keys for process in (a, b)))
    assert sum(sent) == len(keys)
    assert all(len(intent.attempts) == 1 for intent in (await a.store.get(keys)).values())


async def test_a_write_that_changes_nothing_moves_the_version(world: World) -> None:
    """An `advance` that changes nothing is written nevertheless: earlier writes are stale from then on."""
    a = await world.process()
    await a.store.plan(planned("a"))
    await a.store.advance("a")
    assert (await a.row("a")).version == 2


WITH_HOOKS = attrs.evolve(WORKSPACE, hooks="hooks")


async def opened(world: World, owed: list[str]) -> SharedLedger:
    """The workspace "x" in a process of its own, whose session has hooks: it fills ``owed`` with keys."""
    store = (await world.process()).database.workspace("x")
    await store.open(WITH_HOOKS)
    store.tell_by(lambda intent: owed.append(intent.key), lambda: True)
    return store


async def end(store: SharedLedger, key: str) -> Intent:
    """Send, accept and settle a new intent."""
    await store.plan(planned(key))
    return await store.advance(key, send(f"att_{key}"), accept(f"look_{key}"), settle(f"look_{key}"))


async def test_an_end_is_owed_once_and_not_any_more_when_hooks_were_told(world: World) -> None:
    """It is given to be told when it is written, and not again: not by reading, nor by another write."""
    owed: list[str] = []
    store = await opened(world, owed)
    intent = await end(store, "k")
    await store.advance("k")
    await store.tell_owed()
    assert owed == ["k"]
    store.told(intent)
    await store.advance("k")
    assert store._news is not None
    await write_told(store._engine, [store._news])
    await store.tell_owed()
    await store.advance("k")
    assert owed == ["k"]
    await store.aclose()


async def test_what_a_closed_session_owed_is_taken_over_by_one_that_has_hooks(world: World) -> None:
    """What hooks were told of is not told again; a living session's news is nobody else's."""
    theirs: list[str] = []
    ours: list[str] = []
    first, second = await opened(world, theirs), await opened(world, ours)
    first.told(await end(first, "told"))
    await end(first, "untold")
    await second.tell_owed()
    assert ours == []
    await first.aclose()
    await second.tell_owed()
    assert (theirs, ours) == (["told", "untold"], ["untold"])
    await second.aclose()


async def test_who_pays_again_learns_whether_an_end_is_still_being_told(world: World) -> None:
    """It is while a session that lives owes it; what a closed one has left is told by who asks."""
    theirs: list[str] = []
    ours: list[str] = []
    first, second = await opened(world, theirs), await opened(world, ours)
    ended = await end(first, "k")
    assert (await first.is_telling(ended), await second.is_telling(ended)) == (True, True)
    assert (theirs, ours) == (["k"], [])
    await first.aclose()
    assert await second.is_telling(ended)
    assert ours == ["k"]
    second.told(ended)
    assert not await second.is_telling(ended)
    await second.aclose()


async def test_an_end_for_which_hooks_have_no_room_is_told_before_its_key_is_paid_again(world: World) -> None:
    """Who pays again waits for it, and it is told when there is room."""
    owed: list[str] = []
    has_room = False
    store = await opened(world, owed)
    store.tell_by(lambda intent: owed.append(intent.key), lambda: has_room)
    ended = await end(store, "k")
    await store.tell_owed()
    assert (owed, await store.is_telling(ended)) == ([], True)
    has_room = True
    assert (await store.is_telling(ended), owed) == (True, ["k"])
    store.told(ended)
    assert not await store.is_telling(ended)
    await store.aclose()


async def test_a_sending_of_an_earlier_session_that_is_written_late_becomes_unknown(world: World) -> None:
    """Also where a session of the same process has the workspace open again: what that sends stays."""
    process = await world.process()
    for key in ("left", "new"):
        await process.store.plan(planned(key))
    before = process.member.clock.utc()
    await process.store.aclose()
    await process.store.open(WORKSPACE)
    await process.store.advance("left", Send("att_left", before, None))
    await process.store.advance("new", Send("att_new", process.member.clock.utc(), None))
    await process.sweep()
    found = await process.store.get(("left", "new"))
    assert found["left"].state is IntentState.UNKNOWN
    assert found["new"].state is IntentState.SENDING
    await process.close()


async def test_a_second_session_of_the_same_database_object_is_refused(world: World) -> None:
    """One session a workspace and database object; another object, as of another process, has it as well."""
    a = await world.process()
    with pytest.raises(StoreLocked, match="one session at a time"):
        await a.database.workspace("shop").open(WORKSPACE)
    other = a.database.workspace("other shop")
    await other.open(WORKSPACE)
    await other.aclose()
    await world.process()


async def test_workspaces_are_apart(world: World) -> None:
    """The same key, attempt and look in two workspaces are two of each."""
    a = await world.process()
    other = a.database.workspace("other shop")
    await other.open(WORKSPACE)
    await sending(a)
    assert await other.get(["a"]) == {}
    await other.plan(planned("a"))
    await other.advance("a", send("att_a"), accept("look_1"))
    await a.store.advance("a", accept("look_1"))
    assert [intent.key async for intent in other.stream()] == ["a"]
    await other.aclose()


async def use_key(process: Process, key: str, *, new_key: bool = False, confirmed: bool = True) -> None:
    """Open a workspace with this API key, and close it. ``confirmed``: an answer shows that it is valid."""
    store = process.database.workspace("rotating")
    await store.open(Workspace(WORKSPACE.base_url, key, new_key))
    if confirmed:
        assert store._binding is not None
        await store._write(CONFIRM_KEY, fingerprint=store._binding.fingerprint.hex())
    await store.aclose()


async def test_two_keys_are_valid_during_a_rotation(world: World) -> None:
    """After `new_key` both keys open the workspace; the next rotation ends the older one."""
    a = await world.process()
    for key, new in (
        ("first", False),
        ("second", True),
        ("first", False),
        ("second", False),
        ("third", True),
        ("second", False),
    ):
        await use_key(a, key, new_key=new)
    with pytest.raises(StoreMismatch, match="another API key"):
        await use_key(a, "first")


async def test_workspaces_with_one_key_share_a_quota(world: World) -> None:
    """Equal keys are recognised, in one process and in two; so are those of workspaces that rotate theirs.

    Of ten permits a minute they get ten together. Another base URL or key has a quota of its own.
    """
    a, b = await world.process(), await world.process()
    url = WORKSPACE.base_url
    await use_key(b, "key 1")
    wanted = {
        "one": (a, Workspace(url, "key 1"), 4),
        "two": (b, Workspace(url, "key 1"), 3),
        "rotating": (b, Workspace(url, "key 2", new_key=True), 100),
        "sandbox": (b, Workspace("https://sandbox.example", "key 1"), 100),
        "stranger": (b, Workspace(url, "key 3"), 100),
    }
    granted = {}
    async with AsyncExitStack() as stack:
        for name, (process, workspace, most) in wanted.items():
            store = process.database.workspace(name)
            await store.open(workspace)
            stack.push_async_callback(store.aclose)
            granted[name] = await take_permits(store, most)
    assert granted == {"one": 4, "two": 3, "rotating": 3, "sandbox": 10, "stranger": 10}


async def test_workspaces_that_are_made_at_once_share_a_quota_too(world: World) -> None:
    """Ten workspaces are opened for the first time at the same moment, with one key, by two processes."""
    processes = [await world.process() for _ in range(2)]
    stores = [processes[n % 2].database.workspace(f"shop {n}") for n in range(10)]
    await asyncio.gather(*(store.open(WORKSPACE) for store in stores))
    assert len({store._quota for store in stores}) == 1
    await asyncio.gather(*(store.aclose() for store in stores))


async def take_permits(store: SharedLedger, most: int) -> int:
    """Take as many of ten permits a minute as there are, but ``most`` at most. Returns how many."""
    permits, taken = store.shared_permits, 0
    assert permits is not None
    while taken < most and (await permits.reserve(10, 8.0, 0.0)).permit is not None:
        taken += 1
    return taken


async def test_the_lowest_limit_of_sessions_with_one_key_holds(world: World) -> None:
    """Two sessions of one process state other limits for the quota that they share, in any order."""
    a = await world.process()
    other = a.database.workspace("other")
    await other.open(WORKSPACE)
    for store, limit in ((a.store, 60), (other, 100), (a.store, 60), (other, 100)):
        permits = store.shared_permits
        assert permits is not None
        assert (await permits.reserve(limit, 0.0, 0.0)).limit == 60
    await other.aclose()


async def test_a_mistyped_key_pushes_out_no_good_one(world: World) -> None:
    """A key that was given with `new_key` and never confirmed gives way; the one before it stays valid."""
    a = await world.process()
    await use_key(a, "old")
    await use_key(a, "mistyped", new_key=True, confirmed=False)
    await use_key(a, "new", new_key=True)
    await use_key(a, "old")
    with pytest.raises(StoreMismatch):
        await use_key(a, "mistyped")


async def test_the_databases_clock_is_followed_from_one_renewal_on(world: World) -> None:
    """Of two measurements that contradict each other the later one holds, however quick the other was."""
    a = await world.process()
    clock = Clock(asyncio.get_running_loop(), lambda: a.store.epoch)
    before = clock.utc()
    for step in (100.0, -3600.0):
        await world.pass_time(step)
        await a.renew()
        assert abs((clock.utc() - before).total_seconds() - step) < 5
        before = clock.utc()


@pytest.mark.parametrize("jump", [-3600.0, -8.0, 8.0, 3600.0])
async def test_a_step_of_the_databases_clock_makes_nobody_dead_or_alive(world: World, jump: float) -> None:
    """The clock is set while a process lives and another one dies.

    Whoever renews first after it, what the living one was sending stays SENDING. What the dead one was
    sending is unknown within two leases.
    """
    a, b, dead = [await world.process() for _ in range(3)]
    await live_on(world, a, b, dead, thirds=4)
    await sending(dead, "dead")
    await sending(a, "a")
    await world.pass_time(jump)
    for process in (b, a):
        await process.sweep()
        await process.renew()
        await process.sweep()
    await live_on(world, b, a, thirds=6)
    assert await state_of(b, "dead") is IntentState.UNKNOWN
    assert await state_of(b, "a") is IntentState.SENDING


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
async def test_after_a_step_of_the_clock_a_process_sends_and_one_leads(world: World, jump: float) -> None:
    """A process whose lease reads as over renews it and sends, and one of the two polls for all."""
    a, b = await world.process(), await world.process()
    await live_on(world, a, b, thirds=4)
    await world.pass_time(jump)
    await sending(a)
    for process in (a, b):
        await process.renew()
    duties = list[PollDuty]()
    for process in (a, b):
        process.leaders.add(process.workspace, Coordination(lambda: True, duties.append, lambda _: None))
        await process.leaders._agree()
    assert duties == [PollDuty.ALL, PollDuty.OTHERS]


async def test_a_new_leader_hears_of_many_deliveries_in_turns(world: World) -> None:
    """What others have kept is passed on fifty at a time: the loop has a turn in between."""
    first, second = await world.process(), await world.process()
    for number in range(120):
        await sending(first, f"{number}")
        await first.store.keep_delivery(f"att_{number}", Delivery(f"look_{number}", LookStatus.READY))
    heard = list[int]()
    async with turns_counted() as turn:
        second.leaders.add(
            second.workspace, Coordination(lambda: True, print, lambda _: heard.append(turn()))
        )
        await second.leaders.coordinate()
    assert len(heard) == 120
    assert max(Counter(heard).values()) <= 50
