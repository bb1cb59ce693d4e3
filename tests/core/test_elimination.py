"""Which unclaimed look a lost POST has made; in simulated worlds none is ever confused."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_async._api.models import Avatar, LookDetails, LookRef
from hoox_async._api.requests import Format
from hoox_async._core.reconciliation.avatar_locks import AvatarLocks
from hoox_async._core.reconciliation.elimination import (
    Conclusion,
    Found,
    Inconclusive,
    LostEdit,
    SearchAgain,
    candidates,
    conclude,
    search_times,
)

ANSWER, SEARCH = 120.0, (2.0, 10.0, 30.0)


def avatar(*looks: str | tuple[str, str | None], avatar_id: str = "avtr_1") -> Avatar:
    """An answer of GET /avatar/{id} with these looks, given as id or (id, format)."""
    pairs = [(look, None) if isinstance(look, str) else look for look in looks]
    details = tuple(LookDetails(LookRef(avatar_id, look_id), format=shape) for look_id, shape in pairs)
    return Avatar(avatar_id, looks=details)


def conclusion_of(
    answer: Avatar,
    *,
    seen: frozenset[str] = frozenset({"base"}),
    shape: Format | None = None,
    undisturbed: bool = True,
    last: bool = False,
    competing_edits: int = 0,
) -> Conclusion:
    """What this answer proves of a lost edit of avatar avtr_1."""
    return conclude(
        LostEdit("avtr_1", shape),
        seen,
        answer,
        no_edit_meanwhile=undisturbed,
        last=last,
        competing_edits=competing_edits,
    )


NEW = LookRef("avtr_1", "new")


def test_the_only_unknown_look_is_found() -> None:
    """A look that alone is neither in the baseline nor claimed can only be the lost edit's."""
    assert conclusion_of(avatar("base", "new")) == Found(NEW)
    assert conclusion_of(avatar("base", "new"), last=True) == Found(NEW)


def test_without_an_unknown_look_the_search_goes_on_until_the_last_time() -> None:
    """Where all looks are known, another search follows; the last one is inconclusive."""
    assert conclusion_of(avatar("base")) == SearchAgain()
    assert conclusion_of(avatar("base"), last=True) == Inconclusive(())


def test_two_unknown_looks_prove_nothing() -> None:
    """With two unknown looks somebody else is at work, whatever their formats. Both become candidates."""
    two = avatar("base", ("new", "vertical"), ("other", "horizontal"))
    assert conclusion_of(two, shape=Format.VERTICAL) == SearchAgain()
    assert conclusion_of(two, shape=Format.VERTICAL, last=True) == Inconclusive(
        (NEW, LookRef("avtr_1", "other"))
    )


@pytest.mark.parametrize("reason", ["an edit meanwhile", "a competing edit", "another avatar"])
def test_an_answer_that_proves_nothing_finds_nothing(reason: str) -> None:
    """An edit that was outstanding, a second lost edit, or an answer for another avatar prevents a find."""
    undisturbed, competing = reason != "an edit meanwhile", int(reason == "a competing edit")
    answer = avatar("base", "new", avatar_id="avtr_2" if reason == "another avatar" else "avtr_1")
    assert conclusion_of(answer, undisturbed=undisturbed, competing_edits=competing) == SearchAgain()
    assert isinstance(
        conclusion_of(answer, undisturbed=undisturbed, competing_edits=competing, last=True), Inconclusive
    )


@pytest.mark.parametrize(
    ("sent", "shown", "found"),
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
    sent: Format | None, shown: str | None, found: bool
) -> None:
    """A look of another format than was sent is not the lost edit's; one whose format is not known may be."""
    assert conclusion_of(avatar("base", ("new", shown)), shape=sent) == (
        Found(NEW) if found else SearchAgain()
    )


def test_a_look_listed_twice_is_one_look() -> None:
    """The same id twice in an answer counts once, and each of its formats must be the one that was sent."""
    assert conclusion_of(avatar("new", "new")) == Found(NEW)
    assert conclusion_of(avatar("new", ("new", "vertical")), shape=Format.HORIZONTAL) == SearchAgain()


def test_candidates_are_the_unknown_looks_in_order() -> None:
    """People choose from all looks that are neither in the baseline nor claimed."""
    assert candidates(frozenset({"b"}), avatar("c", "b", "a", "c")) == (
        LookRef("avtr_1", "c"),
        LookRef("avtr_1", "a"),
    )


def test_searches_follow_the_loss_and_one_follows_the_deadline() -> None:
    """Searches take place `search` seconds after the loss, and once after a slow server must be done."""
    assert search_times(105.0, 100.0, ANSWER, SEARCH) == (2.0, 10.0, 30.0, 145.0)


def test_a_loss_at_the_deadline_needs_no_further_search() -> None:
    """For a POST that was lost by its timeout, the last of `search` is the last search."""
    assert search_times(220.0, 100.0, ANSWER, SEARCH) == SEARCH
    assert search_times(9000.0, 100.0, ANSWER, SEARCH) == SEARCH


