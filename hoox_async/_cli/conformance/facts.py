"""Judges what was seen: for each fact that the vendor's pages leave open, what this library assumes, what
was seen, whether that differs, and whether it matters.

Pure: from `Observations` to `Fact` values. Nothing of an answer gets into a fact but through `shapes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import attrs

from hoox_async import Endpoint, LookStatus

from ..text import format_count
from .observations import Observations, json_of
from .quota_facts import QUOTA_FACTS
from .receiver import REFUSED
from .shapes import error_code, field_names, hidden, status_word
from .steps import NO_SUCH_WORD, OTHER
from .verdict import Fact, Seen, differs, not_seen, same

_READY = ("completed", "ready")
_KNOWN = ("pending", "processing", "completed", "failed", "ready", "error")
_LIST_FIELDS = frozenset(
    {
        "id", "avatar_id", "avatar_name", "look_name", "gender", "age_range", "ethnicity", "hair_color",
        "place", "accessories", "action", "emotion", "selfie", "format", "thumbnail", "preview",
        "model_available",
    }
)  # fmt: skip
_LOOK_FIELDS = _LIST_FIELDS | {"status", "error_message"}
_AVATAR_FIELDS = frozenset(
    {
        "id", "name", "gender", "age", "age_range", "ethnicity", "hair_color", "thumbnail", "looks",
        "created_at",
    }
)  # fmt: skip
_USEFUL = frozenset({"prompt", "created_at", "createdAt", "error", "error_message", "errorMessage"})
"""Fields by which a look that got lost could be recognized, or that say why one failed."""
_MISSING_TEXTS = ("Avatar not found", "Look not found")
_NO_SIGNATURE = "nothing in a delivery proves who sent it"


# --- creating


def _images_field(seen: Observations) -> Seen:
    answer = seen.of_step("create")
    if seen.made is not None:
        return same("accepted")
    if answer is None or answer.status is None:
        return not_seen("no answer to the POST, or it was not sent")
    if answer.status == 400:
        return differs(f"refused with HTTP 400, {_code_of(json_of(answer))}")
    return not_seen(f"HTTP {answer.status}")


def _price_of_images(seen: Observations) -> Seen:
    answer = seen.of_step("create")
    if answer is not None and answer.status == 402:
        return differs(f"refused with HTTP 402, {_code_of(json_of(answer))}: it needs credits")
    if seen.made is None:
        return not_seen("no avatar was made")
    return not_seen("accepted. The API tells no balance: compare it on the site before and after this check")


def _created_status(seen: Observations) -> Seen:
    answer = seen.of_step("create")
    if seen.made is None or answer is None:
        return not_seen("no avatar was made")
    return (same if answer.status in (200, 201) else differs)(f"HTTP {answer.status}")


def _created_fields(seen: Observations) -> Seen:
    body = seen.body("create")
    if not isinstance(body, dict):
        return not_seen("no avatar was made")
    names = field_names(body)
    return (same if {"avatar_id", "look_id"} <= set(names) else differs)(", ".join(names))


def _ids(seen: Observations) -> Seen:
    if seen.made is None:
        return not_seen("no avatar was made")
    texts = (seen.made.avatar_id, seen.made.look_id)
    usual = all(text.startswith(prefix) for text, prefix in zip(texts, ("avtr_", "look_"), strict=True))
    form = "avtr_… and look_…" if usual else "of another form than on the vendor's pages"
    form += f", {len(texts[0])} and {len(texts[1])} characters"
    bad = [name for name, sign in (("colon", ":"), ("slash", "/")) if any(sign in text for text in texts)]
    return differs(f"{form}, with a {' and a '.join(bad)}") if bad else same(form)


def _ready_at_once(seen: Observations) -> Seen:
    word = _word(seen.body("status"))
    if seen.made is None or word is None:
        return not_seen("no avatar was made, or its status could not be read")
    if word.lower() in _READY:
        return same(f"{word} in the first answer after the POST")
    return differs(f"{word} in the first answer after the POST")


def _looks_of_images(seen: Observations) -> Seen:
    looks = _looks_of(seen.body("avatar"))
    if seen.made is None or looks is None:
        return not_seen("no avatar was made, or it could not be read")
    finding = f"{format_count(seen.sent_images, 'image')} made {format_count(len(looks), 'look')}"
    if seen.sent_images < 2 and len(looks) == 1:
        return not_seen(f"{finding}: give two or more with --image")
    return (same if len(looks) == 1 else differs)(finding)


def _echo(seen: Observations) -> Seen:
    look = seen.body("look")
    if seen.made is None or not isinstance(look, dict):
        return not_seen("no avatar was made, or it could not be read")
    name = next((look[key] for key in ("avatar_name", "avatarName") if key in look), None)
    kept = {"name": name == seen.sent_name, "place": look.get("place") == seen.sent_place}
    finding = ", ".join(f"{field} {'kept' if same_one else 'not kept'}" for field, same_one in kept.items())
    return (same if all(kept.values()) else differs)(finding)


# --- statuses


def _words_on(step: str) -> Callable[[Observations], Seen]:
    def judge(seen: Observations) -> Seen:
        words = _all_words(seen)[step]
        if not words:
            return not_seen("no look with a status")
        text = ", ".join(sorted(words))
        return (same if {word.lower() for word in words} <= set(_KNOWN) else differs)(text)

    return judge


def _vocabularies(seen: Observations) -> Seen:
    pairs = {"completed": 0, "failed": 0, "ready": 1, "error": 1}
    found = [{pairs[w.lower()] for w in words if w.lower() in pairs} for words in _all_words(seen).values()]
    used = set().union(*found)
    if not used:
        return not_seen("no look that is settled")
    if len(used) == 2:
        return same("both: completed and failed, ready and error")
    return same("one: " + ("ready and error" if used == {1} else "completed and failed"))


def _pending_words(seen: Observations) -> Seen:
    words = {word for found in _all_words(seen).values() for word in found if word.lower() not in _SETTLED}
    if not words:
        return not_seen("every look that was read is settled. Run it while a look is made, with --avatar ID")
    return (same if {word.lower() for word in words} <= set(_KNOWN) else differs)(", ".join(sorted(words)))


_SETTLED = ("completed", "failed", "ready", "error")


def _failed_words(seen: Observations) -> Seen:
    found = {
        word for words in _all_words(seen).values() for word in words if word.lower() in ("failed", "error")
    }
    if not found:
        return not_seen("no look that failed. Name an avatar that has one with --avatar ID")
    return same(", ".join(sorted(found)))


def _failure(seen: Observations) -> Seen:
    body = seen.body("a failed look")
    if not isinstance(body, Mapping):
        return not_seen("no look that failed. Name an avatar that has one with --avatar ID")
    error = body.get("error")
    if isinstance(error, Mapping) and ("code" in error or "message" in error):
        return same(f"error: {', '.join(field_names(error))}; code {error_code(error.get('code'))}")
    if isinstance(error, str) or isinstance(body.get("error_message"), str):
        return same("a text")
    return differs(f"error: {hidden(error)}; fields: {', '.join(field_names(body))}")


def _same_state(seen: Observations) -> Seen:
    read = {step: seen.readings[step] for step in ("status", "avatar", "look") if step in seen.readings}
    if len(read) < 2:
        return not_seen("the look was read in less than two ways")
    text = ", ".join(f"{step}: {status}" for step, status in read.items())
    return (same if len(set(read.values())) == 1 else differs)(text)


def _result_fields(seen: Observations) -> Seen:
    body = _ready_status(seen)
    if not isinstance(body, dict):
        return not_seen("no look that is ready")
    result = body.get("result")
    names = field_names(result)
    if "thumbnail_url" in names or "thumbnailUrl" in names:
        return same("result: " + ", ".join(names))
    top = [name for name in field_names(body) if name in ("thumbnail_url", "thumbnail", "thumbnailUrl")]
    if top:
        return same(f"no result; {', '.join(top)} beside the status")
    return differs("result: " + (", ".join(names) or hidden(result)))


def _spelling(seen: Observations) -> Seen:
    bodies = [body for endpoint in Endpoint for body in seen.bodies_of(endpoint)]
    names = {name for body in bodies for name in _all_names(body)}
    if not names:
        return not_seen("no answer with fields")
    camel = sorted(name for name in names if name != name.lower() and "_" not in name)
    return same("camelCase for " + ", ".join(camel)) if camel else same("snake_case everywhere")


# --- pictures


def _picture_is_public(seen: Observations) -> Seen:
    if seen.picture is None:
        failed = any(step.name == "picture" and step.outcome == "failed" for step in seen.steps)
        return differs("it could not be fetched") if failed else not_seen("no look that is ready")
    kind, size = seen.picture
    shown = kind if kind in ("image/jpeg", "image/png", "image/webp", "image/avif") else "another type"
    return same(f"fetched without it: {shown}, {size:,} bytes")


def _picture_address(seen: Observations) -> Seen:
    url = _thumbnail(_ready_status(seen))
    if url is None:
        return not_seen("no address of a picture")
    if "?" in url:
        return differs("it has a query, so it may be signed and expire")
    return same("without a query")


# --- one avatar


def _avatar_is_complete(seen: Observations) -> Seen:
    looks = _looks_of(seen.body("avatar"))
    if looks is None or seen.looked_at is None:
        return not_seen("the avatar could not be read")
    found = any(_id(look) == seen.looked_at.look_id for look in looks)
    return (same if found else differs)(
        f"{format_count(len(looks), 'look')}, and the one that was asked for is {_is_in(found)}"
    )


def _look_of_avatar_fields(seen: Observations) -> Seen:
    looks = _looks_of(seen.body("avatar"))
    if not looks:
        return not_seen("no look of an avatar")
    names = {name for look in looks for name in field_names(look)}
    useful = sorted(names & _USEFUL)
    if useful:
        return differs("they have " + ", ".join(useful))
    return same("none of prompt, creation time and reason of failure")


def _fields_of(step: str, documented: frozenset[str]) -> Callable[[Observations], Seen]:
    """How the fields of a step's answer, or of the first element if it is a list, differ from the page."""

    def judge(seen: Observations) -> Seen:
        body = seen.body(step)
        body = body[0] if isinstance(body, list) and body else body
        if not isinstance(body, Mapping):
            return not_seen("it could not be read")
        names = set(field_names(body))
        new, gone = sorted(names - documented), sorted(documented - names)
        if not new and not gone:
            return same("as on the vendor's page")
        findings = (f"new: {', '.join(new)}" if new else "", f"missing: {', '.join(gone)}" if gone else "")
        return differs("; ".join(filter(None, findings)))

    return judge


