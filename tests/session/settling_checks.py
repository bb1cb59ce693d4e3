"""What must hold after a random schedule of settling: see `settling_kit`.

(a) Every end is told to whom it is owed: once where nothing failed nor outlasted closing, else at least once.
(b) No hook hears what the store does not say, and a waiter only while the store fails.
(c) No wait outlives its bound.
(d) Every accepted look is settled while somebody polls.
(e) No delivery that was acknowledged is without effect.
(f) Nothing is paid twice but on a person's word.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import attrs
from processes_kit import LEASE
from settling_kit import Acknowledged, End, Schedule, Setup, World, draw, run

from hoox_async import LookStatus
from hoox_async._core.intents.intent import Intent, IntentState
from hoox_async._io.ledger import statements
from hoox_async._io.ledger.intent_rows import Row
from hoox_async._io.ledger.statements import SQLITE

LOOKUPS = 150.0  # seconds until the avatar of an old form's delivery was looked up as often as it is
PATIENCE = 300.0  # seconds until everything is settled and told
_ROW = SQLITE.compile(statements.ROW)
_LISTENER = Setup(hooks=None, poll="awaited", webhooks=True, keeps_database=False)
_FINISHER = Setup(hooks=0, poll="all", webhooks=True, keeps_database=False)


@attrs.define
class Findings:
    """What a schedule has shown. ``broken``: what does not hold, each with the letter of its property."""

    seed: int
    counts: Counter[str] = attrs.field(factory=Counter)
    broken: list[str] = attrs.field(factory=list)

    @property
    def ends(self) -> int:
        """How many rows became READY or FAILED."""
        return self.counts["ends"]


def trial(seed: int, trace: Callable[[str], None] = lambda _: None) -> Findings:
    """Live through the schedule of this seed, and check what holds afterwards."""
    return run(partial(_live_and_check, draw(seed), trace), seed)  # type: ignore[no-any-return]


async def _live_and_check(schedule: Schedule, trace: Callable[[str], None]) -> Findings:
    world = World(schedule, trace)
    try:
        await world.run()
        world.repair()
        await asyncio.sleep(40.0)  # late deliveries and their repetitions, and pauses of deferred writes
        found = Findings(schedule.seed)
        if not schedule.fails and not _anybody_left(schedule):
            found.broken += [f"{text}, at once" for text in _without_effect(world, settled_only=True)]
        await _apply_deliveries(world)
        await _finish(world)
        _check(world, found)
        return found
    finally:
        await world.end()


def _anybody_left(schedule: Schedule) -> bool:
    return any(act.name in ("reopen", "leave") for act in schedule.acts)


async def _apply_deliveries(world: World) -> None:
    """A session that polls nothing comes to all that was delivered."""
    await _close_unless(world, world.schedule.stays_open and not world.schedule.local)
    listener = await world.add(_LISTENER)
    await _until(lambda: not list(_without_effect(world)), LOOKUPS)
    world.unknowns = {unknown.key: unknown for unknown in await listener.unknowns()}
    world.left_by_listener = list(_without_effect(world))
    await listener.close()


async def _finish(world: World) -> None:
    """A session with hooks polls what is left, and tells what nobody has told."""
    await world.add(_FINISHER)
    # who waits for what another process polls asks itself only once that takes three times as long as usual
    await _until(lambda: not (world.tasks or _unfinished(world)), PATIENCE)
    await asyncio.sleep(2.5 * LEASE)  # in which something might be told a second time


async def _close_unless(world: World, stays_open: bool) -> None:
    if not stays_open:
        await asyncio.gather(*(process.close() for process in world.processes))


async def _until(holds: Callable[[], bool], seconds: float) -> None:
    """Wait until it holds, at most so many seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while not holds() and loop.time() < until:
        await asyncio.sleep(2.0)


# --- what the store says


def intents(world: World) -> list[Intent]:
    """All intents of the store."""
    keys = [row[0] for row in world.db.execute("SELECT key FROM main.intents ORDER BY seq").fetchall()]
    rows = [world.db.execute(_ROW, {"workspace": 1, "key": key}).fetchall()[0] for key in keys]
    return [Row(*row).read(newer=True) for row in rows]


