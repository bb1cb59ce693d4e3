"""``check --conformance``: compares the real API with everything that this library assumes of it.

It does what a user would do, by an ordinary session: an avatar from images, which costs no credits, then
every kind of read, and a delivery where it can be reached. Where credits may be spent, it buys some looks on
top, under fixed keys in a store, and watches them being made. What came is compared with each row of
`assumptions`, and the report can be sent to us by anybody: nothing in it is secret.

**Where the raw answers come from.** Models hold what this library understands, and hooks only how an answer
ended; the report needs what it may not understand: headers, unknown fields, refusals of an unknown form. So
the session has a `SpellingTransport`, a `RecordingTransport` (`hoox_async.testing`): it is the transport of
every session, and keeps each answer besides. Requests that were sent beside the session would prove nothing
about it, and a hook that is given each body would cost all users. Only the request with a wrong API key is
sent without a session, since a session checks a refused key for a minute.

**Why there is no secret in it.** Values of answers are never copied into the report: `shapes` lets through
names of fields, kinds of values, status words and error codes alone.

**Rooms.** `assumptions` is the table. `observations` are plain values; `judgements`, `quota_judgements` and
`purchase_judgements` judge them without I/O. `steps`, `purchases`, `receiver` do what is to be done, by
`step_runner`; `purchases` also decides what to buy. Nothing here knows a terminal: who calls it shows, asks
and saves. It uses the public door and the shared rules only.
"""

from .observations import Balance, Observations
from .purchases import FIRST_PRICE, NAME, OTHER_NAME_KEY, choose
from .receiver import FAILED_AT_FIRST, Receiver
from .report import Report, build_report
from .step_runner import SpellingTransport
from .steps import Check, Plan

__all__ = [
    "FAILED_AT_FIRST",
    "FIRST_PRICE",
    "NAME",
    "OTHER_NAME_KEY",
    "Balance",
    "Check",
    "Observations",
    "Plan",
    "Receiver",
    "Report",
    "SpellingTransport",
    "build_report",
    "choose",
]