# --- the list


def _list_form(seen: Observations) -> Seen:
    answer = seen.of_step("list")
    body = seen.body("list")
    if answer is None or answer.status != 200:
        return not_seen("the list could not be read")
    if isinstance(body, list):
        return same(f"an array of {len(body)}")
    return differs(f"{hidden(body)}: {', '.join(field_names(body))}" if body is not None else "no JSON")


def _list_has_status(seen: Observations) -> Seen:
    entries = _entries(seen, "list")
    if not entries:
        return not_seen("no list, or an empty one")
    words = sorted({word for entry in entries if (word := _word(entry)) is not None})
    return differs("a status: " + ", ".join(words)) if words else same("no status")


def _list_has_made(seen: Observations) -> Seen:
    entries = _entries(seen, "list")
    if seen.made is None or entries is None:
        return not_seen("no avatar was made, or no list was read")
    found = seen.made.look_id in {_id(entry) for entry in entries}
    return (same if found else differs)(f"the new look, which is ready, is {_is_in(found)}")


def _list_has(words: Iterable[str], kind: str) -> Callable[[Observations], Seen]:
    wanted = frozenset(words)

    def judge(seen: Observations) -> Seen:
        entries = _entries(seen, "list again")
        entries = _entries(seen, "list") if entries is None else entries
        if entries is None:
            return not_seen("the list could not be read")
        listed = {_id(entry) for entry in entries}
        found = {_id(look) for look in _other_looks(seen) if (_word(look) or "").lower() in wanted}
        if not found:
            advice = " Run it while a look is made, with --avatar ID." if kind == "pending" else ""
            return not_seen(f"no {kind} look in the avatars that were read.{advice}")
        inside = len(found & listed)
        return same(f"{inside} of {format_count(len(found), f'{kind} look')} in it")

    return judge


