"""The scheduler: what holds whatever happens."""

from __future__ import annotations

import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from polling_kit import REASON, URL, avatar, look, ref

from hoox_async._api.models import Look, LookRef, LookStatus
from hoox_async._core.polling import LookUpdate, PollKind, PollRequest, PollScheduler
from hoox_async.errors import NotFound, RateLimited, ServerError, TransportError, UnexpectedResponse


class World:
    """An API in which anything may happen, and what must hold meanwhile."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.watch = PollScheduler()
        self.now = 0.0
        self.done: dict[LookRef, float] = {}
        self.open: set[LookRef] = set()  # waited for
        self.told: set[LookRef] = set()  # settled news came
        self.air: dict[str, PollRequest] = {}

    def add(self) -> None:
        new = ref(f"l{len(self.done)}", f"a{self.rng.randrange(4)}")
        accepted = self.now - self.rng.choice((0.0, 0.0, 3.0, 100_000.0))
        self.done[new] = accepted + self.rng.lognormvariate(3.0, 1.0)
        self.open.add(new)
        self.watch.add(new, self.rng.randrange(2), accepted, self.now, pushed=self.rng.random() < 0.2)

    def drop(self) -> None:
        if self.open:
            gone = self.rng.choice(sorted(self.open))
            self.open.discard(gone)
            self.watch.drop(gone)

    def status(self, of: LookRef) -> Look:
        if self.now < self.done[of]:
            return look(
                of, self.rng.choice((LookStatus.PENDING, LookStatus.PROCESSING, LookStatus.UNRECOGNIZED))
            )
        kind = LookStatus.READY if int(of.look_id[1:]) % 3 else LookStatus.FAILED
        whole = self.rng.random() < 0.7
        return look(of, kind, URL if whole else None, REASON if whole and kind is LookStatus.FAILED else None)

    def hear(self) -> None:
        if self.done:
            of = self.rng.choice(sorted(self.done))
            news = self.watch.heard(self.status(of), self.now)
            self.take_news([news] if news is not None else [])

    def ask(self, *, busy: bool) -> None:
        due = self.watch.due(self.now, busy)
        ask = self.watch.take(self.now, busy)
        assert (due <= self.now) == (ask is not None), "due and take agree"
        if ask is not None:
            assert ask.avatar_id not in self.air, "never two outstanding for one avatar"
            mine = {each for each in self.open if each.avatar_id == ask.avatar_id}
            if ask.look_id is not None:
                assert LookRef(ask.avatar_id, ask.look_id) in mine, "never asks for what nobody waits for"
            else:
                assert len(mine - self.told) >= 2, "asks in groups for two or more"
            self.air[ask.avatar_id] = ask

    def answer(self, *, well: bool = False) -> None:
        if not self.air:
            return
        ask = self.air.pop(self.rng.choice(sorted(self.air)))
        if not well and self.rng.random() < 0.3:
            errors = (TransportError("x"), ServerError(500, "x"), RateLimited(429, None, "x"),
                      NotFound(404, None, "x"), UnexpectedResponse("x"))  # fmt: skip
            for gone, _ in self.watch.failed(ask, self.rng.choice(errors), self.now):
                self.open.discard(gone)
            self.take_news(self.watch.leftovers())
        elif ask.kind is PollKind.STATUS:
            of = LookRef(ask.avatar_id, ask.look_id or "")
            self.take_news(self.watch.answered_look(ask, self.status(of), self.now))
        else:
            looks = [self.status(of) for of in self.done if of.avatar_id == ask.avatar_id]
            if not well:
                looks = [each for each in looks if self.rng.random() < 0.9]
            self.take_news(self.watch.answered_avatar(ask, avatar(*looks, avatar_id=ask.avatar_id), self.now))

    def take_news(self, all_news: list[LookUpdate]) -> None:
        for news in all_news:
            assert news.look.ref in self.open, "news of waited-for looks only"
            if news.look.status.settled:
                assert self.done[news.look.ref] <= self.now
                self.told.add(news.look.ref)
            else:
                assert news.look.ref not in self.told, "what is settled stays settled"
            if news.complete:
                self.open.discard(news.look.ref)
                assert news.look.ref not in self.watch
        assert len(self.watch) == len(self.open), "no look is lost"

    def step(self, step: str) -> None:
        match step:
            case "a":
                self.add()
            case "d":
                self.drop()
            case "h":
                self.hear()
            case "i" | "b":
                self.ask(busy=step == "b")
            case "r":
                self.answer()
            case ".":
                self.now += self.rng.choice((0.0, 0.1, 0.6, 5.0))
            case _:
                self.now += self.rng.choice((60.0, 3600.0, 100_000.0))

    def settle(self) -> None:
        """From here on the API answers well, so all becomes known, unless something starves."""
        for _ in range(3000):
            self.answer(well=True)
            if not self.open:
                break
            due = self.watch.due(self.now, busy=False)
            if due <= self.now:
                self.ask(busy=False)
            elif not self.air:
                assert due < math.inf
                self.now = max(due, self.now)


STEPS = st.lists(st.sampled_from("aaadhiibbrrr..>"), max_size=150)


@settings(deadline=None, max_examples=150)
@given(STEPS, st.integers(0, 2**32))
def test_whatever_happens(steps: list[str], seed: int) -> None:
    """In any order of looks, answers, failures and clock steps: never two requests for one avatar, none
    for what is settled, and no look lost; and once the API answers, all are known."""
    world = World(seed)
    for step in steps:
        world.step(step)
    world.settle()
    assert not world.open
    assert len(world.watch) == 0
