"""The feed: what a batch sends next."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from hoox_async._batch.locality_queue import LocalityQueue


def always(_: str) -> bool:
    return True


def filled(*counts: int, latency: float = 0.3) -> LocalityQueue[str]:
    """Avatars a, b, c … with so many items each, put in turn."""
    feed = LocalityQueue[str](latency=latency)
    for i in range(max(counts)):
        for avatar, count in zip("abcdefgh", counts, strict=False):
            if i < count:
                feed.put(avatar, f"{avatar}{i}")
    return feed


def emptied(feed: LocalityQueue[str]) -> list[str]:
    out = []
    while (item := feed.pop(always)) is not None:
        out.append(item)
    return out


def test_one_avatar_after_the_other() -> None:
    """With a fast API one avatar at a time is drained, the one with most items first, each in order."""
    assert emptied(filled(2, 3, 1)) == ["b0", "b1", "b2", "a0", "a1", "c0"]


def test_items_without_an_avatar_go_first() -> None:
    """Creates go before edits, since others may depend on them."""
    feed = filled(1)
    feed.put(None, "new")
    assert emptied(feed) == ["new", "a0"]


def test_as_many_avatars_as_a_submission_takes_permits() -> None:
    """A latency of 1.5 permits: two avatars in turn, so that one is free at each permit."""
    feed = filled(3, 3, 3, latency=0.9)
    assert feed.width == 2
    assert emptied(feed)[:4] == ["a0", "b0", "a1", "b1"]


def test_an_avatar_that_is_not_free_is_passed_over() -> None:
    """While an avatar's edit hangs, others are sent; its own items wait and are not lost."""
    feed = filled(3, 2)
    assert [feed.pop(lambda avatar: avatar != "a") for _ in range(3)] == ["b0", "b1", None]
    assert len(feed) == 3
    assert emptied(feed) == ["a0", "a1", "a2"]


def test_an_active_avatar_that_hangs_is_taken_up_again() -> None:
    """An avatar whose edit hangs in the middle goes on when it is free."""
    feed = filled(3, 2)
    assert feed.pop(always) == "a0"
    assert feed.pop(lambda avatar: avatar != "a") == "b0"
    assert sorted(emptied(feed)) == ["a1", "a2", "b1"]


def test_an_avatar_with_one_item_does_not_starve() -> None:
    """Where others always have more waiting, the one that has waited longest still gets its turn."""
    feed = LocalityQueue[str]()
    feed.put("lonely", "lonely")
    sent = []
    for i in range(400):
        for j in range(3):
            feed.put(f"a{i}", f"a{i}-{j}")
        sent += [feed.pop(always) for _ in range(3)]
        if "lonely" in sent:
            break
    assert "lonely" in sent


def test_drained_items_come_in_the_order_in_which_they_were_put() -> None:
    """`drain` gives back all that is waiting and leaves an empty feed."""
    feed = filled(2, 2)
    feed.pop(always)
    assert feed.drain() == ["b0", "a1", "b1"]
    assert len(feed) == 0
    assert feed.pop(always) is None
    feed.put("a", "again")
    assert emptied(feed) == ["again"]


def test_the_longest_row_is_what_can_be_sent_of_one_avatar() -> None:
    """Of the one that is being sent, of the next one, or of those without an avatar."""
    feed = filled(2, 4)
    assert feed.longest_row == 4
    feed.pop(always)
    assert feed.longest_row == 3
    for n in range(5):
        feed.put("a", f"more{n}")
    assert feed.longest_row == 7
    for n in range(9):
        feed.put(None, f"new{n}")
    assert feed.longest_row == 9
    emptied(feed)
    assert feed.longest_row == 0


def test_items_that_share_an_avatar_are_those_beyond_one_for_each() -> None:
    """Items without an avatar share none."""
    feed = filled(3, 1)
    feed.put(None, "new")
    assert feed.grouped == 2
    feed.pop(always)
    feed.pop(always)
    assert feed.grouped == 1


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from("ppppooo"), max_size=400), st.integers(0, 2**32))
def test_nothing_is_lost_or_doubled(steps: list[str], seed: int) -> None:
    """Any order of puts and pops, avatars free or not: each item once, in order within its avatar."""
    rng = random.Random(seed)
    feed = LocalityQueue[tuple[str | None, int]](latency=rng.choice((0.3, 2.0)))
    put: list[tuple[str | None, int]] = []
    got: list[tuple[str | None, int]] = []
    for step in steps:
        if step == "p":
            item = (rng.choice((None, *"abcdef")), len(put))
            put.append(item)
            feed.put(item[0], item)
        else:
            free = set(rng.sample("abcdef", 3))
            out = feed.pop(free.__contains__)
            waiting = {avatar for avatar, _ in set(put) - set(got)}
            assert (out is None) == (None not in waiting and not waiting & free)
            if out is not None:
                assert out[0] is None or out[0] in free
                got.append(out)
        assert len(feed) == len(put) - len(got)
    while (out := feed.pop(always)) is not None:
        got.append(out)
    assert sorted(got, key=lambda item: item[1]) == put
    for avatar in (None, *"abcdef"):
        numbers = [number for each, number in got if each == avatar]
        assert numbers == sorted(numbers)
