"""The judgements of `check --conformance` as pure functions: what each possible answer is taken for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import attrs
import pytest

from hoox_async import Endpoint, LookDetails, LookRef, Outcome, OutcomeState, PromptAvatar
from hoox_async._conformance.assumptions import ASSUMPTIONS, SOURCES, Fact, Promise, judge
from hoox_async._conformance.observations import Observations, ReceivedDelivery
from hoox_async._conformance.purchases import choose
from hoox_async._conformance.report import build_report
from hoox_async._conformance.shapes import error_code, field_name, shape, shape_text, status_word
from hoox_async._conformance.steps import pictures_of_one
from hoox_async.sandbox import AnswerForms
from hoox_async.testing import RecordedAnswer

START = datetime(2026, 1, 1, tzinfo=UTC)
REF = LookRef("avtr_a", "look_1")


def answer(
    body: Any = None,
    *,
    at: float = 0.0,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    endpoint: Endpoint = Endpoint.STATUS,
) -> RecordedAnswer:
    moment = START + timedelta(seconds=at)
    sent = {"date": format_datetime(moment, usegmt=True), **(headers or {})}
    return RecordedAnswer(endpoint, moment, moment, status, sent, json.dumps(body).encode())


def fact(seen: Observations, name: str) -> Fact:
    [found] = [one for one in judge(seen) if one.id == name]
    return found


def unix(seconds: float) -> str:
    return str(int(START.timestamp() + seconds))


def quota(*answers: tuple[float, Mapping[str, str]]) -> Observations:
    """Answers with these quota headers, at these seconds."""
    return Observations(answers={"status": [answer({}, at=at, headers=headers) for at, headers in answers]})


def resets(*values: tuple[float, str]) -> Observations:
    return quota(*((at, {"x-ratelimit-reset": value}) for at, value in values))


def remaining(*values: int) -> Observations:
    return quota(*((float(at), {"x-ratelimit-remaining": str(v)}) for at, v in enumerate(values)))


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        ([(0, unix(60)), (10, unix(60))], "it stood still for 10 s"),
        ([(0, unix(60)), (10, unix(70))], "it moved along with the clock: it is always 60 s ahead"),
        ([(0, "60"), (10, "50")], "it stood still for 10 s"),
        ([(0, "60"), (10, "60")], "it moved along with the clock: it is always 60 s ahead"),
        ([(0, unix(12)), (20, unix(72))], "it moved by 60 s in 20 s"),
    ],
)
def test_how_a_reset_moves_is_told_in_any_form(values: list[tuple[float, str]], seen: str) -> None:
    """A reset that stands still, one that moves with the clock and one that jumps are told apart."""
    found = fact(resets(*values), "quota.moves")
    assert found.seen.startswith(seen)
    assert found.differs is False


def test_resets_that_are_too_close_prove_nothing() -> None:
    """Two answers of nearly the same time do not show how the reset moves."""
    assert fact(resets((0, unix(60)), (1, unix(60))), "quota.moves").differs is None


@pytest.mark.parametrize(
    ("value", "form", "differs"),
    [
        (unix(60), "Unix seconds", False),
        (unix(60) + "000", "Unix milliseconds", True),
        ("60", "seconds from now", True),
        ("Thu, 01 Jan 2026 00:01:00 GMT", "a date", True),
        ("2026-01-01T00:01:00Z", "a date", True),
        ("soon", "another text", True),
    ],
)
def test_the_form_of_a_reset_is_named(value: str, form: str, differs: bool) -> None:
    """Each form of the reset is named; one that can be understood tells how far it is ahead."""
    found = fact(resets((0, value)), "quota.reset")
    assert found.seen.startswith(form)
    assert found.differs is differs
    assert ("60 to 60 s ahead" in found.seen) is (value != "soon")


@pytest.mark.parametrize(
    ("values", "seen", "differs"),
    [
        ([99, 98, 97], "it falls by 1 with each request", False),
        ([99, 98, 95], "others use the quota too", False),
        ([99, 97, 95], "a request counts more than once", True),
        ([99, 99, 99], "it changes by 0; not by status", True),
    ],
)
def test_what_counts_in_the_quota_is_told(values: list[int], seen: str, differs: bool) -> None:
    """A quota that falls by one, that others use too, that counts twice, or not at all, are told apart."""
    found = fact(remaining(*values), "quota.counting")
    assert seen in found.seen
    assert found.differs is differs


def test_an_endpoint_that_does_not_count_is_named() -> None:
    """If the list is not counted, that is said, and does not matter."""
    endpoints = (Endpoint.STATUS, Endpoint.LIST, Endpoint.STATUS)
    answers = [
        answer({}, at=at, headers={"x-ratelimit-remaining": value}, endpoint=endpoint)
        for at, value, endpoint in zip((0, 1, 2), ("99", "99", "98"), endpoints, strict=True)
    ]
    found = fact(Observations(answers={"status": answers}), "quota.counting")
    assert found.seen.endswith("not by list")
    assert (found.differs, found.matters) == (True, False)


def test_answers_of_429_are_counted() -> None:
    """How many answers were 429, and how many of them had Retry-After, is told."""
    refused = [answer({}, status=429, headers=headers) for headers in ({}, {"retry-after": "1"})]
    found = fact(Observations(answers={"status": refused}), "quota.refused")
    assert (found.seen, found.differs) == (
        "2 answers of 429, 1 with Retry-After, 0 with quota headers",
        False,
    )


def made(**steps: Any) -> Observations:
    """A check that made an avatar, with the bodies of these steps."""
    kinds = {
        "create": Endpoint.CREATE,
        "avatar": Endpoint.AVATAR,
        "look": Endpoint.LOOK,
        "list": Endpoint.LIST,
    }
    answers = {
        name: [answer(body, endpoint=kinds.get(name, Endpoint.STATUS))] for name, body in steps.items()
    }
    return Observations(answers=answers, made=REF, looked_at=REF, accepted_at=START)


@pytest.mark.parametrize("word", ["succeeded", "QUEUED"])
def test_an_unknown_status_word_matters(word: str) -> None:
    """A status word of neither vocabulary is named, and matters, because such a look is never settled."""
    found = fact(made(status={"status": word}), "status.words")
    assert (found.seen, found.matters) == (word, True)


def test_a_look_that_is_not_ready_at_once_is_a_harmless_difference() -> None:
    """A look from images that is pending at first differs from the vendor's page, and is waited for."""
    found = fact(made(status={"status": "pending"}), "create.ready")
    assert found.seen == "pending in the first answer after the POST"
    assert (found.differs, found.matters) == (True, False)


