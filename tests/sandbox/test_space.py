"""The fake workspace as pure state: answers, money, time and quota."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_async import sandbox
from hoox_async._api import requests
from hoox_async.sandbox import Charge, Space
from hoox_async.sandbox.answers import HttpResponse
from hoox_async.sandbox.received_requests import IncomingRequest

PICTURE = "https://example.com/face.jpg"


def call(space: Space, method: str, path: str, *, key: str | None = None, **fields: Any) -> IncomingRequest:
    params = fields if method == "GET" else {}
    body = fields if method == "POST" else None
    return IncomingRequest(method, path, params, body, f"Bearer {key or space.api_key}")


def post(space: Space, path: str, now: float = 0.0, **body: Any) -> HttpResponse:
    return space.respond(call(space, "POST", path, **body), now)


def get(space: Space, path: str, now: float = 0.0, **params: str) -> HttpResponse:
    return space.respond(call(space, "GET", path, **params), now)


def from_images(space: Space, now: float = 0.0) -> dict[str, str]:
    ids: dict[str, str] = post(space, "/avatar/create", now, imageUrls=[PICTURE], name="Jordan").json
    return ids


def status(space: Space, ids: Mapping[str, str], now: float) -> Any:
    return get(space, "/avatar/status", now, **ids).json


def fixed(seconds: float) -> Space:
    return Space(duration=lambda index, body: seconds, requests_per_minute=None)


def test_a_prompt_avatar_goes_from_pending_over_processing_to_completed() -> None:
    """The first look of a prompt avatar settles after its generation time, with a thumbnail."""
    space = fixed(40)
    made = post(space, "/avatar/create", 0, prompt="Young entrepreneur", name="Alex")
    assert made.status == 201
    assert status(space, made.json, 1)["status"] == "pending"
    assert status(space, made.json, 39)["status"] == "processing"
    done = status(space, made.json, 40)
    assert done["status"] == "completed"
    assert done["result"]["thumbnail_url"].endswith(".jpg")
    assert {key: done[key] for key in ("avatar_id", "look_id")} == made.json


@pytest.mark.parametrize("spelling", ["imageUrls", "images"])
def test_an_image_avatar_is_ready_at_once_and_free(spelling: str) -> None:
    """Both names of the images' field are accepted, and nothing is charged."""
    space = Space()
    made = post(space, "/avatar/create", 0, **{spelling: [PICTURE]})
    assert status(space, made.json, 0)["status"] == "completed"
    assert space.credits_spent == 0
    assert [charge.ref.look_id for charge in space.ledger] == [made.json["look_id"]]


@pytest.mark.parametrize(
    ("fields", "credits"),
    [({}, "2"), ({"resolution": "1K"}, "2"), ({"resolution": "4K"}, "4"), ({"upscale": True}, "3.5")],
)
def test_an_edit_costs_what_the_price_list_says(fields: dict[str, Any], credits: str) -> None:
    """2 credits, 4 at 4K, 1.5 more with upscale; the ledger keeps the request."""
    space = Space()
    ids = from_images(space)
    edit = post(space, "/avatar/edit", 0, **ids, prompt="podcast", **fields)
    request = {**ids, "prompt": "podcast", **fields, "endpoint": "edit"}
    assert space.ledger[-1] == Charge(Decimal(credits), edit.json["avatar_id"], edit.json["look_id"], request)
    assert space.credits_spent == Decimal(credits)


def test_too_few_credits_are_402_and_cost_nothing() -> None:
    """A request over the balance is refused, and a cheaper one is still accepted."""
    space = Space(credits="3.4")
    ids = from_images(space)
    answer = post(space, "/avatar/edit", 0, **ids, prompt="x", upscale=True)
    assert (answer.status, answer.json["code"]) == (402, "INSUFFICIENT_CREDITS")
    assert post(space, "/avatar/edit", 0, **ids, prompt="x").status == 201
    assert space.balance == Decimal("1.4")