def _list_order(seen: Observations) -> Seen:
    entries, public = _entries(seen, "list"), _entries(seen, "catalogue")
    if not entries or not public:
        return not_seen("no list, or no catalogue")
    catalogue = {_id(entry) for entry in public}
    is_public = [_id(entry) in catalogue for entry in entries]
    counts = f"{is_public.count(False)} of the workspace, {is_public.count(True)} of the catalogue"
    if len(set(is_public)) < 2:
        return not_seen(counts)
    ordered = is_public == sorted(is_public)
    return (same if ordered else differs)(counts + ("" if ordered else ", mixed"))


def _list_is_whole(seen: Observations) -> Seen:
    entries, answer = _entries(seen, "list"), seen.of_step("list")
    if entries is None or answer is None:
        return not_seen("the list could not be read")
    pages = [name for name in ("link", "x-total-count", "x-next-page", "x-total") if name in answer.headers]
    if pages:
        return differs(f"{len(entries)} looks, and the header {', '.join(pages)}")
    if len(entries) in (10, 20, 25, 30, 40, 50, 100, 200, 250, 500, 1000):
        return differs(f"exactly {len(entries)} looks: that may be a page")
    return same(f"{format_count(len(entries), 'look')}, no header that names pages")


def _unknown_filter(seen: Observations) -> Seen:
    answer, everything = seen.of_step("unknown filter"), _entries(seen, "list")
    if answer is None:
        return not_seen("no answer")
    entries = _entries(seen, "unknown filter")
    if entries is None:
        return same(f"refused with HTTP {answer.status}, {_code_of(json_of(answer))}")
    if entries and everything is not None and len(entries) == len(everything):
        return differs("the filter is ignored: all looks")
    return same(format_count(len(entries), "look"))