def _unfinished(world: World) -> bool:
    told = {(each.key, each.look_id) for each in world.told if each.done}
    is_open = "SELECT 1 FROM main.intents WHERE state IN ('sending', 'accepted')"
    return bool(world.db.execute(is_open).fetchall()) or any(
        (end.key, end.look_id) not in told for end in _owed(world)
    )


def _owed(world: World) -> list[End]:
    """The ends of which hooks are to be told: a session with hooks has sent it in this round.

    A row owes its last end only: what nobody has told before a session without hooks pays again, nobody can.
    A round that only sessions without hooks have sent is told to nobody: that is the rule, no exception.
    """
    has_ended = "SELECT look_id FROM main.intents WHERE state IN ('ready', 'failed')"
    last = {row[0] for row in world.db.execute(has_ended).fetchall()}
    without_hooks = {post.key for post in world.posts if not post.hooks}
    return [
        end
        for end in world.ends
        if end.teller is not None and (end.look_id in last or end.key not in without_hooks)
    ]


# --- the properties


def _check(world: World, found: Findings) -> None:
    found.counts.update({"ends": len(world.ends), "of them owed to hooks": len(_owed(world))})
    found.counts["told again after a failure"] = 0
    found.broken += [
        *_told(world, found),
        *_true(world),
        *_bounded(world),
        *_settled(world),
        *(f"(e) {text}" for text in world.left_by_listener),
        *_paid_once(world),
        *(f"an error: {error!r}" for error in world.errors),
    ]
    found.counts["never told"] = sum("never told" in text for text in found.broken)
    found.counts["deliveries acknowledged"] = len(world.acks)
    found.counts["of them without effect"] = len(world.left_by_listener)


def _told(world: World, found: Findings) -> Iterator[str]:
    calls = Counter((each.key, each.look_id) for each in world.told)
    done = Counter((each.key, each.look_id) for each in world.told if each.done)
    once = not world.schedule.fails and not world.was_cut_short
    for end in _owed(world):
        name = end.key, end.look_id
        if not done[name]:
            yield f"(a) {end.key} {end.look_id} was never told"
        if calls[name] > 1 and not once:
            found.counts["told again after a failure"] += 1
        if calls[name] > 1 and once:
            by = [each.by for each in world.told if (each.key, each.look_id) == name]
            yield f"(a) {end.key} {end.look_id} was told {calls[name]} times: {by}"
    yield from _told_to_nobody(world, calls)


def _told_to_nobody(world: World, calls: Counter[tuple[str | None, str]]) -> Iterator[str]:
    """Who sent a key is noted by the transport, whatever the row says.

    Where sessions with and without hooks have sent it, only the row tells whose round it was.
    """
    for end in world.ends:
        with_hooks = {post.hooks for post in world.posts if post.key == end.key}
        if with_hooks == {True} and end.teller is None:
            yield f"(a) {end.key} was sent with hooks, and its row owes nobody"
        if with_hooks == {False} and calls[end.key, end.look_id]:
            yield f"(a) {end.key} was sent without hooks, and was told"


def _true(world: World) -> Iterator[str]:
    for told in world.told:
        if not told.is_true:
            yield f"(b) hooks heard that {told.look_id} is {told.status} before the store said so"
    if not world.schedule.fails:
        for wait in world.waits:
            if not wait.is_true:
                yield f"(b) a waiter got {wait.look} before the store said so"


def _bounded(world: World) -> Iterator[str]:
    for wait in world.waits:
        if wait.bound is not None and wait.took > max(wait.bound, 1.0) + 0.1:
            yield f"(c) a wait of {wait.bound:g} s took {wait.took:.1f} s"
    hanging = [task for task in world.tasks if not task.done()]
    if hanging:
        yield f"(c) {len(hanging)} calls hang: {hanging[0].get_coro()}"


def _settled(world: World) -> Iterator[str]:
    for intent in intents(world):
        if intent.state in (IntentState.ACCEPTED, IntentState.SENDING):
            yield f"(d) {intent.key} is still {intent.state}"


def _paid_once(world: World) -> Iterator[str]:
    charges = Counter(str(charge.request.get("place")) for charge in world.space.ledger)
    for key, count in charges.items():
        if count > 1 + world.resends[key]:
            yield f"(f) {key} was paid {count} times"
    known = {intent.key for intent in intents(world)}
    yield from (f"(f) {key} was paid, and no row says so" for key in charges.keys() - known)


