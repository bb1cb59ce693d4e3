"""Stored records: what is written is read back unchanged, and any damage is an error."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import attrs
import pytest
import request_strategies as our
from hypothesis import assume, given
from hypothesis import strategies as st
from intents_kit import after

from hoox_async import Evidence, ImageAvatar, Look, LookEdit, LookRef, LookStatus, PromptAvatar, Request
from hoox_async._api.models import LookFailure
from hoox_async._api.requests import _known_as
from hoox_async._api.webhook_payloads import Delivery
from hoox_async._core.intents import records
from hoox_async._core.intents.intent import Attempt, Intent, IntentState, Reason
from hoox_async._core.intents.keys import digest
from hoox_async._core.intents.records import (
    dump_delivery,
    dump_intent,
    load_delivery,
    load_intent,
    rewrite,
)
from hoox_async._core.intents.transitions import (
    Accept,
    MarkUnknown,
    Reject,
    Replace,
    Resend,
    Revert,
    Send,
    Transition,
    advance,
)
from hoox_async._core.webhook_tokens import Signer
from hoox_async.errors import InvalidRequest, StoreError

AT = datetime(2025, 7, 1, 12, 0, tzinfo=UTC)
REF = LookRef("avtr_abc", "look_123")
NEW = LookRef("avtr_abc", "look_edit_789")
INTENT = Intent(
    key="alex/podcast",
    own_key=True,
    request=LookEdit(REF, "podcast scene", metadata={"scene": "1"}, webhook_url="https://me.example/hook"),
    digest="ec10cc9ce429200ef30c73285246e052",
    planned_at=AT,
    state=IntentState.FAILED,
    source=REF,
    attempts=(Attempt("a1", AT, Decimal(2)), Attempt("a2", AT + timedelta(seconds=1), Decimal(2))),
    ref=NEW,
    evidence=Evidence.ANSWER,
    accepted_at=AT + timedelta(seconds=2),
    settled_at=AT + timedelta(seconds=40),
    look=Look(NEW, LookStatus.FAILED, None, LookFailure("X", "Edit failed"), {"status": "error"}),
    reason=Reason(None, None, "lost once"),
    candidates=(REF,),
    past_spent=Decimal("1.5"),
    past_at_risk=Decimal(0),
    past_failed=Decimal(0),
)
RECORD = {
    "v": 1,
    "key": "alex/podcast",
    "own_key": True,
    "request": {
        "type": "edit",
        "webhook_url": "https://me.example/hook",
        "metadata": {"scene": "1"},
        "source": {"avatar_id": "avtr_abc", "look_id": "look_123"},
        "prompt": "podcast scene",
        "resolution": "2K",
        "upscale": False,
    },
    "digest": "ec10cc9ce429200ef30c73285246e052",
    "planned_at": "2025-07-01T12:00:00+00:00",
    "state": "failed",
    "source": {"avatar_id": "avtr_abc", "look_id": "look_123"},
    "attempts": [
        {"id": "a1", "sent_at": "2025-07-01T12:00:00+00:00", "credits": "2"},
        {"id": "a2", "sent_at": "2025-07-01T12:00:01+00:00", "credits": "2"},
    ],
    "ref": {"avatar_id": "avtr_abc", "look_id": "look_edit_789"},
    "evidence": "answer",
    "accepted_at": "2025-07-01T12:00:02+00:00",
    "settled_at": "2025-07-01T12:00:40+00:00",
    "look": {
        "ref": {"avatar_id": "avtr_abc", "look_id": "look_edit_789"},
        "status": "failed",
        "error": {"code": "X", "message": "Edit failed"},
        "raw": {"status": "error"},
    },
    "reason": {"status": None, "code": None, "message": "lost once"},
    "candidates": [{"avatar_id": "avtr_abc", "look_id": "look_123"}],
    "past_spent": "1.5",
    "past_at_risk": "0",
    "past_failed": "0",
}


def test_the_form_of_a_record() -> None:
    """A record has the fields of the intent under their own names, without those that are empty."""
    assert json.loads(dump_intent(INTENT)) == RECORD
    assert load_intent(json.dumps(RECORD)) == INTENT


@pytest.mark.parametrize(
    ("request_", "record"),
    [
        (
            PromptAvatar("a"),
            {
                "type": "prompt",
                "prompt": "a",
                "style": "iphone",
                "format": "vertical",
                "resolution": "2K",
            },
        ),
        (
            ImageAvatar(["https://x.example/1"], extra={"seed": [1, None]}),
            {"type": "images", "image_urls": ["https://x.example/1"], "extra": {"seed": [1, None]}},
        ),
        (
            LookEdit("alex", "a", style="raw", upscale=True),
            {
                "type": "edit",
                "source": "alex",
                "prompt": "a",
                "style": "raw",
                "resolution": "2K",
                "upscale": True,
            },
        ),
    ],
)
def test_the_form_of_a_request(request_: Request, record: dict[str, Any]) -> None:
    """Each kind of request is written in this form, without the fields that are empty by default."""
    assert json.loads(dump_intent(attrs.evolve(INTENT, request=request_)))["request"] == record
    assert load_intent(json.dumps({**RECORD, "request": record})).request == request_


def test_the_form_of_a_delivery() -> None:
    """A delivery is written without what it lacks."""
    record = {"v": 1, "look_id": "l", "status": "failed", "error_message": "Edit failed"}
    delivery = Delivery("l", LookStatus.FAILED, error_message="Edit failed")
    assert json.loads(dump_delivery(delivery)) == record
    assert load_delivery(json.dumps(record)) == delivery


@given(our.intents)
def test_intents_come_back(intent: Intent) -> None:
    """Any intent is equal after writing and reading, and so are its credits."""
    back = load_intent(dump_intent(intent))
    assert back == intent
    assert (back.spent, back.at_risk, back.credits) == (intent.spent, intent.at_risk, intent.credits)
    assert type(back.request) is type(intent.request)


@given(our.requests)
def test_requests_come_back(request_: Request) -> None:
    """A request comes back with its extra fields, its metadata and its own webhook_url."""
    back = load_intent(dump_intent(attrs.evolve(INTENT, request=request_))).request
    assert back == request_
    assert back.webhook_url == request_.webhook_url


@given(our.deliveries)
def test_deliveries_come_back(delivery: Delivery) -> None:
    """Any delivery is equal after writing and reading."""
    assert load_delivery(dump_delivery(delivery)) == delivery


@given(st.dictionaries(st.text(), our.json_values, max_size=3))
def test_raw_answers_come_back(raw: dict[str, Any]) -> None:
    """The API's raw answer is stored unchanged, unless a webhook is mentioned in it."""
    assume("webhook" not in json.dumps(raw).lower())
    look = load_intent(dump_intent(attrs.evolve(INTENT, look=Look(NEW, LookStatus.READY, raw=raw)))).look
    assert look is not None
    assert look.raw == raw


