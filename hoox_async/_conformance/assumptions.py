"""All that this library assumes of the API: the one table of it.

Each row says what is assumed, who says so, which promise of this library falls if it is false, which check
tells, and how what was seen is judged. `check --conformance` prints it with what it saw. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial

import attrs

from . import judgements as of_answers
from . import purchase_judgements as of_purchases
from . import quota_judgements as of_quota
from .observations import Observations, Seen, not_seen
from .purchases import AVATAR, EDIT, PUBLIC_EDITS
from .receiver import FAILED_AT_FIRST
from .steps import NO_SUCH_WORD

SOURCES = {
    "W": 'the vendor\'s page "Avatar Workflow"',
    "R": "the vendor's API reference",
    "M": "the vendor's own client, hoox-mcp 0.1.7",
    "S": "the vendor's skill for coding agents",
    "H": "a hint that no page states",
    "-": "no page says it",
}


class Promise(StrEnum):
    """What this library promises."""

    PAID_ONCE = "paid once"
    KNOWN = "every look's end is known"
    QUOTA = "the quota is kept and used"
    CREDITS = "caps and sums of credits are right"
    PICTURES = "pictures are kept, as they were paid for"
    USABLE = "every call works as documented"


@attrs.frozen
class Assumption:
    """One row. ``promise``: the one that falls if it is false; None if none does, because nothing relies on
    it or each form is understood. ``means``: what a difference means for users. ``told_by``: the option or
    event that shows it, or why nothing does."""

    id: str
    question: str
    assumed: str
    source: str
    promise: Promise | None
    means: str
    told_by: str
    judge: Callable[[Observations], Seen]


@attrs.frozen
class Fact:
    """A row with what was seen: whether it differs (None: it was not seen), and whether that harms users."""

    id: str
    question: str
    assumed: str
    source: str
    promise: str | None
    seen: str
    differs: bool | None
    consequence: str
    matters: bool
    told_by: str


def judge(seen: Observations) -> list[Fact]:
    """All facts, in the order of the table."""
    return [_judged(row, seen) for row in ASSUMPTIONS]


def _judged(row: Assumption, seen: Observations) -> Fact:
    try:
        found = row.judge(seen)
    except Exception as error:  # an answer of a form that nobody thought of must not cost the report
        found = not_seen(f"the answer could not be judged ({type(error).__name__}); see the shapes")
    return Fact(
        id=row.id,
        question=row.question,
        assumed=row.assumed,
        source=row.source,
        promise=row.promise,
        seen=found.text,
        differs=found.differs,
        consequence=row.means,
        matters=row.promise is not None and found.differs is True,
        told_by=row.told_by,
    )


def _never(why: str) -> Callable[[Observations], Seen]:
    """For what no check can show."""
    return lambda _: not_seen(why)


_FREE, _AVATAR, _DELIVERY = "--conformance", "--avatar ID", "--public-url"
_BUY_4K, _BUY_EDIT, _BUY_PUBLIC = "--spend 4", "--spend 6", "--spend 10 --edit-public REF"
_BALANCE = "--spend, with the balance before and after"
_NOTHING = "no check"
_ANY_WORD = "any of both vocabularies"
_NOT_SETTLED = "a look with another word is never settled"
_ONLY_ASKING = "deliveries are rejected: looks are known by asking only"
_RAW = "unknown fields are kept in raw, missing ones are None"

ASSUMPTIONS: Sequence[Assumption] = tuple(Assumption(*row) for row in (
    # id, question, assumed, source, promise, what a difference means, which check tells, how it is judged
    # --- the quota
    ("quota.limit", "X-RateLimit-Limit", "100 requests a minute", "R", None,
     "the lower of the header and --rpm holds; where more is allowed, raise --rpm", _FREE, of_quota.limit),
    ("quota.counting", "X-RateLimit-Remaining", "falls by 1 with each request of any endpoint", "R", None,
     "the difference is taken for another client's requests: slower, never refused", _FREE,
     of_quota.counting),
    ("quota.whose", "Whose quota it is", "the workspace's: that of all its keys together", "R", None,
     "more could be sent than is", _NOTHING, _never("one key alone can't show it")),
    ("quota.window", "Which requests count", "those of the last 60 s; fixed minutes are understood too",
     "H", None, "nothing: never more than the limit in any 60 s is right for both", _NOTHING,
     _never("spending the quota would stop the workspace for a minute")),
    ("quota.reset", "Form of X-RateLimit-Reset", "Unix seconds", "R", None,
     "it is ignored: after a 429 without Retry-After the pause doubles from a second", _FREE, of_quota.reset),
    ("quota.moves", "What X-RateLimit-Reset means",
     "either: the end of a fixed minute, or a moment that moves; which one is learned from how it moves",
     "H", None, "nothing: both are understood", _FREE, of_quota.moves),
    ("quota.headers", "Other headers about the quota", "none", "-", None, "they are ignored", _FREE,
     of_quota.other_headers),
    ("quota.success", "Quota headers on refusals", "may be missing", "-", None, "nothing relies on them",
     _FREE, of_quota.on_refusals),
    ("quota.date", "Date header", "in each answer: the reset is counted from it", "-", None,
     "the reset is counted from this machine's clock", _FREE, of_quota.date),
    ("quota.refused", "A 429", "may have neither quota headers nor Retry-After; both are honoured", "H", None,
     "nothing relies on it", "a 429 that comes by itself", of_quota.throttled),
    ("quota.spent", "Whether a 429 counts in the quota", "it does; right if it doesn't, too", "H", None,
     "nothing: a pause follows each 429, and it grows", _NOTHING,
     _never("spending the quota would stop the workspace for a minute")),
    # --- creating
    ("create.images", "The field for the images of a new avatar", "imageUrls", "W", Promise.USABLE,
     "avatars from images cannot be made: tell us the code", _FREE, of_answers.images_field),
    ("create.other_name", "Its other name", "images: the field itself, of which imageUrls is an alias", "RS",
     None, "nothing: imageUrls is sent", "--spend", of_purchases.other_name_of_images),
    ("create.price", "Price of an avatar from images", "0 credits", "W", Promise.CREDITS,
     "caps of credits are wrong, and this check was not free: tell us", _BALANCE, of_answers.price_of_images),
    ("create.status", "HTTP status of an accepted POST", "200 or 201", "R", Promise.PAID_ONCE,
     "a paid request would be taken for unknown", _FREE, of_answers.created_status),
    ("create.fields", "Fields of the answer to a POST", "avatar_id and look_id", "WR", Promise.PAID_ONCE,
     "a paid request would be taken for unknown", _FREE, of_answers.created_fields),
    ("create.ids", "Form of the ids", "without colon and slash: a ref is avatar_id:look_id", "-",
     Promise.USABLE, "refs cannot be written down and read again", _FREE, of_answers.ids),
    ("create.looks", "Looks of an avatar from several images", "one, which the answer to the POST names",
     "-", None,
     "the others are seen by session.avatar() alone, and are listed as candidates of a lost edit", _FREE,
     of_answers.looks_of_images),
    ("create.ready", "A look from images just after the POST", "ready at once", "W", None,
     "it is waited for as any other look", _FREE, of_answers.ready_at_once),
    ("create.echo", "name and place of a new avatar", "kept as sent", "W", None,
     "nothing here relies on it", _FREE, of_answers.echo),
    ("create.elements", "The field for a new avatar's element images", "elementImages", "W",
     Promise.PICTURES, "they would be ignored, and the look paid for", _NOTHING,
     _never("only a person who looks at the picture can tell")),
    ("create.raw", "The style raw for a new avatar", "accepted, as for an edit", "S", Promise.USABLE,
     "it is refused with HTTP 400, for no credits", _NOTHING, _never("it would cost credits")),
    ("create.resolution", "Without a resolution", "never left out: it is said to be 2K, and to be 1K", "WM",
     None, "nothing relies on it", _NOTHING, _never("it is sent with each request")),
    ("create.both", "A prompt and images in one request", "never sent: the prompt would win", "R", None,
     "nothing relies on it", _NOTHING, _never("it would cost credits")),
    # --- looks that are bought
    ("prompt.pending", "A look from a prompt just after its POST", "pending or processing", "W", None,
     "it is known at once", _BUY_4K, of_purchases.first_word),
    ("prompt.settles", "Its end", "completed or ready, failed or error", "WR", Promise.KNOWN,
     "it would be waited for in vain", _BUY_4K, of_purchases.last_word),
    ("prompt.seconds", "How long a look takes", "about 40 s; learned, and no deadline is fixed", "-", None,
     "the first looks of a session are asked for too early or too late", _BUY_4K, of_purchases.seconds),
    ("pending.avatar", "A pending look in GET /avatar/{id}", "is in it, so that one request tells of all",
     "R", Promise.QUOTA, "each look is asked for by itself: slower, and the quota goes into asking", _BUY_4K,
     of_purchases.pending_in_avatar),
    ("size.4k", "Pixels of a picture at 4K", "2,000 or more on its shorter side", "-", Promise.PICTURES,
     "4K is paid for and not delivered: a warning and PictureSmaller say so, and `batch --out` buys no more",
     _BUY_4K, partial(of_purchases.sizes, steps=(AVATAR,))),
    ("size.2k", "Pixels of a picture at 2K", "1,000 or more on its shorter side", "-", Promise.PICTURES,
     "2K is paid for and not delivered: a warning and PictureSmaller say so", _BUY_EDIT,
     partial(of_purchases.sizes, steps=(EDIT, *PUBLIC_EDITS))),
    ("size.format", "Format of a picture without a format", "vertical", "R", None, "nothing relies on it",
     _BUY_4K, of_purchases.format_of_picture),
    ("size.upscale", "What upscale makes of a picture", "a larger one; the base resolution is expected", "R",
     None, "nothing relies on it", _NOTHING, _never("it would cost 3.5 credits")),
    ("price.looks", "Prices of prompts and edits", "2 credits at 2K, 4 at 4K", "W", Promise.CREDITS,
     "caps of credits are wrong", _BALANCE, of_purchases.prices),
    ("price.upscale", "Price of upscale", "1.5 credits more", "R", Promise.CREDITS,
     "caps of credits are wrong", _NOTHING, _never("it would cost 3.5 credits")),
    ("price.1k", "Price at 1K", "as at 2K", "M", Promise.CREDITS, "caps of credits are wrong", _NOTHING,
     _never("it would cost 2 credits")),
    ("price.refund", "Credits of a look that failed", "not refunded: they count as paid; sums name them",
     "-", None, "caps are reached too early, never too late", _BALANCE, of_purchases.refund),
    ("edit.answer", "The avatar of an edit's new look", "that of its source, if the workspace made that",
     "R", None, "the look is followed under the answered ref", _BUY_EDIT, of_purchases.avatar_of_edit),
    ("edit.source", "The source of an edit", "not changed", "R", Promise.PICTURES,
     "a look that was paid for is lost by editing it", _NOTHING,
     _never("only a person who compares the pictures can tell")),
    ("edit.images", "The field for an edit's reference images", "images", "W", Promise.PICTURES,
     "references would be ignored, and the look paid for", _BUY_EDIT,
     partial(of_purchases.images_of, step=EDIT)),
    ("edit.other_name", "Its other name", "imageUrls, which the vendor's own client sends", "M", None,
     "nothing: images is sent", _BUY_PUBLIC, partial(of_purchases.images_of, step=PUBLIC_EDITS[1])),
    ("edit.names", "look_name, place and tags of an edit", "kept as sent", "S", None,
     "nothing here relies on it", _BUY_EDIT, of_purchases.names_of_edit),
    ("copies.made", "An edit of a public avatar", "may copy it: the answer names the copy, or it doesn't",
     "S", None, "nothing: the look is followed under the answered ref", _BUY_PUBLIC,
     of_purchases.is_copied),
    ("copies.count", "A second edit of it", "may use the same copy, or make another one", "-", None,
     "nothing: both are understood", _BUY_PUBLIC, of_purchases.copies),
    ("post.refused", "A POST that is answered 400, 401, 402, 403, 404, 409 or 429",
     "nothing was made or charged, so that it may be sent again", "R", Promise.PAID_ONCE,
     "a look would be paid for twice", _NOTHING, _never("it is not provoked")),
    ("post.error", "A POST that is answered 5xx", "may have been made and paid: it is held as unknown", "R",
     None, "nothing: it is never sent again on a guess", _NOTHING, _never("it is not provoked")),
    ("post.retry", "Idempotency keys", "none: a POST that is sent twice is paid twice", "-", None,
     "good news: lost POSTs could be sent again. Tell us", _NOTHING,
     _never("the vendor's pages name none, and trying would make avatars")),
    # --- statuses
    ("status.words", "Status words of GET /avatar/status", _ANY_WORD, "WR", Promise.KNOWN, _NOT_SETTLED,
     _FREE, of_answers.words_on("status")),
    ("avatar.words", "Status words of GET /avatar/{id}", _ANY_WORD, "R", Promise.KNOWN, _NOT_SETTLED, _FREE,
     of_answers.words_on("avatar")),
    ("look.words", "Status words of GET /avatar/{id}/look/{id}", _ANY_WORD, "R", Promise.KNOWN, _NOT_SETTLED,
     _FREE, of_answers.words_on("look")),
    ("words.settled", "Which vocabulary is in use", "both are understood", "WR", None,
     "nothing: both are understood", _FREE, of_answers.vocabularies),
    ("words.pending", "Words for a look that is being made", "pending or processing", "WR", None,
     "a look with another word counts as not settled, and its word is in Look.raw", f"{_BUY_4K}, {_AVATAR}",
     of_answers.pending_words),
    ("words.failed", "Words for a look that failed", "failed or error", "WR", Promise.KNOWN,
     "a failed look would be waited for in vain", _AVATAR, of_answers.failed_words),
    ("status.failure", "Why a look failed, on GET /avatar/status", "error.code and error.message, or a text",
     "WR", None, "GenerationFailed gives no reason", _AVATAR, of_answers.failure),
    ("words.agree", "The same look, read in three ways", "in one state", "-", Promise.KNOWN,
     "which way is asked decides when a look is known to be ready", _FREE, of_answers.same_state),
    ("status.result", "Where a ready look's picture stands", "result.thumbnail_url, or beside the status",
     "W", Promise.PICTURES, "looks are ready without a picture's address", _FREE, of_answers.result_fields),
    ("fields.spelling", "Names of fields", "snake_case; camelCase is understood too", "R", None,
     "nothing: both are understood", _FREE, of_answers.spelling),
    # --- pictures
    ("picture.key", "The API key for a picture's address", "not needed, and never sent there", "-",
     Promise.PICTURES, "pictures cannot be saved", _FREE, of_answers.picture_is_public),
    ("picture.address", "A picture's address", "stays valid, so that stores and reports can keep it", "-",
     Promise.PICTURES,
     "if it expires, a contact sheet that is made later lacks the pictures that were not saved at once",
     _FREE, of_answers.picture_address),
    ("picture.lifetime", "The address of a picture that was bought earlier", "still valid", "-",
     Promise.PICTURES,
     "a contact sheet that is made later lacks the pictures that were not saved at once",
     "--spend once more, days later, with the same store", of_purchases.lifetime),
    # --- avatars and the list
    ("avatar.complete", "GET /avatar/{id}", "has all looks of the avatar in one answer", "R",
     Promise.KNOWN, "looks are known late, and the list of what a lost POST may have made is not complete",
     _FREE, of_answers.avatar_is_complete),
    ("avatar.looks", "Looks in GET /avatar/{id}", "have no prompt, creation time or reason of failure", "R",
     None, "good news: lost POSTs could be settled by it. Tell us", _FREE, of_answers.look_of_avatar_fields),
    ("avatar.fields", "Fields of GET /avatar/{id}", "those of the vendor's page", "R", None, _RAW, _FREE,
     of_answers.fields_of("avatar", of_answers.AVATAR_FIELDS)),
    ("look.fields", "Fields of GET /avatar/{id}/look/{id}", "those of the vendor's page", "R", None, _RAW,
     _FREE, of_answers.fields_of("look", of_answers.LOOK_FIELDS)),
    ("list.fields", "Fields of a look in the list", "those of the vendor's page", "R", None, _RAW, _FREE,
     of_answers.fields_of("list", of_answers.LIST_FIELDS)),
    ("list.form", "GET /avatar/list", "a JSON array", "R", Promise.USABLE, "looks() does not work", _FREE,
     of_answers.list_form),
    ("list.status", "Looks in the list", "have no status", "R", None,
     "good news: one request could tell the state of all looks. Tell us", _FREE, of_answers.list_has_status),
    ("list.made", "A ready look of the workspace", "is in the list at once", "-", None,
     "looks() misses new looks, and a delivery that names no avatar proves a lost POST later", _FREE,
     of_answers.list_has_made),
    ("list.pending", "Pending looks", "may be in the list or not", "-", None, "nothing relies on it",
     f"{_BUY_4K}, {_AVATAR}", of_purchases.pending_in_list),
    ("list.failed", "Failed looks", "may be in the list or not", "-", None, "nothing relies on it", _AVATAR,
     of_answers.list_has(("failed", "error"), "failed")),
    ("list.order", "Order of the list", "the workspace's own looks first", "R", None,
     "nothing relies on it", _FREE, of_answers.list_order),
    ("list.pages", "Pages of the list", "none: one answer has all looks", "-", Promise.USABLE,
     "looks() shows a part only", _FREE, of_answers.list_is_whole),
    ("list.filter", f"A filter with an unknown word (gender={NO_SUCH_WORD})", "no looks, or a refusal", "-",
     None, "a mistyped filter shows all looks", _FREE, of_answers.unknown_filter),
    # --- errors
    ("error.look", "A look that does not exist, on GET /avatar/status", "HTTP 404; code and text may vary",
     "R", Promise.USABLE, "a missing look is not recognized", _FREE,
     partial(of_answers.refusal, step="missing look")),
    ("error.avatar", "An avatar that does not exist", "HTTP 404; code and text may vary", "R",
     Promise.USABLE, "a missing avatar is not recognized", _FREE,
     partial(of_answers.refusal, step="missing avatar")),
    ("error.key", "A wrong API key", "HTTP 401; code and text may vary", "R", Promise.USABLE,
     "a revoked key is not recognized, and a batch goes on against it", _FREE, of_answers.wrong_key),
    ("error.codes", "Case of letters of error codes", "either", "R", None, "nothing: both are understood",
     _FREE, of_answers.code_case),
    ("key.form", "The API key", "hx_live_ and 64 hex digits", "R", None, "nothing relies on it", _FREE,
     of_answers.key_form),
    # --- deliveries
    ("delivery.sent", "A delivery for an avatar from images", "may come or not: it is read anyway", "-",
     None, "images are ready at once, so nothing is waited for", _DELIVERY, of_answers.delivered),
    ("delivery.bought", "A delivery for a look that was bought", "comes once, when the look settles", "R",
     None, "looks are known by asking, some seconds later", f"{_BUY_4K} {_DELIVERY}",
     of_purchases.deliveries),
    ("delivery.form", "Form of a delivery", "the older one (job_id) or the newer one (task, look_id)", "WR",
     Promise.KNOWN, _ONLY_ASKING, _DELIVERY, of_answers.delivery_form),
    ("delivery.word", "Status word of a delivery", _ANY_WORD, "WR", Promise.KNOWN, _ONLY_ASKING, _DELIVERY,
     of_answers.delivery_word),
    ("delivery.picture", "The picture in a delivery", "result.thumbnail_url", "WR", None,
     "a request more for each look", _DELIVERY, of_answers.delivery_picture),
    ("delivery.signed", "Signature of a delivery", of_answers.NO_SIGNATURE, "R", None,
     "good news: deliveries could be checked by it. Tell us", _DELIVERY, of_answers.delivery_is_unsigned),
    ("delivery.repeated", f"After {FAILED_AT_FIRST} deliveries that were answered 503",
     "sent again after 1, 2 and 4 s, then dropped", "R", None,
     "lost deliveries are found by asking, later or earlier", _DELIVERY, of_answers.delivery_repeats),
    ("delivery.seconds", "How long the API waits for the answer to a delivery", "10 s", "R", None,
     "a delivery is sent again that was taken: the second one changes nothing", _NOTHING,
     _never("it is answered at once")),
    ("delivery.other", "Deliveries about other tasks, such as video_generate", "may come to the same URL",
     "R", None, "nothing: they are acknowledged and dropped", _NOTHING, _never("it starts no other task")),
))  # fmt: skip
