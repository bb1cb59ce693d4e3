"""Logging is one hook: each event of the session as one record, with fields that a log search can use.

    python examples/logging_hook.py             # what costs credits or needs an eye
    python examples/logging_hook.py --debug     # each request and each webhook too

Take `log_event` into your own program: ``HooxSession(hooks=[log_event])``. No event holds the API key, a
webhook's token or a picture. Beside that, the library logs what is wrong to ``hoox_async`` and its children
``requests``, ``webhooks`` and ``pictures``: give them a level as any other logger. Without a key this runs
on a sandbox; with HOOX_API_KEY it spends 2 credits.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from _workspace import is_real, workspace

from hoox_async import (
    Answered,
    DeliveryReceived,
    Event,
    GenerationFailed,
    LookAccepted,
    LookSettled,
    LookStatus,
    OutcomeLost,
    Paused,
    PictureSmaller,
    PromptAvatar,
    RequestSent,
    Retried,
)

log = logging.getLogger("studio.hoox")


def log_event(event: Event) -> None:
    """What costs credits or needs somebody's eye at INFO and above, the rest at DEBUG."""
    match event:
        case RequestSent(endpoint=endpoint, key=key):
            _log(logging.DEBUG, f"{endpoint}: sent", key=key)
        case Answered(endpoint=endpoint, status=status, seconds=seconds, key=key):
            _log(logging.DEBUG, f"{endpoint}: {status} after {seconds:.2f} s", key=key, status=status)
        case Retried(endpoint=endpoint, reason=reason, delay=delay, key=key):
            _log(logging.WARNING, f"{endpoint}: {reason}, again in {delay:.1f} s", key=key)
        case Paused(seconds=seconds, reason=reason):
            _log(logging.WARNING, f"nothing is sent for {seconds:.1f} s: {reason}")
        case LookAccepted(key=key, ref=ref, credits=credits, evidence=evidence):
            _log(logging.INFO, f"{ref} accepted ({evidence})", key=key, ref=str(ref), credits=str(credits))
        case LookSettled(look=look, key=key, seconds=seconds):
            level = logging.WARNING if look.status is LookStatus.FAILED else logging.INFO
            took = "" if seconds is None else f" after {seconds:.1f} s"
            reason = f": {look.error}" if look.error else ""
            _log(level, f"{look.ref} {look.status}{took}{reason}", key=key, ref=str(look.ref))
        case OutcomeLost(key=key, reason=reason, credits=credits):
            _log(logging.ERROR, f"may have been paid: {reason}", key=key, credits=str(credits))
        case DeliveryReceived(look_id=look_id, status=status, used=used):
            _log(logging.DEBUG, f"webhook: {look_id} {status}{'' if used else ' (known already)'}")
        case PictureSmaller(ref=ref, width=width, height=height, resolution=resolution, key=key):
            _log(
                logging.WARNING,
                f"{ref} has {width} x {height} pixels, not {resolution}",
                key=key,
                ref=str(ref),
            )


def _log(level: int, message: str, **fields: object) -> None:
    known = {f"hoox_{name}": value for name, value in fields.items() if value is not None}
    log.log(level, "%s", message, extra=known)


async def main() -> None:
    """One avatar that works out and one that does not."""
    async with workspace(hooks=[log_event]) as session:
        await session.run(PromptAvatar("Young entrepreneur, confident smile"), key="alex")
        if not is_real():  # a prompt can ask a sandbox for a failure
            try:
                await session.run(PromptAvatar("[fail] no such face"), key="nobody")
            except GenerationFailed as error:
                print(f"as expected: {error}")


if __name__ == "__main__":
    level = logging.DEBUG if "--debug" in sys.argv else logging.INFO
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s %(message)s")
    log.setLevel(level)
    asyncio.run(main())