# --- errors


def _missing_look(seen: Observations) -> Seen:
    return _refusal(seen, "missing look")


def _missing_avatar(seen: Observations) -> Seen:
    return _refusal(seen, "missing avatar")


def _refusal(seen: Observations, step: str) -> Seen:
    answer = seen.of_step(step)
    if answer is None:
        return not_seen("no answer")
    body = json_of(answer)
    text = body.get("error") if isinstance(body, dict) else None
    said = text if text in _MISSING_TEXTS else "another text" if isinstance(text, str) else "no text"
    finding = (
        f"HTTP {answer.status}, {said}, {_code_of(body)}, fields: {', '.join(field_names(body)) or 'none'}"
    )
    return (same if answer.status == 404 else differs)(finding)


def _wrong_key(seen: Observations) -> Seen:
    if seen.wrong_key is None:
        return not_seen("no answer")
    status, _, body = seen.wrong_key
    finding = f"HTTP {status}, {_code_of(body)}, fields: {', '.join(field_names(body)) or 'none'}"
    return (same if status == 401 else differs)(finding)


def _code_case(seen: Observations) -> Seen:
    answers = [json_of(one) for one in seen.in_order() if one.status is not None and one.status >= 400]
    bodies = [*answers, seen.wrong_key[2] if seen.wrong_key else None]
    codes = {code for body in bodies for code in _codes(body)}
    if not codes:
        return not_seen("no refusal with a code")
    cases = {"upper" if code.isupper() else "lower" if code.islower() else "mixed" for code in codes}
    shown = ", ".join(sorted(error_code(code) for code in codes))
    return same(f"{' and '.join(sorted(cases))} case: {shown}")


def _key_form(seen: Observations) -> Seen:
    return same("of that form") if seen.key_has_documented_form else differs("of another form")


# --- deliveries


def _delivered(seen: Observations) -> Seen:
    if not seen.receiver_used:
        return not_seen("no --public-url was given")
    if seen.made is None:
        return not_seen("no avatar was made")
    if seen.deliveries:
        at, accepted = seen.deliveries[0].at, seen.accepted_at
        if accepted is None:
            return same("yes")
        seconds = (at - accepted).total_seconds()
        moment = "before" if seconds < 0 else "after"
        return same(f"yes, {abs(seconds):.1f} s {moment} the answer to the POST")
    if not seen.receiver_reached:
        return not_seen("none came, but nor did this machine's own request to the public URL")
    return differs("none came")


def _delivery_form(seen: Observations) -> Seen:
    body = _delivery(seen)
    if body is None:
        return not_seen("no delivery")
    names = ", ".join(field_names(body))
    if "look_id" in body and "task" in body:
        task = body["task"]
        shown = task if task in ("avatar_create", "avatar_edit") else "another task"
        return same(f"the newer one ({shown}): {names}")
    if "job_id" in body and "look_id" not in body:
        about = "of the look" if seen.made and body["job_id"] == seen.made.look_id else "of something else"
        return (same if "something" not in about else differs)(f"the older one, job_id {about}: {names}")
    return differs(f"another one: {names}")


def _delivery_word(seen: Observations) -> Seen:
    word = _word(_delivery(seen))
    if word is None:
        return not_seen("no delivery with a status")
    return (same if word.lower() in _KNOWN else differs)(word)


