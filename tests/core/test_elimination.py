"""Which unclaimed look is which lost POST's: worlds are simulated, and no look is ever adopted wrongly."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoox_async._api.models import Avatar, LookDetails, LookRef
from hoox_async._api.requests import Format
from hoox_async._core.reconciliation.avatar_locks import AvatarLocked, AvatarLocks, AvatarLockState
from hoox_async._core.reconciliation.elimination import (
    Abandon,
    Adopt,
    KeepLooking,
    LostEdit,
    Verdict,
    candidates,
    judge,
    search_times,
)

ANSWER, SEARCH = 120.0, (2.0, 10.0, 30.0)


def avatar(*looks: str | tuple[str, str | None], avatar_id: str = "avtr_1") -> Avatar:
    """An answer of GET /avatar/{id} with these looks, given as id or (id, format)."""
    pairs = [(look, None) if isinstance(look, str) else look for look in looks]
    details = tuple(LookDetails(LookRef(avatar_id, look_id), format=shape) for look_id, shape in pairs)
    return Avatar(avatar_id, looks=details)


def ask(
    answer: Avatar,
    *,
    seen: frozenset[str] = frozenset({"base"}),
    shape: Format | None = None,
    clean: bool = True,
    last: bool = False,
    rivals: int = 0,
) -> Verdict:
    """A judgement on the lost edit of avatar avtr_1."""
    return judge(LostEdit("avtr_1", shape), seen, answer, answer_is_clean=clean, last=last, rivals=rivals)


NEW = LookRef("avtr_1", "new")


def test_the_only_unseen_look_is_adopted() -> None:
    """Exactly one look outside of baseline and claims: it can only be the lost one's."""
    assert ask(avatar("base", "new")) == Adopt(NEW)
    assert ask(avatar("base", "new"), last=True) == Adopt(NEW)


def test_none_is_looked_for_until_the_last_search() -> None:
    """Without an unseen look the search goes on, and ends in retirement."""
    assert ask(avatar("base")) == KeepLooking()
    assert ask(avatar("base"), last=True) == Abandon(())


def test_two_unseen_looks_prove_nothing() -> None:
    """Two of them: somebody else is at work, whatever their formats. Both become candidates."""
    two = avatar("base", ("new", "vertical"), ("other", "horizontal"))
    assert ask(two, shape=Format.VERTICAL) == KeepLooking()
    assert ask(two, shape=Format.VERTICAL, last=True) == Abandon((NEW, LookRef("avtr_1", "other")))


@pytest.mark.parametrize("reason", ["not clean", "a rival", "another avatar"])
def test_an_answer_that_proves_nothing_adopts_nothing(reason: str) -> None:
    """Not with an edit outstanding, not with two lost ones, not from another avatar's answer."""
    clean, rivals = reason != "not clean", int(reason == "a rival")
    told = avatar("base", "new", avatar_id="avtr_2" if reason == "another avatar" else "avtr_1")
    assert ask(told, clean=clean, rivals=rivals) == KeepLooking()
    assert isinstance(ask(told, clean=clean, rivals=rivals, last=True), Abandon)


@pytest.mark.parametrize(
    ("sent", "told", "adopted"),
    [
        (None, "horizontal", True),
        (None, None, True),
        (Format.VERTICAL, "vertical", True),
        (Format.VERTICAL, "Vertical", True),
        (Format.VERTICAL, "9:16", True),
        (Format.HORIZONTAL, "16:9", True),
        (Format.VERTICAL, None, True),
        (Format.VERTICAL, "", True),
        (Format.VERTICAL, "horizontal", False),
        (Format.HORIZONTAL, "9:16", False),
        (Format.VERTICAL, "square", False),
    ],
)
def test_the_format_must_be_the_one_that_was_sent(
    sent: Format | None, told: str | None, adopted: bool
) -> None:
    """A look that tells another format than was sent is not the lost one's; silence is no objection."""
    assert ask(avatar("base", ("new", told)), shape=sent) == (Adopt(NEW) if adopted else KeepLooking())


def test_a_look_listed_twice_is_one_look() -> None:
    """The same id twice in an answer counts once, and any of its formats must fit."""
    assert ask(avatar("new", "new")) == Adopt(NEW)
    assert ask(avatar("new", ("new", "vertical")), shape=Format.HORIZONTAL) == KeepLooking()


def test_candidates_are_the_unseen_looks_in_order() -> None:
    """What people choose from: all that is neither baseline nor claimed."""
    assert candidates(frozenset({"b"}), avatar("c", "b", "a", "c")) == (
        LookRef("avtr_1", "c"),
        LookRef("avtr_1", "a"),
    )


