"""What is wrong: words of which each is a row of the runbook, the signs of them, and an outage of the API."""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from ..errors import (
    HooxError,
    InsufficientCredits,
    NotSent,
    OutcomeUnknown,
    ServerError,
    TransportError,
    UnexpectedResponse,
)

STALE = 120.0
"""Seconds after which a sign that has not come again counts no more."""
STALE_STORE = 40.0
"""The same for a sign of the store: a write that failed is tried again every 30 s."""
LONG_THROTTLED = 20.0
"""Seconds of nothing but 429 that are trouble. A shorter time is the usual way to find the quota's end."""
OTHERS_SHARE = 0.1
"""The share of the quota that other clients may use without being trouble."""
FEW_UNDELIVERED = 3
"""Looks without their delivery, and none delivered since, that are trouble: single deliveries get lost."""
LATE_DELIVERY = 15.0
"""Seconds after which a delivery that has not come counts as lost: the API tries four times in 7 s."""
UNPOLLED = 5.0
"""Seconds without a process that polls for all. Another one takes over within about two."""
AWAY_AFTER = 10.0
"""Seconds after which a store that does not answer is away, not slow."""
UNCONFIRMED = 20.0
"""Seconds after which a sign of the API is to be confirmed by a request."""
SLOW_STORE = 1.0
"""Seconds of one write or reading of the store that are slow."""


class Trouble(StrEnum):
    """What is wrong: see `SessionHealth.trouble`. Each word has one cause, and here is what to do about it.

    - ``API_UNREACHABLE``: no connection to the API can be made. It is down, or the network, the DNS or a
      firewall is in the way. Nothing is paid. Try ``curl https://app.hoox.video`` on this machine.
    - ``API_SILENT``: the API takes requests and answers none within 10 s, or cuts the connections. Paid
      requests may become unknowns; after a few, submissions are held back until the API answers. Wait.
    - ``API_FAILING``: the API answers 5xx, or what makes no sense. The same; if it lasts, ask Hoox.
    - ``KEY_REFUSED``: 401, the key was revoked or is wrong. Open a session with a valid one (``new_key``).
    - ``NO_CREDITS``: 402, the workspace's credits are used up. Buy some; what was refused cost nothing.
    - ``THROTTLED``: nothing but 429 for 20 s. Others use the whole quota, or it is smaller than
      ``requests_per_minute``: stop them, or lower that.
    - ``QUOTA_USED_BY_OTHERS``: another client uses a tenth of the quota or more, and the session makes room.
      Stop it, or let it share the store in PostgreSQL.
    - ``NO_DELIVERIES``: three or more looks are done, and no webhook delivery came since. The hub's public
      URL does not lead here: check DNS, certificate, proxy and path. Polling finds the looks later.
    - ``NOBODY_POLLS``: looks are unsettled, and no process that shares the store polls for all. Start one
      (``poll="all"``).
    - ``STORE_AWAY``: the store can't be reached, or fails. Nothing is sent until it works: mend the database.
    - ``STORE_FULL``: the store's disk is full. Nothing is sent until there is room; answers are kept in
      memory. Make room before the program ends.
    - ``STORE_SLOW``: a write or a reading of the store takes a second or more, and each paid request waits
      for writes. Look at its disk, its network and its locks; or a call blocks this program's event loop.
    - ``PICTURE_DISK_FULL``: the disk for downloads is full. Make room and download again, which is free.

    A word tells what the last two minutes have shown. It is gone once the next request, write or delivery
    works, or when nothing has shown it again for that long. Then all goes on by itself, but for unknowns
    (`HooxSession.unknowns`), about which you decide.
    """

    API_UNREACHABLE = "api_unreachable"
    API_SILENT = "api_silent"
    API_FAILING = "api_failing"
    KEY_REFUSED = "key_refused"
    NO_CREDITS = "no_credits"
    THROTTLED = "throttled"
    QUOTA_USED_BY_OTHERS = "quota_used_by_others"
    NO_DELIVERIES = "no_deliveries"
    NOBODY_POLLS = "nobody_polls"
    STORE_AWAY = "store_away"
    STORE_FULL = "store_full"
    STORE_SLOW = "store_slow"
    PICTURE_DISK_FULL = "picture_disk_full"


class Sign(NamedTuple):
    """What was seen last of a trouble, and when, as the loop's time in seconds."""

    trouble: Trouble
    at: float


class Signs(NamedTuple):
    """What a session knows at the moment ``now``. Times are the loop's, in seconds.

    - ``seen``: of the API, the store and the picture disk, newest or not.
    - ``silent``: a request that the API has is open for long, and none was answered since.
    - ``key_refused``: the API has refused the key, and it is being checked or was found invalid.
    - ``throttled_since``, ``paused_until``: of the rate limiter. ``used_by_others``: of ``limit`` requests.
    - ``undelivered``: looks that polling found `LATE_DELIVERY` seconds ago, since the last delivery.
    - ``unsettled``: looks in the store; None while it can't be reached.
    - ``unpolled_since``: since when no process polls for all; None if one does, or if it is not known.
    - ``served_at``: when the API has last served a read.
    - ``store_seconds``: how long the store takes to be read, or has taken so far; infinite where it fails.
    """

    now: float
    seen: tuple[Sign | None, ...]
    silent: bool
    key_refused: bool
    throttled_since: float | None
    paused_until: float
    used_by_others: int
    limit: int
    undelivered: int
    unsettled: int | None
    unpolled_since: float | None
    served_at: float
    store_seconds: float


