"""Whole answers: accepted, refused or unknown for a POST, a model or an error for a read; and refusals."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import request_strategies as our
from hypothesis import example, given
from hypothesis import strategies as st

from hoox_async import LookRef, LookStatus
from hoox_async._api import responses
from hoox_async._api.endpoints import WireResponse
from hoox_async._api.models import ServerQuota
from hoox_async._api.responses import Refused, body_text, read_refusal, short_text
from hoox_async.errors import (
    ApiError,
    AuthenticationError,
    BadRequest,
    Conflict,
    HooxError,
    InsufficientCredits,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    RateLimited,
    ServerError,
    UnexpectedResponse,
)

REF = LookRef("avtr_abc", "look_123")
DATE = "Tue, 01 Jul 2025 12:00:00 GMT"
AT = datetime(2025, 7, 1, 12, 0, 0, tzinfo=UTC)


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> WireResponse:
    """An answer of the API: bytes as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return WireResponse(status, headers or {}, data)


# --- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("pending", LookStatus.PENDING),
        ("processing", LookStatus.PROCESSING),
        ("completed", LookStatus.READY),
        ("ready", LookStatus.READY),
        ("failed", LookStatus.FAILED),
        ("error", LookStatus.FAILED),
        ("COMPLETED", LookStatus.READY),
        (" Ready ", LookStatus.READY),
        ("queued", LookStatus.UNRECOGNIZED),
        ("", LookStatus.UNRECOGNIZED),
    ],
)
def test_both_vocabularies_of_a_status_are_read(word: str, status: LookStatus) -> None:
    """`completed` means READY and `error` FAILED, in any case of letters; another word is UNRECOGNIZED."""
    assert responses.look_status(word) is status


def test_error_codes_are_compared_in_any_case() -> None:
    """Codes are equal whatever the case of their letters; what is no text equals no code."""
    assert responses.same_code("space_not_found", "SPACE_NOT_FOUND")
    assert responses.same_code("PLAN_REQUIRED", "plan_required")
    assert not responses.same_code("SPACE_NOT_FOUND_2", "SPACE_NOT_FOUND")
    assert not responses.same_code(None, "SPACE_NOT_FOUND")
    assert not responses.same_code(404, "SPACE_NOT_FOUND")


# --- answers to POSTs -------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_2xx_with_both_ids_is_the_new_look(status: int) -> None:
    """Any 2xx with an avatar's and a look's id is an accepted request, in both spellings."""
    body = {"avatar_id": "avtr_abc", "look_id": "look_new", "later": {"more": 1}}
    assert responses.read_accepted(answer(body, status), REF) == LookRef("avtr_abc", "look_new")
    camel = {"avatarId": "avtr_abc", "lookId": "look_new"}
    assert responses.read_accepted(answer(camel, status), None) == LookRef("avtr_abc", "look_new")


def test_an_accepted_edit_may_name_another_avatar() -> None:
    """The avatar that the API names is the look's: the edit was paid for, wherever its look is."""
    found = responses.read_accepted(answer({"avatar_id": "avtr_other", "look_id": "look_new"}), REF)
    assert found == LookRef("avtr_other", "look_new")


def test_an_accepted_edit_without_avatar_is_its_sources() -> None:
    """An edit makes a look of the source's avatar, so the answer need not name that."""
    assert responses.read_accepted(answer({"look_id": "look_new"}), REF) == LookRef("avtr_abc", "look_new")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>OK</html>",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"avatar_id": "a", "look_id": ' + b"9" * 5000 + b"}",
        [],
        None,
        "look_new",
        {},
        {"avatar_id": "a"},
        {"look_id": "l"},
        {"avatar_id": "a", "look_id": None},
        {"avatar_id": "a", "look_id": ""},
        {"avatar_id": "a", "look_id": 7},
        {"avatar_id": ["a"], "look_id": "l"},
        {"avatar_id": "a", "look_id": "l\ud800"},
        {"avatar_id": "a", "look_id": "l\n"},
        {"avatar_id": "a", "look_id": "l" * 513},
        {"avatar_id": "a", "id": "l"},
        {"error": "Not now", "code": "BUSY"},
    ],
)
@pytest.mark.parametrize("status", [200, 201])
def test_a_2xx_that_names_no_look_may_have_been_paid(body: Any, status: int) -> None:
    """A 2xx without both ids is OutcomeUnknown, with a short message, and never a refusal."""
    with pytest.raises(OutcomeUnknown) as caught:
        responses.read_accepted(answer(body, status), None)
    assert caught.value.charged == "maybe"
    assert len(str(caught.value)) < 500