def _delivery_picture(seen: Observations) -> Seen:
    body = _delivery(seen)
    if body is None or (_word(body) or "").lower() not in _READY:
        return not_seen("no delivery of a look that is ready")
    result = body.get("result")
    finding = "result: " + (", ".join(field_names(result)) or hidden(result))
    return (same if _thumbnail(body) is not None else differs)(finding)


def _delivery_is_unsigned(seen: Observations) -> Seen:
    if not seen.deliveries:
        return not_seen("no delivery")
    names = {name for one in seen.deliveries for name in field_names(one.headers)}
    signs = sorted(
        name for name in names if any(word in name for word in ("sign", "hmac", "hash", "secret", "token"))
    )
    return differs("signed? The header " + ", ".join(signs)) if signs else same(_NO_SIGNATURE)


def _delivery_repeats(seen: Observations) -> Seen:
    if not seen.deliveries:
        return not_seen("no delivery")
    times = [one.at for one in seen.deliveries]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    if not gaps:
        return differs("not sent again after 503")
    finding = "again after " + ", ".join(f"{gap:.1f}" for gap in gaps) + " s"
    expected = (1.0, 2.0, 4.0)
    near = all(abs(gap - wanted) < 0.9 for gap, wanted in zip(gaps, expected, strict=False))
    return (same if near and len(gaps) == len(expected) else differs)(finding)


# --- what cannot be seen for nothing


def _costs(reason: str) -> Callable[[Observations], Seen]:
    return lambda _: not_seen(reason)


# --- parts of bodies


def _word(body: Any) -> str | None:
    """The status word of a look, without what could be anything else than a word."""
    value = body.get("status") if isinstance(body, Mapping) else None
    return None if value is None else status_word(value)


def _all_words(seen: Observations) -> dict[str, set[str]]:
    looks = {
        "status": list(seen.bodies_of(Endpoint.STATUS)),
        "avatar": [look for body in seen.bodies_of(Endpoint.AVATAR) for look in _looks_of(body) or ()],
        "look": list(seen.bodies_of(Endpoint.LOOK)),
    }
    return {step: {word for look in found if (word := _word(look))} for step, found in looks.items()}


def _ready_status(seen: Observations) -> Any:
    """The answer of ``/avatar/status`` about the look once it was ready; None if it never was."""
    steps = (step for step in ("status", "status again") if seen.readings.get(step) == LookStatus.READY)
    return next((seen.body(step) for step in steps), None)


def _looks_of(body: Any) -> list[Any] | None:
    looks = body.get("looks") if isinstance(body, Mapping) else None
    return looks if isinstance(looks, list) else None


def _other_looks(seen: Observations) -> list[Any]:
    steps = [name for name in seen.answers if name == "avatar" or name.startswith(OTHER)]
    return [look for step in steps for look in _looks_of(seen.body(step)) or ()]


def _entries(seen: Observations, step: str) -> list[Any] | None:
    body = seen.body(step)
    return body if isinstance(body, list) else None


def _id(look: Any) -> Any:
    if not isinstance(look, Mapping):
        return None
    value = next((look[name] for name in ("look_id", "lookId", "id") if name in look), None)
    return value if isinstance(value, str) else None


def _thumbnail(body: Any) -> str | None:
    if not isinstance(body, Mapping):
        return None
    for part in (body.get("result"), body):
        if isinstance(part, Mapping):
            for name in ("thumbnail_url", "thumbnailUrl", "thumbnail"):
                if isinstance(part.get(name), str):
                    return str(part[name])
    return None


def _delivery(seen: Observations) -> Mapping[str, Any] | None:
    body = seen.deliveries[-1].body if seen.deliveries else None
    return body if isinstance(body, Mapping) else None


def _codes(body: Any) -> list[str]:
    if not isinstance(body, Mapping):
        return []
    details = body.get("details")
    parts = [body, *(details if isinstance(details, list) else ())]
    return [part["code"] for part in parts if isinstance(part, Mapping) and isinstance(part.get("code"), str)]


def _code_of(body: Any) -> str:
    codes = _codes(body)
    return f"code {error_code(codes[0])}" if codes else "no code"


def _all_names(body: Any) -> set[str]:
    if isinstance(body, Mapping):
        inner = [name for value in body.values() for name in _all_names(value)]
        return {*field_names(body), *inner}
    if isinstance(body, list):
        return {name for value in body for name in _all_names(value)}
    return set()