def test_searches_follow_the_loss_and_once_the_deadline() -> None:
    """At `search` seconds after the loss, and once more when a slow server must have shown the look."""
    assert search_times(105.0, 100.0, ANSWER, SEARCH) == (2.0, 10.0, 30.0, 145.0)


def test_a_loss_at_the_deadline_needs_no_search_more() -> None:
    """Lost by timeout: the last of `search` is the last search."""
    assert search_times(220.0, 100.0, ANSWER, SEARCH) == SEARCH
    assert search_times(9000.0, 100.0, ANSWER, SEARCH) == SEARCH


def test_without_search_times_there_is_still_one() -> None:
    """The search at the deadline always takes place."""
    assert search_times(105.0, 100.0, ANSWER, ()) == (115.0,)
    assert search_times(500.0, 100.0, ANSWER, ()) == (0.0,)


@given(st.floats(0, 500), st.floats(1, 300), st.lists(st.floats(0.1, 60), max_size=4))
@settings(deadline=None, max_examples=200)
def test_searches_rise_and_the_last_is_late_enough(after: float, answer: float, search: list[float]) -> None:
    """Ascending, never before the loss, and the last not before deadline and last search."""
    times = search_times(100.0 + after, 100.0, answer, search)
    assert list(times) == sorted(set(times))
    assert times[0] >= 0
    last = max(search, default=0.0)
    assert times[-1] + after >= answer + last - 1e-6
    assert times[-1] >= last


def test_a_avatar_lock_takes_one_edit_at_a_time() -> None:
    """A second edit of the avatar is a mistake of ours; another avatar's is not."""
    avatar_locks = AvatarLocks()
    avatar_locks.enter("a")
    assert avatar_locks.state("a") is AvatarLockState.BUSY
    assert not avatar_locks.free("a")
    assert avatar_locks.free("b")
    with pytest.raises(AvatarLocked):
        avatar_locks.enter("a")
    avatar_locks.leave("a")
    assert avatar_locks.state("a") is AvatarLockState.OPEN
    avatar_locks.enter("a")


def test_a_lost_edit_shuts_its_avatar_lock_until_the_search_ends() -> None:
    """An avatar lock that is shut takes no edit; it opens again when the search ended."""
    avatar_locks = AvatarLocks()
    avatar_locks.enter("a")
    avatar_locks.shut("a")
    assert avatar_locks.state("a") is AvatarLockState.SHUT
    with pytest.raises(AvatarLocked):
        avatar_locks.enter("a")
    avatar_locks.reopen("a")
    assert avatar_locks.free("a")


def test_a_avatar_lock_with_two_lost_edits_opens_after_both() -> None:
    """Losses of an earlier process are counted one by one."""
    avatar_locks = AvatarLocks()
    avatar_locks.shut("a")
    avatar_locks.shut("a")
    assert avatar_locks.lost("a") == 2
    avatar_locks.reopen("a")
    assert not avatar_locks.free("a")
    avatar_locks.reopen("a")
    assert avatar_locks.free("a")
    assert avatar_locks.lost("a") == 0
    avatar_locks.reopen("a")
    assert avatar_locks.free("a")


Moves = Callable[[AvatarLocks], None]


@pytest.mark.parametrize(
    ("before", "between", "clean"),
    [
        ([], [], True),
        (["enter"], [], False),
        (["enter"], ["leave"], False),
        ([], ["enter"], False),
        ([], ["enter", "leave"], False),
        (["enter", "leave"], [], True),
        (["enter", "shut"], [], True),
        (["enter", "shut"], ["reopen", "enter", "leave"], False),
        (["enter", "shut"], ["reopen"], True),
    ],
)
def test_an_answer_is_clean_if_no_edit_was_in_the_air(
    before: list[str], between: list[str], clean: bool
) -> None:
    """An edit that was outstanding at any time between mark and question makes the answer unclean."""
    avatar_locks = AvatarLocks()
    for move in before:
        getattr(avatar_locks, move)("a")
    mark = avatar_locks.mark("a")
    for move in between:
        getattr(avatar_locks, move)("a")
    assert avatar_locks.clean("a", mark) is clean
    assert avatar_locks.clean("b", avatar_locks.mark("b"))


