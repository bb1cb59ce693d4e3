"""Files of earlier versions, in which several intents have the same look."""

from __future__ import annotations

import sqlite3
import zlib
from pathlib import Path

import pytest
from store_kit import NOW, WORKSPACE, accept, planned, send, settle

from hoox_async._api.models import LookRef
from hoox_async._core.intents.intent import IntentState
from hoox_async._core.intents.transitions import Correct, LookTaken, MarkUnknown
from hoox_async._io.stores.sqlite.store import SQLiteStore

REF = LookRef("avtr_1", "look_9")


async def doubles(path: Path) -> SQLiteStore:
    """A store in which the intents a and b both have `REF`, opened again."""
    store = SQLiteStore(path)
    await store.open(WORKSPACE)
    for key, look_id in (("a", "look_9"), ("b", "look_b")):
        await store.plan(planned(key))
        await store.advance(key, send(f"att_{key}"), accept(look_id))
    await store.aclose()
    db = sqlite3.connect(path)
    (record,) = db.execute("SELECT record FROM intents WHERE key = 'b'").fetchone()
    assert "look_b" in record
    record = record.replace("look_b", "look_9")
    db.execute(
        "UPDATE intents SET look_id = 'look_9', record = ?, crc = ? WHERE key = 'b'",
        (record, zlib.crc32(record.encode())),
    )
    db.commit()
    db.close()
    store = SQLiteStore(path)
    await store.open(WORKSPACE)
    return store


async def test_a_file_that_holds_doubles_opens_and_works(tmp_path: Path) -> None:
    """`by_ref` finds the first of them; each can be settled, and a third intent cannot claim the look."""
    store = await doubles(tmp_path / "campaign.db")
    first = await store.by_ref(REF)
    assert first is not None
    assert first.key == "a"
    await store.plan(planned("c"))
    await store.advance("c", send("att_c"))
    with pytest.raises(LookTaken, match="'a'"):
        await store.advance("c", accept("look_9"))
    assert (await store.advance("c", MarkUnknown("taken", NOW))).state is IntentState.UNKNOWN
    for key in "ab":
        assert (await store.advance(key, settle("look_9"))).state is IntentState.READY
    await store.aclose()


async def test_neither_of_the_doubles_stops_the_other_from_having_another_look(tmp_path: Path) -> None:
    """A claim checks who has the wanted look, and not the look that the intent has already."""
    store = await doubles(tmp_path / "campaign.db")
    await store.plan(planned("c"))
    await store.advance("c", send("att_c"), accept("look_8"))
    with pytest.raises(Exception, match="answer"):
        await store.advance("b", Correct(LookRef("avtr_1", "look_7"), NOW))
    await store.aclose()