def test_moments_are_written_in_utc() -> None:
    """A time in another time zone is written in UTC, and is the same time after reading."""
    east = AT.astimezone(timezone(timedelta(hours=5)))
    text = dump_intent(attrs.evolve(INTENT, planned_at=east))
    assert json.loads(text)["planned_at"] == "2025-07-01T12:00:00+00:00"
    assert load_intent(text).planned_at == AT


def test_webhook_urls_and_tokens_of_raw_are_not_stored() -> None:
    """A token is a bearer secret: an answer that echoes it must not put it on a disk."""
    token = Signer(["a secret of some length"]).sign("attempt-1")
    raw = {
        "webhook_url": f"https://hub.example/{token}",
        "request": {"WebhookUrl": "https://hub.example/x", "kept": 1},
        "log": [f"will call https://hub.example/{token} soon"],
        "thumbnail_url": "https://media.example/image.jpg",
    }
    text = dump_intent(attrs.evolve(INTENT, look=Look(NEW, LookStatus.READY, raw=raw)))
    assert token not in text
    look = load_intent(text).look
    assert look is not None
    assert look.raw == {
        "request": {"kept": 1},
        "log": ["will call https://hub.example/[token] soon"],
        "thumbnail_url": "https://media.example/image.jpg",
    }


def test_raw_that_json_has_no_form_for_is_left_out() -> None:
    """NaN, depths that no parser reads back and odd objects must not keep a paid look from being stored."""
    deep: Any = "bottom"
    for _ in range(5000):
        deep = [deep]
    raw = {"nan": float("nan"), "deep": {"a": deep}, "odd": object(), "pair": (1, 2), "fine": 1.5}
    text = dump_intent(attrs.evolve(INTENT, look=Look(NEW, LookStatus.READY, raw=raw)))
    look = load_intent(text).look
    assert look is not None
    assert look.raw["nan"] is None
    assert look.raw["odd"] is None
    assert look.raw["pair"] == [1, 2]
    assert look.raw["fine"] == 1.5
    assert "bottom" not in text
    assert "NaN" not in text