_API = (Trouble.API_UNREACHABLE, Trouble.API_SILENT, Trouble.API_FAILING)
_STORE = (Trouble.STORE_AWAY, Trouble.STORE_FULL, Trouble.STORE_SLOW)
HINDERS_DELIVERIES = frozenset((*_API, *_STORE))
"""While these last, and for looks that were made meanwhile, deliveries are not expected."""


def find_trouble(signs: Signs) -> frozenset[Trouble]:
    """What is wrong now: causes, not what follows from them."""
    words = (_api(signs), _store(signs), _throttled(signs), _unpolled(signs))
    found = {word for word in words if word is not None}
    if signs.key_refused:
        found.add(Trouble.KEY_REFUSED)
    found |= {each.trouble for each in _fresh(signs, STALE) if each.trouble not in (*_API, *_STORE)}
    if signs.undelivered >= FEW_UNDELIVERED and not HINDERS_DELIVERIES & found:
        found.add(Trouble.NO_DELIVERIES)
    return frozenset(found)


def _fresh(signs: Signs, seconds: float) -> Iterable[Sign]:
    return [sign for sign in signs.seen if sign is not None and signs.now - sign.at < seconds]


def _latest(signs: Signs, of: tuple[Trouble, ...], seconds: float) -> Trouble | None:
    seen = [sign for sign in _fresh(signs, seconds) if sign.trouble in of]
    return max(seen, key=lambda sign: sign.at).trouble if seen else None


def _api(signs: Signs) -> Trouble | None:
    return _latest(signs, _API, STALE) or (Trouble.API_SILENT if signs.silent else None)


def _store(signs: Signs) -> Trouble | None:
    seen = _latest(signs, _STORE, STALE_STORE)
    if signs.store_seconds >= AWAY_AFTER and seen is not Trouble.STORE_FULL:
        return Trouble.STORE_AWAY
    return seen or (Trouble.STORE_SLOW if signs.store_seconds >= SLOW_STORE else None)


def _throttled(signs: Signs) -> Trouble | None:
    """What the quota has: as long as there is nothing but 429, nobody can tell who has used it."""
    since = signs.throttled_since
    if since is None or signs.now - max(since, signs.paused_until) >= STALE:
        has_others = signs.used_by_others >= max(2.0, OTHERS_SHARE * signs.limit)
        return Trouble.QUOTA_USED_BY_OTHERS if has_others else None
    return Trouble.THROTTLED if signs.now - since >= LONG_THROTTLED else None


def needs_request(signs: Signs) -> bool:
    """Whether a free request would tell more.

    Looks are unsettled and no process polls, be it since the API serves none; or what was seen of the API is
    getting old, in a process that sends nothing itself.
    """
    at = [sign.at for sign in _fresh(signs, STALE) if sign.trouble in _API]
    return _may_be_unpolled(signs) or (bool(at) and signs.now - max(at) >= UNCONFIRMED)


def _may_be_unpolled(signs: Signs) -> bool:
    since = signs.unpolled_since
    return bool(signs.unsettled) and since is not None and signs.now - since >= UNPOLLED


def _unpolled(signs: Signs) -> Trouble | None:
    """Every process resigns while the API fails: so it is trouble of its own only where the API serves."""
    since = math.inf if signs.unpolled_since is None else signs.unpolled_since
    is_served = signs.served_at > since and _api(signs) is None and not signs.key_refused
    return Trouble.NOBODY_POLLS if is_served and _may_be_unpolled(signs) else None


# --- what one event shows


def api_trouble(error: Exception) -> Trouble | None:
    """What an error of a request says of the API; None where it was answered."""
    match error:
        case NotSent():
            return Trouble.API_UNREACHABLE
        case TransportError():
            return Trouble.API_SILENT
        case ServerError() | UnexpectedResponse() | OutcomeUnknown():  # the last for a paid request's answer
            return Trouble.API_FAILING
    return None


def after_paid_request(known: Sign | None, error: Exception | None, now: float) -> Sign | None:
    """The sign after a paid request, of what those before it have shown. ``error``: None where accepted.

    A refusal of another sort shows that the API answers, and nothing of the credits.
    """
    if error is None:
        return None
    if isinstance(error, InsufficientCredits):
        return Sign(Trouble.NO_CREDITS, now)
    trouble = api_trouble(error)
    if trouble is not None:
        return Sign(trouble, now)
    return known if known is not None and known.trouble is Trouble.NO_CREDITS else None


def after_write(now: float, began: float, *, failed: bool, is_full: bool = False) -> Sign | None:
    """The sign after a write that began at ``began``. ``is_full``: it failed for want of room."""
    if failed:
        return Sign(Trouble.STORE_FULL if is_full else Trouble.STORE_AWAY, now)
    return Sign(Trouble.STORE_SLOW, now) if now - began >= SLOW_STORE else None


# --- an outage

NO_ANSWER = (NotSent, TransportError, ServerError, UnexpectedResponse)
"""The errors of a request that got no answer, or none that can be used."""


class Outage(NamedTuple):
    """Requests that have got no usable answer ``since`` a time of the loop (seconds).

    ``reason`` says why, in words. ``status`` is the HTTP status of the last answer, None where none came.
    """

    since: float
    reason: str
    status: int | None = None

    def text(self, now: float) -> str:
        """``"no answer for 20 s (cannot reach app.hoox.video: the connection was refused)"``."""
        answer = "no answer" if self.status is None else "no usable answer"
        return f"{answer} for {max(0.0, now - self.since):.0f} s ({self.reason})"


def outage_after(error: HooxError, since: float) -> Outage:
    """The outage that this error of a request begins or goes on with."""
    return Outage(since, str(error), getattr(error, "status", None))
