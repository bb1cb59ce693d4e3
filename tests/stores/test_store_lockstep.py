"""The kinds of store give the same results for any sequence of calls."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from internals_kit import (
    AddCandidates,
    Drop,
    IfUnchanged,
    IllegalTransition,
    Intent,
    IntentState,
    Ledger,
    MarkUnknown,
    Reason,
    Reject,
    Replace,
    Resend,
    Revert,
    Transition,
    charges,
)
from postgres_kit import Server, unique_name
from shared_memory_kit import MemoryDatabase
from store_kit import (
    CREATE,
    EDIT,
    NOW,
    WORKSPACE,
    accept,
    make_store,
    planned,
    send,
    settle,
)

from hoox_async import Evidence, LookStatus
from hoox_async.errors import BudgetExceeded
from hoox_async.postgres import PostgresDatabase

_KEYS = st.sampled_from(["a", "b", "c", "ключ\N{SNOWMAN}"])
_LOOKS = st.sampled_from(["look_1", "look_2", "look_3"])
_ATTEMPTS = st.builds("att_{}_{}".format, st.integers(0, 5), st.integers(0, 3))
_STEPS: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([Resend(), Drop(), MarkUnknown("dropped"), AddCandidates(())]),
    st.builds(Revert, _ATTEMPTS),
    st.builds(MarkUnknown, st.just("lost"), _ATTEMPTS, st.booleans()),
    st.builds(lambda look, attempt: accept(look)._replace(attempt_id=attempt), _LOOKS, _ATTEMPTS),
    st.builds(accept, _LOOKS, evidence=st.sampled_from(Evidence)),
    st.builds(settle, _LOOKS, status=st.sampled_from([LookStatus.READY, LookStatus.FAILED])),
    st.builds(Reject, st.just(Reason(400, "INVALID_VALUE", "no")), st.just(NOW)),
    st.builds(IfUnchanged, st.builds(planned, _KEYS)),
    st.builds(Replace, st.sampled_from([EDIT, CREATE]), st.just("other digest")),
    st.sampled_from([None, "spring", "summer"]),  # a `Send` with this budget
)
_BUDGETS = {"spring": EDIT.credits * 4, "summer": EDIT.credits + CREATE.credits}


@pytest.fixture(scope="module")
def schema(postgres: Server) -> Iterator[str]:
    """A schema for all examples, each of which has a workspace of its own."""
    with postgres.schema() as name:
        yield name


@given(calls=st.lists(st.tuples(_KEYS, st.lists(_STEPS, min_size=1, max_size=4)), max_size=25))
@settings(max_examples=settings.get_profile("suite").max_examples // 4)
def test_all_stores_give_the_same_results(
    postgres_url: str, schema: str, calls: list[tuple[str, list[Any]]]
) -> None:
    """In any sequence of calls all stores refuse the same ones, and hold the same intents after it.

    Each budget has charged what all intents charge to it, and never more than its cap.
    """
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_lockstep(Path(folder), PostgresDatabase(postgres_url, schema=schema), calls))


async def _lockstep(folder: Path, database: PostgresDatabase, calls: list[tuple[str, list[Any]]]) -> None:
    async with AsyncExitStack() as stack:
        stores: list[Ledger] = [make_store(kind, folder) for kind in ("memory", "sqlite")]
        for shared in (MemoryDatabase(), database):
            await stack.enter_async_context(shared)
            stores.append(shared.workspace(unique_name()))
        for store in stores:
            await store.open(WORKSPACE)
            stack.push_async_callback(store.aclose)
            for name, cap in _BUDGETS.items():
                await store.open_budget(name, cap, Decimal(0))
        for number, (key, wanted) in enumerate(calls):
            transitions = [
                send(f"att_{number}_{n}")._replace(budget=each) if each in (None, *_BUDGETS) else each
                for n, each in enumerate(wanted)
            ]
            first, *others = [await _result(store, key, transitions) for store in stores]
            assert all(other == first for other in others)
        first_contents, *other_contents = [await _everything(store) for store in stores]
        assert all(contents == first_contents for contents in other_contents)


async def _result(store: Ledger, key: str, transitions: list[Transition]) -> Intent | str:
    await store.plan(planned(key))
    try:
        return await store.advance(key, *transitions)
    except (IllegalTransition, BudgetExceeded) as error:
        return str(error)


async def _everything(store: Ledger) -> list[object]:
    contents: list[object] = [[intent async for intent in store.stream()]]
    contents += [await store.in_states([state]) for state in IntentState]
    contents += [await store.claimed_looks("avtr_1")]
    for name, cap in _BUDGETS.items():
        sums = [charges(intent).get(name, Decimal(0)) async for intent in store.stream()]
        stored = await store.budget(name)
        assert stored is not None
        assert stored.charged == sum(sums) <= cap
        contents.append(stored)
    return contents
