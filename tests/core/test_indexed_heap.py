"""The heap whose items can be moved and removed at any moment."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from hoox_async._core.polling.indexed_heap import HeapItem, IndexedHeap

TIMES = st.sampled_from((0.0, 1.0, 2.0, 3.5, math.inf)) | st.floats(0.0, 10.0)


def empty_heap() -> IndexedHeap[HeapItem[int]]:
    return IndexedHeap("at", "heap_index")


@given(st.lists(st.tuples(st.integers(0, 20), TIMES | st.none())))
def test_the_first_item_is_the_earliest_after_any_changes(changes: list[tuple[int, float | None]]) -> None:
    """Whatever items are added, moved and removed, in any order, the first one is the earliest of them.

    A time of infinity removes an item, as does None here.
    """
    heap, items = empty_heap(), [HeapItem(number) for number in range(21)]
    expected: dict[int, float] = {}
    for number, at in changes:
        if at is None or at == math.inf:
            expected.pop(number, None)
        else:
            expected[number] = at
        if at is None:
            heap.remove(items[number])
        else:
            heap.set(items[number], at)
        assert heap.next_at == min(expected.values(), default=math.inf)
        first = heap.first
        assert (None if first is None else first.at) == min(expected.values(), default=None)
        assert {each.item: each.at for each in items if each.at < math.inf} == expected


@given(st.lists(TIMES))
def test_items_that_are_removed_one_by_one_come_in_the_order_of_their_times(times: list[float]) -> None:
    """Removing the first item again and again gives all of them, sorted by time."""
    heap = empty_heap()
    for number, at in enumerate(times):
        heap.set(HeapItem(number), at)
    came = []
    while (first := heap.first) is not None:
        came.append(first.at)
        heap.remove(first)
    assert came == sorted(at for at in times if at < math.inf)