@pytest.mark.parametrize("authorization", [None, "Bearer hx_live_other", "hx_live_other"])
def test_a_wrong_or_missing_key_is_401(authorization: str | None) -> None:
    """Only the workspace's own key is accepted, and other requests do not count against its quota."""
    space = Space(requests_per_minute=1)
    answer = space.respond(IncomingRequest("GET", "/avatar/list", {}, None, authorization), 0)
    assert (answer.status, answer.json["code"]) == (401, "invalid_api_key")
    assert space.window.remaining(0) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "MISSING_PROMPT"),
        ({"prompt": " "}, "MISSING_PROMPT"),
        ({"imageUrls": []}, "NO_IMAGE_AVAILABLE"),
        ({"imageUrls": ["./me.jpg"]}, "INVALID_VALUE"),
        ({"prompt": "x", "style": "cartoon"}, "INVALID_VALUE"),
        ({"prompt": "x", "format": "square"}, "INVALID_VALUE"),
        ({"prompt": "x", "resolution": "8K"}, "INVALID_VALUE"),
        ({"prompt": "x", "name": 3}, "INVALID_VALUE"),
        ({"prompt": "x", "webhook_url": "ftp://example.com"}, "INVALID_WEBHOOK_URL"),
    ],
)
def test_a_bad_creation_is_400_with_its_code(body: dict[str, Any], code: str) -> None:
    """Each documented validation code, in one of the API's two shapes, and no charge."""
    space = Space()
    answer = post(space, "/avatar/create", **body)
    found = answer.json.get("code") or answer.json["details"][0]["code"]
    assert (answer.status, found) == (400, code)
    assert space.ledger == []


@pytest.mark.parametrize(
    ("change", "status_code", "code"),
    [
        ({"avatar_id": None}, 400, "MISSING_AVATAR_ID"),
        ({"look_id": ""}, 400, "MISSING_LOOK_ID"),
        ({"prompt": None}, 400, "MISSING_PROMPT"),
        ({"upscale": "yes"}, 400, "INVALID_VALUE"),
        ({"look_name": 7}, 400, "INVALID_VALUE"),
        ({"tags": "a,b"}, 400, "INVALID_VALUE"),
        ({"avatar_id": "avtr_x"}, 404, None),
        ({"look_id": "look_x"}, 404, None),
    ],
)
def test_a_bad_edit_is_refused_with_its_code(
    change: dict[str, Any], status_code: int, code: str | None
) -> None:
    """What is missing is 400, what is unknown is 404, and neither is charged."""
    space = Space()
    body = {**from_images(space), "prompt": "x", **change}
    answer = post(space, "/avatar/edit", **body)
    found = answer.json.get("code") or answer.json.get("details", [{}])[0].get("code")
    assert (answer.status, found) == (status_code, code)
    assert len(space.ledger) == 1


def test_an_edit_of_a_look_without_a_picture_is_refused() -> None:
    """A look that is still pending has no image to edit."""
    space = fixed(40)
    made = post(space, "/avatar/create", 0, prompt="x").json
    assert post(space, "/avatar/edit", 1, **made, prompt="y").json["code"] == "NO_IMAGE_AVAILABLE"
    assert post(space, "/avatar/edit", 41, **made, prompt="y").status == 201


@pytest.mark.parametrize("body", [None, [], "x", 3])
def test_a_body_that_is_no_object_is_400(body: Any) -> None:
    """JSON that is no object, or no JSON at all, is a validation error."""
    space = Space()
    answer = space.respond(IncomingRequest("POST", "/avatar/create", {}, body, f"Bearer {space.api_key}"), 0)
    assert answer.status == 400


def test_an_avatars_response_has_all_looks_with_the_second_pair_of_status_words() -> None:
    """`GET /avatar/{id}` says ready, pending and error, and a look's own response has the reason."""
    space = fixed(40)
    ids = from_images(space)
    slow = post(space, "/avatar/edit", 0, **ids, prompt="a").json
    bad = post(space, "/avatar/edit", 0, **ids, prompt="b [fail]").json
    avatar = get(space, f"/avatar/{ids['avatar_id']}", 39).json
    assert [look["status"] for look in avatar["looks"]] == ["ready", "pending", "pending"]
    avatar = get(space, f"/avatar/{ids['avatar_id']}", 41).json
    assert [look["status"] for look in avatar["looks"]] == ["ready", "ready", "error"]
    assert avatar["looks"][1]["thumbnail"].endswith(f"{slow['look_id']}.jpg")
    look = get(space, f"/avatar/{ids['avatar_id']}/look/{bad['look_id']}", 41).json
    assert (look["status"], look["error_message"]) == ("error", "Edit failed")
    assert status(space, bad, 41)["error"]["code"] == "GENERATION_FAILED"


