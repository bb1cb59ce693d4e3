"""The bodies of webhook deliveries: both forms, other tasks, and bodies that are rejected."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_async import LookStatus
from hoox_async._api.webhook_payloads import MAX_BODY, Delivery, OtherTask, parse_delivery
from hoox_async.errors import WebhookRejected


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def test_the_older_form_of_a_ready_look() -> None:
    """The form of "Avatar Workflow" calls the look `job_id` and names no avatar."""
    found = parse_delivery(
        body(job_id="look_1", status="completed", result={"thumbnail_url": "https://media.example/1.jpg"})
    )
    assert found == Delivery("look_1", LookStatus.READY, None, "https://media.example/1.jpg")


def test_the_older_form_of_a_failed_look() -> None:
    """A failed look's delivery has the code and the message of the failure."""
    found = parse_delivery(
        body(job_id="look_1", status="failed", error={"code": "GENERATION_FAILED", "message": "no face"})
    )
    assert found == Delivery(
        "look_1", LookStatus.FAILED, error_code="GENERATION_FAILED", error_message="no face"
    )


@pytest.mark.parametrize("task", ["avatar_create", "avatar_edit", "AVATAR_EDIT"])
def test_the_newer_form_names_task_avatar_and_look(task: str) -> None:
    """The form of the API reference is read, with the task in any case of letters."""
    found = parse_delivery(
        body(task=task, avatar_id="avtr_1", look_id="look_1", status="completed", result={"gender": "f"})
    )
    assert found == Delivery("look_1", LookStatus.READY, "avtr_1")


def test_the_look_id_wins_over_the_job_id() -> None:
    """Where a delivery has both, `look_id` is the look's id."""
    found = parse_delivery(body(job_id="job_9", look_id="look_1", status="completed"))
    assert isinstance(found, Delivery)
    assert found.look_id == "look_1"


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("completed", LookStatus.READY),
        ("ready", LookStatus.READY),
        ("READY", LookStatus.READY),
        ("failed", LookStatus.FAILED),
        ("Error", LookStatus.FAILED),
        ("pending", LookStatus.PENDING),
        ("processing", LookStatus.PROCESSING),
        ("embalmed", LookStatus.UNRECOGNIZED),
    ],
)
def test_both_vocabularies_are_read(word: str, status: LookStatus) -> None:
    """Both of the API's vocabularies are read, in any case of letters; another word is UNRECOGNIZED."""
    found = parse_delivery(body(job_id="look_1", status=word))
    assert isinstance(found, Delivery)
    assert found.status is status


@pytest.mark.parametrize("task", ["video_generate", "video_export", "asset_generation", "to_come"])
def test_deliveries_of_other_tasks_are_recognized(task: str) -> None:
    """A delivery of another task is an OtherTask, whatever else it contains."""
    assert parse_delivery(body(task=task, status=7, video_id="v")) == OtherTask(task)


@pytest.mark.parametrize(
    "malformed",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[]",
        b'"text"',
        b"null",
        b"7" * 5000,
        b"[" * MAX_BODY,
        body(),
        body(status="completed"),
        body(job_id="look_1"),
        body(job_id="look_1", status=None),
        body(job_id="look_1", status=["completed"]),
        body(job_id=7, status="completed"),
        body(job_id="", status="completed"),
        body(job_id="  ", status="completed"),
        body(job_id="l" * 513, status="completed"),
        body(job_id="look\n1", status="completed"),
        b'{"job_id": "\\ud800", "status": "completed"}',
        body(look_id={}, job_id="look_1", status="completed"),
        body(look_id="look_1", avatar_id=7, status="completed"),
        body(look_id="look_1", avatar_id="", status="completed"),
        body(task=7, job_id="look_1", status="completed"),
    ],
)
def test_a_malformed_delivery_is_rejected_with_400(malformed: bytes) -> None:
    """A body without an id or a status, or that is no JSON object, is rejected with 400."""
    with pytest.raises(WebhookRejected) as caught:
        parse_delivery(malformed)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "fields",
    [
        {"result": 7, "error": 7},
        {"result": None, "error": None},
        {"result": [], "error": []},
        {"result": {"thumbnail_url": 7}, "error": {"code": 7, "message": 7}},
        {"result": {"thumbnail_url": ""}, "error": {}},
        {"result": {"thumbnail_url": "https://" + "x" * 5000}},
        {"result": {"thumbnail_url": "https://m.example/\ud800"}},
    ],
)
def test_an_unreadable_picture_or_reason_is_left_out(fields: dict[str, Any]) -> None:
    """A delivery with good ids and status is accepted even where its picture or reason is not readable."""
    assert parse_delivery(body(job_id="look_1", status="failed", **fields)) == Delivery(
        "look_1", LookStatus.FAILED
    )


def test_a_reason_in_plain_text_is_read() -> None:
    """The `error` of a delivery may be a text, as in the API's other answers."""
    found = parse_delivery(body(job_id="look_1", status="error", error="no face"))
    assert isinstance(found, Delivery)
    assert (found.error_code, found.error_message) == (None, "no face")


def test_reasons_are_bounded_and_can_be_stored() -> None:
    """A long reason is cut, and characters that UTF-8 cannot encode are removed from it."""
    found = parse_delivery(body(job_id="look_1", status="error", error={"message": "\ud800" + "m" * 9000}))
    assert isinstance(found, Delivery)
    assert found.error_message is not None
    assert 900 < len(found.error_message.encode()) < 2000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
payloads = st.dictionaries(
    st.sampled_from(["task", "job_id", "look_id", "avatar_id", "status", "result", "error"])
    | st.text(max_size=4),
    json_values | st.sampled_from(["avatar_edit", "video_export", "completed", "failed", "look_1"]),
    max_size=7,
)


@given(st.binary(max_size=200) | payloads.map(lambda fields: json.dumps(fields).encode()))
def test_any_body_is_read_or_rejected(anything: bytes) -> None:
    """Any body is a delivery that can be stored, another task's, or rejected with 400."""
    rejected: list[int] = []
    try:
        found = parse_delivery(anything)
    except WebhookRejected as error:
        rejected.append(error.status)
        found = OtherTask("")
    assert rejected in ([], [400])
    if isinstance(found, Delivery):
        assert found.look_id.strip()
        for text in (found.look_id, found.avatar_id, found.error_code, found.error_message):
            assert text is None or len(text.encode()) <= 4096 * 4
    else:
        found.task.encode()
