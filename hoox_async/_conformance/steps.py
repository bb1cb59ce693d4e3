"""Does the check: one step after another, each with few requests; the failure of one does not end the others.

Without purchases the only POST is that of an avatar from images, which costs no credits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial

import aiohttp
import attrs

from hoox_async import HooxSession, ImageAvatar, LookDetails, LookRef, LookStatus, NotFound

from .observations import Observations
from .purchases import NAME, PLACE, Buyer, Wanted
from .receiver import Receiver
from .step_runner import Ended, SpellingTransport, StepFailed, StepRunner

NO_SUCH_WORD = "hoox_async_no_such_word"
WRONG_KEY = "hx_live_" + "0" * 64
MISSING = LookRef("avtr_hoox_async_none", "look_hoox_async_none")
OTHER = "another avatar"
"""How the steps begin that read avatars which the workspace had before."""
MAX_OTHERS = 3
_FREE_REQUESTS, _REQUESTS_OF_A_PURCHASE = 14 + MAX_OTHERS, 15
_SETTLE, _REPEATED = 120.0, 15.0  # seconds


@attrs.frozen
class Plan:
    """What the user chose. ``spread`` and ``delivery_wait`` are in seconds.

    ``wanted`` are the looks to buy; with ``spends`` credits may be spent at all. ``tries_other_name``: then
    make another avatar from the images, which are sent under the other name of their field.
    """

    images: tuple[str, ...] = ()
    avatars: tuple[str, ...] = ()
    spread: float = 6.0
    delivery_wait: float = 60.0
    wanted: tuple[Wanted, ...] = ()
    spends: bool = False
    tries_other_name: bool = False

    @property
    def requests(self) -> int:
        """About how many requests are sent, where nothing has to be repeated."""
        return _FREE_REQUESTS + _REQUESTS_OF_A_PURCHASE * len(self.wanted)


class Check:
    """One conformance check on an open session. What it sees is added to ``seen`` as it goes."""

    def __init__(
        self,
        session: HooxSession,
        transport: SpellingTransport,
        plan: Plan,
        seen: Observations,
        *,
        base_url: str,
        receiver: Receiver | None = None,
    ) -> None:
        self._session = session
        self._transport = transport
        self._plan = plan
        self._seen = seen
        self._base_url = base_url
        self._receiver = receiver
        self._steps = StepRunner(transport, seen)
        self._images: tuple[str, ...] = ()  # those of the avatar

    @property
    def step(self) -> str:
        """The name of the step that is being done."""
        return self._steps.step

    @property
    def ended(self) -> Ended:
        """ "refused" if the API refused the key or the plan, "silent" if it gave no answer any more."""
        return self._steps.ended

    async def run(self) -> None:
        """Do all steps. Raises nothing but cancellation."""
        seen, plan = self._seen, self._plan
        if self._receiver is not None:
            await self._steps.run("public URL", self._reach_receiver)
        catalogue = await self._steps.run("catalogue", lambda: self._session.looks(only_public=True)) or []
        await self._make(catalogue)
        seen.looked_at = seen.made or next((look.ref for look in catalogue), None)
        if seen.looked_at is not None:
            await self._read(seen.looked_at)
        listed = await self._steps.run("list", self._session.looks) or []
        await self._steps.run("unknown filter", lambda: self._session.looks(gender=NO_SUCH_WORD))
        await self._steps.run("missing look", lambda: self._session.status(MISSING), expected=NotFound)
        await self._steps.run(
            "missing avatar", lambda: self._session.avatar(MISSING.avatar_id), expected=NotFound
        )
        await self._steps.run("wrong key", self._use_wrong_key)
        await self._read_others(catalogue, listed)
        if seen.looked_at is not None:
            ref = seen.looked_at
            await self._steps.run("status again", lambda: self._read_later(ref))
        if plan.spends:
            buyer = Buyer(self._session, self._transport, self._steps, seen)
            if self._images and plan.tries_other_name:
                await buyer.try_other_name(self._images)
            await buyer.buy(plan.wanted, self._images if seen.made is not None else ())
        if self._receiver is not None and (seen.made is not None or seen.purchases):
            receiver = self._receiver
            await self._steps.run("delivery", lambda: self._await_deliveries(receiver, plan.delivery_wait))

    async def _make(self, catalogue: list[LookDetails]) -> None:
        """Make an avatar from images, by default from a picture of the public catalogue."""
        self._images = images = self._plan.images or pictures_of_one(catalogue)
        if not images:
            self._steps.skip("create", "the catalogue showed no picture: give the URL of one with --image")
            return
        seen = self._seen
        seen.sent_name, seen.sent_place, seen.sent_images = NAME, PLACE, len(images)

        async def make() -> None:
            job = await self._session.submit(ImageAvatar(images, name=NAME, place=PLACE), max_wait=_SETTLE)
            seen.made, seen.accepted_at = job.ref, datetime.now(UTC)

        await self._steps.run("create", make)

    async def _read(self, ref: LookRef) -> None:
        """Read the look in each of the API's three ways, and its picture."""
        seen, session = self._seen, self._session
        status = await self._steps.run("status", lambda: session.status(ref))
        if status is not None:
            seen.readings["status"] = status.status
        avatar = await self._steps.run("avatar", lambda: session.avatar(ref.avatar_id))
        if avatar is not None:
            found = next((look.status for look in avatar.looks if look.ref == ref), None)
            seen.readings["avatar"] = found or "no status"
        look = await self._steps.run("look", lambda: session.look(ref))
        if look is not None:
            seen.readings["look"] = look.status or "no status"
        if status is not None and status.status in (LookStatus.PENDING, LookStatus.PROCESSING):
            status = await self._steps.run("until ready", lambda: session.wait(ref, _SETTLE))
        if status is not None:
            shown = status

            async def fetch() -> None:
                picture = await session.picture(shown)
                seen.picture = picture.content_type, len(picture.data)

            await self._steps.run("picture", fetch)

    async def _read_others(self, catalogue: list[LookDetails], listed: list[LookDetails]) -> None:
        """Read avatars that the workspace had before: some of their looks may be pending or have failed."""
        public = {look.ref for look in catalogue}
        made = {self._seen.made.avatar_id} if self._seen.made else set()
        own = [look.ref.avatar_id for look in listed if look.ref not in public]
        chosen = [avatar for avatar in dict.fromkeys((*self._plan.avatars, *own)) if avatar not in made]
        most = max(MAX_OTHERS, len(self._plan.avatars))
        unsettled: dict[LookStatus, LookRef] = {}
        for number, avatar_id in enumerate(chosen[:most], 1):
            avatar = await self._steps.run(f"{OTHER} {number}", partial(self._session.avatar, avatar_id))
            for look in avatar.looks if avatar is not None else ():
                if look.status is not None and look.status is not LookStatus.READY:
                    unsettled.setdefault(look.status, look.ref)
        failed = unsettled.pop(LookStatus.FAILED, None)
        pending = next(iter(unsettled.values()), None)
        if failed is not None:
            await self._steps.run("a failed look", partial(self._session.status, failed))
        if pending is not None:
            await self._steps.run("a pending look", partial(self._session.status, pending))
        if failed is not None or pending is not None:  # they may be newer than the first list
            await self._steps.run("list again", self._session.looks)

    async def _read_later(self, ref: LookRef) -> None:
        """Ask for the look once more, so much later that it shows how the quota's reset moves."""
        answers = self._seen.in_order()
        if answers:
            passed = (datetime.now(UTC) - answers[0].ended_at).total_seconds()
            await asyncio.sleep(max(0.0, self._plan.spread - passed))
        look = await self._session.status(ref)
        self._seen.readings["status again"] = look.status

    async def _reach_receiver(self) -> None:
        seen, receiver = self._seen, self._receiver
        seen.receiver_used = True
        seen.receiver_reached = receiver is not None and await receiver.is_reachable()
        if not seen.receiver_reached:
            raise StepFailed(
                "this machine does not reach its own receiver there: does the tunnel lead to --listen?"
            )

    async def _await_deliveries(self, receiver: Receiver, seconds: float) -> None:
        """Wait for the first delivery, for those that repeat it, and for those of what was bought."""
        self._seen.deliveries = receiver.deliveries
        await receiver.wait(lambda: len(receiver.deliveries) > 0, seconds)
        if not receiver.deliveries:
            raise StepFailed(f"none came in {seconds:g} s")
        await receiver.wait(receiver.is_taken, min(seconds, _REPEATED))
        bought = [one.ref for one in self._seen.purchases if one.ref and one.ending and not one.earlier]
        looks = {ref.look_id for ref in bought}
        await receiver.wait(lambda: looks <= receiver.delivered_looks(), min(seconds, _REPEATED))

    async def _use_wrong_key(self) -> None:
        """One request with a wrong key. Not by a session, which would check a refused key for a minute."""
        timeout = aiohttp.ClientTimeout(total=30)
        headers = {"Authorization": f"Bearer {WRONG_KEY}", "Accept": "application/json"}
        params = {"avatar_id": MISSING.avatar_id, "look_id": MISSING.look_id}
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.get(
                    f"{self._base_url}/avatar/status", params=params, headers=headers, allow_redirects=False
                ) as answer,
            ):
                names = {name.lower(): value for name, value in answer.headers.items()}
                try:
                    body = await answer.json(content_type=None)
                except ValueError:
                    body = None
                self._seen.wrong_key = answer.status, names, body
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise StepFailed(f"no answer ({type(error).__name__})") from None


def pictures_of_one(catalogue: Iterable[LookDetails]) -> tuple[str, ...]:
    """Two pictures of the same avatar, or one if no avatar has two; none if there is no picture."""
    pictures: dict[str, list[str]] = {}
    for look in catalogue:
        if look.thumbnail_url and look.thumbnail_url.startswith(("http://", "https://")):
            pictures.setdefault(look.ref.avatar_id, []).append(look.thumbnail_url)
    most = max(pictures.values(), key=lambda urls: min(2, len(urls)), default=[])
    return tuple(most[:2])