def test_an_edit_that_is_answered_with_its_own_source_is_unknown() -> None:
    """An answer that names the edited look is OutcomeUnknown: else the old picture would pass for the new."""
    with pytest.raises(OutcomeUnknown, match="source"):
        responses.read_accepted(answer({"avatar_id": "avtr_abc", "look_id": "look_123"}), REF)


REFUSALS: list[tuple[int, type[ApiError]]] = [
    (400, BadRequest),
    (401, AuthenticationError),
    (402, InsufficientCredits),
    (403, PermissionDenied),
    (404, NotFound),
    (409, Conflict),
    (429, RateLimited),
]


@pytest.mark.parametrize(("status", "kind"), REFUSALS)
def test_a_refusal_of_a_post_was_not_charged(status: int, kind: type[ApiError]) -> None:
    """Each of the seven statuses that are not charged has its class and the API's own words."""
    refused = answer({"error": "No", "code": "WHY"}, status, {"retry-after": "7"})
    with pytest.raises(kind) as caught:
        responses.read_accepted(refused, None)
    error = caught.value
    assert (error.status, error.code, error.message, error.retry_after) == (status, "WHY", "No", 7.0)
    assert error.charged == "no"


def test_every_other_status_of_a_post_may_have_been_paid() -> None:
    """A POST with any other status is OutcomeUnknown, even where the answer has ids in it."""
    clear = {status for status, _ in REFUSALS}
    for status in range(100, 600):
        if status in clear or 200 <= status < 300:
            continue
        with pytest.raises(OutcomeUnknown):
            responses.read_accepted(answer({"avatar_id": "a", "look_id": "l"}, status), None)


def test_an_unknown_outcome_says_what_the_proxy_said() -> None:
    """The message of OutcomeUnknown has the words of a proxy's page without their HTML."""
    page = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
    with pytest.raises(OutcomeUnknown, match=r"HTTP 502: 502 Bad Gateway$"):
        responses.read_accepted(answer(page, 502), None)


@pytest.mark.parametrize(
    ("status", "code", "own"),
    [
        (400, "INVALID_VALUE", True),
        (400, None, True),
        (400, "space_not_found", False),
        (401, "invalid_api_key", False),
        (401, None, False),
        (402, "INSUFFICIENT_CREDITS", False),
        (402, None, False),
        (403, "plan_required", False),
        (403, "PLAN_REQUIRED", False),
        (403, None, True),
        (403, "not_yours", True),
        (404, "SPACE_NOT_FOUND", False),
        (404, "space_not_found", False),
        (404, None, True),
        (409, None, True),
        (429, None, False),
        (429, "rate_limit_exceeded", False),
    ],
)
def test_whether_a_refusal_concerns_one_item_alone(status: int, code: str | None, own: bool) -> None:
    """A refusal about the key, credits, plan, workspace or quota concerns every item of a batch."""
    assert responses.refusal_is_the_items_own(responses.api_error(status, code, "no")) is own


# --- answers to reads -------------------------------------------------------------------------

Read = Callable[[WireResponse], object]
READS: dict[str, Read] = {
    "status": lambda response: responses.read_status(response, REF),
    "avatar": lambda response: responses.read_avatar(response, "avtr_abc"),
    "look": lambda response: responses.read_look(response, REF),
    "looks": responses.read_looks,
}
each_read = pytest.mark.parametrize("read", READS.values(), ids=READS.keys())


@each_read
@pytest.mark.parametrize(("status", "kind"), [*REFUSALS, (405, ApiError), (422, ApiError)])
def test_a_read_answered_with_4xx_is_an_api_error(read: Read, status: int, kind: type[ApiError]) -> None:
    """A 4xx is an ApiError of the status's class, or a plain one where the status has none."""
    with pytest.raises(kind) as caught:
        read(answer({"error": "Look not found"}, status))
    assert caught.value.message == "Look not found"


