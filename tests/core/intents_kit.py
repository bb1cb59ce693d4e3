"""An intent for the tests of transitions, a transition of each kind, and a way to each state."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from hoox_async import Evidence, Look, LookEdit, LookRef, LookStatus, PromptAvatar
from hoox_async._api.models import LookFailure
from hoox_async._core.intents.intent import Intent, IntentState, Reason
from hoox_async._core.intents.transitions import (
    Accept,
    AddCandidates,
    Drop,
    MarkUnknown,
    NoteDelivered,
    Reject,
    Replace,
    Resend,
    Revert,
    Send,
    Settle,
    Transition,
    advance,
)

S = IntentState
AT = datetime(2025, 7, 1, 12, 0, tzinfo=UTC)
SOURCE = LookRef("avtr_abc", "look_123")
REF = LookRef("avtr_abc", "look_new")
READY = Look(REF, LookStatus.READY, "https://x.example/t.jpg")
FAILED = Look(REF, LookStatus.FAILED, error=LookFailure("X", "Edit failed"))
NO = Reason(400, "INVALID_VALUE", "No")
REQUEST = LookEdit(SOURCE, "podcast", upscale=True)
PRICE = Decimal("3.5")
OTHER = PromptAvatar("a", resolution="4K")
PLANNED = Intent("alex", True, REQUEST, "d1", AT)

STEPS: dict[type[Transition], Transition] = {
    Send: Send("a1", AT, SOURCE),
    Revert: Revert("a1"),
    Accept: Accept(REF, AT, Evidence.ANSWER),
    Reject: Reject(NO, AT),
    MarkUnknown: MarkUnknown("dropped"),
    AddCandidates: AddCandidates((REF,)),
    NoteDelivered: NoteDelivered(REF.look_id, "a1"),
    Settle: Settle(READY, AT),
    Resend: Resend(),
    Drop: Drop(),
    Replace: Replace(OTHER, "d2"),
}
PATHS: dict[IntentState, list[type[Transition]]] = {
    S.PLANNED: [],
    S.SENDING: [Send],
    S.UNKNOWN: [Send, MarkUnknown],
    S.ACCEPTED: [Send, Accept],
    S.READY: [Send, Accept, Settle],
    S.FAILED: [Send, Accept],
    S.REJECTED: [Reject],
    S.DROPPED: [Send, MarkUnknown, Drop],
}
LEGAL: dict[tuple[IntentState, type[Transition]], IntentState] = {
    (S.PLANNED, Send): S.SENDING,
    (S.PLANNED, Reject): S.REJECTED,
    (S.PLANNED, Replace): S.PLANNED,
    (S.SENDING, Revert): S.PLANNED,
    (S.SENDING, Accept): S.ACCEPTED,
    (S.SENDING, Reject): S.REJECTED,
    (S.SENDING, MarkUnknown): S.UNKNOWN,
    (S.UNKNOWN, Revert): S.PLANNED,
    (S.UNKNOWN, Accept): S.ACCEPTED,
    (S.UNKNOWN, AddCandidates): S.UNKNOWN,
    (S.UNKNOWN, NoteDelivered): S.UNKNOWN,
    (S.UNKNOWN, Resend): S.PLANNED,
    (S.UNKNOWN, Drop): S.DROPPED,
    (S.ACCEPTED, Settle): S.READY,
    (S.ACCEPTED, Replace): S.PLANNED,
    (S.READY, Settle): S.READY,
    (S.READY, Replace): S.PLANNED,
    (S.FAILED, Settle): S.FAILED,
    (S.FAILED, Replace): S.PLANNED,
    (S.REJECTED, Replace): S.PLANNED,
    (S.DROPPED, Accept): S.ACCEPTED,
    (S.DROPPED, Resend): S.PLANNED,
}


def after(*steps: Transition, start: Intent = PLANNED) -> Intent:
    """The intent after all the transitions."""
    for step in steps:
        start = advance(start, step)
    return start


def in_state(state: IntentState) -> Intent:
    """An intent in this state, reached by legal transitions."""
    intent = after(*(STEPS[kind] for kind in PATHS[state]))
    return after(Settle(FAILED, AT), start=intent) if state is S.FAILED else intent
