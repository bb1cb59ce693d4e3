"""A small batch of every kind of outcome, and pictures that come from nowhere."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hoox_async import (
    Evidence,
    ImageAvatar,
    Look,
    LookDetails,
    LookEdit,
    LookRef,
    LookStatus,
    Outcome,
    OutcomeState,
    PromptAvatar,
    Request,
)
from hoox_async._api.models import LookFailure
from hoox_async._core.intents.intent import Intent, IntentState, Reason
from hoox_async._core.intents.outcomes import outcome_of
from hoox_async._io.protocols import Fetched
from hoox_async.errors import BadRequest, GenerationFailed, OutcomeUnknown, TransportError

NOON = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)


def jpeg(width: int = 90, height: int = 160, colour: str = "teal") -> bytes:
    """A small JPEG of one colour."""
    from PIL import Image

    data = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(data, "JPEG")
    return data.getvalue()


class Pictures:
    """A fake fetch that remembers what was asked for.

    ``gone`` in a URL fails, and what ``text`` gives only begins as a picture does. ``damaged`` has other data
    by URL.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.damaged: dict[str, bytes] = {}

    @asynccontextmanager
    async def fetch(self, url: str) -> AsyncIterator[Fetched]:
        """Give the picture of this URL."""
        self.asked.append(url)
        if "gone" in url:
            raise TransportError("the picture's host did not answer")
        size = (160, 90) if "wide" in url else (90, 160)
        data = b"\xff\xd8\xff, and no picture" if "text" in url else jpeg(*size)
        data = self.damaged.get(url, data)

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        yield Fetched("image/jpeg", chunks())


def ready(key: str, seconds: float = 40, request: Request | None = None, **fields: str) -> Outcome:
    """A look that is ready."""
    ref = LookRef(fields.get("avatar", "avtr_1"), fields.get("look", "look_" + key.replace("/", "_")))
    source, prompt = LookRef(ref.avatar_id, "look_0"), fields.get("prompt", f"a scene for {key}")
    request = request or LookEdit(source, prompt, style="podcast")
    return Outcome(
        key,
        request,
        OutcomeState.READY,
        Look(ref, LookStatus.READY, fields.get("url", f"https://pictures.test/{key}.jpg")),
        credits=request.credits,
        evidence=Evidence.ANSWER,
        submitted_at=NOON,
        settled_at=NOON + timedelta(seconds=seconds),
    )


def dropped(key: str = "alex/dropped") -> Outcome:
    """The outcome of an unknown that the user dropped."""
    request = LookEdit(LookRef("avtr_1", "look_0"), "a scene", resolution="4K")
    lost = Reason(None, None, "the connection broke")
    return outcome_of(Intent(key, True, request, "d", NOON, state=IntentState.DROPPED, reason=lost))


def every_state() -> list[Outcome]:
    """One avatar with a look in every state, and a second avatar with two looks."""
    edit = LookEdit(
        "alex", "a scene", resolution="4K", webhook_url="https://me.test/secret", metadata={"client": "acme"}
    )
    failed = Look(
        LookRef("avtr_1", "look_f"), LookStatus.FAILED, error=LookFailure("NO_FACE", "No face found")
    )
    pending = Look(LookRef("avtr_1", "look_p"), LookStatus.PENDING)
    return [
        Outcome(
            "alex",
            PromptAvatar("Young entrepreneur", name="Alex"),
            OutcomeState.READY,
            Look(LookRef("avtr_1", "look_0"), LookStatus.READY, "https://pictures.test/alex.jpg"),
            credits=Decimal(2),
            submitted_at=NOON,
            settled_at=NOON + timedelta(seconds=30),
        ),
        ready("alex/podcast", 50),
        Outcome("alex/failed", edit, OutcomeState.FAILED, failed, GenerationFailed(failed), Decimal(4)),
        Outcome(
            "alex/rejected", edit, OutcomeState.REJECTED, None, BadRequest(400, "BAD", "The image is gone")
        ),
        Outcome("alex/skipped", edit, OutcomeState.SKIPPED),
        Outcome("alex/unsent", edit, OutcomeState.UNSENT),
        Outcome("alex/pending", edit, OutcomeState.PENDING, pending, credits=Decimal(4), submitted_at=NOON),
        Outcome(
            "alex/unknown",
            edit,
            OutcomeState.UNKNOWN,
            None,
            OutcomeUnknown("alex/unknown: the connection broke"),
            at_risk=Decimal(4),
            candidates=(LookRef("avtr_1", "look_8"), LookRef("avtr_1", "look_9")),
        ),
        Outcome(
            "mara",
            ImageAvatar("https://me.test/mara.jpg"),
            OutcomeState.READY,
            Look(LookRef("avtr_2", "look_0"), LookStatus.READY, "https://pictures.test/mara-gone.jpg"),
            submitted_at=NOON,
            settled_at=NOON + timedelta(seconds=1),
        ),
        ready("mara/car", 90, avatar="avtr_2", url="https://pictures.test/wide.jpg"),
    ]


def unknown_edit(
    key: str, *candidates: str, older: tuple[str, ...] = (), attempt: str = "attempt-1"
) -> Outcome:
    """An edit of ``avtr_1:look_0`` at 4K that may have been paid for, with these candidates."""
    return Outcome(
        key,
        LookEdit(LookRef("avtr_1", "look_0"), f"a scene for {key}", style="podcast", resolution="4K"),
        OutcomeState.UNKNOWN,
        None,
        OutcomeUnknown(f"{key}: the connection broke"),
        at_risk=Decimal(4),
        submitted_at=NOON,
        candidates=tuple(LookRef("avtr_1", look) for look in candidates),
        older=tuple(LookRef("avtr_1", look) for look in older),
        attempt=attempt,
    )


def unknown_create(key: str) -> Outcome:
    """A new avatar that may have been paid for: nothing is known of its look."""
    return Outcome(
        key,
        PromptAvatar("A chef, laughing", name="Kim"),
        OutcomeState.UNKNOWN,
        None,
        OutcomeUnknown(f"{key}: the server answered 500"),
        at_risk=Decimal(2),
        submitted_at=NOON,
        attempt="attempt-1",
    )


def details(look: str, status: LookStatus = LookStatus.READY, **fields: str) -> LookDetails:
    """What the API tells of a look of ``avtr_1``; a ready one has a picture."""
    url = f"https://pictures.test/{look}.jpg" if status is LookStatus.READY else None
    return LookDetails(LookRef("avtr_1", look), status, thumbnail_url=url, error_message=fields.get("why"))
