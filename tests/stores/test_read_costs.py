"""`read_costs`: what a store's requests have cost, in groups, of a file and of a database."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from internals_kit import Ledger, MarkUnknown, open_store
from store_kit import SOURCE, WORKSPACE, accept, planned, send, settle

from hoox_async import LookEdit, OutcomeState, PromptAvatar, Resolution, prune_store, read_costs
from hoox_async.errors import ConfigurationError, StoreError


async def fill(store: Ledger) -> None:
    """One ready look of Ada's, one in 4K and one unknown of Bo's, and one avatar of nobody's, not sent."""
    two_k, four_k = Resolution.TWO_K, Resolution.FOUR_K
    for key, customer, resolution in (("a", "Ada", two_k), ("b", "Bo", four_k), ("c", "Bo", two_k)):
        edit = LookEdit(SOURCE, "a scene", resolution=resolution, metadata={"customer": customer})
        await store.plan(planned(key, edit))
        await store.advance(key, send(f"attempt {key}"))
    for key in "ab":
        avatar_id = "avtr_copy" if key == "b" else SOURCE.avatar_id  # the API may copy what is edited
        await store.advance(key, accept(f"look_{key}", avatar_id), settle(f"look_{key}", avatar_id))
    await store.advance("c", MarkUnknown("lost"))
    await store.plan(planned("d", PromptAvatar("Alex")))


@pytest.fixture(params=["sqlite", "postgres"])
async def path(request: pytest.FixtureRequest) -> str:
    """A store of each kind that `fill` has filled, which is closed."""
    if request.param == "postgres":
        place: str = request.getfixturevalue("postgres_database")
    else:
        place = str(request.getfixturevalue("tmp_path") / "campaign.db")
    store = open_store(place)
    await store.open(WORKSPACE)
    try:
        await fill(store)
    finally:
        await store.aclose()
    return place


async def test_costs_by_metadata(path: str) -> None:
    """A group for each value, the most expensive first: what was spent, what may have been, the states.

    Requests without that metadata are the group None. What was pruned stands as "pruned", and costs as much.
    """
    rows = await read_costs(path, by="metadata.customer")
    shown = [(row.group, row.pruned, row.requests, row.spent, row.at_risk) for row in rows]
    assert shown == [
        ("Bo", False, 2, Decimal(4), Decimal(2)),
        ("Ada", False, 1, Decimal(2), Decimal(0)),
        (None, False, 1, Decimal(0), Decimal(0)),
    ]
    assert (rows[0].counts[OutcomeState.READY], rows[0].counts[OutcomeState.UNKNOWN]) == (1, 1)
    assert set(rows[0].counts) == set(OutcomeState)
    await prune_store(path, older_than=timedelta())
    rows = await read_costs(path, by="metadata.customer")
    shown = [(row.group, row.pruned, row.requests, row.spent, row.at_risk) for row in rows]
    assert shown == [
        ("pruned", True, 2, Decimal(6), Decimal(0)),
        ("Bo", False, 1, Decimal(0), Decimal(2)),
        (None, False, 1, Decimal(0), Decimal(0)),
    ]


async def test_costs_by_other_properties(path: str) -> None:
    """The kind, the avatar and the state are kept when a store is pruned: they group what was pruned too.

    The avatar of an edit is the one that was edited, though its look is in a copy.
    """
    await prune_store(path, older_than=timedelta())
    by_kind = {row.group: row.requests for row in await read_costs(path, by="kind")}
    by_avatar = {row.group: row.requests for row in await read_costs(path, by="avatar")}
    by_state = {row.group: row.requests for row in await read_costs(path, by="state")}
    assert by_kind == {LookEdit.KIND: 3, PromptAvatar.KIND: 1}
    assert by_avatar == {SOURCE.avatar_id: 3, None: 1}
    assert by_state == {"ready": 2, "unknown": 1, "unsent": 1}


async def test_costs_while_a_session_has_the_store_open(path: str) -> None:
    """They are read beside a session that writes."""
    store = open_store(path)
    await store.open(WORKSPACE)
    try:
        await store.plan(planned("e"))
        rows = await read_costs(path, by="kind")
    finally:
        await store.aclose()
    assert sum(row.requests for row in rows) == 5


@pytest.mark.parametrize("by", ["customer", "metadata.", "metadata", "", 3])
async def test_a_property_that_is_none(tmp_path: Path, by: str) -> None:
    """Another ``by`` is a `ConfigurationError`, whether or not there is such a store."""
    with pytest.raises(ConfigurationError, match=r"metadata\.NAME"):
        await read_costs(tmp_path / "none.db", by=by)


async def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is a `StoreError`, and it is not created."""
    with pytest.raises(StoreError):
        await read_costs(tmp_path / "none.db", by="kind")
    assert list(tmp_path.iterdir()) == []
