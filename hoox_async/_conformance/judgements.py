"""Judges the answers and deliveries that were seen, for the rows of `assumptions`.

Pure: from `Observations` to `Seen` values. Nothing of an answer gets into one but through `shapes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hoox_async import Endpoint, LookStatus
from hoox_async._core.formatting import format_amount, format_count
from hoox_async.testing import RecordedAnswer

from .observations import Observations, Seen, differs, json_of, not_seen, same
from .shapes import error_code, field_names, hidden, status_word
from .steps import OTHER

_READY = ("completed", "ready")
_KNOWN = ("pending", "processing", "completed", "failed", "ready", "error")
LIST_FIELDS = frozenset(
    {
        "id", "avatar_id", "avatar_name", "look_name", "gender", "age_range", "ethnicity", "hair_color",
        "place", "accessories", "action", "emotion", "selfie", "format", "thumbnail", "preview",
        "model_available",
    }
)  # fmt: skip
LOOK_FIELDS = LIST_FIELDS | {"status", "error_message"}
AVATAR_FIELDS = frozenset(
    {
        "id", "name", "gender", "age", "age_range", "ethnicity", "hair_color", "thumbnail", "looks",
        "created_at",
    }
)  # fmt: skip
_USEFUL = frozenset({"prompt", "created_at", "createdAt", "error", "error_message", "errorMessage"})
"""Fields by which a look that got lost could be recognized, or that say why one failed."""
_MISSING_TEXTS = ("Avatar not found", "Look not found")
NO_SIGNATURE = "nothing in a delivery proves who sent it"


# --- creating


def images_field(seen: Observations) -> Seen:
    answer = seen.of_step("create")
    if seen.made is not None:
        return same("accepted")
    if answer is None or answer.status is None:
        return not_seen("no answer to the POST, or it was not sent")
    if answer.status == 400:
        return differs(refused_text(answer))
    return not_seen(f"HTTP {answer.status}")


def price_of_images(seen: Observations) -> Seen:
    answer = seen.of_step("create")
    if answer is not None and answer.status == 402:
        return differs(f"{refused_text(answer)}: it needs credits")
    if seen.made is None:
        return not_seen("no avatar was made")
    fell, paid = seen.balance.fell_by, sum((one.charged for one in seen.purchases), Decimal(0))
    if fell is None:
        return not_seen("accepted. Compare the balance on the site before and after this check")
    if fell == paid:
        return same("0: the balance fell by the credits of what was bought alone")
    return not_seen(
        f"the balance fell by {format_amount(fell)}, and {format_amount(paid)} were paid for what was bought"
    )


def created_status(seen: Observations) -> Seen:
    statuses = sorted({answer.status for answer in _accepted(seen) if answer.status is not None})
    if not statuses:
        return not_seen("no avatar was made")
    text = " and ".join(f"HTTP {status}" for status in statuses)
    return (same if set(statuses) <= {200, 201} else differs)(text)


def created_fields(seen: Observations) -> Seen:
    found = {tuple(field_names(json_of(answer))) for answer in _accepted(seen)}
    if not found:
        return not_seen("no avatar was made")
    texts = sorted(", ".join(names) or "none" for names in found)
    return (same if all({"avatar_id", "look_id"} <= set(names) for names in found) else differs)(
        "; ".join(texts)
    )


def ids(seen: Observations) -> Seen:
    if seen.made is None:
        return not_seen("no avatar was made")
    texts = (seen.made.avatar_id, seen.made.look_id)
    usual = all(text.startswith(prefix) for text, prefix in zip(texts, ("avtr_", "look_"), strict=True))
    form = "avtr_… and look_…" if usual else "of another form than on the vendor's pages"
    form += f", {len(texts[0])} and {len(texts[1])} characters"
    bad = [name for name, sign in (("colon", ":"), ("slash", "/")) if any(sign in text for text in texts)]
    return differs(f"{form}, with a {' and a '.join(bad)}") if bad else same(form)


def ready_at_once(seen: Observations) -> Seen:
    word = _word(seen.body("status"))
    if seen.made is None or word is None:
        return not_seen("no avatar was made, or its status could not be read")
    if word.lower() in _READY:
        return same(f"{word} in the first answer after the POST")
    return differs(f"{word} in the first answer after the POST")


def looks_of_images(seen: Observations) -> Seen:
    looks = _looks_of(seen.body("avatar"))
    if seen.made is None or looks is None:
        return not_seen("no avatar was made, or it could not be read")
    finding = f"{format_count(seen.sent_images, 'image')} made {format_count(len(looks), 'look')}"
    if seen.sent_images < 2 and len(looks) == 1:
        return not_seen(f"{finding}: give two or more with --image")
    return (same if len(looks) == 1 else differs)(finding)


def echo(seen: Observations) -> Seen:
    look = seen.body("look")
    if seen.made is None or not isinstance(look, dict):
        return not_seen("no avatar was made, or it could not be read")
    name = next((look[key] for key in ("avatar_name", "avatarName") if key in look), None)
    kept = {"name": name == seen.sent_name, "place": look.get("place") == seen.sent_place}
    finding = ", ".join(f"{field} {'kept' if same_one else 'not kept'}" for field, same_one in kept.items())
    return (same if all(kept.values()) else differs)(finding)


# --- statuses


def words_on(step: str) -> Callable[[Observations], Seen]:
    def judge(seen: Observations) -> Seen:
        words = _all_words(seen)[step]
        if not words:
            return not_seen("no look with a status")
        text = ", ".join(sorted(words))
        return (same if {word.lower() for word in words} <= set(_KNOWN) else differs)(text)

    return judge


def vocabularies(seen: Observations) -> Seen:
    pairs = {"completed": 0, "failed": 0, "ready": 1, "error": 1}
    found = [{pairs[w.lower()] for w in words if w.lower() in pairs} for words in _all_words(seen).values()]
    used = set().union(*found)
    if not used:
        return not_seen("no look that is settled")
    if len(used) == 2:
        return same("both: completed and failed, ready and error")
    return same("one: " + ("ready and error" if used == {1} else "completed and failed"))


def pending_words(seen: Observations) -> Seen:
    words = {word for found in _all_words(seen).values() for word in found if word.lower() not in _SETTLED}
    if not words:
        return not_seen("every look that was read is settled. Run it while a look is made, with --avatar ID")
    return (same if {word.lower() for word in words} <= set(_KNOWN) else differs)(", ".join(sorted(words)))


_SETTLED = ("completed", "failed", "ready", "error")


def failed_words(seen: Observations) -> Seen:
    found = {
        word for words in _all_words(seen).values() for word in words if word.lower() in ("failed", "error")
    }
    if not found:
        return not_seen("no look that failed. Name an avatar that has one with --avatar ID")
    return same(", ".join(sorted(found)))


def failure(seen: Observations) -> Seen:
    body = seen.body("a failed look")
    if not isinstance(body, Mapping):
        return not_seen("no look that failed. Name an avatar that has one with --avatar ID")
    error = body.get("error")
    if isinstance(error, Mapping) and ("code" in error or "message" in error):
        return same(f"error: {', '.join(field_names(error))}; code {error_code(error.get('code'))}")
    if isinstance(error, str) or isinstance(body.get("error_message"), str):
        return same("a text")
    return differs(f"error: {hidden(error)}; fields: {', '.join(field_names(body))}")


def same_state(seen: Observations) -> Seen:
    read = {step: seen.readings[step] for step in ("status", "avatar", "look") if step in seen.readings}
    if len(read) < 2:
        return not_seen("the look was read in less than two ways")
    text = ", ".join(f"{step}: {status}" for step, status in read.items())
    return (same if len(set(read.values())) == 1 else differs)(text)


def result_fields(seen: Observations) -> Seen:
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


def spelling(seen: Observations) -> Seen:
    bodies = [body for endpoint in Endpoint for body in seen.bodies_of(endpoint)]
    names = {name for body in bodies for name in _all_names(body)}
    if not names:
        return not_seen("no answer with fields")
    camel = sorted(name for name in names if name != name.lower() and "_" not in name)
    return same("camelCase for " + ", ".join(camel)) if camel else same("snake_case everywhere")


# --- pictures


def picture_is_public(seen: Observations) -> Seen:
    if seen.picture is None:
        failed = any(step.name == "picture" and step.outcome == "failed" for step in seen.steps)
        return differs("it could not be fetched") if failed else not_seen("no look that is ready")
    kind, size = seen.picture
    shown = kind if kind in ("image/jpeg", "image/png", "image/webp", "image/avif") else "another type"
    return same(f"fetched without it: {shown}, {size:,} bytes")


def picture_address(seen: Observations) -> Seen:
    url = _thumbnail(_ready_status(seen))
    if url is None:
        return not_seen("no address of a picture")
    if "?" in url:
        return differs("it has a query, so it may be signed and expire")
    return same("without a query")


# --- one avatar


def avatar_is_complete(seen: Observations) -> Seen:
    looks = _looks_of(seen.body("avatar"))
    if looks is None or seen.looked_at is None:
        return not_seen("the avatar could not be read")
    found = any(_id(look) == seen.looked_at.look_id for look in looks)
    return (same if found else differs)(
        f"{format_count(len(looks), 'look')}, and the one that was asked for is {_is_in(found)}"
    )


def look_of_avatar_fields(seen: Observations) -> Seen:
    looks = _looks_of(seen.body("avatar"))
    if not looks:
        return not_seen("no look of an avatar")
    names = {name for look in looks for name in field_names(look)}
    useful = sorted(names & _USEFUL)
    if useful:
        return differs("they have " + ", ".join(useful))
    return same("none of prompt, creation time and reason of failure")


def fields_of(step: str, documented: frozenset[str]) -> Callable[[Observations], Seen]:
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


def list_form(seen: Observations) -> Seen:
    answer = seen.of_step("list")
    body = seen.body("list")
    if answer is None or answer.status != 200:
        return not_seen("the list could not be read")
    if isinstance(body, list):
        return same(f"an array of {len(body)}")
    return differs(f"{hidden(body)}: {', '.join(field_names(body))}" if body is not None else "no JSON")


def list_has_status(seen: Observations) -> Seen:
    entries = _entries(seen, "list")
    if not entries:
        return not_seen("no list, or an empty one")
    words = sorted({word for entry in entries if (word := _word(entry)) is not None})
    return differs("a status: " + ", ".join(words)) if words else same("no status")


def list_has_made(seen: Observations) -> Seen:
    entries = _entries(seen, "list")
    if seen.made is None or entries is None:
        return not_seen("no avatar was made, or no list was read")
    found = seen.made.look_id in {_id(entry) for entry in entries}
    return (same if found else differs)(f"the new look, which is ready, is {_is_in(found)}")


def list_has(words: Iterable[str], kind: str) -> Callable[[Observations], Seen]:
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


def list_order(seen: Observations) -> Seen:
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


def list_is_whole(seen: Observations) -> Seen:
    entries, answer = _entries(seen, "list"), seen.of_step("list")
    if entries is None or answer is None:
        return not_seen("the list could not be read")
    pages = [name for name in ("link", "x-total-count", "x-next-page", "x-total") if name in answer.headers]
    if pages:
        return differs(f"{len(entries)} looks, and the header {', '.join(pages)}")
    listed, public = ({_id(one) for one in found or ()} for found in (entries, _entries(seen, "catalogue")))
    has_all = bool(public) and public < listed  # the catalogue comes last, and none of it is cut off
    if len(entries) in (10, 20, 25, 30, 40, 50, 100, 200, 250, 500, 1000) and not has_all:
        return differs(f"exactly {len(entries)} looks: that may be a page")
    return same(f"{format_count(len(entries), 'look')}, no header that names pages")


def unknown_filter(seen: Observations) -> Seen:
    answer, everything = seen.of_step("unknown filter"), _entries(seen, "list")
    if answer is None:
        return not_seen("no answer")
    entries = _entries(seen, "unknown filter")
    if entries is None:
        return same(refused_text(answer))
    if entries and everything is not None and len(entries) == len(everything):
        return differs("the filter is ignored: all looks")
    return same(format_count(len(entries), "look"))


# --- errors


def refusal(seen: Observations, step: str) -> Seen:
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


def wrong_key(seen: Observations) -> Seen:
    if seen.wrong_key is None:
        return not_seen("no answer")
    status, _, body = seen.wrong_key
    finding = f"HTTP {status}, {_code_of(body)}, fields: {', '.join(field_names(body)) or 'none'}"
    return (same if status == 401 else differs)(finding)


def code_case(seen: Observations) -> Seen:
    answers = [json_of(one) for one in seen.in_order() if one.status is not None and one.status >= 400]
    bodies = [*answers, seen.wrong_key[2] if seen.wrong_key else None]
    codes = {code for body in bodies for code in _codes(body)}
    if not codes:
        return not_seen("no refusal with a code")
    cases = {"upper" if code.isupper() else "lower" if code.islower() else "mixed" for code in codes}
    shown = ", ".join(sorted(error_code(code) for code in codes))
    return same(f"{' and '.join(sorted(cases))} case: {shown}")


def key_form(seen: Observations) -> Seen:
    return same("of that form") if seen.key_has_documented_form else differs("of another form")


# --- deliveries


def delivered(seen: Observations) -> Seen:
    if not seen.receiver_used:
        return not_seen("no --public-url was given")
    if seen.made is None:
        return not_seen("no avatar was made")
    first = next((one for one in seen.deliveries if one.attempt == 0), None)
    if first is not None:
        at, accepted = first.at, seen.accepted_at
        if accepted is None:
            return same("yes")
        seconds = (at - accepted).total_seconds()
        moment = "before" if seconds < 0 else "after"
        return same(f"yes, {abs(seconds):.1f} s {moment} the answer to the POST")
    if not seen.receiver_reached:
        return not_seen("none came, but nor did this machine's own request to the public URL")
    return differs("none came")


def delivery_form(seen: Observations) -> Seen:
    body = _delivery(seen)
    if body is None:
        return not_seen("no delivery")
    names = ", ".join(field_names(body))
    if "look_id" in body and "task" in body:
        task = body["task"]
        shown = task if task in ("avatar_create", "avatar_edit") else "another task"
        return same(f"the newer one ({shown}): {names}")
    if "job_id" in body and "look_id" not in body:
        refs = (seen.made, *(one.ref for one in seen.purchases))
        ours = {ref.look_id for ref in refs if ref is not None}
        about = "of the look" if body["job_id"] in ours else "of something else"
        return (same if "something" not in about else differs)(f"the older one, job_id {about}: {names}")
    return differs(f"another one: {names}")


def delivery_word(seen: Observations) -> Seen:
    word = _word(_delivery(seen))
    if word is None:
        return not_seen("no delivery with a status")
    return (same if word.lower() in _KNOWN else differs)(word)


def delivery_picture(seen: Observations) -> Seen:
    body = _delivery(seen)
    if body is None or (_word(body) or "").lower() not in _READY:
        return not_seen("no delivery of a look that is ready")
    result = body.get("result")
    finding = "result: " + (", ".join(field_names(result)) or hidden(result))
    return (same if _thumbnail(body) is not None else differs)(finding)


def delivery_is_unsigned(seen: Observations) -> Seen:
    if not seen.deliveries:
        return not_seen("no delivery")
    names = {name for one in seen.deliveries for name in field_names(one.headers)}
    signs = sorted(
        name for name in names if any(word in name for word in ("sign", "hmac", "hash", "secret", "token"))
    )
    return differs("signed? The header " + ", ".join(signs)) if signs else same(NO_SIGNATURE)


def delivery_repeats(seen: Observations) -> Seen:
    if not seen.deliveries:
        return not_seen("no delivery")
    times = [one.at for one in seen.deliveries if one.attempt == seen.deliveries[0].attempt]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    if not gaps:
        return differs("not sent again after 503")
    finding = "again after " + ", ".join(f"{gap:.1f}" for gap in gaps) + " s"
    expected = (1.0, 2.0, 4.0)
    near = all(abs(gap - wanted) < 0.9 for gap, wanted in zip(gaps, expected, strict=False))
    return (same if near and len(gaps) == len(expected) else differs)(finding)


# --- parts of bodies


def _accepted(seen: Observations) -> list[RecordedAnswer]:
    """The answers to POSTs that were accepted."""
    posts = [answer for answer in seen.in_order() if answer.endpoint.paid and answer.status is not None]
    return [answer for answer in posts if answer.status is not None and 200 <= answer.status < 300]


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


def refused_text(answer: RecordedAnswer) -> str:
    """How a request was refused: ``refused with HTTP 400, code MISSING_PROMPT``."""
    return f"refused with HTTP {answer.status}, {_code_of(json_of(answer))}"


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
