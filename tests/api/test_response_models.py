"""The bodies of 2xx answers: the vendor's published examples, and JSON of every unexpected form."""

from __future__ import annotations

from typing import Any

import pytest

from hoox_async import LookDetails, LookRef, LookStatus
from hoox_async._api import responses
from hoox_async._api.models import LookFailure
from hoox_async._api.responses import look_from_details, parse_failure

REF = LookRef("avtr_abc", "look_123")


# --- the state of one look --------------------------------------------------------------------


def test_a_ready_look_of_the_workflow_page() -> None:
    """The example of a finished look in "Avatar Workflow" is a READY look with its picture."""
    body = {
        "avatar_id": "avtr_abc",
        "look_id": "look_123",
        "status": "completed",
        "result": {"thumbnail_url": "https://media.hoox.video/x/image.jpg", "models": ["v3"]},
    }
    look = responses.parse_status(body, REF)
    assert (look.ref, look.status) == (REF, LookStatus.READY)
    assert look.thumbnail_url == "https://media.hoox.video/x/image.jpg"
    assert look.error is None
    assert look.raw == body


@pytest.mark.parametrize(
    "body",
    [
        {"result": {"thumbnail": "https://x.example/1"}},
        {"result": {"thumbnailUrl": "https://x.example/1"}},
        {"thumbnail_url": "https://x.example/1"},
        {"result": {"thumbnail_url": ""}, "thumbnail": "https://x.example/1"},
        {"result": {"thumbnail_url": None, "thumbnail": "https://x.example/1"}, "lookId": "look_123"},
    ],
)
def test_the_picture_is_found_under_every_name(body: dict[str, Any]) -> None:
    """The picture's URL is read from `result` or from the answer, in each of its spellings."""
    assert responses.parse_status({"status": "ready", **body}, REF).thumbnail_url == "https://x.example/1"


@pytest.mark.parametrize("result", [None, "image.jpg", ["x"], {}, {"thumbnail_url": {"url": "x"}}, 5])
def test_a_ready_look_without_a_readable_picture_is_ready(result: Any) -> None:
    """A look that was paid for is READY even where its picture cannot be read from this answer."""
    look = responses.parse_status({"status": "ready", "result": result, "error": None}, REF)
    assert (look.status, look.thumbnail_url) == (LookStatus.READY, None)


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (
            {"error": {"code": "GENERATION_FAILED", "message": "Edit failed"}},
            ("GENERATION_FAILED", "Edit failed"),
        ),
        ({"error": "Edit failed"}, (None, "Edit failed")),
        ({"error": {"message": "Edit failed"}}, (None, "Edit failed")),
        ({"error": {"code": "X"}}, ("X", "the API gave no message")),
        ({"error": {"code": 7, "message": ["x"]}, "error_message": "Edit failed"}, (None, "Edit failed")),
        ({"error": {"code": "\x00"}, "error_message": "Edit failed"}, (None, "Edit failed")),
        ({"errorMessage": "Edit failed"}, (None, "Edit failed")),
    ],
)
def test_the_reason_of_a_failed_look_is_read_in_every_form(
    reason: dict[str, Any], error: tuple[str | None, str]
) -> None:
    """The API gives the reason of a failure as an object, as a text, or in a field of its own."""
    look = responses.parse_status({"status": "failed", **reason}, REF)
    assert (look.status, look.error) == (LookStatus.FAILED, LookFailure(*error))


@pytest.mark.parametrize("reason", [{}, {"error": None}, {"error": {}}, {"error": ["x"]}, {"error": " "}])
def test_a_look_can_fail_without_a_reason(reason: dict[str, Any]) -> None:
    """A failed look for which the API gives no reason has no error."""
    assert responses.parse_status({"status": "error", **reason}, REF).error is None


def test_a_look_that_did_not_fail_has_no_error() -> None:
    """A ready look has no error, even where the answer has an `error` field."""
    body = {"status": "ready", "error": {"code": "X", "message": "y"}}
    assert responses.parse_status(body, REF).error is None


def test_an_unrecognized_status_is_not_settled_and_is_kept_in_raw() -> None:
    """A word that is not recognized is UNRECOGNIZED, which is not settled; `raw` has the word."""
    look = responses.parse_status({"status": "Queued"}, REF)
    assert look.status is LookStatus.UNRECOGNIZED
    assert not look.status.settled
    assert look.raw["status"] == "Queued"


@pytest.mark.parametrize("named", ["look_124", "LOOK_123", 123, ["look_123"], ""])
def test_a_status_of_another_look_is_refused(named: Any) -> None:
    """An answer that names another look is a ValueError: it would settle the wrong one."""
    with pytest.raises(ValueError, match="another look"):
        responses.parse_status({"look_id": named, "status": "ready"}, REF)


