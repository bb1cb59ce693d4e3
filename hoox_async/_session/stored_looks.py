"""Takes up the looks that the store knows as accepted and that are not polled."""

from __future__ import annotations

import asyncio
import logging

from .._core.intents.intent import IntentState
from .._core.polling import PollScheduler
from .jobs import JobRegistry
from .services import SessionServices

_log = logging.getLogger("hoox_async")
_AGAIN = 600.0  # seconds: a store that was in trouble, or a key that was refused, left some behind
_BREATH = 50  # looks, until others have a turn of the loop
_AT_ONCE = 10  # avatars that are taken up without a pause
_SLOTS_EACH, _SLOTS_EACH_IDLE = 4.0, 2.0  # of the quota: so old looks leave the most of it to others


async def follow_stored(services: SessionServices, registry: JobRegistry, scheduler: PollScheduler) -> None:
    """Poll all of them, those of an earlier process first. Until cancelled.

    Asking about a look of long ago is worth much, so those of many avatars come in slowly: what is submitted
    or awaited meanwhile must not stand behind thousands of them. One that is awaited is polled at once.
    """
    while True:
        try:
            await _take_up(services, registry, scheduler)
        except Exception as error:  # of the store
            _log.warning("looking for accepted looks in the store failed: %s", error)
        await asyncio.sleep(_AGAIN)


async def _take_up(services: SessionServices, registry: JobRegistry, scheduler: PollScheduler) -> None:
    avatars = looks = 0
    async for intent in services.store.stream_accepted():
        looks += 1
        if looks % _BREATH == 0:
            await asyncio.sleep(0)
        if intent.ref is None or intent.ref in scheduler:
            continue
        avatars += not scheduler.knows_avatar(intent.ref.avatar_id)
        if avatars <= _AT_ONCE or scheduler.knows_avatar(intent.ref.avatar_id):
            registry.follow(intent)
        else:
            await _follow_later(services, registry, intent.key)


async def _follow_later(services: SessionServices, registry: JobRegistry, key: str) -> None:
    permits = _SLOTS_EACH if services.rate_limiter.busy else _SLOTS_EACH_IDLE
    await asyncio.sleep(permits * 60.0 / services.rate_limiter.snapshot().limit)
    intent = (await services.store.get((key,))).get(key)
    if intent is not None and intent.state is IntentState.ACCEPTED:
        registry.follow(intent)
