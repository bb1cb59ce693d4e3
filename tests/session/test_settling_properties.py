"""What holds of settling and telling, over random schedules on the real sessions and the real ledger.

Polls, deliveries (early, late, doubled, contradicting, in both forms, to any process), restarts, kills,
stops, lost answers, store faults, closings, cancellations and a person's decisions; one process and three,
with and without hooks, in virtual time. `settling_checks` has the properties.

A failure names its seed: ``python benchmarks/settling.py --seed 17`` lives through it again and tells all
that happened. The same program runs thousands; so does ``FUZZ_EXAMPLES=3000`` here.
"""

from __future__ import annotations

import os

import pytest
from settling_checks import trial

SCHEDULES = int(os.environ.get("FUZZ_EXAMPLES", "40"))
PARTS = 8


@pytest.mark.parametrize("part", range(PARTS))
def test_settling_keeps_its_promises_over_random_schedules(part: int) -> None:
    """Every end is told to whom it is owed, and no delivery that was acknowledged is without effect.

    Also: no hook hears what the store does not say, no wait outlives its bound, every accepted look is
    settled, and nothing is paid twice.
    """
    found = [trial(seed) for seed in range(part, SCHEDULES, PARTS)]
    assert {each.seed: each.broken for each in found if each.broken} == {}
    assert sum(each.ends for each in found) >= len(found)
