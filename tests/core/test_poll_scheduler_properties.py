"""The scheduler: what holds after any sequence of events."""

from __future__ import annotations

import math
import random

from hypothesis import given
from hypothesis import strategies as st
from polling_kit import REASON, URL, avatar, look, ref

from hoox_async import Look, LookRef, LookStatus
from hoox_async._core.polling import LookUpdate, PollKind, PollRequest, PollScheduler
from hoox_async.errors import NotFound, RateLimited, ServerError, TransportError, UnexpectedResponse


class World:
    """An API in which anything may happen, with checks of what must hold meanwhile."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.scheduler = PollScheduler()
        self.now = 0.0
        self.done: dict[LookRef, float] = {}
        self.open: set[LookRef] = set()  # looks that are polled
        self.settled: set[LookRef] = set()  # reported as settled
        self.outstanding: dict[str, PollRequest] = {}

    def add(self) -> None:
        new = ref(f"l{len(self.done)}", f"a{self.rng.randrange(4)}")
        accepted = self.now - self.rng.choice((0.0, 0.0, 3.0, 100_000.0))
        self.done[new] = accepted + self.rng.lognormvariate(3.0, 1.0)
        self.open.add(new)
        self.scheduler.add(
            new, self.rng.randrange(2), accepted, self.now, expects_webhook=self.rng.random() < 0.2
        )

    def drop(self) -> None:
        if self.open:
            gone = self.rng.choice(sorted(self.open))
            self.open.discard(gone)
            self.scheduler.drop(gone)

    def status(self, of: LookRef) -> Look:
        if self.now < self.done[of]:
            return look(
                of, self.rng.choice((LookStatus.PENDING, LookStatus.PROCESSING, LookStatus.UNRECOGNIZED))
            )
        kind = LookStatus.READY if int(of.look_id[1:]) % 3 else LookStatus.FAILED
        whole = self.rng.random() < 0.7
        return look(of, kind, URL if whole else None, REASON if whole and kind is LookStatus.FAILED else None)

    def update(self) -> None:
        if self.done:
            of = self.rng.choice(sorted(self.done))
            update = self.scheduler.update(self.status(of), self.now)
            self.check([update] if update is not None else [])

    def request(self, *, busy: bool) -> None:
        due = self.scheduler.due(self.now, busy)
        request = self.scheduler.take(self.now, busy)
        assert (due <= self.now) == (request is not None), "due and take agree"
        if request is not None:
            assert request.avatar_id not in self.outstanding, "never two outstanding for one avatar"
            mine = {each for each in self.open if each.avatar_id == request.avatar_id}
            if request.look_id is not None:
                assert LookRef(request.avatar_id, request.look_id) in mine, (
                    "a STATUS request is for a look that is polled"
                )
            else:
                assert len(mine - self.settled) >= 2, "a GROUP request is for two or more looks"
            self.outstanding[request.avatar_id] = request

    def answer(self, *, well: bool = False) -> None:
        if not self.outstanding:
            return
        request = self.outstanding.pop(self.rng.choice(sorted(self.outstanding)))
        if not well and self.rng.random() < 0.3:
            errors = (TransportError("x"), ServerError(500, "x"), RateLimited(429, None, "x"),
                      NotFound(404, None, "x"), UnexpectedResponse("x"))  # fmt: skip
            for gone, _ in self.scheduler.failed(request, self.rng.choice(errors), self.now):
                self.open.discard(gone)
            self.check(self.scheduler.take_given_up())
        elif request.kind is PollKind.STATUS:
            of = LookRef(request.avatar_id, request.look_id or "")
            self.check(self.scheduler.answered_look(request, self.status(of), self.now))
        else:
            looks = [self.status(of) for of in self.done if of.avatar_id == request.avatar_id]
            if not well:
                looks = [each for each in looks if self.rng.random() < 0.9]
            self.check(
                self.scheduler.answered_avatar(request, avatar(*looks, avatar_id=request.avatar_id), self.now)
            )

    def check(self, all_updates: list[LookUpdate]) -> None:
        for update in all_updates:
            assert update.look.ref in self.open, "only polled looks are reported"
            if update.look.status.settled:
                assert self.done[update.look.ref] <= self.now
                self.settled.add(update.look.ref)
            else:
                assert update.look.ref not in self.settled, "what is settled stays settled"
            if update.complete:
                self.open.discard(update.look.ref)
                assert update.look.ref not in self.scheduler
        assert len(self.scheduler) == len(self.open), "no look is lost"

    def step(self, step: str) -> None:
        match step:
            case "a":
                self.add()
            case "d":
                self.drop()
            case "h":
                self.update()
            case "i" | "b":
                self.request(busy=step == "b")
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
            due = self.scheduler.due(self.now, busy=False)
            if due <= self.now:
                self.request(busy=False)
            elif not self.outstanding:
                assert due < math.inf
                self.now = max(due, self.now)


STEPS = st.lists(st.sampled_from("aaadhiibbrrr..>"), max_size=150)


@given(STEPS, st.integers(0, 2**32))
def test_no_look_is_lost_and_no_request_is_superfluous(steps: list[str], seed: int) -> None:
    """In any order of looks, answers, failures and clock steps: never two requests for one avatar, none for
    what is settled, and no look is lost. Once the API answers well, all looks become known.
    """
    world = World(seed)
    for step in steps:
        world.step(step)
    world.settle()
    assert not world.open
    assert len(world.scheduler) == 0
