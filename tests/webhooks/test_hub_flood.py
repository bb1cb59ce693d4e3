"""Nothing that comes in can hurt the hub."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from internals_kit import Delivery
from webhook_kit import FOREIGN, READY, Session, chunked, hub, token_of

forgeries = st.one_of(
    st.text(max_size=200),
    st.from_regex(r"[A-Za-z0-9_-]{1,40}\.[A-Za-z0-9_-]{43}", fullmatch=True),
)
bodies = st.one_of(
    st.binary(max_size=100),
    st.sampled_from([READY, FOREIGN, b"[" * 5000, b" " * 300_000, b"{}", b"null"]),
    st.dictionaries(
        st.sampled_from(["task", "job_id", "look_id", "avatar_id", "status", "result", "error"]),
        st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["avatar_edit", "completed"]),
    ).map(lambda fields: json.dumps(fields).encode()),
)


@given(st.lists(st.tuples(forgeries, bodies, st.booleans()), min_size=1, max_size=20))
def test_no_token_and_no_body_makes_the_hub_raise(deliveries: list[tuple[str, bytes, bool]]) -> None:
    """Each gives a status, and an invalid token never reaches a session."""

    async def scenario() -> None:
        a_hub, session = hub(), Session()
        a_hub.subscribe(session)
        good = token_of(a_hub, "a1")
        for token, body, genuine in deliveries:
            before = len(session.calls)
            status = await a_hub.handle(good if genuine else token, body)
            assert status in ({200, 400, 413, 503} if genuine else {404})
            assert genuine or len(session.calls) == before
        assert all(attempt_id == "a1" for attempt_id, _ in session.calls)

    asyncio.run(scenario())


async def test_ten_thousand_bad_deliveries_do_not_grow_the_memory() -> None:
    """Forged, malformed, oversized, about other tasks, and replayed: each has the right status."""
    a_hub, calls = hub(), 0

    async def counts(attempt_id: str, delivery: Delivery) -> bool:
        nonlocal calls
        calls += 1
        return True

    a_hub.subscribe(counts)
    good, too_long = token_of(a_hub, "a1"), b" " * (256 * 1024 + 1)

    async def flood(times: int) -> None:
        for _ in range(times):
            assert await a_hub.handle(secrets.token_urlsafe(16) + "." + good[-43:], READY) == 404
            assert await a_hub.handle(secrets.token_urlsafe(64), too_long) == 404
            assert await a_hub.handle(good, b"{") == 400
            assert await a_hub.handle_stream(good, chunked(too_long)) == 413
            assert await a_hub.handle(good, FOREIGN) == 200
            assert await a_hub.handle(good, READY) == 200

    logging.getLogger("hoox_async.webhooks").setLevel(logging.ERROR)
    try:
        await flood(50)
        tracemalloc.start()
        await flood(50)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        await flood(1_600)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        logging.getLogger("hoox_async.webhooks").setLevel(logging.NOTSET)
    assert calls == 1_700
    assert after - before < 64 * 1024
    assert peak - before < 2 * 1024 * 1024