def test_the_list_has_own_looks_first_and_filters_them() -> None:
    """Own ready looks, then the public catalogue; filters take several values."""
    space = fixed(40)
    ids = from_images(space)
    post(space, "/avatar/edit", 0, **ids, prompt="a", style="selfie")
    entries = get(space, "/avatar/list", 1).json
    assert entries[0]["id"] == ids["look_id"]
    assert "status" not in entries[0]
    assert len(entries) > 1
    assert len(get(space, "/avatar/list", 41).json) == len(entries) + 1
    public = get(space, "/avatar/list", 41, onlyPublic="true").json
    assert ids["avatar_id"] not in {entry["avatar_id"] for entry in public}
    some = get(space, "/avatar/list", 41, place="kitchen,park", selfie="false").json
    assert {entry["place"] for entry in some} == {"kitchen", "park"}


WORDS = {  # the API reference's filters
    "gender": {"male", "female"},
    "age_range": {"senior", "adult", "young_adult", "adolescent"},
    "ethnicity": {
        "black-or-african-american", "white-western-european", "white-eastern-european", "hispanic-or-latino",
        "middle-eastern-or-north-african", "east-asian", "southeast-asian", "south-asian",
    },
    "hair_color": {"black", "brown", "blonde", "red", "gray", "white", "bald"},
    "place": {"car", "office", "kitchen", "studio", "street", "park"},
    "action": {"presenting", "driving", "relaxing", "calling"},
    "emotion": {"neutral"},
}  # fmt: skip


def test_looks_have_the_values_of_the_filters_in_the_api_reference() -> None:
    """A program that filters by the reference's values finds looks in the sandbox too."""
    space = fixed(40)
    for number in range(60):
        post(space, "/avatar/create", 0, prompt=f"host {number}", style="podcast")
    entries = get(space, "/avatar/list", 400).json
    for name, words in WORDS.items():
        assert {entry[name] for entry in entries} <= words
    assert {entry["age_range"] for entry in entries} == WORDS["age_range"]
    assert {entry["ethnicity"] for entry in entries} == WORDS["ethnicity"]
    presenting = get(space, "/avatar/list", 400, action="presenting", accessories="microphone").json
    assert len(presenting) >= 60
    for switch in ("selfie", "onlyPublic"):
        assert get(space, "/avatar/list", 400, **{switch: "maybe"}).status == 400


@pytest.mark.parametrize(
    ("vocabulary", "at_first", "words"),
    [
        ("both", ("pending", "pending"), {("completed", "ready"), ("failed", "error")}),
        ("completed", ("pending", "pending"), {("completed", "completed"), ("failed", "failed")}),
        ("ready", ("pending", "pending"), {("ready", "ready"), ("error", "error")}),
    ],
)
def test_a_vocabulary_decides_the_status_words_of_all_responses(
    vocabulary: Any, at_first: Any, words: Any
) -> None:
    """ "both" mixes them as the reference does, the others use one pair in status, avatar and look."""
    space = Space(duration=lambda *_: 40, requests_per_minute=None, vocabulary=vocabulary)

    def words_of(ids: Mapping[str, str], now: float) -> tuple[str, str]:
        group = get(space, f"/avatar/{ids['avatar_id']}", now).json["looks"][0]["status"]
        look = get(space, f"/avatar/{ids['avatar_id']}/look/{ids['look_id']}", now).json["status"]
        assert group == look
        return status(space, ids, now)["status"], group

    made = [post(space, "/avatar/create", 0, prompt=prompt).json for prompt in ("good", "bad [fail]")]
    assert [words_of(ids, 1) for ids in made] == [at_first, at_first]
    assert {words_of(ids, 41) for ids in made} == words
    in_making = status(space, post(space, "/avatar/create", 50, prompt="a").json, 80)["status"]
    assert in_making == ("pending" if vocabulary == "ready" else "processing")


PRICE_LIST = [  # "Avatar Workflow"; 1K and upscale: the API reference
    ("create", {}, "2"),
    ("create", {"resolution": "1K"}, "2"),
    ("create", {"resolution": "2K"}, "2"),
    ("create", {"resolution": "4K"}, "4"),
    ("edit", {}, "2"),
    ("edit", {"resolution": "1K"}, "2"),
    ("edit", {"resolution": "4K"}, "4"),
    ("edit", {"upscale": True}, "3.5"),
    ("edit", {"resolution": "4K", "upscale": True}, "5.5"),
]