@each_read
@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_a_read_answered_with_5xx_is_a_server_error(read: Read, status: int) -> None:
    """A 5xx is a ServerError with the seconds of the server's Retry-After."""
    with pytest.raises(ServerError) as caught:
        read(answer(b"<h1>Bad Gateway</h1>", status, {"retry-after": "3"}))
    assert (caught.value.status, caught.value.message, caught.value.retry_after) == (
        status,
        "Bad Gateway",
        3.0,
    )


@each_read
@pytest.mark.parametrize("status", [100, 301, 304, 600, 999])
def test_a_read_with_any_other_status_is_unexpected(read: Read, status: int) -> None:
    """A redirect, which is not followed, or a number that is no HTTP status is an UnexpectedResponse."""
    with pytest.raises(UnexpectedResponse) as caught:
        read(answer({"status": "ready"}, status))
    assert caught.value.status == status


@each_read
@pytest.mark.parametrize("body", [b"", b"no", b"{", b"[" * 100_000, b"\x00" * (1 << 20), 7, "ready", None])
def test_a_read_with_an_unreadable_body_is_unexpected(read: Read, body: Any) -> None:
    """A body that is no JSON, or is nested too deeply, is an UnexpectedResponse with a short message."""
    with pytest.raises(UnexpectedResponse) as caught:
        read(answer(body))
    assert caught.value.status == 200
    assert len(str(caught.value)) < 500


def test_each_read_gives_its_model() -> None:
    """A good answer to each of the four reads becomes the model that belongs to it."""
    look = {"id": "look_123", "avatar_id": "avtr_abc", "status": "ready"}
    assert (
        responses.read_status(answer({"look_id": "look_123", "status": "ready"}), REF).status
        is LookStatus.READY
    )
    assert responses.read_avatar(answer({"id": "avtr_abc", "looks": [look]}), "avtr_abc").looks[0].ref == REF
    assert responses.read_look(answer(look), REF).ref == REF
    assert [found.ref for found in responses.read_looks(answer([look]))] == [REF]


def test_the_place_in_the_json_is_named() -> None:
    """The message about an answer of a wrong form says where in the JSON it is wrong."""
    body = {"id": "avtr_abc", "looks": [{"id": "look_1"}, {"id": None}]}
    with pytest.raises(UnexpectedResponse, match=r"look_id.*null.*\$\.looks\[1\]\.ref"):
        responses.read_avatar(answer(body), "avtr_abc")
    with pytest.raises(UnexpectedResponse, match=r"\$\.status"):
        responses.read_status(answer({"status": 5}), REF)


# --- headers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("0", 0.0),
        ("99999999", 3600.0),
        ("9" * 400, 3600.0),
        ("Tue, 01 Jul 2025 12:00:30 GMT", 30.0),
        ("Tue, 01 Jul 2025 14:00:30 +0200", 30.0),
        ("Tue, 01 Jul 2025 11:00:00 GMT", 0.0),
        ("Wed, 01 Jul 2026 11:00:00 GMT", 3600.0),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("1_0", None),
        ("٣", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str, seconds: float | None) -> None:
    """Seconds and dates are read, up to an hour; a value that makes no sense is None."""
    assert responses.retry_after({"retry-after": value, "date": DATE}) == seconds


def test_a_date_in_retry_after_counts_from_the_answers_own() -> None:
    """A date is counted from the answer's own Date; without one it says nothing."""
    headers = {"retry-after": "Tue, 01 Jul 2025 12:00:30 GMT"}
    assert responses.retry_after({**headers, "date": "Tue, 01 Jul 2025 12:00:20 GMT"}) == 10.0
    assert responses.retry_after({**headers, "date": "today"}) is None
    assert responses.retry_after(headers) is None
    assert responses.retry_after({}) is None


def quota_headers(**values: str) -> dict[str, str]:
    return {f"x-ratelimit-{name}": value for name, value in values.items()}


def test_the_reset_is_counted_from_the_answers_own_date() -> None:
    """The quota's reset is counted from the answer's Date, whatever our own clock says."""
    headers = quota_headers(limit="100", remaining="95", reset=str(int(AT.timestamp()) + 42))
    wrong = datetime(2031, 1, 1, tzinfo=UTC)
    assert responses.server_quota({**headers, "date": DATE}, wrong) == ServerQuota(100, 95, 42.0)
    assert responses.server_quota(headers, AT) == ServerQuota(100, 95, 42.0)
    assert responses.server_quota(headers) == ServerQuota(100, 95, None)


