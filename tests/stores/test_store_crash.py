"""A process that writes is killed with SIGKILL: every acknowledged write is there."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from internals_kit import FileLedger, IntentState
from store_kit import WORKSPACE, child

# A state is printed when the write before it has returned: what the parent reads was acknowledged.
WRITE = """
import asyncio, os, sys
from hoox_async._io.ledger.local_ledger import FileLedger
from store_kit import WORKSPACE, accept, planned, send

def acknowledge(*words):
    os.write(1, (" ".join(words) + "\\n").encode())

async def life(store, name):
    for number in range(100_000):
        key = f"{name}-{number}"
        await store.plan(planned(key))
        acknowledge("planned", key)
        await store.advance(key, send(f"att-{key}"))
        acknowledge("sending", key)
        await store.advance(key, accept(f"look-{key}"))
        acknowledge("accepted", key)

async def main():
    store = FileLedger(sys.argv[1])
    await store.open(WORKSPACE)
    await asyncio.gather(*(life(store, f"{sys.argv[2]}-{n}") for n in range(20)))

asyncio.run(main())
"""
AT_LEAST = {
    "planned": frozenset(IntentState),
    "sending": frozenset(IntentState) - {IntentState.PLANNED},
    "accepted": frozenset({IntentState.ACCEPTED}),
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_what_was_acknowledged_is_there(tmp_path: Path, seed: int) -> None:
    """After kill -9 at a random moment nothing acknowledged is missing; what was outstanding is UNKNOWN."""
    path = tmp_path / "campaign.db"
    chance = random.Random(seed)
    acknowledged: dict[str, str] = {}
    for round_ in range(2):
        with child(WRITE, path, f"round{round_}") as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(chance.randint(80, 400))]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.read().split("\n")
        for line in lines:
            state, _, key = line.strip().partition(" ")
            if key:
                acknowledged[key] = state
        await _check(path, acknowledged)


async def _check(path: Path, acknowledged: dict[str, str]) -> None:
    store = FileLedger(path)
    await store.open(WORKSPACE)
    states = {intent.key: intent.state async for intent in store.stream()}
    assert len(acknowledged) > 20
    for key, state in acknowledged.items():
        assert states[key] in AT_LEAST[state]
    assert IntentState.SENDING not in states.values()
    found = await store.delivered(f"att-{next(k for k, w in acknowledged.items() if w == 'accepted')}")
    assert found is not None
    assert found.intent.ref is not None
    assert await store.by_ref(found.intent.ref) == found.intent
    await store.aclose()