@pytest.mark.parametrize("status", [None, 1, True, ["ready"], {"is": "ready"}])
def test_a_status_must_be_a_word(status: Any) -> None:
    """A status that is no text is a ValueError that names its place."""
    with pytest.raises(ValueError, match=r"expected a word.*\$\.status"):
        responses.parse_status({"status": status}, REF)


# --- avatars and looks ------------------------------------------------------------------------

FULL_LOOK = {
    "id": "look_123",
    "avatar_id": "avtr_abc",
    "avatar_name": "Alex",
    "look_name": "At the office",
    "gender": "male",
    "age_range": "25-35",
    "ethnicity": "any",
    "hair_color": "brown",
    "place": "office",
    "accessories": ["glasses"],
    "action": "talking",
    "emotion": "calm",
    "selfie": False,
    "format": "vertical",
    "thumbnail": "https://x.example/t.jpg",
    "preview": "https://x.example/p.mp4",
    "model_available": {"v3": True},
    "status": "error",
    "error_message": "Edit failed",
    "of_tomorrow": 1,
}
FULL = LookDetails(
    ref=REF,
    status=LookStatus.FAILED,
    name="At the office",
    avatar_name="Alex",
    gender="male",
    age_range="25-35",
    ethnicity="any",
    hair_color="brown",
    place="office",
    accessories=["glasses"],
    action="talking",
    emotion="calm",
    selfie=False,
    format="vertical",
    thumbnail_url="https://x.example/t.jpg",
    preview_url="https://x.example/p.mp4",
    model_available={"v3": True},
    error_message="Edit failed",
)


def test_every_documented_field_of_a_look_is_read() -> None:
    """Each field of the API reference is read, and `raw` is the whole answer."""
    found = responses.parse_look(FULL_LOOK, REF)
    assert found == FULL
    assert found.raw == FULL_LOOK


def test_a_look_is_read_in_camel_case_too() -> None:
    """camelCase names, `look_id` and `thumbnail_url` give the same look."""
    other = {
        "lookId": "look_123",
        "avatarId": "avtr_abc",
        "avatarName": "Alex",
        "lookName": "At the office",
        "ageRange": "25-35",
        "hairColor": "brown",
        "thumbnailUrl": "https://x.example/t.jpg",
        "previewUrl": "https://x.example/p.mp4",
        "modelAvailable": {"v3": True},
        "errorMessage": "Edit failed",
    }
    same = ["gender", "ethnicity", "place", "accessories", "action", "emotion", "selfie", "format", "status"]
    assert responses.parse_look({**other, **{name: FULL_LOOK[name] for name in same}}, REF) == FULL


def test_an_avatar_is_read_with_its_looks() -> None:
    """The avatar's own fields are read, and each look has the avatar's id in its ref."""
    body = {
        "id": "avtr_abc",
        "name": "Alex",
        "gender": "male",
        "age": 30,
        "age_range": "25-35",
        "ethnicity": "any",
        "hair_color": "brown",
        "thumbnail": "https://x.example/a.jpg",
        "looks": [
            {"id": "look_123", "name": "One", "status": "ready", "thumbnail": "https://x.example/t.jpg"},
            {"look_id": "look_124", "name": "Two", "status": "pending", "thumbnail": None},
        ],
        "created_at": "2025-07-01T12:00:00Z",
    }
    found = responses.parse_avatar(body, "avtr_abc")
    assert (found.id, found.name, found.gender, found.age) == ("avtr_abc", "Alex", "male", 30)
    assert (found.age_range, found.ethnicity, found.hair_color) == ("25-35", "any", "brown")
    assert (found.thumbnail_url, found.created_at) == ("https://x.example/a.jpg", "2025-07-01T12:00:00Z")
    assert [look.ref for look in found.looks] == [REF, LookRef("avtr_abc", "look_124")]
    assert [look.name for look in found.looks] == ["One", "Two"]
    assert [look.status for look in found.looks] == [LookStatus.READY, LookStatus.PENDING]
    assert found.raw == body
    assert found.looks[0].raw == body["looks"][0]  # type: ignore[index]


ODD = [7, 1.5, True, ["x"], {"x": 1}, "", "x", None]


@pytest.mark.parametrize("name", sorted(set(FULL_LOOK) - {"id", "avatar_id", "status"}))
@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_an_unexpected_field_of_a_look_does_not_lose_it(name: str, odd: Any) -> None:
    """A descriptive field may have any type: the look, its status and `raw` are read all the same."""
    found = responses.parse_avatar({"looks": [{**FULL_LOOK, name: odd}]}, "avtr_abc").looks[0]
    assert (found.ref, found.status) == (REF, LookStatus.FAILED)
    assert found.raw[name] == odd
    for field in ("name", "gender", "thumbnail_url", "error_message"):
        assert isinstance(getattr(found, field), str | None)
    assert isinstance(found.selfie, bool | None)