@pytest.mark.parametrize(
    ("images", "looks", "seen", "differs"),
    [
        (2, 1, "2 images made 1 look", False),
        (2, 2, "2 images made 2 looks", True),
        (1, 1, "1 image made 1 look: give two or more with --image", None),
    ],
)
def test_looks_of_several_images_are_counted(images: int, looks: int, seen: str, differs: Any) -> None:
    """Several looks of an avatar from several images are a harmless difference; one image proves nothing."""
    check = made(avatar={"looks": [{"id": f"look_{n}"} for n in range(1, looks + 1)]})
    check.sent_images = images
    found = fact(check, "create.looks")
    assert (found.seen, found.differs, found.matters) == (seen, differs, False)


def test_the_avatar_is_made_from_two_pictures_of_one_person() -> None:
    """Two pictures of the same catalogue avatar are used if there is one that has two, else one picture."""

    def look(avatar: str, url: str | None) -> LookDetails:
        return LookDetails(LookRef(avatar, f"look_{url}"), thumbnail_url=url)

    one, two = "https://a.test/1", "https://a.test/2"
    assert pictures_of_one([look("a", one), look("b", one), look("b", two)]) == (one, two)
    assert pictures_of_one([look("a", one), look("b", two)]) == (one,)
    assert pictures_of_one([look("a", None), look("a", "data:x")]) == ()