def test_a_moment_without_time_zone_is_not_written() -> None:
    """A time without a time zone is a StoreError: nobody could say later which time it was."""
    with pytest.raises(StoreError, match=r"cannot be written: .*no time zone"):
        dump_intent(attrs.evolve(INTENT, planned_at=datetime(2025, 7, 1)))


# --- damage -----------------------------------------------------------------------------------


def damaged(**changes: Any) -> str:
    """The record with some fields changed, or left out where the value is ``...``."""
    return json.dumps({name: value for name, value in {**RECORD, **changes}.items() if value is not ...})


@pytest.mark.parametrize("name", [name for name in RECORD if name not in ("v", "candidates", "attempts")])
def test_a_field_of_another_type_is_damage(name: str) -> None:
    """A field of another type raises a StoreError that names the field as the record does."""
    with pytest.raises(StoreError, match=rf"a stored intent is damaged: .*\$\.{name}"):
        load_intent(damaged(**{name: 7}))


@pytest.mark.parametrize(
    "name",
    [
        "key",
        "own_key",
        "request",
        "digest",
        "planned_at",
        "state",
        "past_spent",
        "past_at_risk",
        "past_failed",
    ],
)
def test_a_missing_field_is_damage(name: str) -> None:
    """Only fields that are None or empty by default may be missing; credits and state may not."""
    with pytest.raises(StoreError, match=f"{name} is missing"):
        load_intent(damaged(**{name: ...}))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"v": 2}, "version is '2'"),
        ({"v": True}, "version is 'True'"),
        ({"v": ...}, "version is 'None'"),
        ({"later": 1}, "unknown fields: later"),
        ({"state": "paid"}, r"expected one of planned, .* @ \$\.state"),
        ({"state": "FAILED"}, r"\$\.state"),
        ({"past_spent": "NaN"}, r"expected credits.*\$\.past_spent"),
        ({"past_spent": "-1"}, r"\$\.past_spent"),
        ({"past_spent": "two"}, r"\$\.past_spent"),
        ({"past_spent": 2.0}, r"\$\.past_spent"),
        ({"planned_at": "2025-07-01T12:00:00"}, r"without a time zone @ \$\.planned_at"),
        ({"planned_at": "today"}, r"\$\.planned_at"),
        ({"own_key": 1}, r"\$\.own_key"),
        ({"key": None}, r"expected text, got null @ \$\.key"),
        ({"attempts": "ab"}, r"expected a list, got text @ \$\.attempts"),
        ({"attempts": [{"id": "a"}]}, r"sent_at.* is missing @ \$\.attempts\[0\]"),
        ({"candidates": [7]}, r"expected an object, got a number @ \$\.candidates\[0\]"),
        (
            {"ref": {"avatar_id": "a", "look_id": ""}},
            r"look_id.* @ \$\.ref\.look_id|look_id: '' is not usable",
        ),
        ({"look": {**RECORD["look"], "status": "completed"}}, r"\$\.look\.status"),  # type: ignore[dict-item]
        ({"look": {**RECORD["look"], "raw": []}}, r"\$\.look\.raw"),  # type: ignore[dict-item]
        ({"request": {"type": "video"}}, r"type: expected one of prompt, images, edit @ \$\.request"),
        ({"request": {"type": ["edit"]}}, "type: expected one of"),
        ({"request": {"type": "prompt", "prompt": "a"}}, "style, format, resolution is missing"),
        ({"request": {"type": "images"}}, "image_urls is missing"),
    ],
)
def test_damage_is_named(changes: dict[str, Any], complaint: str) -> None:
    """The error names the place of the damage, for whoever has to repair the store."""
    with pytest.raises(StoreError, match=complaint):
        load_intent(damaged(**changes))


