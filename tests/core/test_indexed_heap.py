"""Who is due when: a heap whose entries can be moved and called off."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from hoox_async._core.polling.indexed_heap import HeapItem, IndexedHeap

TIMES = st.sampled_from((0.0, 1.0, 2.0, 3.5, math.inf)) | st.floats(0.0, 10.0)


@given(st.lists(st.tuples(st.integers(0, 20), TIMES | st.none())))
def test_the_first_is_always_the_earliest(changes: list[tuple[int, float | None]]) -> None:
    """However entries are put on, moved and called off, in any order."""
    agenda: IndexedHeap[HeapItem[int]] = IndexedHeap("at", "place")
    alarms = [HeapItem(number) for number in range(21)]
    expected: dict[int, float] = {}
    for number, at in changes:
        if at is None or at == math.inf:
            expected.pop(number, None)
        else:
            expected[number] = at
        if at is None:
            agenda.call_off(alarms[number])
        else:
            agenda.set(alarms[number], at)
        assert agenda.next_at == min(expected.values(), default=math.inf)
        first = agenda.first
        assert (None if first is None else first.at) == min(expected.values(), default=None)
        assert {alarm.what: alarm.at for alarm in alarms if alarm.at < math.inf} == expected


@given(st.lists(TIMES))
def test_all_come_in_order(times: list[float]) -> None:
    agenda: IndexedHeap[HeapItem[int]] = IndexedHeap("at", "place")
    for number, at in enumerate(times):
        agenda.set(HeapItem(number), at)
    came = []
    while (first := agenda.first) is not None:
        came.append(first.at)
        agenda.call_off(first)
    assert came == sorted(at for at in times if at < math.inf)