class World:
    """A server, a network that loses answers, and one client that keeps to its avatar locks.

    With ``stranger`` somebody else makes looks of the same avatar, all the time.
    """

    def __init__(self, seed: int, *, edits: int, strangers: bool = False) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.order = count()
        self.avatar_locks = AvatarLocks()
        self.shown: list[tuple[str, str | None]] = [("base", "vertical")]
        self.seen = {"base"}
        self.waiting = list(range(edits))
        self.truth: dict[int, str | None] = {}
        self.adopted: dict[int, str] = {}
        self.retired: set[int] = set()
        if strangers:
            for index in range(edits * 4):
                self.later(self.random.uniform(0, edits * 60), self._show, f"stranger_{index}", "vertical")
        self.later(0.0, self._send)

    def later(self, delay: float, call: Callable[..., None], *args: object) -> None:
        heapq.heappush(self.queue, (self.now + delay, next(self.order), lambda: call(*args)))

    def run(self) -> World:
        while self.queue:
            self.now, _, call = heapq.heappop(self.queue)
            call()
        return self

    def _show(self, look_id: str, shape: str | None) -> None:
        self.shown.append((look_id, shape))

    def _send(self) -> None:
        if not self.waiting or not self.avatar_locks.free("avtr_1"):
            return
        edit = self.waiting.pop(0)
        self.avatar_locks.enter("avtr_1")
        shape = self.random.choice([None, Format.VERTICAL, Format.HORIZONTAL])
        fate = self.random.choice(["answered", "lost and paid", "lost and paid", "lost"])
        self.truth[edit] = None if fate == "lost" else f"look_{edit}"
        latency = self.random.choice([0.3, 5.0, ANSWER])
        if fate != "lost":
            told = self.random.choice([shape or "vertical", None])
            # an answer names a look that is there; a lost POST's may show until deadline and last search
            visible = self.random.uniform(0, latency if fate == "answered" else ANSWER + SEARCH[-1])
            self.later(visible, self._show, f"look_{edit}", told)
        if fate == "answered":
            self.later(latency, self._answered, f"look_{edit}")
        else:
            self.later(latency, self._lost, edit, shape, self.now)

    def _answered(self, look_id: str) -> None:
        self.seen.add(look_id)
        self.avatar_locks.leave("avtr_1")
        self._send()

    def _lost(self, edit: int, shape: Format | None, sent_at: float) -> None:
        self.avatar_locks.shut("avtr_1")
        times = search_times(self.now, sent_at, ANSWER, SEARCH)
        for at in times:
            self.later(at, self._ask, edit, shape, at == times[-1])

    def _ask(self, edit: int, shape: Format | None, last: bool) -> None:
        if edit in self.adopted or edit in self.retired:
            return
        mark, flight = self.avatar_locks.mark("avtr_1"), self.random.uniform(0.01, 1.0)
        snapshot: list[tuple[str, str | None]] = []
        self.later(flight * self.random.random(), lambda: snapshot.extend(self.shown))
        self.later(flight, lambda: self._read(edit, shape, last, mark, snapshot))

    def _read(
        self, edit: int, shape: Format | None, last: bool, mark: int, looks: list[tuple[str, str | None]]
    ) -> None:
        if edit in self.adopted or edit in self.retired:
            return
        verdict = judge(
            LostEdit("avtr_1", shape),
            self.seen,
            avatar(*looks),
            answer_is_clean=self.avatar_locks.clean("avtr_1", mark),
            last=last,
            rivals=self.avatar_locks.lost("avtr_1") - 1,
        )
        match verdict:
            case KeepLooking():
                return
            case Adopt(ref):
                self.adopted[edit] = ref.look_id
                self.seen.add(ref.look_id)
            case Abandon(found):
                self.retired.add(edit)
                self.seen.update(ref.look_id for ref in found)
        self.avatar_locks.reopen("avtr_1")
        self._send()


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=300)
def test_in_an_honest_world_every_paid_look_is_adopted_and_none_wrongly(seed: int) -> None:
    """Exclusive use, answers lost before and after the server took the POST: all found, none confused."""
    world = World(seed, edits=12).run()
    assert not world.waiting
    assert all(look_id == world.truth[edit] for edit, look_id in world.adopted.items())
    assert all(world.truth[edit] is None for edit in world.retired)


def test_a_busy_stranger_makes_adoption_rare_and_never_blocks() -> None:
    """Without exclusive use in truth: looks that came together are left to people, and avatar locks
    still open."""
    worlds = [World(seed, edits=12, strangers=True).run() for seed in range(20)]
    assert all(not world.waiting for world in worlds)
    assert all(world.avatar_locks.free("avtr_1") for world in worlds)
    assert sum(len(world.retired) for world in worlds) > 0


def test_a_look_that_shows_after_retirement_is_not_adopted_for_the_retired() -> None:
    """Once retired, an edit gets no look any more: its late one is at most somebody's second unseen look."""
    late = avatar("base", "late", "new")
    assert ask(late) == KeepLooking()
    assert ask(late, last=True) == Abandon((LookRef("avtr_1", "late"), NEW))