def test_the_result_of_a_look_that_was_pending_at_first_is_judged_once_it_is_ready() -> None:
    """If the look was ready only later, that later answer shows where its picture stands."""
    check = made(**{
        "status": {"status": "pending"},
        "status again": {"status": "ready", "result": {"thumbnail_url": "https://a.test/1.jpg?sig=x"}},
    })  # fmt: skip
    check.readings = {"status": "pending", "status again": "ready"}
    assert fact(check, "status.result").seen == "result: thumbnail_url"
    assert fact(check, "picture.address").seen == "it has a query, so it may be signed and expire"


def test_states_that_disagree_matter() -> None:
    """If the three ways to read a look tell different states, that matters."""
    seen = Observations(readings={"status": "ready", "avatar": "pending", "look": "ready"})
    found = fact(seen, "words.agree")
    assert (found.seen, found.matters) == ("status: ready, avatar: pending, look: ready", True)


def test_an_avatar_without_its_look_matters() -> None:
    """If the avatar's answer lacks the look that was asked for, that matters: lost POSTs rely on it."""
    found = fact(made(avatar={"looks": [{"id": "look_2", "status": "ready"}]}), "avatar.complete")
    assert found.seen == "1 look, and the one that was asked for is not in it"
    assert found.matters is True


@pytest.mark.parametrize("field", ["prompt", "created_at", "error_message"])
def test_a_useful_field_of_an_avatars_looks_is_named(field: str) -> None:
    """A field by which a lost look could be recognized is named as good news."""
    found = fact(made(avatar={"looks": [{"id": "look_1", field: "x"}]}), "avatar.looks")
    assert found.seen == f"they have {field}"
    assert found.consequence.startswith("good news")


def test_ids_that_cannot_be_refs_matter() -> None:
    """An id with a colon cannot be written as avatar_id:look_id; that matters. The id itself is not shown."""
    seen = made()
    seen.made = LookRef("avtr_a:1", "look_1")
    found = fact(seen, "create.ids")
    assert found.seen == "avtr_… and look_…, 8 and 6 characters, with a colon"
    assert found.matters is True


def test_camel_case_is_named_and_harmless() -> None:
    """Fields in camelCase are understood, so they are named and no difference."""
    found = fact(made(look={"id": "look_1", "avatarName": "x", "ageRange": "y"}), "fields.spelling")
    assert (found.seen, found.differs) == ("camelCase for ageRange, avatarName", False)


@pytest.mark.parametrize(
    ("headers", "count", "seen", "differs"),
    [
        ({}, 7, "7 looks, no header that names pages", False),
        ({}, 50, "exactly 50 looks: that may be a page", True),
        ({"link": "<x>; rel=next"}, 7, "7 looks, and the header link", True),
    ],
)
def test_pages_of_the_list_are_noticed(headers: Any, count: int, seen: str, differs: bool) -> None:
    """A round number of looks, or a header that names pages, shows that the list may have pages."""
    entries = [{"id": f"look_{n}"} for n in range(count)]
    listed = answer(entries, headers=headers, endpoint=Endpoint.LIST)
    found = fact(Observations(answers={"list": [listed]}), "list.pages")
    assert (found.seen, found.differs, found.matters) == (seen, differs, differs)


def test_a_status_in_the_list_is_good_news() -> None:
    """If looks in the list have a status, its words are named."""
    found = fact(made(list=[{"id": "look_1", "status": "ready"}]), "list.status")
    assert (found.seen, found.differs) == ("a status: ready", True)


def delivered(body: Any, *, headers: Mapping[str, str] | None = None, after: float = 1.0) -> Observations:
    seen = made()
    seen.receiver_used = seen.receiver_reached = True
    seen.deliveries = [ReceivedDelivery(START + timedelta(seconds=after), headers or {}, body, 200)]
    return seen


def test_a_signature_of_a_delivery_is_noticed() -> None:
    """A header that could be a signature is named as good news; its value is not shown."""
    found = fact(delivered({}, headers={"x-hoox-signature": "t=1,v1=secret"}), "delivery.signed")
    assert found.seen == "signed? The header x-hoox-signature"
    assert "secret" not in repr(found)


