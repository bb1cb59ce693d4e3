"""Buys looks by the ordinary way of every paid request, and watches each until it is done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

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
    OutcomeState,
    TransportError,
    UnexpectedResponse,
)

from .observations import Observations, Purchase
from .purchases import EDIT, NAME, OTHER_NAME, OTHER_NAME_KEY, PLACE, Wanted
from .step_runner import SpellingTransport, StepFailed, StepRunner

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
