"""Does the check: one step after another, each with few requests; the failure of one does not end the others.

The only POST is that of an avatar from images, which costs no credits. Everything else only reads.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import TypeVar

import aiohttp
import attrs

from hoox_async import (
    ApiError,
    HooxError,
    HooxSession,
    ImageAvatar,
    InsufficientCredits,
    LookDetails,
    LookRef,
    LookStatus,
    NotFound,
    NotSent,
    OutcomeUnknown,
    ServerError,
    TransportError,
    UnexpectedResponse,
    WaitTimeout,
)
from hoox_async.testing import RecordingTransport

from ..exit_codes import Exit, is_access
from .observations import Observations, Outcome, Step
from .receiver import REFUSED, Receiver
from .shapes import error_code

_T = TypeVar("_T")

NAME, PLACE = "hoox-async check", "studio"
"""What the avatar is called, so that people find it, and where it is said to be."""
NO_SUCH_WORD = "hoox_async_no_such_word"
WRONG_KEY = "hx_live_" + "0" * 64
MISSING = LookRef("avtr_hoox_async_none", "look_hoox_async_none")
OTHER = "another avatar"
"""How the steps begin that read avatars which the workspace had before."""
MAX_OTHERS = 3
MOST_REQUESTS = 14 + MAX_OTHERS
"""Requests of a check in which nothing has to be repeated."""
_SETTLE, _REPEATED = 120.0, 15.0  # seconds
_COMPLAINT = r"expected [a-z ]+, got [a-z ]+( @ \$[a-zA-Z_.\[\]]*)?"  # kinds of values, and names of fields
_MAX_SILENT = 2  # steps in a row without any answer, after which no others are tried


@attrs.frozen
class Plan:
    """What the user chose. ``spread`` and ``delivery_wait`` are in seconds."""

    images: tuple[str, ...] = ()
    avatars: tuple[str, ...] = ()
    spread: float = 6.0
    delivery_wait: float = 60.0


class Check:
    """One conformance check on an open session. What it sees is added to ``seen`` as it goes."""

    def __init__(
        self,
        session: HooxSession,
        transport: RecordingTransport,
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
        self._stopped = ""
        self._silent = 0
        self.step = ""
        """The name of the step that is being done."""
        self.exit = Exit.READY
        """ACCESS if the API refused the key or the plan, UNFINISHED if it gave no answer any more."""

    async def run(self) -> None:
        """Do all steps. Raises nothing but cancellation."""
        seen, plan = self._seen, self._plan
        if self._receiver is not None:
            await self._step("public URL", self._reach_receiver)
        catalogue = await self._step("catalogue", lambda: self._session.looks(only_public=True)) or []
        await self._make(catalogue)
        seen.looked_at = seen.made or next((look.ref for look in catalogue), None)
        if seen.looked_at is not None:
            await self._read(seen.looked_at)
        listed = await self._step("list", self._session.looks) or []
        await self._step("unknown filter", lambda: self._session.looks(gender=NO_SUCH_WORD))
        await self._step("missing look", lambda: self._session.status(MISSING), expected=NotFound)
        await self._step("missing avatar", lambda: self._session.avatar(MISSING.avatar_id), expected=NotFound)
        await self._step("wrong key", self._use_wrong_key)
        await self._read_others(catalogue, listed)
        if seen.looked_at is not None:
            ref = seen.looked_at
            await self._step("status again", lambda: self._read_later(ref))
        if self._receiver is not None and seen.made is not None:
            receiver = self._receiver
            await self._step("delivery", lambda: self._await_deliveries(receiver, plan.delivery_wait))

    async def _make(self, catalogue: list[LookDetails]) -> None:
        """Make an avatar from images, by default from a picture of the public catalogue."""
        images = self._plan.images or pictures_of_one(catalogue)
        if not images:
            self._skip("create", "the catalogue showed no picture: give the URL of one with --image")
            return
        seen = self._seen
        seen.sent_name, seen.sent_place, seen.sent_images = NAME, PLACE, len(images)

        async def make() -> None:
            job = await self._session.submit(ImageAvatar(images, name=NAME, place=PLACE), max_wait=_SETTLE)
            seen.made, seen.accepted_at = job.ref, datetime.now(UTC)

        await self._step("create", make)

    async def _read(self, ref: LookRef) -> None:
        """Read the look in each of the API's three ways, and its picture."""
        seen, session = self._seen, self._session
        status = await self._step("status", lambda: session.status(ref))
        if status is not None:
            seen.readings["status"] = status.status
        avatar = await self._step("avatar", lambda: session.avatar(ref.avatar_id))
        if avatar is not None:
            found = next((look.status for look in avatar.looks if look.ref == ref), None)
            seen.readings["avatar"] = found or "no status"
        look = await self._step("look", lambda: session.look(ref))
        if look is not None:
            seen.readings["look"] = look.status or "no status"
        if status is not None and status.status in (LookStatus.PENDING, LookStatus.PROCESSING):
            status = await self._step("until ready", lambda: session.wait(ref, _SETTLE))
        if status is not None:
            shown = status

            async def fetch() -> None:
                picture = await session.picture(shown)
                seen.picture = picture.content_type, len(picture.data)

            await self._step("picture", fetch)

    async def _read_others(self, catalogue: list[LookDetails], listed: list[LookDetails]) -> None:
        """Read avatars that the workspace had before: some of their looks may be pending or have failed."""
        public = {look.ref for look in catalogue}
        made = {self._seen.made.avatar_id} if self._seen.made else set()
        own = [look.ref.avatar_id for look in listed if look.ref not in public]
        chosen = [avatar for avatar in dict.fromkeys((*self._plan.avatars, *own)) if avatar not in made]
        most = max(MAX_OTHERS, len(self._plan.avatars))
        unsettled: dict[LookStatus, LookRef] = {}
        for number, avatar_id in enumerate(chosen[:most], 1):
            avatar = await self._step(f"{OTHER} {number}", partial(self._session.avatar, avatar_id))
            for look in avatar.looks if avatar is not None else ():
                if look.status is not None and look.status is not LookStatus.READY:
                    unsettled.setdefault(look.status, look.ref)
        failed = unsettled.pop(LookStatus.FAILED, None)
        pending = next(iter(unsettled.values()), None)
        if failed is not None:
            await self._step("a failed look", partial(self._session.status, failed))
        if pending is not None:
            await self._step("a pending look", partial(self._session.status, pending))
        if failed is not None or pending is not None:  # they may be newer than the first list
            await self._step("list again", self._session.looks)

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
            raise _StepFailed(
                "this machine does not reach its own receiver there: does the tunnel lead to --listen?"
            )

    async def _await_deliveries(self, receiver: Receiver, seconds: float) -> None:
        """Wait for the first delivery, and then for those with which the API repeats it."""
        self._seen.deliveries = receiver.deliveries
        await receiver.wait(lambda: len(receiver.deliveries) > 0, seconds)
        if not receiver.deliveries:
            raise _StepFailed(f"none came in {seconds:g} s")
        await receiver.wait(lambda: len(receiver.deliveries) > REFUSED, min(seconds, _REPEATED))

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
            raise _StepFailed(f"no answer ({type(error).__name__})") from None

    # --- how a step is done

    async def _step(
        self,
        name: str,
        work: Callable[[], Awaitable[_T]],
        *,
        expected: type[HooxError] | None = None,
    ) -> _T | None:
        """Do a step and note how it went. Returns None where it failed, also where that was expected."""
        if self._stopped:
            self._skip(name, self._stopped)
            return None
        self.step = name
        before, began = len(self._transport.answers), monotonic()
        outcome: Outcome = "done"
        detail, result = "", None
        try:
            result = await work()
            if expected is not None:
                outcome, detail = "failed", f"expected {expected.__name__}, and got an answer"
        except asyncio.CancelledError:
            self._note(name, before, began, "failed", "interrupted")
            raise
        except Exception as error:
            if expected is None or not isinstance(error, expected) or is_access(error):
                outcome, detail = "failed", explain(error)
                self._consider_stopping(error)
        else:
            self._silent = 0
        self._note(name, before, began, outcome, detail)
        return result

    def _note(self, name: str, before: int, began: float, outcome: Outcome, detail: str) -> None:
        answers = self._transport.answers[before:]
        self._seen.answers[name] = answers
        status = next((one.status for one in reversed(answers) if one.status is not None), None)
        if name == "wrong key" and self._seen.wrong_key is not None:
            status = self._seen.wrong_key[0]
        requests = len(answers) or int(name == "wrong key")
        self._seen.steps.append(Step(name, outcome, requests, status, monotonic() - began, detail))

    def _skip(self, name: str, why: str) -> None:
        self._seen.steps.append(Step(name, "skipped", detail=why))

    def _consider_stopping(self, error: Exception) -> None:
        if is_access(error) and not isinstance(error, InsufficientCredits):  # reads need no credits
            self._stopped, self.exit = "the API refused the key or the plan", Exit.ACCESS
        self._silent = self._silent + 1 if isinstance(error, TransportError | NotSent) else 0
        if self._silent >= _MAX_SILENT:
            self._stopped, self.exit = f"no answer in the {_MAX_SILENT} steps before", Exit.UNFINISHED