# --- (e)


def _without_effect(world: World, *, settled_only: bool = False) -> Iterator[str]:
    """What was acknowledged, and the store does not say so. ``settled_only``: without old forms."""
    by_attempt: dict[str, Intent] = {}
    for intent in intents(world):
        by_attempt |= dict.fromkeys([each.id for each in intent.attempts], intent)
        by_attempt |= dict.fromkeys(intent.past_attempts, intent)
    others = "SELECT look_id FROM main.claimed UNION SELECT look_id FROM main.deliveries"
    claimed = {row[0] for row in world.db.execute(others).fetchall()}
    for ack in world.acks:
        if settled_only and ack.delivery.avatar_id is None:
            continue
        of = by_attempt.get(ack.attempt)
        wrong = "its attempt is in no row" if of is None else _wrong(world, ack, of, claimed)
        if wrong:
            delivery, key = ack.delivery, of.key if of is not None else None
            yield f"{key} {delivery.look_id} was delivered {delivery.status} to {ack.by}: {wrong}"
        yield from _offered(world, ack, None if of is None else of.key)


def _offered(world: World, ack: Acknowledged, key: str | None) -> Iterator[str]:
    """What one request has made, as its delivery proves, is no candidate of another unknown."""
    for unknown in world.unknowns.values():
        if unknown.key != key and ack.delivery.look_id in {ref.look_id for ref in unknown.candidates}:
            yield f"{key} {ack.delivery.look_id} was delivered, and is a candidate of {unknown.key}"


def _wrong(world: World, ack: Acknowledged, intent: Intent, claimed: set[str]) -> str:
    look_id = ack.delivery.look_id
    if intent.ref is not None and intent.ref.look_id == look_id:
        return _wrong_end(world, ack, intent)
    is_past = ack.attempt in intent.past_attempts
    if intent.state is IntentState.SENDING and not is_past:
        return "it is still being sent"
    if intent.state is IntentState.UNKNOWN and not is_past:
        return _wrong_unknown(world, ack, intent)
    others = {ref.look_id for ref in intent.past_looks}
    if ack.delivery.avatar_id is not None and look_id not in claimed | others:
        return f"it is {intent.state} with {intent.ref}, and the delivered look is nobody's"
    return ""


def _wrong_end(world: World, ack: Acknowledged, intent: Intent) -> str:
    """The first final status wins; whether that is the delivered one, is not known where there are two."""
    delivered = [each.delivery for each in world.acks if each.delivery.look_id == ack.delivery.look_id]
    if not ack.delivery.status.settled:
        return ""
    if intent.state not in (IntentState.READY, IntentState.FAILED):
        return f"it is {intent.state}"
    statuses = {str(each.status) for each in delivered if each.status.settled}
    if intent.state.value not in statuses | {_true_status(world, ack)}:
        return f"it is {intent.state}"
    has_picture = any(each.thumbnail_url for each in delivered if each.status is LookStatus.READY)
    is_missing = intent.look is None or intent.look.thumbnail_url is None
    if intent.state is IntentState.READY and has_picture and is_missing:
        return "its picture is missing"
    return ""


def _true_status(world: World, ack: Acknowledged) -> str:
    return "failed" if world.space.looks[ack.delivery.look_id].failed else "ready"


def _wrong_unknown(world: World, ack: Acknowledged, intent: Intent) -> str:
    if ack.delivery.avatar_id is not None:
        return "it is unknown"
    look = world.space.looks[ack.delivery.look_id]
    is_of_known_avatar = look.avatar.looks[0] is not look and look.avatar.copy_of is None
    is_listed = not look.failed or is_of_known_avatar  # no list has failed looks
    if is_listed:
        return "it is unknown, and could be looked up"
    unknown = world.unknowns.get(intent.key)
    of_last = {each.delivery.look_id for each in world.acks if intent.was_last_sent_by(each.attempt)}
    shown = unknown.delivered if unknown is not None else None
    # of several attempts that were delivered, what the last one has made is shown
    is_shown = shown == ack.delivery.look_id or (
        shown in of_last and not intent.was_last_sent_by(ack.attempt)
    )
    return "" if is_shown else "it is not shown as surely paid"
