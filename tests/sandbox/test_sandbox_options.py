"""The sandbox's options are checked when they are given, and its answers have the forms that were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from hoox_async import ConfigurationError
from hoox_async.sandbox import AnswerForms, DeliveryOptions, Fault, Sandbox, Space
from hoox_async.sandbox.answers import HttpResponse
from hoox_async.sandbox.received_requests import IncomingRequest

PICTURE = "https://example.com/face.jpg"


def call(space: Space, method: str, path: str, now: float = 0.0, /, **fields: Any) -> HttpResponse:
    params: Mapping[str, str] = fields if method == "GET" else {}
    body = fields if method == "POST" else None
    return space.respond(IncomingRequest(method, path, params, body, f"Bearer {space.api_key}"), now)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("vocabulary", "done", "one of both, completed, ready"),
        ("quota", "minute", "one of sliding, fixed"),
        ("speed", 0, "a number above 0"),
        ("speed", float("nan"), "a number above 0"),
        ("failures", 1.5, "a number from 0 to 1"),
        ("failures", True, "a number from 0 to 1"),
        ("median", 0, "a number above 0"),
        ("sigma", -1, "a number of 0 or more"),
        ("latency", -0.1, "a number of 0 or more"),
        ("port", 65536, "a whole number from 0 to 65535"),
        ("seed", "one", "a whole number of 0 or more"),
        ("credits", "many", "a number of credits, 0 or more"),
        ("credits", -1, "a number of credits, 0 or more"),
        ("requests_per_minute", 0, "a whole number of 1 or more"),
        ("requests_per_minute", 1.5, "a whole number of 1 or more"),
        ("quota_window", 0, "a number above 0"),
        ("retry_after", "yes", "True or False"),
        ("list_pending", 1, "True or False"),
        ("duration", 40, "a function"),
        ("deliveries", "old", "a DeliveryOptions, or None"),
        ("forms", {"reset": "none"}, "an AnswerForms, or None"),
        ("faults", [("edits", 1, Fault.HANG)], "tuples of an endpoint (create, edit,"),
        ("faults", [("edit", 0, Fault.HANG)], "the number of a request from 1"),
        ("faults", [("edit", 1, "hang")], "and a Fault"),
        ("fault_rates", {"hang": 0.1}, "a mapping of Fault to a share"),
        ("fault_rates", {Fault.HANG: 0.6, Fault.DROP_AFTER: 0.6}, "with a sum of 1 at most"),
    ],
)
def test_an_option_that_is_not_usable_is_named(option: str, value: Any, expected: str) -> None:
    """A wrong option of the sandbox is an error at once; the error names it, its value, and what is right."""
    with pytest.raises(ConfigurationError) as caught:
        Sandbox(**{option: value})
    text = str(caught.value)
    assert text.startswith(f"{option}: ")
    assert repr(value if not isinstance(value, list) else value[0])[:100] in text
    assert expected in text


@pytest.mark.parametrize(
    "field",
    ["images", "looks_of_images", "created", "result", "failure_code", "errors", "codes", "reset", "copies"],
)
def test_a_form_that_does_not_exist_is_named(field: str) -> None:
    """A wrong word for a form of answers is an error; it names field, value and the words there are."""
    wrong: dict[str, Any] = {field: "other"}
    with pytest.raises(
        ConfigurationError, match=rf"AnswerForms\.{field}: 'other' is not usable; expected one"
    ):
        AnswerForms(**wrong)


@pytest.mark.parametrize(
    ("field", "value"),
    [("form", "oldest"), ("lose", 2), ("early", -0.1), ("delay", -1), ("timeout", 0), ("retries", [1.0])],
)
def test_a_way_to_deliver_that_is_not_usable_is_named(field: str, value: Any) -> None:
    """A wrong option of deliveries is an error; the error names it and its value."""
    with pytest.raises(ConfigurationError) as caught:
        DeliveryOptions(**{field: value})
    assert str(caught.value).startswith(f"DeliveryOptions.{field}: {value!r} is not usable; expected ")


@pytest.mark.parametrize(("known", "other"), [("imageUrls", "images"), ("images", "imageUrls")])
def test_images_can_have_one_name_only(known: Any, other: str) -> None:
    """With ``images`` set to one name, the other one is an error as a creation without images."""
    space = Space(forms=AnswerForms(images=known))
    assert call(space, "POST", "/avatar/create", **{other: [PICTURE]}).status == 400
    assert call(space, "POST", "/avatar/create", **{known: [PICTURE]}).status == 201
    assert len(space.ledger) == 1


@pytest.mark.parametrize(("looks", "count"), [("one", 1), ("each", 2)])
def test_images_can_make_a_look_each(looks: Any, count: int) -> None:
    """``looks_of_images`` decides how many looks two images make; all are ready, and none is charged."""
    space = Space(forms=AnswerForms(looks_of_images=looks))
    ids = call(space, "POST", "/avatar/create", imageUrls=[PICTURE, PICTURE]).json
    shown = call(space, "GET", f"/avatar/{ids['avatar_id']}").json["looks"]
    assert [look["status"] for look in shown] == ["ready"] * count
    assert shown[0]["id"] == ids["look_id"]
    assert space.credits_spent == 0


ADA = {"avatar_id": "avtr_public_ada", "look_id": "look_public_ada"}


@pytest.mark.parametrize(("copies", "avatars"), [("none", 1), ("one", 1), ("each", 2)])
def test_an_edit_of_a_public_avatar_can_copy_it(copies: Any, avatars: int) -> None:
    """The new looks are in no copy, in one, or in a copy each; an avatar of the workspace is not copied.

    A copy has the avatar's name and looks, is listed before the public catalogue, and is edited as any other.
    """
    space = Space(forms=AnswerForms(copies=copies), duration=lambda *_: 0.0)
    made = [call(space, "POST", "/avatar/edit", **ADA, prompt="x").json for _ in range(2)]
    again = call(space, "POST", "/avatar/edit", **made[0], prompt="y").json
    assert len({ref["avatar_id"] for ref in made}) == avatars
    assert (made[0]["avatar_id"] == ADA["avatar_id"]) == (copies == "none")
    assert again["avatar_id"] == made[0]["avatar_id"]
    copy = call(space, "GET", f"/avatar/{made[0]['avatar_id']}").json
    assert copy["name"] == "Ada"
    assert [look["id"] for look in copy["looks"]][-1] == again["look_id"]
    public = call(space, "GET", "/avatar/list", onlyPublic="true").json
    assert (made[0]["avatar_id"] in {look["avatar_id"] for look in public}) == (copies == "none")
    assert space.credits_spent == 6


def test_an_accepted_post_can_be_answered_200() -> None:
    """``created`` is the HTTP status of an accepted POST."""
    space = Space(forms=AnswerForms(created=200))
    assert call(space, "POST", "/avatar/create", imageUrls=[PICTURE]).status == 200


def test_a_result_can_be_the_picture_alone() -> None:
    """With ``result="picture"``, a ready look's result holds the address of its picture and nothing else."""
    space = Space(forms=AnswerForms(result="picture"))
    ids = call(space, "POST", "/avatar/create", imageUrls=[PICTURE]).json
    assert list(call(space, "GET", "/avatar/status", **ids).json["result"]) == ["thumbnail_url"]