@pytest.mark.parametrize(
    ("headers", "quota"),
    [
        ({}, None),
        (quota_headers(limit="many", remaining="-1", reset="later"), None),
        (quota_headers(limit="0"), None),
        (quota_headers(limit="1" * 30, remaining="1.5"), None),
        (quota_headers(remaining="0"), ServerQuota(None, 0, None)),
        (quota_headers(limit=" 60 "), ServerQuota(60, None, None)),
        (quota_headers(reset=str(int(AT.timestamp()) - 2)), ServerQuota(None, None, 0.0)),
        (quota_headers(reset=str(int(AT.timestamp()) * 1000)), None),
        (quota_headers(reset="30"), None),
        (quota_headers(reset="nan"), None),
        (quota_headers(reset="9" * 400), None),
    ],
)
def test_each_quota_header_counts_for_itself(headers: dict[str, str], quota: ServerQuota | None) -> None:
    """A quota header that makes no sense is None and leaves the others valid."""
    assert responses.server_quota({**headers, "date": DATE}) == quota


# --- anything at all --------------------------------------------------------------------------

names = st.sampled_from(
    ["id", "look_id", "lookId", "avatar_id", "status", "looks", "result", "error", "code", "message"]
) | st.sampled_from(["details", "field", "thumbnail", "thumbnail_url", "error_message", "name", "selfie"])
api_words = st.sampled_from(["avtr_abc", "look_123", "ready", "completed", "FAILED", "pending", "new"])
answers_like = st.recursive(
    our.scalars | api_words | st.just(float("nan")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5),
    max_leaves=15,
)
bodies = st.binary(max_size=200) | (answers_like | our.json_values).map(
    lambda body: json.dumps(body).encode()
)
header_texts = (
    st.text(max_size=30)
    | st.integers().map(str)
    | st.datetimes().map(lambda at: at.strftime("%a, %d %b %Y %H:%M:%S GMT"))
)
headers_like = st.dictionaries(
    st.sampled_from(
        ["retry-after", "date", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "etag"]
    ),
    header_texts,
)
statuses = st.sampled_from([200, 201, 400, 402, 404, 429, 500, 503]) | st.integers(100, 599)


@given(statuses, headers_like, bodies)
@example(200, {}, b'{"looks": [' + b"[" * 2000)
@example(400, {}, b'{"error": "\\ud800", "code": "\\ud800"}')
def test_any_answer_is_a_value_or_our_error(status: int, headers: dict[str, str], body: bytes) -> None:
    """Any status, headers and body give a model or one of the library's own errors."""
    response = WireResponse(status, headers, body)
    reads: list[Read] = [*READS.values(), lambda response: responses.read_accepted(response, REF)]
    for read in reads:
        with contextlib.suppress(HooxError):
            read(response)