@pytest.mark.parametrize(("endpoint", "fields", "price"), PRICE_LIST)
def test_the_sandbox_has_prices_of_its_own(
    endpoint: str, fields: dict[str, Any], price: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changing the client's prices changes no charge, so that a test finds a wrong price."""
    monkeypatch.setattr(requests, "PRICES", {size: Decimal(99) for size in requests.Resolution})
    monkeypatch.setattr(requests, "UPSCALE_PRICE", Decimal(99))
    space = fixed(40)
    ids = from_images(space) if endpoint == "edit" else {}
    assert post(space, f"/avatar/{endpoint}", 1, prompt="a", **ids, **fields).status == 201
    assert space.ledger[-1].credits == Decimal(price)


def test_the_sandbox_does_not_import_the_clients_requests() -> None:
    """No module of the sandbox imports the client's request classes, which have its prices and values."""
    folder = Path(sandbox.__file__).parent
    for path in folder.glob("*.py"):
        assert "_api.requests" not in path.read_text(encoding="utf-8"), path.name


@pytest.mark.parametrize("path", ["/avatar/avtr_x", "/avatar/avtr_x/look/look_x", "/video/list", "/"])
def test_an_unknown_avatar_look_or_path_is_404(path: str) -> None:
    """Each of them is answered 404."""
    assert get(Space(), path).status == 404


@pytest.mark.parametrize(
    ("params", "code"), [({}, "MISSING_AVATAR_ID"), ({"avatar_id": "a"}, "MISSING_LOOK_ID")]
)
def test_a_status_request_needs_both_ids(params: dict[str, str], code: str) -> None:
    """Without one of them it is 400 with the code of the missing field."""
    answer = get(Space(), "/avatar/status", 0, **params)
    assert (answer.status, answer.json["code"]) == (400, code)


def test_all_endpoints_count_against_the_quota_and_send_its_headers() -> None:
    """Each response has the three headers; a request over the limit is 429 and does not count."""
    space = Space(requests_per_minute=3)
    space.epoch = 1_000_000.0
    ids = from_images(space, 0.0)
    left = [get(space, "/avatar/status", 10.0, **ids), get(space, "/avatar/nobody", 20.5)]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in left] == ["1", "0"]
    over = get(space, "/avatar/list", 30.0)
    assert (over.status, over.json["code"]) == (429, "rate_limit_exceeded")
    assert over.headers["X-RateLimit-Limit"] == "3"
    assert over.headers["X-RateLimit-Reset"] == "1000060"
    assert "Retry-After" not in over.headers
    assert over.headers["Date"] == "Mon, 12 Jan 1970 13:47:10 GMT"
    assert get(space, "/avatar/list", 59.9).status == 429
    assert get(space, "/avatar/list", 60.0).status == 200


def test_a_429_can_come_with_retry_after() -> None:
    """With `retry_after=True` a 429 has the whole seconds until a request is allowed."""
    space = Space(requests_per_minute=1, retry_after=True)
    get(space, "/avatar/list", 0.0)
    assert get(space, "/avatar/list", 10.5).headers["Retry-After"] == "50"


@given(st.lists(st.floats(0, 20), max_size=200), st.integers(1, 20))
def test_the_sliding_quota_allows_no_more_than_its_limit_in_any_minute(gaps: list[float], limit: int) -> None:
    """For any pattern of requests the sliding quota allows no more than its limit in any minute."""
    space = Space(requests_per_minute=limit)
    now, passed = 0.0, []
    for gap in gaps:
        now += gap
        if get(space, "/avatar/nobody", now).status != 429:
            passed.append(now)
    for end, first in zip(passed[limit:], passed, strict=False):
        assert end - first >= 60.0


def test_the_fixed_quota_allows_its_whole_limit_when_a_new_window_starts() -> None:
    """A fixed quota allows twice its limit around the border of two windows."""
    space = Space(requests_per_minute=2, quota="fixed")
    answers = [get(space, "/avatar/x", now).status for now in (0.0, 59.0, 59.5, 60.0, 60.1, 60.2)]
    assert answers == [404, 404, 429, 404, 404, 429]


def test_without_a_quota_there_are_no_quota_headers() -> None:
    """With `requests_per_minute=None` all requests are allowed, and no quota headers are sent."""
    space = Space(requests_per_minute=None)
    answers = [get(space, "/avatar/x") for _ in range(300)]
    assert {answer.status for answer in answers} == {404}
    assert "X-RateLimit-Limit" not in answers[0].headers