def test_a_request_that_checks_itself_finds_damage_too() -> None:
    """A stored request with a value that the API would refuse was not stored by us."""
    request = {"type": "prompt", "prompt": "  ", "style": "iphone", "format": "vertical", "resolution": "2K"}
    record = {**RECORD, "request": request}
    with pytest.raises(StoreError, match=r"a stored intent is damaged: .*prompt"):
        load_intent(json.dumps(record))


Load = Callable[[str], object]
LOADS: list[Load] = [load_intent, load_delivery]


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("text", ["", "{", "null", "[]", "7", '"x"', "{}", '{"v":1}', "[" * 100_000, "\x00"])
def test_text_that_is_no_record(load: Load, text: str) -> None:
    """Any text that is no record raises a StoreError."""
    with pytest.raises(StoreError, match=r"a stored (intent|delivery) is damaged: "):
        load(text)


@given(our.json_values, st.sampled_from(sorted(RECORD)), st.sampled_from(LOADS))
def test_any_damage_is_a_store_error_or_still_a_record(value: Any, name: str, load: Load) -> None:
    """One field replaced by anything gives a whole intent or a StoreError, and nothing else."""
    text = json.dumps({**RECORD, name: value})
    with contextlib.suppress(StoreError):
        loaded = load(text)
        assert isinstance(loaded, Intent)
        assert load_intent(dump_intent(loaded)) == loaded


# --- records of a newer version, in a store that several versions share

_FREE_JSON = {"raw", "extra", "metadata"}


def newer(value: Any, name: str = "") -> Any:
    """A record as a newer version writes it: with a field more in every object that we have a class for."""
    if isinstance(value, list):
        return [newer(each, name) for each in value]
    if not isinstance(value, dict) or name in _FREE_JSON:
        return value
    return {**{key: newer(field, key) for key, field in value.items()}, "newer": [1, {"of": name}]}


def with_newer_fields(intent: Intent) -> str:
    return json.dumps(newer(json.loads(dump_intent(intent))))


@given(our.intents)
def test_a_newer_record_is_read_and_written_back_without_loss(intent: Intent) -> None:
    """Fields that this version does not know are ignored by a shared store, kept, and damage to a file."""
    record = with_newer_fields(intent)
    assert load_intent(record, newer=True) == load_intent(dump_intent(intent))
    assert json.loads(rewrite(record, intent)) == json.loads(record)
    with pytest.raises(StoreError, match="damaged"):
        load_intent(record)