def test_a_delivery_of_another_form_matters() -> None:
    """A delivery with neither job_id nor look_id is refused by this library, and that matters."""
    found = fact(delivered({"id": "look_1", "state": "ready"}), "delivery.form")
    assert (found.seen, found.matters) == ("another one: id, state", True)


def test_a_delivery_before_the_answer_is_told() -> None:
    """A delivery that overtakes the answer of its POST is told as such."""
    assert fact(delivered({}, after=-0.5), "delivery.sent").seen == "yes, 0.5 s before the answer to the POST"


def test_deliveries_that_are_not_repeated_are_a_difference() -> None:
    """If a refused delivery is not sent again, that differs, and does not matter: looks are polled too."""
    found = fact(delivered({}), "delivery.repeated")
    assert (found.seen, found.differs, found.matters) == ("not sent again after 503", True, False)


@pytest.mark.parametrize(
    "body", [None, [], {}, "text", 7, {"looks": None}, {"looks": [None, 1, "x"]}, {"result": []}, [[[]]]]
)
def test_no_answer_keeps_the_report_from_coming_out(body: Any) -> None:
    """Whatever JSON the API answers to everything, each fact is judged and the report is written."""
    names = ("create", "catalogue", "status", "avatar", "look", "list", "list again", "missing look")
    seen = made(**dict.fromkeys(names, body))
    seen.deliveries = [ReceivedDelivery(START, {}, body, 503)]
    seen.wrong_key = 401, {}, body
    report = build_report(seen, version="1", now=START, is_real=True, tried_to_make=True)
    assert "could not be judged" not in report.as_text()
    assert json.dumps(report.as_json())
    assert len({one.id for one in report.facts}) == len(report.facts) > 45


def test_nothing_seen_is_a_report_too() -> None:
    """If no step was done, the report takes nothing for seen but the form of the key."""
    report = build_report(Observations(), version="1", now=START, is_real=True, tried_to_make=False)
    assert [one.id for one in report.facts if one.differs is not None] == ["key.form"]


# --- the table

FORMS = {
    "images": "create.images", "looks_of_images": "create.looks", "created": "create.status",
    "result": "status.result", "thumbnail": "size.4k", "preview": "size.2k", "copies": "copies.count",
    "failure_code": "status.failure", "errors": "error.key", "codes": "error.codes",
    "reset": "quota.reset", "reset_moves": "quota.moves", "quota_headers": "quota.success",
    "throttled_counts": "quota.spent", "form": "delivery.form", "quota": "quota.window",
    "vocabulary": "words.settled", "list_pending": "list.pending", "retry_after": "quota.refused",
}  # fmt: skip
"""The assumption that each form of the sandbox is about."""


def test_each_form_of_the_sandbox_is_about_an_assumption() -> None:
    """A form that the sandbox can take has a row in the table, and a new form fails until it has one."""
    forms = {field.name for field in attrs.fields(AnswerForms)}
    assert forms | {"form", "quota", "vocabulary", "list_pending", "retry_after"} == FORMS.keys()
    assert set(FORMS.values()) <= {row.id for row in ASSUMPTIONS}


def test_each_assumption_has_a_source_and_says_which_check_tells_it() -> None:
    """Ids are unique, sources known; what differs harms users where a promise falls, and only there."""
    assert len({row.id for row in ASSUMPTIONS}) == len(ASSUMPTIONS)
    for row in ASSUMPTIONS:
        assert row.source, row.id
        assert set(row.source) <= SOURCES.keys(), row.id
        assert all((row.question, row.assumed, row.means, row.told_by)), row.id
        is_harmless = row.means.startswith(("nothing", "good news"))
        assert row.promise is None or not is_harmless, row.id
    assert {row.promise for row in ASSUMPTIONS} == {None, *Promise}


def test_what_differs_matters_where_a_promise_falls() -> None:
    """The promise of the row decides, and the report names it."""
    seen = made(list={"looks": []})
    found = fact(seen, "list.form")
    assert (found.differs, found.matters, found.promise) == (True, True, "every call works as documented")
    report = build_report(seen, version="1", now=START, is_real=True, tried_to_make=True)
    words = " ".join(report.as_text().split())
    assert 'matters yes, "every call works as documented" falls: looks() does not work' in words
    assert "told by --spend 4" in words