def test_without_search_times_there_is_still_one() -> None:
    """The search at the deadline always takes place."""
    assert search_times(105.0, 100.0, ANSWER, ()) == (115.0,)
    assert search_times(500.0, 100.0, ANSWER, ()) == (0.0,)


@given(st.floats(0, 500), st.floats(1, 300), st.lists(st.floats(0.1, 60), max_size=4))
def test_searches_rise_and_the_last_is_late_enough(after: float, answer: float, search: list[float]) -> None:
    """The times ascend from the loss on, and the last is late enough after both the loss and the deadline."""
    times = search_times(100.0 + after, 100.0, answer, search)
    assert list(times) == sorted(set(times))
    assert times[0] >= 0
    last = max(search, default=0.0)
    assert times[-1] + after >= answer + last - 1e-6
    assert times[-1] >= last


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
        self.found: dict[int, str] = {}
        self.search_ended: set[int] = set()
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
        if not self.waiting or not self.avatar_locks.can_acquire("avtr_1"):
            return
        edit = self.waiting.pop(0)
        self.avatar_locks.acquire("avtr_1")
        shape = self.random.choice([None, Format.VERTICAL, Format.HORIZONTAL])
        fate = self.random.choice(["answered", "lost and paid", "lost and paid", "lost"])
        self.truth[edit] = None if fate == "lost" else f"look_{edit}"
        latency = self.random.choice([0.3, 5.0, ANSWER])
        if fate != "lost":
            shown = self.random.choice([shape or "vertical", None])
            # an answer names a look that is there; a lost POST's may show until deadline and last search
            visible = self.random.uniform(0, latency if fate == "answered" else ANSWER + SEARCH[-1])
            self.later(visible, self._show, f"look_{edit}", shown)
        if fate == "answered":
            self.later(latency, self._answered, f"look_{edit}")
        else:
            self.later(latency, self._lost, edit, shape, self.now)

    def _answered(self, look_id: str) -> None:
        self.seen.add(look_id)
        self.avatar_locks.release("avtr_1")
        self._send()

    def _lost(self, edit: int, shape: Format | None, sent_at: float) -> None:
        self.avatar_locks.close("avtr_1")
        times = search_times(self.now, sent_at, ANSWER, SEARCH)
        for at in times:
            self.later(at, self._search, edit, shape, at == times[-1])

    def _search(self, edit: int, shape: Format | None, last: bool) -> None:
        if edit in self.found or edit in self.search_ended:
            return
        snapshot, flight = self.avatar_locks.snapshot("avtr_1"), self.random.uniform(0.01, 1.0)
        looks: list[tuple[str, str | None]] = []
        self.later(flight * self.random.random(), lambda: looks.extend(self.shown))
        self.later(flight, lambda: self._read(edit, shape, last, snapshot, looks))

    def _read(
        self, edit: int, shape: Format | None, last: bool, snapshot: int, looks: list[tuple[str, str | None]]
    ) -> None:
        if edit in self.found or edit in self.search_ended:
            return
        conclusion = conclude(
            LostEdit("avtr_1", shape),
            self.seen,
            avatar(*looks),
            no_edit_meanwhile=self.avatar_locks.unchanged_since("avtr_1", snapshot),
            last=last,
            competing_edits=self.avatar_locks.lost_edits("avtr_1") - 1,
        )
        match conclusion:
            case SearchAgain():
                return
            case Found(ref):
                self.found[edit] = ref.look_id
                self.seen.add(ref.look_id)
            case Inconclusive(found):
                self.search_ended.add(edit)
                self.seen.update(ref.look_id for ref in found)
        self.avatar_locks.reopen("avtr_1")
        self._send()


@given(st.integers(0, 2**32))
def test_under_exclusive_use_every_paid_look_is_found_and_none_is_confused(seed: int) -> None:
    """Answers are lost before and after the server took the POST; each paid look is found for its edit."""
    world = World(seed, edits=12).run()
    assert not world.waiting
    assert all(look_id == world.truth[edit] for edit, look_id in world.found.items())
    assert all(world.truth[edit] is None for edit in world.search_ended)


def test_a_stranger_at_work_leaves_searches_inconclusive_and_locks_open() -> None:
    """Where others make looks in truth, nothing is proved of several new looks, and no lock stays closed."""
    worlds = [World(seed, edits=12, strangers=True).run() for seed in range(20)]
    assert all(not world.waiting for world in worlds)
    assert all(world.avatar_locks.can_acquire("avtr_1") for world in worlds)
    assert sum(len(world.search_ended) for world in worlds) > 0


def test_a_look_that_appears_after_its_search_is_not_taken_for_another_edits() -> None:
    """A late look beside another unknown one makes two, which prove nothing for the edit searched now."""
    late = avatar("base", "late", "new")
    assert conclusion_of(late) == SearchAgain()
    assert conclusion_of(late, last=True) == Inconclusive((LookRef("avtr_1", "late"), NEW))
