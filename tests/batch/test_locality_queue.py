"""The locality queue: which waiting item a batch sends next."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from hoox_async._batch.locality_queue import LocalityQueue


def filled(*counts: int) -> LocalityQueue[str]:
    """Avatars a, b, c … with so many items each, put in turn."""
    queue = LocalityQueue[str]()
    for i in range(max(counts)):
        for avatar, count in zip("abcdefgh", counts, strict=False):
            if i < count:
                queue.put(avatar, f"{avatar}{i}")
    return queue


def emptied(queue: LocalityQueue[str]) -> list[str]:
    out = []
    while (item := queue.pop()) is not None:
        out.append(item)
    return out


def test_one_avatar_after_the_other() -> None:
    """One avatar's items are taken after another's, the avatar with most items first."""
    assert emptied(filled(2, 3, 1)) == ["b0", "b1", "b2", "a0", "a1", "c0"]


def test_items_without_an_avatar_go_first() -> None:
    """Items without an avatar, which create one, are taken before edits."""
    queue = filled(1)
    queue.put(None, "new")
    assert emptied(queue) == ["new", "a0"]


def test_an_avatar_with_one_item_does_not_starve() -> None:
    """An avatar with one item gets its turn although other avatars always have more items."""
    queue = LocalityQueue[str]()
    queue.put("lonely", "lonely")
    sent = []
    for i in range(400):
        for j in range(3):
            queue.put(f"a{i}", f"a{i}-{j}")
        sent += [queue.pop() for _ in range(3)]
        if "lonely" in sent:
            break
    assert "lonely" in sent


def test_drained_items_come_in_the_order_in_which_they_were_put() -> None:
    """`drain` gives all waiting items and leaves an empty queue."""
    queue = filled(2, 2)
    queue.pop()
    assert queue.drain() == ["b0", "a1", "b1"]
    assert len(queue) == 0
    assert queue.pop() is None
    queue.put("a", "again")
    assert emptied(queue) == ["again"]


def test_the_longest_row_is_what_can_be_sent_of_one_avatar() -> None:
    """`longest_row` is the number of items of an active avatar, of the next one, or without an avatar."""
    queue = filled(2, 4)
    assert queue.longest_row == 4
    queue.pop()
    assert queue.longest_row == 3
    for n in range(5):
        queue.put("a", f"more{n}")
    assert queue.longest_row == 7
    for n in range(9):
        queue.put(None, f"new{n}")
    assert queue.longest_row == 9
    emptied(queue)
    assert queue.longest_row == 0


def test_items_that_share_an_avatar_are_those_beyond_one_for_each() -> None:
    """`grouped` counts the items beyond the first of each avatar that is not active."""
    queue = filled(3, 1)
    queue.put(None, "new")
    assert queue.grouped == 2
    queue.pop()
    queue.pop()
    assert queue.grouped == 1


@given(st.lists(st.sampled_from("ppppooo"), max_size=400), st.integers(0, 2**32))
def test_nothing_is_lost_or_doubled(steps: list[str], seed: int) -> None:
    """Each item is popped once and in order within its avatar, for any order of puts and pops."""
    rng = random.Random(seed)
    queue = LocalityQueue[tuple[str | None, int]]()
    put: list[tuple[str | None, int]] = []
    got: list[tuple[str | None, int]] = []
    for step in steps:
        if step == "p":
            item = (rng.choice((None, *"abcdef")), len(put))
            put.append(item)
            queue.put(item[0], item)
        else:
            out = queue.pop()
            assert (out is None) == (len(put) == len(got))
            if out is not None:
                got.append(out)
        assert len(queue) == len(put) - len(got)
    while (out := queue.pop()) is not None:
        got.append(out)
    assert sorted(got, key=lambda item: item[1]) == put
    for avatar in (None, *"abcdef"):
        numbers = [number for each, number in got if each == avatar]
        assert numbers == sorted(numbers)