# --- what is bought


def outcome(key: str, credits: int = 0, at_risk: int = 0, state: str = "ready") -> Outcome:
    request = PromptAvatar("as it was then", resolution="4K")
    return Outcome(key, request, OutcomeState(state), credits=Decimal(credits), at_risk=Decimal(at_risk))


AVATAR, PUBLIC_1 = "conformance/avatar", f"conformance/public/{REF}/1"


@pytest.mark.parametrize(
    ("credits", "stored", "wanted"),
    [
        (3, {}, {"public edit 1": 2}),
        (4, {}, {"4K avatar": 4}),
        (8, {}, {"4K avatar": 4, "2K edit": 2, "public edit 1": 2}),
        (50, {}, {"4K avatar": 4, "2K edit": 2, "public edit 1": 2, "public edit 2": 2}),
        (6, {AVATAR: outcome(AVATAR, 4)}, {"4K avatar": 0, "2K edit": 2}),
        (4, {AVATAR: outcome(AVATAR, 4)}, {"4K avatar": 0}),
        (5, {AVATAR: outcome(AVATAR, 0, 4, "unknown")}, {"4K avatar": 0}),
        (4, {AVATAR: outcome(AVATAR, state="rejected")}, {"4K avatar": 4}),
        (4, {PUBLIC_1: outcome(PUBLIC_1, 2)}, {"public edit 1": 0, "public edit 2": 2}),
        (4, {"somebody's": outcome("somebody's", 100)}, {"4K avatar": 4}),
    ],
)
def test_what_earlier_runs_have_spent_counts(
    credits: int, stored: dict[str, Outcome], wanted: dict[str, int]
) -> None:
    """All runs with a store never buy for more than the credits; what is bought already costs nothing."""
    assert {one.step: one.price for one in choose(Decimal(credits), REF, stored)} == wanted


def test_what_is_in_the_store_is_asked_for_with_the_content_that_it_has() -> None:
    """A key that was used keeps its request, so that another picture or prompt is no conflict."""
    [avatar] = choose(Decimal(4), None, {"conformance/avatar": outcome("conformance/avatar", 4)})
    assert avatar.request(None, ()) == PromptAvatar("as it was then", resolution="4K")


# --- what gets into a report


@pytest.mark.parametrize(
    "value", ["Anna Smith", "https://a.test/x?sig=1", "look_1a2b", "", 7, None, ["ready"]]
)
def test_no_value_passes_as_a_word_or_code(value: Any) -> None:
    """A name, an address, an id or another value in place of a status or a code is replaced by its kind."""
    for shown in (status_word(value), error_code(value)):
        assert shown.startswith(("a text of", "a list of")) or shown in ("number", "null")


@pytest.mark.parametrize("name", ["avtr_1a2b", "Anna Smith", "Anna", "a.b", "https://a.test", "x" * 50])
def test_no_value_passes_as_a_field_name(name: str) -> None:
    """Ids, names of people and addresses that are used as names of fields are hidden."""
    assert field_name(name) == "(a name that is not shown)"


def test_a_shape_holds_kinds_only() -> None:
    """A shape has the fields and kinds of values; a field that some elements lack has a question mark."""
    body = {"looks": [{"id": "look_1", "age": 31}, {"id": "look_2", "selfie": True, "age": None}], "tags": []}
    expected = "{looks: [{id: text, age: null or number, selfie?: true or false}], tags: []}"
    assert shape_text(shape(body)) == expected


def test_a_deep_body_has_a_short_shape() -> None:
    """A body that is nested deeply or has many fields gives a shape of limited size."""
    deep: Any = "x"
    for _ in range(50):
        deep = {"inner": [deep]}
    wide = {"a" * (1 + n % 30) + "b" * (n // 30): n for n in range(500)}
    assert len(shape_text(shape(deep))) < 200
    assert len(shape(wide)) <= 60
