"""The guarantees of the README, each by the public door. `guarantees.toml` lists them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from guarantees_kit import GUARANTEES, claims_of_the_readme, marked_tests
from rate_limiter_kit import most_in_a_minute

from hoox_async import (
    BatchItem,
    BatchRunner,
    Budget,
    Event,
    HooxError,
    HooxSession,
    LookEdit,
    LookRef,
    LookSettled,
    LookStatus,
    OutcomeUnknown,
    PromptAvatar,
)
from hoox_async.errors import BudgetExceeded
from hoox_async.sandbox import Fault, InProcessTransport, Space
from hoox_async.webhooks import WebhookHub

virtual = pytest.mark.virtual_time
ADA = LookRef("avtr_public_ada", "look_public_ada")


def workspace(**options: Any) -> Space:
    """A fake workspace in process."""
    return Space(rng=Random(1), **options)


def edits(count: int, source: LookRef | str = ADA) -> list[LookEdit]:
    return [LookEdit(source, f"scene {n}") for n in range(count)]


@asynccontextmanager
async def opened(space: Space, **options: Any) -> AsyncIterator[HooxSession]:
    """A session on the workspace."""
    async with HooxSession(space.api_key, transport=InProcessTransport(space), **options) as session:
        yield session


class Hooked:
    """A hub, and the deliveries that the workspace makes to it, which the test hands on itself."""

    def __init__(self) -> None:
        self.hub = WebhookHub("https://example.com/hooks", "a secret for tests only")
        self.deliveries: list[tuple[str, bytes]] = []  # token and body

    async def deliver(self, url: str, body: dict[str, Any]) -> int:
        self.deliveries.append((url.rpartition("/")[2], json.dumps(body).encode()))
        return 200

    @asynccontextmanager
    async def session(self, space: Space) -> AsyncIterator[HooxSession]:
        carrier = InProcessTransport(space, deliver=self.deliver)
        async with HooxSession(space.api_key, transport=carrier, webhooks=self.hub) as session:
            yield session


# --- paid once


@virtual
@pytest.mark.guarantee("At most one paid send for each intent, or it is reported unknown")
@pytest.mark.parametrize("fault", [Fault.DROP_AFTER, Fault.status(500), Fault.HANG], ids=lambda f: f.name)
async def test_a_post_without_an_answer_is_sent_once_and_reported(fault: Fault) -> None:
    """However often it is submitted, a POST whose answer is lost is sent once, and is unknown."""
    space = workspace()
    space.faults.fail_next("create", fault)
    async with opened(space) as session:
        charged = []
        for _ in range(3):
            try:
                await session.submit(PromptAvatar("a friendly host"), key="host")
            except HooxError as error:
                charged.append(error.charged)
        assert sum(record.endpoint == "create" for record in space.requests) == 1
        assert charged == ["maybe"] * 3
        assert [unknown.key for unknown in await session.unknowns()] == ["host"]


@virtual
@pytest.mark.guarantee("The same key is the same look, also after a restart")
async def test_a_key_is_paid_once_in_any_session_of_a_store(tmp_path: Path) -> None:
    """The same request under its key gives the same look: at once, once it is ready, and after a restart."""
    space, request, refs = workspace(), PromptAvatar("a friendly host"), set()
    for _ in range(2):
        async with opened(space, store=tmp_path / "looks.db") as session:
            for job in await asyncio.gather(*(session.submit(request, key="host") for _ in range(3))):
                refs.add(job.ref)
            refs.add((await session.run(request, key="host")).ref)
    assert len(space.ledger) == len(refs) == 1


@virtual
@pytest.mark.guarantee("An unknown is settled by a webhook on its own token, or by you")
async def test_an_unknown_is_settled_by_its_own_token_or_by_a_word() -> None:
    """A delivery on a forged token and all that polling sees leave it unknown; its own token ends it."""
    space, hooked = workspace(), Hooked()
    async with hooked.session(space) as session:
        for key in ("by token", "by word"):
            space.faults.fail_next("create", Fault.DROP_AFTER)
            with pytest.raises(OutcomeUnknown):
                await session.submit(PromptAvatar(key), key=key)
        await asyncio.sleep(3600)
        token, body = next(each for each in hooked.deliveries if space.ledger[0].look_id in each[1].decode())
        attempt, _, signature = token.partition(".")
        assert await hooked.hub.handle(f"{attempt}.{signature[::-1][:42]}A", body) == 404
        await asyncio.sleep(60)
        assert sorted(unknown.key for unknown in await session.unknowns()) == ["by token", "by word"]
        assert await hooked.hub.handle(token, body) == 200
        await asyncio.sleep(60)
        assert [unknown.key for unknown in await session.unknowns()] == ["by word"]
        job = await session.resolve("by word", space.ledger[1].ref)
        assert (await job).status is LookStatus.READY
        assert len(space.ledger) == 2


@virtual
@pytest.mark.guarantee("Nothing paid for is forgotten while its store is kept")
async def test_what_an_earlier_session_paid_for_is_settled_by_the_next(tmp_path: Path) -> None:
    """Looks that nobody waits for any more are settled and told by the next session, where both have hooks.

    Unknowns stay listed.
    """
    space, settled = workspace(), set()

    def note(event: Event) -> None:
        if isinstance(event, LookSettled):
            settled.add(event.key)

    async with opened(space, store=tmp_path / "looks.db", hooks=[note]) as session:
        for n, request in enumerate(edits(3)):
            await session.submit(request, key=f"k{n}")
        space.faults.fail_next("edit", Fault.DROP_AFTER)
        with suppress(OutcomeUnknown):
            await session.submit(LookEdit(ADA, "lost"), key="lost")
    async with opened(space, store=tmp_path / "looks.db", hooks=[note]) as session:
        await asyncio.sleep(600)
        assert settled == {"k0", "k1", "k2"}
        assert [unknown.key for unknown in await session.unknowns()] == ["lost"]


@virtual
@pytest.mark.guarantee("No cap on credits is exceeded")
async def test_a_budget_is_not_exceeded_by_submissions_at_once() -> None:
    """Of ten looks at once a budget for three lets three be charged, one whose answer was lost among them."""
    space, budget = workspace(), Budget(6)
    space.faults.fail_next("edit", Fault.DROP_AFTER)
    async with opened(space) as session:
        submissions = (session.submit(request, budget=budget) for request in edits(10))
        ended = await asyncio.gather(*submissions, return_exceptions=True)
    assert len(space.ledger) == 3
    assert sum(isinstance(end, BudgetExceeded) for end in ended) == 7


# --- the quota


@virtual
@pytest.mark.guarantee("Never more requests than the quota in any 60 seconds")
async def test_no_minute_has_more_requests_than_the_quota() -> None:
    """Two hundred submissions and their status requests: at most 100 requests in any 60 s, as they arrive."""
    space = workspace(requests_per_minute=None)
    async with opened(space) as session:
        await BatchRunner(session).run(edits(200))
    times = [record.at for record in space.requests]
    assert len(times) > 200
    assert most_in_a_minute([(at, at) for at in times]) <= 100


@virtual
@pytest.mark.default_forms
@pytest.mark.guarantee("The server's headers correct the quota")
async def test_requests_of_others_are_left_room() -> None:
    """While another client takes 40 requests a minute, none of ours is answered 429."""
    space = workspace()

    async def other_client() -> None:
        while True:
            space.window.take(asyncio.get_running_loop().time())
            await asyncio.sleep(1.5)

    other = asyncio.create_task(other_client())
    async with opened(space) as session:
        await asyncio.gather(*(session.status(ADA) for _ in range(300)), return_exceptions=True)
    other.cancel()
    assert [record.status for record in space.requests] == [200] * 300


@virtual
@pytest.mark.guarantee("Your own calls go before a batch")
async def test_a_call_beside_a_batch_waits_for_a_few_permits() -> None:
    """While the items of a batch wait for the quota, a status request is answered within seconds."""
    space, now = workspace(), asyncio.get_running_loop().time
    async with opened(space) as session:
        batch = asyncio.create_task(BatchRunner(session).run(edits(150)))
        took = []
        for _ in range(3):
            await asyncio.sleep(20)
            began = now()
            await session.status(ADA)
            took.append(now() - began)
        assert not batch.done()
        assert max(took) < 3.0
        await batch


@virtual
@pytest.mark.guarantee("Few status requests while submissions wait")
async def test_few_status_requests_go_while_submissions_wait() -> None:
    """Until the last of 300 edits of 20 avatars is sent, a fifth of the requests at most ask for looks."""
    space = workspace()
    async with opened(space) as session:
        avatars = [BatchItem(f"avatar {n}", PromptAvatar(f"host {n}")) for n in range(20)]
        await BatchRunner(session).run(avatars)
        begun = len(space.requests)
        await BatchRunner(session).run(
            BatchItem(f"{n}", LookEdit(f"avatar {n % 20}", f"scene {n}")) for n in range(300)
        )
    endpoints = [record.endpoint for record in space.requests[begun:]]
    until_the_last = endpoints[: len(endpoints) - endpoints[::-1].index("edit")]
    assert until_the_last.count("edit") == 300
    assert len(until_the_last) < 375


@virtual
@pytest.mark.guarantee("Lost deliveries are found by asking")
async def test_looks_are_known_though_no_webhook_comes() -> None:
    """Where no delivery comes to the hub, looks are asked for."""
    async with Hooked().session(workspace()) as session:
        jobs = [await session.submit(request) for request in edits(5)]
        await asyncio.sleep(600)
        assert [job.last.status for job in jobs] == [LookStatus.READY] * 5


# --- the list


def test_the_readme_and_the_list_name_the_same_guarantees() -> None:
    """The claims in italics of the README's guarantees are those of `guarantees.toml`, in its order."""
    assert claims_of_the_readme() == [guarantee.text for guarantee in GUARANTEES]


def test_each_guarantee_has_a_quick_test_and_its_mutation_applies() -> None:
    """Each has a test marked with its words, and the text that its mutation replaces stands there once."""
    marked = marked_tests()
    assert marked.keys() == {guarantee.text for guarantee in GUARANTEES}
    assert [g.text for g in GUARANTEES if g.path.read_text("utf-8").count(g.old) != 1] == []