def pictures_of_one(catalogue: Iterable[LookDetails]) -> tuple[str, ...]:
    """Two pictures of the same avatar, or one if no avatar has two; none if there is no picture."""
    pictures: dict[str, list[str]] = {}
    for look in catalogue:
        if look.thumbnail_url and look.thumbnail_url.startswith(("http://", "https://")):
            pictures.setdefault(look.ref.avatar_id, []).append(look.thumbnail_url)
    most = max(pictures.values(), key=lambda urls: min(2, len(urls)), default=[])
    return tuple(most[:2])


class _StepFailed(Exception):
    """A step failed for a reason that is described in words of ours."""


def explain(error: Exception) -> str:
    """Why a step failed, in words that hold no text of the API: that could name the account."""
    match error:
        case _StepFailed():
            return str(error)
        case ApiError():
            return f"refused with HTTP {error.status}, " + (
                f"code {error_code(error.code)}" if error.code else "no code"
            )
        case ServerError():
            return f"HTTP {error.status}, also when it was repeated"
        case OutcomeUnknown():
            return "no usable answer: whether the avatar was made is not known; it costs no credits"
        case UnexpectedResponse():
            shown = f"HTTP {error.status} with " if error.status else ""
            complaint = re.search(_COMPLAINT, str(error))
            return f"{shown}an answer that this library cannot understand" + (
                f": {complaint[0]}" if complaint else ""
            )
        case WaitTimeout():
            return f"not ready after {error.seconds:g} s"
        case NotSent():
            return "no connection was made, or the quota left no room"
        case TransportError():
            return "no answer, also when it was repeated"
        case HooxError():
            return type(error).__name__
    return f"unexpected {type(error).__name__}: this is a bug in hoox-async"
