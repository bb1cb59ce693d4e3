"""What the check buys where credits may be spent: the order, the prices and the keys; and how it buys.

Each purchase has a key of its own in the store. So the check can be run again: it goes on where it stopped,
and buys nothing twice. What earlier runs with the store have spent counts, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from hoox_async import (
    GenerationFailed,
    HooxError,
    HooxSession,
    ImageAvatar,
    Look,
    LookEdit,
    LookJob,
    LookRef,
    LookStatus,
    Outcome,
    OutcomeState,
    PromptAvatar,
    TransportError,
    UnexpectedResponse,
)

from .observations import Observations, Purchase
from .step_runner import SpellingTransport, StepFailed, StepRunner

NAME, PLACE = "hoox-async check", "studio"
"""What the avatars are called, so that people find them, and where they are said to be."""
TAGS = ("hoox-async",)
AVATAR, EDIT = "4K avatar", "2K edit"
OTHER_NAME = "create, other name"
PUBLIC_EDITS = ("public edit 1", "public edit 2")
_PROMPT = "A friendly presenter of about forty years, plain shirt, looking at the camera"
FIRST_PRICE = PromptAvatar(_PROMPT, resolution="4K").credits
_EDITED = "At a desk by a window, warm evening light"
_KEYS = "conformance/"
OTHER_NAME_KEY = f"{_KEYS}other name"
"""The key of an avatar from images that are sent under the other name of their field, for 0 credits."""


class Wanted(NamedTuple):
    """One look to buy. ``source``: the look that is edited, or the step that makes it; None for an avatar.

    ``stored`` is what an earlier run has bought under the key, or may have bought.
    """

    step: str
    what: str
    key: str
    credits: Decimal
    source: LookRef | str | None = None
    stored: Outcome | None = None

    @property
    def price(self) -> Decimal:
        """The credits that it costs now."""
        return self.credits if self.stored is None else Decimal(0)

    @property
    def other_name(self) -> bool:
        """Whether its reference picture is sent under the other name."""
        return self.step == PUBLIC_EDITS[1]

    def request(self, source: LookRef | None, images: Sequence[str]) -> PromptAvatar | LookEdit:
        """The request. ``images`` are reference pictures, for an edit that has some.

        What is in the store already is asked for as it was then: the same key has the same content.
        """
        stored = None if self.stored is None else self.stored.request
        if isinstance(stored, PromptAvatar | LookEdit):
            return stored
        if source is None:
            return PromptAvatar(_PROMPT, resolution="4K", name=NAME, place=PLACE)
        if self.step == EDIT:
            return LookEdit(source, _EDITED, images=images, look_name=NAME, place=PLACE, tags=TAGS)
        return LookEdit(source, _EDITED, images=images if self.other_name else ())


def choose(credits: Decimal, public: LookRef | None, stored: Mapping[str, Outcome]) -> tuple[Wanted, ...]:
    """What to buy for so many credits in all, those that earlier runs with the store have spent included.

    ``public`` is the look that is edited to see whether its avatar is copied. Everything that was bought
    before is followed again, at no cost.
    """
    known = [_with(wanted, stored) for wanted in _all(public)]
    before = [one for key, one in stored.items() if key.startswith(_KEYS)]
    spent = sum((one.credits + one.at_risk for one in before), Decimal(0))
    left, chosen = credits - spent, list[Wanted]()
    for wanted in known:
        is_possible = wanted.source != AVATAR or any(one.step == AVATAR for one in chosen)
        if is_possible and wanted.price <= max(left, Decimal(0)):
            chosen.append(wanted)
            left -= wanted.price
    return tuple(chosen)


def _all(public: LookRef | None) -> list[Wanted]:
    edit = LookEdit("any:look", _EDITED).credits
    every = [
        Wanted(AVATAR, "an avatar from a prompt, at 4K", f"{_KEYS}avatar", FIRST_PRICE),
        Wanted(EDIT, "an edit of it, at 2K", f"{_KEYS}edit", edit, AVATAR),
    ]
    for number, step in enumerate(PUBLIC_EDITS, 1) if public is not None else ():
        key = f"{_KEYS}public/{public}/{number}"
        every.append(Wanted(step, f"edit {number} of the look {public}, at 2K", key, edit, public))
    return every


def _with(wanted: Wanted, stored: Mapping[str, Outcome]) -> Wanted:
    found = stored.get(wanted.key)
    is_free = found is None or found.state in (OutcomeState.UNSENT, OutcomeState.REJECTED)
    return wanted if is_free else wanted._replace(stored=found)


_PENDING = (LookStatus.PENDING, LookStatus.PROCESSING)
_QUOTA_WAIT, _LOOK_WAIT = 120.0, 900.0  # seconds


class Buyer:
    """Buys what is wanted, one after the other. What it sees is added to ``seen.purchases``."""

    def __init__(
        self, session: HooxSession, transport: SpellingTransport, steps: StepRunner, seen: Observations
    ) -> None:
        self._session = session
        self._transport = transport
        self._steps = steps
        self._seen = seen
        self._refs: dict[str, LookRef] = {}

    async def try_other_name(self, images: tuple[str, ...]) -> None:
        """Make an avatar from images, for 0 credits, which are sent under the other name of their field."""
        await self._steps.run(OTHER_NAME, lambda: self._make_by_other_name(images))

    async def buy(self, wanted: tuple[Wanted, ...], images: tuple[str, ...]) -> None:
        """Buy all of it. ``images`` are pictures that the API has accepted for an avatar, if it has."""
        for one in wanted:
            source = self._refs.get(one.source) if isinstance(one.source, str) else one.source
            if one.source is not None and source is None:
                self._steps.skip(one.step, f"there is no ready {one.source} to edit")
            else:
                await self._buy(one, source, images[:1])

    async def _make_by_other_name(self, images: tuple[str, ...]) -> None:
        self._transport.other_name = True
        try:
            request = ImageAvatar(images, name=NAME, place=PLACE)
            job = await self._session.submit(request, key=OTHER_NAME_KEY, max_wait=_QUOTA_WAIT)
            self._seen.other_made = job.ref
        finally:
            self._transport.other_name = False

    async def _buy(self, wanted: Wanted, source: LookRef | None, images: tuple[str, ...]) -> None:
        request = wanted.request(source, images)
        bought = Purchase(wanted.step, request, earlier=wanted.stored is not None)
        stored = wanted.stored
        if stored is not None and stored.state is OutcomeState.READY and stored.settled_at is not None:
            bought.address_age = (datetime.now(UTC) - stored.settled_at).total_seconds() / 3600
        job = await self._steps.run(wanted.step, lambda: self._pay(wanted, bought))
        if job is None:
            return
        if not bought.earlier:
            await self._watch(bought, job)
        look = await self._steps.run(f"{wanted.step}: end", lambda: self._end_of(bought, job))
        if look is None:
            return
        self._refs[wanted.step] = look.ref
        await self._steps.run(f"{wanted.step}: picture", lambda: self._measure(bought, look))
        if wanted.step == EDIT and isinstance(request, LookEdit):
            await self._steps.run(f"{wanted.step}: names", lambda: self._compare_names(bought, request, look))

    async def _pay(self, wanted: Wanted, bought: Purchase) -> LookJob:
        self._seen.purchases.append(bought)
        price = wanted.price
        bought.at_risk = price  # also if the check is interrupted now
        self._transport.other_name = wanted.other_name
        try:
            job = await self._session.submit(bought.request, key=wanted.key, max_wait=_QUOTA_WAIT)
        except HooxError as error:
            if error.charged == "no":
                bought.at_risk = Decimal(0)
            raise
        finally:
            self._transport.other_name = False
        bought.ref, bought.charged, bought.at_risk = job.ref, price, Decimal(0)
        if not bought.earlier:
            bought.accepted_at = datetime.now(UTC)
        return job

    async def _watch(self, bought: Purchase, job: LookJob) -> None:
        """Read the look in three ways while it is being made."""
        avatar = await self._steps.run(f"{bought.step}: avatar", lambda: self._session.avatar(job.avatar_id))
        listed = await self._steps.run(f"{bought.step}: list", self._session.looks)
        status = await self._steps.run(f"{bought.step}: status", job.status)
        if avatar is not None:
            bought.in_avatar = any(look.ref == job.ref for look in avatar.looks)
        if listed is not None:
            bought.in_list = any(look.ref == job.ref for look in listed)
        bought.was_pending = status is not None and status.status in _PENDING

    async def _end_of(self, bought: Purchase, job: LookJob) -> Look:
        try:
            look = await job.wait(timeout=_LOOK_WAIT)
        except GenerationFailed:
            bought.ending = "failed"
            raise StepFailed("the look could not be made; it was paid for") from None
        bought.ending = "ready"
        if bought.accepted_at is not None and bought.was_pending:
            bought.seconds = (datetime.now(UTC) - bought.accepted_at).total_seconds()
        return look

    async def _measure(self, bought: Purchase, look: Look) -> None:
        """Fetch the picture, by the address that an earlier run was given where there was one."""
        before = self._transport.fetched
        try:
            picture = await self._session.picture(look)
        except (UnexpectedResponse, TransportError):
            if not bought.earlier:
                raise
            bought.address_expired = True
            before = self._transport.fetched
            picture = await self._session.picture(await self._session.status(look.ref))
        bought.found_elsewhere = self._transport.fetched - before > 1
        if picture.width is None or picture.height is None:
            raise StepFailed("its size cannot be read")
        bought.size = picture.width, picture.height
        bought.is_too_small = picture.is_too_small(bought.request)

    async def _compare_names(self, bought: Purchase, request: LookEdit, look: Look) -> None:
        details = await self._session.look(look.ref)
        bought.names["look_name"] = details.name == request.look_name
        bought.names["place"] = details.place == request.place
        result = (await self._session.status(look.ref)).raw.get("result")
        tags = result.get("tags") if isinstance(result, Mapping) else None
        bought.names["tags"] = isinstance(tags, list | tuple) and set(request.tags) <= set(tags)