def test_a_failed_look_has_the_chosen_code() -> None:
    """``failure_code`` is the code of a look that failed."""
    space = Space(forms=AnswerForms(failure_code="LOOK_GENERATION_FAILED"), duration=lambda *_: 1.0)
    ids = call(space, "POST", "/avatar/create", prompt="[fail]").json
    assert call(space, "GET", "/avatar/status", 2, **ids).json["error"]["code"] == "LOOK_GENERATION_FAILED"


SHORT = {"error": "Prompt is required", "code": "MISSING_PROMPT"}
DETAILS = {
    "error": "Validation failed",
    "details": [{"message": "Prompt is required", "code": "MISSING_PROMPT"}],
}


@pytest.mark.parametrize(("errors", "body"), [("both", SHORT), ("short", SHORT), ("details", DETAILS)])
def test_a_short_refusal_can_have_each_form(errors: Any, body: Any) -> None:
    """``errors`` decides the body of a refusal that the API reference shows in the short form."""
    space = Space(forms=AnswerForms(errors=errors))
    assert call(space, "POST", "/avatar/create", prompt="").json == body


@pytest.mark.parametrize("errors", ["both", "short", "details"])
def test_a_refusal_with_details_can_have_each_form(errors: Any) -> None:
    """``errors`` decides the body of a refusal that the API reference shows with details."""
    space = Space(forms=AnswerForms(errors=errors))
    body = call(space, "POST", "/avatar/create", prompt="Alex", style="painted").json
    assert ("details" in body) is (errors != "short")
    assert body.get("code") == ("INVALID_VALUE" if errors == "short" else None)