@given(statuses, headers_like, bodies)
def test_any_answer_to_a_post_is_accepted_refused_or_unknown(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    """The status alone decides: 2xx is a look or unknown, the seven are refusals, the rest is unknown."""
    try:
        responses.read_accepted(WireResponse(status, headers, body), None)
        kind: object = "accepted"
    except HooxError as error:
        kind = error.charged
    if 200 <= status < 300:
        assert kind in ("accepted", "maybe")
    else:
        assert kind == ("no" if status in {status for status, _ in REFUSALS} else "maybe")


@given(headers_like)
def test_any_headers_give_sensible_numbers(headers: dict[str, str]) -> None:
    """For any headers, pauses and resets are 0 to 3,600 seconds and counts are not negative."""
    pause = responses.retry_after(headers)
    assert pause is None or 0 <= pause <= 3600
    quota = responses.server_quota(headers, AT)
    if quota is not None:
        assert quota.limit is None or quota.limit > 0
        assert quota.remaining is None or quota.remaining >= 0
        assert quota.resets_in is None or 0 <= quota.resets_in <= 3600


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        (
            {"error": "No credits", "code": "INSUFFICIENT_CREDITS"},
            Refused("INSUFFICIENT_CREDITS", "No credits"),
        ),
        ({"error": "No key", "code": "invalid_api_key"}, Refused("invalid_api_key", "No key")),
        ({"error": "Avatar not found"}, Refused(None, "Avatar not found")),
        ({"error": "plan_required"}, Refused("plan_required", "plan_required")),
        ({"error": {"code": "X", "message": "y"}}, Refused("X", "y")),
        ({"message": "y", "code": 7}, Refused(None, "y")),
        ({"detail": "y"}, Refused(None, "y")),
        ({"error": None, "code": "X"}, Refused("X", "no reason given")),
        ({"error": "a", "details": "b"}, Refused(None, "a: b", ("b",))),
        ({"error": "a", "details": {"code": "X"}}, Refused("X", "a", ({"code": "X"},))),
        ({"error": "a", "details": [None, 5, []]}, Refused(None, "a", (None, 5, []))),
        ({}, Refused(None, "no reason given")),
        (["Bad"], Refused(None, '["Bad"]')),
    ],
)
def test_every_form_of_a_refusal_is_read(body: Any, refused: Refused) -> None:
    """Both forms of the API's pages and forms like them are read; a code keeps its case of letters."""
    assert read_refusal(json.dumps(body).encode()) == refused


def test_a_validation_error_says_which_fields() -> None:
    """The messages of the details are in the refusal's message, and the first code of theirs is its code."""
    details = [
        {"code": "MISSING_PROMPT", "message": "is required", "field": "prompt"},
        {"code": "INVALID_VALUE", "message": "Unknown style"},
    ]
    body = json.dumps({"error": "Validation failed", "details": details}).encode()
    expected = "Validation failed: prompt: is required; Unknown style"
    assert read_refusal(body) == Refused("MISSING_PROMPT", expected, tuple(details))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "an empty body"),
        (b"  Bad \n Gateway ", "Bad Gateway"),
        (b"<html><head><title>T</title><style>b{}</style></head><body><b>502</b> Bad</body>", "502 Bad"),
        (b"<html><head><title>Just a title</title></head><body></body></html>", "Just a title"),
        (b"<p>Fish &amp; chips &lt;script&gt;</p>", "Fish & chips"),
        (b"<script>alert(1)", "16 bytes that are no text"),
        (b"<p>cut <a href='", "cut"),
        (b"1 < 2", "1 < 2"),
        (b"\xff\xfe\x80\x81", "4 bytes that are no text"),
        (b"\x00" * 5000, "5000 bytes that are no text"),
    ],
)
def test_the_text_of_a_body(body: bytes, text: str) -> None:
    """Of a proxy's page the visible words are given; of a body without words the number of its bytes."""
    assert body_text(body) == text


def test_a_huge_body_is_never_echoed() -> None:
    """The message of a refusal is one short line, also where its body has a megabyte."""
    for body in (
        b"x" * (1 << 20),
        b"<p>" * (1 << 18),
        b"<script" * (1 << 17),
        b'{"error":"' + b"x" * (1 << 20) + b'"}',
    ):
        assert len(read_refusal(body).message) <= 300


def test_many_details_are_cut() -> None:
    """Of a refusal with ten thousand details, fifty are kept."""
    body = json.dumps({"error": "x", "details": [{"message": "m"}] * 10_000}).encode()
    refused = read_refusal(body)
    assert len(refused.details) == 50
    assert len(refused.message) <= 300


@given(
    st.binary(max_size=300) | st.text(alphabet="<>/&;ltgscriptheadbody ='\"x", max_size=200).map(str.encode)
)
def test_any_body_becomes_one_clean_line(body: bytes) -> None:
    """The text of any body is one printable, short line, never empty and without tags."""
    text = body_text(body)
    assert text
    assert text.isprintable()
    assert len(text) <= 300
    if b"<p" in body or b"</" in body:
        assert "<" not in text


def test_short_text_cuts_and_cleans() -> None:
    """Long texts end in an ellipsis, and lone surrogates, which no terminal can print, are removed."""
    assert short_text("x" * 400) == "x" * 299 + "…"
    assert short_text("a\ud800b") == "a b"
    assert short_text("abc", 2) == "a…"