def _is_in(found: bool) -> str:
    return "in it" if found else "not in it"


# --- all facts

_COSTS = "it would cost credits"

_FACTS: Sequence[tuple[str, str, str, str, bool, Callable[[Observations], Seen]]] = (
    # id, question, what is assumed, what a difference means, whether that matters, how it is judged
    ("create.images", "The field for the images of a new avatar", "imageUrls",
     "avatars from images cannot be made: tell us the code", True, _images_field),
    ("create.price", "Price of an avatar from images", "0 credits",
     "caps of credits are wrong, and this check was not free: tell us", True, _price_of_images),
    ("create.status", "HTTP status of an accepted POST", "200 or 201",
     "a paid request would be taken for unknown", True, _created_status),
    ("create.fields", "Fields of the answer to a POST", "avatar_id and look_id",
     "a paid request would be taken for unknown", True, _created_fields),
    ("create.ids", "Form of the ids", "without colon and slash: a ref is avatar_id:look_id",
     "refs cannot be written down and read again", True, _ids),
    ("create.looks", "Looks of an avatar from several images", "one, which the answer to the POST names",
     "the others are seen by session.avatar() alone, and are listed as candidates of a lost edit", False,
     _looks_of_images),
    ("create.ready", "A look from images just after the POST", "ready at once",
     "it is waited for as any other look", False, _ready_at_once),
    ("create.echo", "name and place of a new avatar", "kept as sent",
     "nothing here relies on it", False, _echo),
    ("status.words", "Status words of GET /avatar/status", "any of both vocabularies",
     "a look with another word is never settled", True, _words_on("status")),
    ("avatar.words", "Status words of GET /avatar/{id}", "any of both vocabularies",
     "a look with another word is never settled", True, _words_on("avatar")),
    ("look.words", "Status words of GET /avatar/{id}/look/{id}", "any of both vocabularies",
     "a look with another word is never settled", True, _words_on("look")),
    ("words.settled", "Which vocabulary is in use", "both are understood",
     "nothing: both are understood", False, _vocabularies),
    ("words.pending", "Words for a look that is being made", "pending or processing",
     "a look with another word counts as not settled, and its word is in Look.raw", False, _pending_words),
    ("words.failed", "Words for a look that failed", "failed or error",
     "a failed look would be waited for in vain", True, _failed_words),
    ("status.failure", "Why a look failed, on GET /avatar/status", "error.code and error.message, or a text",
     "GenerationFailed gives no reason", False, _failure),
    ("words.agree", "The same look, read in three ways", "in one state",
     "which way is asked decides when a look is known to be ready", True, _same_state),
    ("status.result", "Where a ready look's picture stands", "result.thumbnail_url, or beside the status",
     "looks are ready without a picture's address", True, _result_fields),
    ("fields.spelling", "Names of fields", "snake_case; camelCase is understood too",
     "nothing: both are understood", False, _spelling),
    ("picture.key", "The API key for a picture's address", "not needed, and never sent there",
     "pictures cannot be saved", True, _picture_is_public),
    ("picture.address", "A picture's address", "stays valid, so that stores and reports can keep it",
     "if it expires, a contact sheet that is made later lacks the pictures that were not saved at once", True,
     _picture_address),
    ("avatar.complete", "GET /avatar/{id}", "has all looks of the avatar in one answer",
     "looks are known late, and the list of what a lost POST may have made is not complete", True,
     _avatar_is_complete),
    ("avatar.looks", "Looks in GET /avatar/{id}", "have no prompt, creation time or reason of failure",
     "good news: lost POSTs could be settled by it. Tell us", False, _look_of_avatar_fields),
    ("avatar.fields", "Fields of GET /avatar/{id}", "those of the vendor's page",
     "unknown fields are kept in raw, missing ones are None", False, _fields_of("avatar", _AVATAR_FIELDS)),
    ("look.fields", "Fields of GET /avatar/{id}/look/{id}", "those of the vendor's page",
     "unknown fields are kept in raw, missing ones are None", False, _fields_of("look", _LOOK_FIELDS)),
    ("list.fields", "Fields of a look in the list", "those of the vendor's page",
     "unknown fields are kept in raw, missing ones are None", False, _fields_of("list", _LIST_FIELDS)),
    ("list.form", "GET /avatar/list", "a JSON array",
     "looks() does not work", True, _list_form),
    ("list.status", "Looks in the list", "have no status",
     "good news: one request could tell the state of all looks. Tell us", False, _list_has_status),
    ("list.made", "A ready look of the workspace", "is in the list at once",
     "looks() misses new looks; nothing that decides about money relies on it", False, _list_has_made),
    ("list.pending", "Pending looks", "may be in the list or not: nothing relies on it",
     "nothing relies on it", False, _list_has(("pending", "processing"), "pending")),
    ("list.failed", "Failed looks", "may be in the list or not: nothing relies on it",
     "nothing relies on it", False, _list_has(("failed", "error"), "failed")),
    ("list.order", "Order of the list", "the workspace's own looks first",
     "nothing relies on it", False, _list_order),
    ("list.pages", "Pages of the list", "none: one answer has all looks",
     "looks() shows a part only", True, _list_is_whole),
    ("list.filter", f"A filter with an unknown word (gender={NO_SUCH_WORD})", "no looks, or a refusal",
     "a mistyped filter shows all looks", False, _unknown_filter),
    ("error.look", "A look that does not exist, on GET /avatar/status", "HTTP 404; code and text may vary",
     "a missing look is not recognized", True, _missing_look),
    ("error.avatar", "An avatar that does not exist", "HTTP 404; code and text may vary",
     "a missing avatar is not recognized", True, _missing_avatar),
    ("error.key", "A wrong API key", "HTTP 401; code and text may vary",
     "a revoked key is not recognized, and a batch goes on against it", True, _wrong_key),
    ("error.codes", "Case of letters of error codes", "either",
     "nothing: both are understood", False, _code_case),
    ("key.form", "The API key", "hx_live_ and 64 hex digits; nothing relies on it",
     "nothing relies on it", False, _key_form),
    ("delivery.sent", "A delivery for an avatar from images", "may come or not: it is read anyway",
     "images are ready at once, so nothing is waited for", False, _delivered),
    ("delivery.form", "Form of a delivery", "the older one (job_id) or the newer one (task, look_id)",
     "deliveries are refused: looks are known by asking only", True, _delivery_form),
    ("delivery.word", "Status word of a delivery", "any of both vocabularies",
     "deliveries are refused: looks are known by asking only", True, _delivery_word),
    ("delivery.picture", "The picture in a delivery", "result.thumbnail_url",
     "a request more for each look", False, _delivery_picture),
    ("delivery.signed", "Signature of a delivery", _NO_SIGNATURE,
     "good news: deliveries could be checked by it. Tell us", False, _delivery_is_unsigned),
    ("delivery.repeated", f"After {REFUSED} deliveries that were answered 503",
     "sent again after 1, 2 and 4 s, then dropped",
     "lost deliveries are found by asking, later or earlier", False, _delivery_repeats),
    ("prompt.pending", "States of a look from a prompt, and its delivery", "pending, then settled",
     "it would be waited for in vain", True, _costs(_COSTS)),
    ("edit.images", "The field for an edit's reference images",
     "images, as on the Avatar Workflow page; the vendor's own client sends imageUrls",
     "references would be ignored, and the look paid for", True, _costs(_COSTS)),
    ("edit.prices", "Prices of prompts and edits", "2 credits, 4 at 4K, 1.5 more with upscale",
     "caps of credits are wrong", True, _costs(_COSTS)),
    ("post.retry", "Idempotency keys", "none: a POST that is sent twice is paid twice",
     "good news: lost POSTs could be sent again. Tell us", False,
     _costs("the vendor's pages name none, and trying would make avatars")),
)  # fmt: skip


def judge(seen: Observations) -> list[Fact]:
    """All facts, in a fixed order: the quota's, then those of each endpoint, then of deliveries."""
    return [
        _judged(fact_id, question, assumed, means, matters, found, seen)
        for fact_id, question, assumed, means, matters, found in (*QUOTA_FACTS, *_FACTS)
    ]


def _judged(
    fact_id: str,
    question: str,
    assumed: str,
    means: str,
    matters: bool,
    found: Callable[[Observations], Seen],
    seen: Observations,
) -> Fact:
    try:
        result = found(seen)
    except Exception as error:  # an answer of a form that nobody thought of must not cost the report
        result = not_seen(f"the answer could not be judged ({type(error).__name__}); see the shapes")
    fact = Fact(fact_id, question, assumed, result.text, result.differs, means, matters)
    return attrs.evolve(fact, matters=matters and fact.differs is True)