def test_held_looks_settle_only_on_demand() -> None:
    """A look that settled before `hold` stays settled; `release` settles those whose time came in between."""
    space = fixed(10)
    ids = from_images(space)
    first = post(space, "/avatar/edit", 0, **ids, prompt="a").json
    space.hold(12)
    second, third = (post(space, "/avatar/edit", 13, **ids, prompt="b").json for _ in range(2))
    space.settle(f"{second['avatar_id']}:{second['look_id']}", "failed", 14)
    words = [status(space, look, 100)["status"] for look in (first, second, third)]
    assert words == ["completed", "failed", "processing"]
    space.release(200)
    assert status(space, third, 200)["status"] == "completed"
    assert space.done_at(third["look_id"]) == 200


def test_a_settled_look_can_be_made_pending_again() -> None:
    """A look that is ready becomes pending by `settle(…, "pending")`, until it is settled again."""
    space = Space()
    ids = from_images(space)
    space.settle(ids["look_id"], "pending", 5)
    assert status(space, ids, 6)["status"] == "pending"
    assert space.done_at(ids["look_id"]) is None


def test_settling_an_unknown_look_is_a_key_error() -> None:
    """`settle` of a look that does not exist raises a KeyError."""
    with pytest.raises(KeyError):
        Space().settle("avtr_x:look_x", "ready", 0)


def test_settling_in_a_way_that_there_is_not_is_a_value_error() -> None:
    """A test with a wrong word, such as the API's own "completed", fails at once."""
    space = Space()
    ids = from_images(space)
    with pytest.raises(ValueError, match="'completed' is not usable; expected one of ready, failed, pending"):
        space.settle(ids["look_id"], "completed", 5)  # type: ignore[arg-type]


def test_generation_times_are_log_normal_and_divided_by_speed() -> None:
    """The median of generation times is `median` divided by `speed`, and a seed gives the same times."""

    def durations(speed: float) -> tuple[list[float], list[str]]:
        space = Space(rng=Random(7), median=40, sigma=0.5, speed=speed, requests_per_minute=None)
        ids = from_images(space)
        looks = [post(space, "/avatar/edit", 0, **ids, prompt="x").json["look_id"] for _ in range(999)]
        return sorted(space.done_at(look) or 0 for look in looks), looks

    times, looks = durations(1.0)
    assert 37 < times[499] < 43
    assert 22 < times[159] < 27
    quick, same = durations(10.0)
    assert quick[499] == pytest.approx(times[499] / 10)
    assert same == looks


def test_a_callable_can_decide_the_time_of_each_look() -> None:
    """`duration` gets the look's number and the request's JSON."""
    seen: list[tuple[int, str]] = []

    def duration(index: int, body: Mapping[str, Any]) -> float:
        seen.append((index, body["prompt"]))
        return 5.0 + index

    space = Space(duration=duration, speed=2)
    ids = from_images(space)
    looks = [post(space, "/avatar/edit", 1, **ids, prompt=text).json["look_id"] for text in ("a", "b")]
    assert seen == [(0, "a"), (1, "b")]
    assert [space.done_at(look) for look in looks] == [3.5, 4.0]


def test_about_the_share_failures_of_looks_fails() -> None:
    """Of 500 looks about a fifth fail at `failures=0.2`."""
    space = Space(failures=0.2, requests_per_minute=None)
    ids = from_images(space)
    for _ in range(500):
        post(space, "/avatar/edit", 0, **ids, prompt="x")
    avatar = get(space, f"/avatar/{ids['avatar_id']}", 10_000).json
    assert 70 < [look["status"] for look in avatar["looks"]].count("error") < 130


def test_the_ledger_has_exactly_the_accepted_requests() -> None:
    """Each charge is a look of the workspace, and the balance is reduced by their prices."""
    space = Space(credits=11, requests_per_minute=None)
    ids = from_images(space)
    for _ in range(9):
        post(space, "/avatar/edit", 0, **ids, prompt="x")
    assert len(space.ledger) == 6
    assert space.balance == 1
    looks = json.loads(get(space, f"/avatar/{ids['avatar_id']}").body)["looks"]
    assert [look["id"] for look in looks] == [charge.look_id for charge in space.ledger]