@pytest.mark.parametrize("mood", ["calm", 7])
def test_a_record_stays_readable_once_a_field_of_its_extra_is_known(
    mood: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later version reads the field as its own, or leaves it in `extra` where it takes no such value."""
    record = dump_intent(attrs.evolve(INTENT, request=LookEdit(REF, "a", extra={"mood": mood})))

    @attrs.frozen
    class LaterEdit(LookEdit):
        mood: str | None = attrs.field(default=None, kw_only=True, metadata=_known_as("Mood"))

        @mood.validator
        def _check(self, attribute: attrs.Attribute[Any], value: object) -> None:
            if value is not None and not isinstance(value, str):
                raise InvalidRequest(attribute.name, value, "text")

    monkeypatch.setattr(records, "_REQUESTS", {**records._REQUESTS, "edit": LaterEdit})
    read = load_intent(record).request
    assert isinstance(read, LaterEdit)
    assert (read.mood or read.extra["mood"]) == mood
    assert digest(read) == digest(LookEdit(REF, "a", extra={"mood": mood}))
    assert load_intent(dump_intent(attrs.evolve(INTENT, request=read))).request == read


def test_unknown_fields_stay_with_what_they_were_written_for() -> None:
    """An attempt keeps its fields beside a new attempt, and a look that was found has none of another's."""
    sent = attrs.evolve(INTENT, state=IntentState.UNKNOWN, look=None, ref=None, reason=None)
    record = with_newer_fields(sent)
    found = advance(sent, Accept(NEW, AT, Evidence.WEBHOOK))
    written = json.loads(rewrite(record, found))
    assert written["newer"] == [1, {"of": ""}]
    assert "newer" not in written["ref"]
    again = after(Resend(), Send("a3", AT, REF), start=sent)
    attempts = json.loads(rewrite(record, again))["attempts"]
    assert ["newer" in attempt for attempt in attempts] == [True, True, False]


def test_unknown_fields_of_a_replaced_request_are_not_the_new_requests() -> None:
    """They say what the old request asked for; its intent keeps them as long as it can be restored."""
    record = with_newer_fields(INTENT)
    other = LookEdit(REF, "another scene")
    written = json.loads(rewrite(record, after(Replace(other, "d2"), Send("a3", AT, REF), start=INTENT)))
    assert "newer" not in written["request"]
    assert written["previous"] == {name: field for name, field in json.loads(record).items() if name != "v"}


@pytest.mark.parametrize("end", [Revert("a3"), Reject(Reason(400, None, "no"), AT, "a3")])
@pytest.mark.parametrize("lost", [False, True])
def test_an_intent_that_is_restored_has_its_unknown_fields_again(end: Transition, lost: bool) -> None:
    """After a round that cost nothing, the record is what it was before, also after a presumed loss."""
    record = start = with_newer_fields(INTENT)
    presumed = MarkUnknown("presumed dead", "a3", presumed=True)
    steps: list[tuple[Transition, ...]] = [(Replace(INTENT.content, INTENT.digest), Send("a3", AT, REF))]
    intent = INTENT
    for round_steps in (*steps, *([(presumed,)] if lost else []), (end,)):
        intent = after(*round_steps, start=intent)
        record = rewrite(record, intent)
    assert json.loads(record) == json.loads(start)


def test_each_round_of_an_unknown_keeps_its_own_unknown_fields() -> None:
    """Where an unknown is sent again, its record becomes the one before, without what stood before it."""
    lost = after(Replace(INTENT.content, INTENT.digest), Send("a3", AT, REF), start=INTENT)
    lost = advance(lost, MarkUnknown("cut", "a3"))
    record = with_newer_fields(lost)
    again = after(Resend(), Send("a4", AT, REF), start=lost)
    before = json.loads(rewrite(record, again))["previous"]
    assert "previous" not in before
    assert before["newer"] == [1, {"of": ""}]
    assert all("newer" in attempt for attempt in before["attempts"])


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"v": 2}'])
def test_a_damaged_record_is_not_rewritten(damage: str) -> None:
    """What is no record is not replaced by one: its unknown fields would be lost."""
    with pytest.raises(StoreError, match="damaged"):
        rewrite(damage, INTENT)