@pytest.mark.parametrize("name", ["name", "gender", "age", "thumbnail", "created_at"])
@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_an_unexpected_field_of_an_avatar_does_not_lose_its_looks(name: str, odd: Any) -> None:
    """A descriptive field of the avatar may have any type: its looks are read all the same."""
    found = responses.parse_avatar({"id": "avtr_abc", "looks": [FULL_LOOK], name: odd}, "avtr_abc")
    assert [look.ref for look in found.looks] == [REF]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"id": "avtr_abc"}, r"\$\.looks"),
        ({"id": "avtr_abc", "looks": None}, r"expected a list, got null @ \$\.looks"),
        ({"id": "avtr_abc", "looks": {"0": {}}}, r"expected a list, got an object @ \$\.looks"),
        ({"id": "avtr_abc", "looks": "none"}, r"expected a list, got text @ \$\.looks"),
        ({"id": "avtr_abc", "looks": ["look_1"]}, r"expected an object, got text @ \$\.looks\[0\]"),
        ({"id": "avtr_abc", "looks": [{}]}, r"look_id: expected an id, got null @ \$\.looks\[0\]\.ref"),
        ({"id": "avtr_abc", "looks": [{"id": 5}]}, r"look_id: expected an id, got a number"),
        ({"id": "avtr_abc", "looks": [{"id": " "}]}, r"look_id: expected an id"),
        ({"id": "avtr_abc", "looks": [{"id": "l", "status": 5}]}, r"\$\.looks\[0\]\.status"),
        ({"id": "avtr_other", "looks": []}, "another avatar"),
        ({"id": 7, "looks": []}, "another avatar"),
        ([], "expected an object, got a list"),
    ],
)
def test_ids_and_statuses_of_an_avatar_must_be_right(body: Any, complaint: str) -> None:
    """Wrong ids, statuses or a missing list of looks are a ValueError that names the place."""
    with pytest.raises(ValueError, match=complaint):
        responses.parse_avatar(body, "avtr_abc")


def test_many_complaints_are_cut_short() -> None:
    """A list of a thousand broken looks gives a short message with three of them."""
    with pytest.raises(ValueError, match=r"and 997 more") as caught:
        responses.parse_looks([{}] * 1000)
    assert len(str(caught.value)) < 400


def test_details_of_another_look_are_refused() -> None:
    """An answer about another look, or the same look id of another avatar, is a ValueError."""
    for other in ({"id": "look_124"}, {"look_id": "look_124"}, {"avatar_id": "avtr_x"}):
        with pytest.raises(ValueError, match="another look"):
            responses.parse_look(other, REF)
    assert responses.parse_look({}, REF) == LookDetails(REF)


def test_the_list_has_looks_without_status() -> None:
    """Looks of the list have no status but must name their avatar; anything but a list is an error."""
    listed = {name: value for name, value in FULL_LOOK.items() if name != "status"}
    found = responses.parse_looks([listed, {"id": "look_9", "avatar_id": "avtr_public"}])
    assert [look.ref for look in found] == [REF, LookRef("avtr_public", "look_9")]
    assert [look.status for look in found] == [None, None]
    with pytest.raises(ValueError, match="avatar_id: expected an id, got null"):
        responses.parse_looks([{"id": "look_9"}])
    with pytest.raises(ValueError, match="expected a list of looks, got an object"):
        responses.parse_looks({"looks": []})


def test_a_look_is_taken_from_its_details() -> None:
    """Details with a status are a Look, with the failure's reason only where it failed; without one, None."""
    found = look_from_details(FULL)
    assert found is not None
    assert (found.ref, found.status) == (REF, LookStatus.FAILED)
    assert (found.thumbnail_url, found.error) == ("https://x.example/t.jpg", LookFailure(None, "Edit failed"))
    assert look_from_details(LookDetails(REF)) is None
    silent = look_from_details(LookDetails(REF, LookStatus.FAILED))
    assert silent is not None
    assert silent.error is None
    ready = look_from_details(LookDetails(REF, LookStatus.READY, error_message="once", raw={"a": 1}))
    assert ready is not None
    assert (ready.error, ready.raw) == (None, {"a": 1})


def test_the_reason_of_a_failure_is_one_short_line() -> None:
    """The API's words are shown to people: control characters are removed and long texts are cut."""
    found = parse_failure({"code": "X" * 500, "message": "a\x1b[31m\nb" + "c" * 5000})
    assert found is not None
    assert found.message.startswith("a [31m b")
    assert len(found.message) <= 1000
    assert found.code is not None
    assert len(found.code) <= 100