@pytest.mark.parametrize(
    ("codes", "found"),
    [
        ("both", ("invalid_api_key", "MISSING_PROMPT")),
        ("upper", ("INVALID_API_KEY", "MISSING_PROMPT")),
        ("lower", ("invalid_api_key", "missing_prompt")),
    ],
)
def test_codes_have_the_chosen_case(codes: Any, found: tuple[str, str]) -> None:
    """``codes`` decides the case of letters of error codes."""
    space = Space(forms=AnswerForms(codes=codes))
    refused = space.respond(IncomingRequest("GET", "/avatar/list", {}, None, "Bearer wrong"), 0.0)
    assert (refused.json["code"], call(space, "POST", "/avatar/create", prompt="").json["code"]) == found


@pytest.mark.parametrize(
    ("reset", "value"),
    [("unix", "1700000060"), ("milliseconds", "1700000060000"), ("seconds", "60"), ("none", None)],
)
def test_a_reset_has_the_chosen_form(reset: Any, value: str | None) -> None:
    """``reset`` decides the form of X-RateLimit-Reset."""
    space = Space(forms=AnswerForms(reset=reset))
    space.epoch = 1_700_000_000.0
    assert call(space, "GET", "/avatar/list").headers.get("X-RateLimit-Reset") == value


def test_the_quota_can_be_of_another_time_and_be_told_by_no_header() -> None:
    """Two requests in 6 s: the third is throttled, and counts again 6 s after the first.."""
    space = Space(requests_per_minute=2, quota_window=6.0, forms=AnswerForms(quota_headers="none"))
    answers = [call(space, "GET", "/avatar/list", now) for now in (0.0, 1.0, 5.9, 6.1)]
    assert [answer.status for answer in answers] == [200, 200, 429, 200]
    assert not any(name.startswith("X-RateLimit") for answer in answers for name in answer.headers)


@pytest.mark.parametrize(
    ("shown", "statuses"),
    [("all", {200, 404, 429}), ("unless_429", {200, 404}), ("success", {200}), ("none", set())],
)
def test_quota_headers_are_on_the_answers_of_the_chosen_form(shown: Any, statuses: set[int]) -> None:
    """``quota_headers`` decides which statuses have the quota's headers; a fault's answers follow it too."""
    space = Space(requests_per_minute=2, forms=AnswerForms(quota_headers=shown))
    answers = [call(space, "GET", path) for path in ("/avatar/list", "/avatar/x", "/avatar/list")]
    request = IncomingRequest("GET", "/avatar/list", {}, None, f"Bearer {space.api_key}")
    throttled = space.receive(request, 0.0, Fault.RATE_LIMITED).response
    assert throttled is not None
    answers.append(throttled)
    assert [answer.status for answer in answers] == [200, 404, 429, 429]
    assert {one.status for one in answers if "X-RateLimit-Limit" in one.headers} == statuses
    assert {one.status for one in answers if "X-RateLimit-Reset" in one.headers} == statuses


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
def test_a_throttled_request_can_count(kind: Any) -> None:
    """With ``throttled_counts`` a sliding quota is spent as long as requests go on; fixed minutes end all the
    same. Without it a request that is throttled changes nothing."""

    def passed(counts: bool) -> list[int]:
        forms = AnswerForms(throttled_counts=counts)
        space = Space(requests_per_minute=2, quota=kind, forms=forms)
        seconds = (0, 1, 40, 70, 95, 129)
        return [now for now in seconds if call(space, "GET", "/avatar/list", now).status == 200]

    assert passed(counts=False) == [0, 1, 70, 95]
    assert passed(counts=True) == ([0, 1, 70] if kind == "sliding" else [0, 1, 70, 95])


def test_a_reset_can_be_a_minute_from_now_always() -> None:
    """With ``reset_moves`` the named reset says nothing about when the quota has room again."""
    space = Space(forms=AnswerForms(reset_moves=True))
    space.epoch = 1_700_000_000.0
    resets = [call(space, "GET", "/avatar/list", now).headers["X-RateLimit-Reset"] for now in (0, 10, 20)]
    assert resets == ["1700000060", "1700000070", "1700000080"]
