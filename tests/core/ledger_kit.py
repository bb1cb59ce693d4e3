"""An intent of the ledger's tests, its steps, and the ways to each state."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from hoox_async._api.models import Look, LookFailure, LookRef, LookStatus
from hoox_async._api.requests import LookEdit, PromptAvatar
from hoox_async._core.intents.intent import Evidence, Intent, IntentState, Refusal
from hoox_async._core.intents.transitions import (
    Accept,
    Drop,
    Lose,
    Refuse,
    Renew,
    Resend,
    Retire,
    Send,
    Settle,
    Step,
    Suspect,
    TakeBack,
    advance,
)

S = IntentState
AT = datetime(2025, 7, 1, 12, 0, tzinfo=UTC)
SOURCE = LookRef("avtr_abc", "look_123")
REF = LookRef("avtr_abc", "look_new")
READY = Look(REF, LookStatus.READY, "https://x.example/t.jpg")
FAILED = Look(REF, LookStatus.FAILED, error=LookFailure("X", "Edit failed"))
NO = Refusal(400, "INVALID_VALUE", "No")
REQUEST = LookEdit(SOURCE, "podcast", upscale=True)
PRICE = Decimal("3.5")
OTHER = PromptAvatar("a", resolution="4K")
PLANNED = Intent("alex", True, REQUEST, "d1", AT)

STEPS: dict[type[Step], Step] = {
    Send: Send("a1", AT, SOURCE, True),
    TakeBack: TakeBack(),
    Accept: Accept(REF, AT, Evidence.ANSWER),
    Refuse: Refuse(NO, AT),
    Lose: Lose("dropped", AT),
    Retire: Retire(),
    Suspect: Suspect((REF,)),
    Settle: Settle(READY, AT),
    Resend: Resend(),
    Drop: Drop(),
    Renew: Renew(OTHER, "d2"),
}
PATHS: dict[IntentState, list[type[Step]]] = {
    S.PLANNED: [],
    S.SENDING: [Send],
    S.UNKNOWN: [Send, Lose],
    S.ACCEPTED: [Send, Accept],
    S.READY: [Send, Accept, Settle],
    S.FAILED: [Send, Accept],
    S.REJECTED: [Refuse],
    S.DROPPED: [Send, Lose, Drop],
}
LEGAL: dict[tuple[IntentState, type[Step]], IntentState] = {
    (S.PLANNED, Send): S.SENDING,
    (S.PLANNED, Refuse): S.REJECTED,
    (S.PLANNED, Renew): S.PLANNED,
    (S.SENDING, TakeBack): S.PLANNED,
    (S.SENDING, Accept): S.ACCEPTED,
    (S.SENDING, Refuse): S.REJECTED,
    (S.SENDING, Lose): S.UNKNOWN,
    (S.UNKNOWN, Accept): S.ACCEPTED,
    (S.UNKNOWN, Retire): S.UNKNOWN,
    (S.UNKNOWN, Suspect): S.UNKNOWN,
    (S.UNKNOWN, Resend): S.PLANNED,
    (S.UNKNOWN, Drop): S.DROPPED,
    (S.ACCEPTED, Settle): S.READY,
    (S.ACCEPTED, Renew): S.PLANNED,
    (S.READY, Settle): S.READY,
    (S.READY, Renew): S.PLANNED,
    (S.FAILED, Settle): S.FAILED,
    (S.FAILED, Renew): S.PLANNED,
    (S.REJECTED, Renew): S.PLANNED,
    (S.DROPPED, Accept): S.ACCEPTED,
    (S.DROPPED, Resend): S.PLANNED,
}


def after(*steps: Step, start: Intent = PLANNED) -> Intent:
    """The intent after all the steps."""
    for step in steps:
        start = advance(start, step)
    return start


def in_state(state: IntentState) -> Intent:
    """An intent in this state, come there by legal steps."""
    intent = after(*(STEPS[kind] for kind in PATHS[state]))
    return after(Settle(FAILED, AT), start=intent) if state is S.FAILED else intent
