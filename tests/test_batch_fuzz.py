"""Whole batches in virtual time, by hypothesis: whatever goes wrong, money and states add up.

One example is one campaign on one workspace: several runs over the same store, some of them cancelled,
stopped or left, some sessions closed under them, some with another run or single submissions of the same
keys beside them, on a store that now and then takes nothing; then a last run without faults. A longer
search:

    FUZZ_EXAMPLES=20000 python -m pytest tests/test_batch_fuzz.py
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from internals_kit import Intent, Ledger, MarkUnknown, MemoryLedger, Transition, open_store

from hoox_async import BatchItem, BatchRunner, HooxSession, ImageAvatar, LookEdit, Outcome, PromptAvatar
from hoox_async.errors import HooxError, KeyConflict, SessionClosed, StoreError
from hoox_async.sandbox import DeliveryOptions, Fault, InProcessTransport, Space
from hoox_async.testing import VirtualTimeLoop
from hoox_async.webhooks import WebhookHub

CHARGING = (Fault.DROP_AFTER, Fault.HANG, Fault.ERROR_500_AFTER, Fault.TRUNCATED, Fault.NOT_JSON)
FREE_OF_CHARGE = (
    Fault.DROP_BEFORE, Fault.HANG_BEFORE, Fault.ERROR_500_BEFORE, Fault.BAD_GATEWAY, Fault.TEAPOT,
    Fault.RATE_LIMITED, Fault.RATE_LIMITED_RETRY_AFTER, Fault.REFUSED, Fault.status(401), Fault.status(402),
    Fault.status(404), Fault.status(409), Fault.REDIRECT,
)  # fmt: skip
READ_FAULTS = (Fault.DROP_BEFORE, Fault.ERROR_500_BEFORE, Fault.RATE_LIMITED, Fault.NOT_JSON, Fault.HANG)
STATES = {"ready", "failed", "rejected", "skipped", "unsent", "pending", "unknown"}


class Made(NamedTuple):
    """An item of the input: what it is made from (an earlier item's number) and how."""

    source: int | None
    kind: str
    fails: bool
    repeats: bool


class Turn(NamedTuple):
    """One run: how it is set up, what goes wrong on the way, and how it ends."""

    ends: str
    after: float
    options: dict[str, Any]
    order: int
    leave_out: int
    edited: int
    beside: str
    faults: tuple[tuple[str, int, Fault], ...]


class Campaign(NamedTuple):
    """One example."""

    seed: int
    made: tuple[Made, ...]
    rates: dict[Fault, float]
    turns: tuple[Turn, ...]
    credits: int
    sqlite: bool
    strangers: bool
    hiccups: float
    deliveries: DeliveryOptions | None


def made() -> st.SearchStrategy[Made]:
    return st.builds(
        Made,
        source=st.none() | st.integers(0, 30),
        kind=st.sampled_from(["image", "prompt", "edit", "edit", "edit"]),
        fails=st.sampled_from([False] * 7 + [True]),
        repeats=st.sampled_from([False] * 9 + [True]),
    )


def turns() -> st.SearchStrategy[Turn]:
    options = st.fixed_dictionaries(
        {
            "max_in_flight": st.sampled_from([1, 2, 7, 400]),
            "on_unknown": st.sampled_from(["hold", "hold", "resend"]),
            "look_timeout": st.sampled_from([5.0, 60.0, 900.0]),
            "max_credits": st.none() | st.integers(0, 60),
            "max_failures": st.none() | st.integers(1, 4),
            "changed": st.sampled_from(["error", "keep", "redo"]),
            "retry": st.sampled_from([(), ("failed",), ("rejected",), ("failed", "pending")]),
        }
    )
    planned = st.tuples(
        st.sampled_from(["edit", "create"]), st.integers(1, 12), st.sampled_from(CHARGING + FREE_OF_CHARGE)
    )
    reads = st.tuples(st.sampled_from(["status", "avatar"]), st.integers(1, 20), st.sampled_from(READ_FAULTS))
    return st.builds(
        Turn,
        ends=st.sampled_from(["runs", "stop", "cancel", "break", "close", "abandon"]),
        after=st.floats(0.0, 200.0),
        options=options,
        order=st.integers(0, 5),
        leave_out=st.integers(0, 3),
        edited=st.sampled_from([0, 0, 0, 1, 2, 3]),
        beside=st.sampled_from(["nobody"] * 3 + ["run", "singles"]),
        faults=st.lists(planned | reads, max_size=5).map(tuple),
    )


def deliveries() -> st.SearchStrategy[DeliveryOptions]:
    """Webhooks of all kinds: lost, doubled, contradicting, early and late ones, in both forms."""
    share = st.sampled_from([0.0, 0.0, 0.3, 1.0])
    return st.builds(
        DeliveryOptions,
        form=st.sampled_from(["new", "old"]),
        lose=share,
        double=share,
        contradict=share,
        early=share,
        delay=st.sampled_from([0.0, 20.0]),
        reorder=st.sampled_from([0.0, 30.0]),
    )


def campaigns() -> st.SearchStrategy[Campaign]:
    rates = st.dictionaries(st.sampled_from(CHARGING + FREE_OF_CHARGE[:8]), st.floats(0.0, 0.12), max_size=4)
    return st.builds(
        Campaign,
        seed=st.integers(0, 2**32),
        made=st.lists(made(), min_size=1, max_size=30).map(tuple),
        rates=rates,
        turns=st.lists(turns(), max_size=4).map(tuple),
        credits=st.sampled_from([10, 40, 10_000, 10_000]),
        sqlite=st.sampled_from([False, False, False, True]),
        strangers=st.sampled_from([False, False, True]),
        hiccups=st.sampled_from([0.0, 0.0, 0.0, 0.02, 0.2]),
        deliveries=st.none() | deliveries(),
    )


def items_of(campaign: Campaign) -> list[BatchItem]:
    """The input. Every item has a prompt of its own, by which its charges are found in the ledger."""
    found: list[BatchItem] = []
    for n, one in enumerate(campaign.made):
        name = f"item-{n}" + (" [fail]" if one.fails else "")
        if one.kind == "edit" and (one.source is None or not found):
            request: Any = LookEdit("no-such-item", name)
        elif one.kind == "edit":
            request = LookEdit(found[(one.source or 0) % len(found)].key, name, upscale=n % 5 == 0)
        elif one.kind == "prompt":
            request = PromptAvatar(name, resolution="4K" if n % 2 else "2K")
        else:
            request = ImageAvatar([f"https://example.com/{n}.jpg"], name=name)
        item = BatchItem(f"key-{n}", request)
        found += [item, item] if one.repeats else [item]
    return found


def arranged(items: Sequence[BatchItem], turn: Turn) -> list[BatchItem]:
    """Another order, fewer items and other prompts: what a user's edited campaign file looks like."""
    rng = Random(turn.order)
    kept = [edited(item) if turn.edited and n % 4 == turn.edited else item for n, item in enumerate(items)]
    if turn.order:
        rng.shuffle(kept)
    return kept[turn.leave_out :] or kept


def edited(item: BatchItem) -> BatchItem:
    """The same key with another content."""
    request = item.request
    if isinstance(request, ImageAvatar):
        return BatchItem(item.key, attrs.evolve(request, name=f"{request.name} v2"))
    return BatchItem(item.key, attrs.evolve(request, prompt=f"{request.prompt} v2"))


def charges(space: Space) -> tuple[Counter[str], dict[str, Decimal]]:
    """How often each item was paid, and how much."""
    times: Counter[str] = Counter()
    paid: dict[str, Decimal] = {}
    for charge in space.ledger:
        text = charge.request.get("prompt") or charge.request.get("name") or ""
        if not text.startswith("item-"):
            continue  # a stranger's
        key = "key-" + text.split()[0].removeprefix("item-")
        times[key] += 1
        paid[key] = paid.get(key, Decimal(0)) + charge.credits
    return times, paid


class Hiccups(MemoryLedger):
    """Takes nothing now and then."""

    def __init__(self, rng: Random, rate: float) -> None:
        super().__init__()
        self.rng = rng
        self.rate = rate

    def _stumble(self) -> None:
        if self.rng.random() < self.rate:
            raise StoreError("the disk is full for a moment")

    async def plan(self, intent: Intent) -> Intent:
        self._stumble()
        return await super().plan(intent)

    async def advance(self, key: str, *steps: Transition) -> Intent:
        if not isinstance(steps[0], MarkUnknown) or "ended" not in steps[0].reason:  # the opening's own
            self._stumble()
        return await super().advance(key, *steps)


class Played:
    """Plays a campaign turn by turn, and checks what must hold after each."""

    def __init__(self, campaign: Campaign, folder: str) -> None:
        self.campaign = campaign
        self.items = items_of(campaign)
        self.space = Space(
            rng=Random(campaign.seed), credits=campaign.credits, fault_rates=campaign.rates, failures=0.05
        )
        self.memory = Hiccups(Random(campaign.seed), campaign.hiccups)
        self.store: Ledger = self.memory
        self.hub = WebhookHub("https://example.com/hooks", "a secret for tests only")
        self.path = str(Path(folder) / "campaign.db") if campaign.sqlite else None

    def session(self, turn: Turn) -> HooxSession:
        if self.path is not None:
            self.store = open_store(self.path)
        options: dict[str, Any] = {"store": self.store}
        how: dict[str, Any] = {}
        if self.campaign.deliveries is not None:
            options["webhooks"] = self.hub
            how = {
                "deliver": self.deliver,
                "deliveries": self.campaign.deliveries,
                "seed": self.campaign.seed,
            }
        return HooxSession(self.space.api_key, transport=InProcessTransport(self.space, **how), **options)

    async def deliver(self, url: str, body: dict[str, Any]) -> int:
        """The fake API posts a webhook."""
        return await self.hub.handle(url.rpartition("/")[2], json.dumps(body).encode())

    async def play(self) -> None:
        for turn in self.campaign.turns:
            for endpoint, after, fault in turn.faults:
                self.space.faults.fail_next(endpoint, fault, after=after - 1)
            await self.turn(turn)
        self.space.faults = type(self.space.faults)(Random(0))
        self.space.balance += 10_000
        self.memory.rate = 0.0
        last = Turn("runs", 0.0, {}, order=0, leave_out=0, edited=0, beside="nobody", faults=())
        await self.turn(last)

    async def turn(self, turn: Turn) -> None:
        before = set(asyncio.all_tasks())
        items = arranged(self.items, turn)
        session = self.session(turn)
        outcomes: list[Outcome] = []
        async with session:
            others = [asyncio.create_task(self.be_beside(turn, session, items))]
            if self.campaign.strangers:
                others.append(asyncio.create_task(self.be_a_stranger()))
            try:
                with suppress(SessionClosed):
                    outcomes = await self.ended(turn, session, BatchRunner(session, **turn.options), items)
            finally:
                for other in others:
                    other.cancel()
                await asyncio.wait(others)
        left = {task.get_name() for task in set(asyncio.all_tasks()) - before}
        assert not left, "nothing outlives its session"
        for other in others:
            assert other.cancelled() or other.exception() is None, "nobody else is harmed"
        alone = turn.beside == "nobody"
        await self.check(outcomes, items, whole=turn.ends in ("runs", "stop"), alone=alone)

    async def be_beside(self, turn: Turn, session: HooxSession, items: list[BatchItem]) -> None:
        """Somebody of the same session who is after the same keys, in another order."""
        with suppress(SessionClosed):
            if turn.beside == "run":
                await BatchRunner(session, **turn.options).run(items[::-1])
            if turn.beside == "singles":
                for item in items[::-1]:
                    if not isinstance(item.request, LookEdit):
                        with suppress(HooxError):
                            await session.submit(item.request, key=item.key)

    async def be_a_stranger(self) -> None:
        """Somebody else who makes looks of the same avatars."""
        rng = Random(self.campaign.seed)
        async with HooxSession(self.space.api_key, transport=InProcessTransport(self.space)) as other:
            while True:
                await asyncio.sleep(rng.uniform(1, 20))
                own = [look for look in self.space.looks.values() if not look.avatar.public]
                if own:
                    with suppress(Exception):
                        await other.edit_look(rng.choice(own), "a stranger's")

    async def ended(
        self, turn: Turn, session: HooxSession, runner: BatchRunner, items: list[BatchItem]
    ) -> list[Outcome]:
        match turn.ends:
            case "runs":
                return list((await runner.run(items)).outcomes)
            case "stop":
                asyncio.get_running_loop().call_later(turn.after, runner.stop)
                return list((await runner.run(items)).outcomes)
            case "cancel":
                return await self.cancelled(turn, runner, items)
            case "close":
                closing = asyncio.create_task(self.closed_later(turn, session))
                try:
                    return [outcome async for outcome in runner.stream(items)]
                finally:
                    await closing
        found: list[Outcome] = []
        stream = runner.stream(items)
        async for outcome in stream:
            found.append(outcome)
            if len(found) > turn.after / 20:
                break
        if turn.ends == "abandon":
            await stream.aclose()
        del stream
        return found

    async def closed_later(self, turn: Turn, session: HooxSession) -> None:
        await asyncio.sleep(turn.after)
        await session.aclose()

    async def cancelled(self, turn: Turn, runner: BatchRunner, items: list[BatchItem]) -> list[Outcome]:
        found: list[Outcome] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(turn.after):
                async with runner.stream(items) as stream:
                    async for outcome in stream:
                        found.append(outcome)  # noqa: PERF401 - what came before the end counts
        return found

    async def intents(self) -> dict[str, Intent]:
        store = self.store if self.path is None else open_store(self.path)
        session = HooxSession(self.space.api_key, store=store, transport=InProcessTransport(self.space))
        async with session:
            return {intent.key: intent async for intent in store.stream()}

    async def check(
        self, outcomes: list[Outcome], items: list[BatchItem], *, whole: bool, alone: bool
    ) -> None:
        known = await self.intents()
        times, paid = charges(self.space)
        for key, intent in known.items():
            cost = paid.get(key, Decimal(0))
            assert intent.spent <= cost <= intent.spent + intent.at_risk, f"{key}: the store's money"
            sent = len(intent.attempts)
            assert times[key] <= sent, f"{key}: charged {times[key]} times in {sent} attempts"
            if intent.ref is not None:
                look = self.space.looks[intent.ref.look_id]
                text = look.prompt or next(
                    c.request["name"] for c in self.space.ledger if c.look_id == look.id
                )
                assert text.split()[0].replace("item", "key") == key, f"{key}: another's look"
        assert set(paid) <= set(known), "what was paid is in the store"
        refs = [intent.ref for intent in known.values() if intent.ref is not None]
        assert len(refs) == len(set(refs)), "a look is one intent's"
        if alone:  # else more may have been paid since these outcomes
            self.check_money(outcomes, items, paid)
        self.check_outcomes(outcomes, items, whole=whole)

    def check_outcomes(self, outcomes: list[Outcome], items: list[BatchItem], *, whole: bool) -> None:
        assert all(str(outcome.state) in STATES for outcome in outcomes)
        got = Counter(outcome.key for outcome in outcomes)
        given_keys = Counter(item.key for item in items)
        if whole:
            assert got == given_keys, "every item ends in exactly one state"
        else:
            assert not got - given_keys, "no item ends twice"

    def check_money(self, outcomes: list[Outcome], items: list[BatchItem], paid: dict[str, Decimal]) -> None:
        got = Counter(outcome.key for outcome in outcomes)
        given_keys = Counter(item.key for item in items)
        spent: dict[str, Decimal] = {}
        risk: dict[str, Decimal] = {}
        for outcome in outcomes:
            spent[outcome.key] = spent.get(outcome.key, Decimal(0)) + outcome.credits
            risk[outcome.key] = risk.get(outcome.key, Decimal(0)) + outcome.at_risk
        conflicts = {outcome.key for outcome in outcomes if isinstance(outcome.error, KeyConflict)}
        for key in spent.keys() - conflicts:  # of another content nothing was paid
            if got[key] == given_keys[key]:
                cost = paid.get(key, Decimal(0))
                assert spent[key] <= cost <= spent[key] + risk[key], f"{key}: the outcomes' money"


def play(campaign: Campaign) -> None:
    """Each example on a loop of its own, whose clock jumps."""
    with TemporaryDirectory() as folder, asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(asyncio.wait_for(Played(campaign, folder).play(), 10**6))


@settings(
    max_examples=settings.get_profile("suite").max_examples // 2,
    suppress_health_check=list(HealthCheck),
)
@given(campaign=campaigns())
def test_every_campaign_adds_up(campaign: Campaign) -> None:
    """Every item ends in one state, credits add up with the API's own ledger, and no look is another's."""
    play(campaign)
