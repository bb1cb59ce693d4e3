"""Judges what was seen of the looks that were bought, for the rows of `assumptions`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from hoox_async import Format, LookEdit, LookRef, PromptAvatar
from hoox_async._core.formatting import format_amount, format_count, format_pixels

from .judgements import list_has, refused_text
from .observations import Observations, Purchase, Seen, differs, not_seen, same
from .purchases import AVATAR, EDIT, OTHER_NAME, PUBLIC_EDITS
from .shapes import status_word

_MANY_HOURS = 1.0  # an address that is younger shows nothing


# --- names of fields


def other_name_of_images(seen: Observations) -> Seen:
    answer = seen.of_step(OTHER_NAME)
    if answer is None or answer.status is None:
        return not_seen("not tried in this run, or no answer to the POST")
    if 200 <= answer.status < 300:
        return same("accepted")
    return differs(refused_text(answer))


def images_of(seen: Observations, step: str) -> Seen:
    bought = _bought(seen, step)
    if bought is None or not isinstance(bought.request, LookEdit) or not bought.request.images:
        return not_seen(f"no {step} with a reference picture was bought")
    answer = seen.of_step(step)
    if answer is not None and answer.status == 400:
        return differs(refused_text(answer))
    if bought.ref is None:
        return not_seen("it was not accepted")
    return not_seen("accepted; whether it was used, the picture shows to a person alone")


def names_of_edit(seen: Observations) -> Seen:
    bought = _bought(seen, EDIT)
    if bought is None or not bought.names:
        return not_seen(f"no {EDIT} was bought that is ready")
    text = ", ".join(f"{name} {'kept' if kept else 'not kept'}" for name, kept in bought.names.items())
    return (same if all(bought.names.values()) else differs)(text)


# --- while it is made


def first_word(seen: Observations) -> Seen:
    new = _new(seen)
    if not new:
        return not_seen("no look was bought in this run")
    if not any(one.was_pending for one in new):
        return differs("ready, or failed, at the first read after the POST")
    bodies = (seen.body(f"{one.step}: status") for one in new if one.was_pending)
    words = {status_word(body["status"]) for body in bodies if isinstance(body, dict) and "status" in body}
    return same(", ".join(sorted(words)))


def last_word(seen: Observations) -> Seen:
    ends = [one.ending for one in _new(seen)]
    if not any(ends):
        return not_seen("no look was bought in this run, or none was seen to be settled")
    return same(
        f"{ends.count('ready')} of {format_count(len(ends), 'look')} ready, {ends.count('failed')} failed"
    )


def seconds(seen: Observations) -> Seen:
    took = [one.seconds for one in _new(seen) if one.seconds is not None]
    if not took:
        return not_seen("no look was bought in this run that took longer than the requests about it")
    return same(", ".join(f"{each:.0f} s" for each in took))


def pending_in_avatar(seen: Observations) -> Seen:
    return _pending_in(one.in_avatar for one in _new(seen) if one.was_pending)


def pending_in_list(seen: Observations) -> Seen:
    found = _pending_in(one.in_list for one in _new(seen) if one.was_pending)
    return list_has(("pending", "processing"), "pending")(seen) if found.differs is None else same(found.text)


def _pending_in(found: Iterable[bool | None]) -> Seen:
    known = [one for one in found if one is not None]
    if not known:
        return not_seen("no look was bought in this run that was still pending when it was read")
    text = f"{sum(known)} of {format_count(len(known), 'pending look')} in it"
    return (same if all(known) else differs)(text)


# --- pictures


def sizes(seen: Observations, steps: Iterable[str]) -> Seen:
    sized = [one for one in seen.purchases if one.step in steps and one.size is not None]
    if not sized:
        return not_seen("no such picture was bought and fetched")
    texts = [f"{size_text(one)}, {'less than' if one.is_too_small else 'as'} was paid for" for one in sized]
    small = any(one.is_too_small or one.found_elsewhere for one in sized)
    return (differs if small else same)("; ".join(dict.fromkeys(texts)))


def size_text(bought: Purchase) -> str:
    """The size of its picture, as ``2160 x 3840`` with a multiplication sign."""
    assert bought.size is not None
    elsewhere = (
        " at another address than the look's own, where it is smaller" if bought.found_elsewhere else ""
    )
    return f"{format_pixels(*bought.size)}{elsewhere}"


def format_of_picture(seen: Observations) -> Seen:
    sized = [one for one in seen.purchases if one.size is not None and isinstance(one.request, PromptAvatar)]
    if not sized:
        return not_seen("no picture from a prompt was bought and fetched")
    upright = all(one.size is not None and one.size[0] < one.size[1] for one in sized)
    wanted = all(one.request.format is Format.VERTICAL for one in sized)
    return (same if upright is wanted else differs)("vertical" if upright else "horizontal")


def lifetime(seen: Observations) -> Seen:
    old = [one for one in seen.purchases if one.address_age is not None and one.address_age >= _MANY_HOURS]
    if not old:
        return not_seen("no picture was bought by an earlier run more than an hour ago")
    oldest = max(old, key=lambda one: one.address_age or 0.0)
    text = f"{oldest.address_age:,.0f} hours after it was made"
    if any(one.address_expired for one in old):
        return differs(f"gone {text}")
    return same(f"valid {text}") if oldest.size else not_seen("its picture could not be fetched")


# --- edits


def avatar_of_edit(seen: Observations) -> Seen:
    avatar, edit = _bought(seen, AVATAR), _bought(seen, EDIT)
    if avatar is None or edit is None or avatar.ref is None or edit.ref is None:
        return not_seen(f"no {EDIT} was bought")
    if edit.ref.avatar_id == avatar.ref.avatar_id:
        return same("that of its source")
    return differs("another one than its source's")


def is_copied(seen: Observations) -> Seen:
    edits = _public_edits(seen)
    if not edits:
        return not_seen("no edit of a public look was bought")
    copied = [ref.avatar_id != source.avatar_id for source, ref in edits]
    text = "copied: the answer names another avatar" if all(copied) else "not copied"
    return same(text if len(set(copied)) == 1 else "copied by one edit, and not by the other")


def copies(seen: Observations) -> Seen:
    edits = _public_edits(seen)
    if len(edits) < 2:
        return not_seen("no two edits of a public look were bought")
    made = {ref.avatar_id for source, ref in edits if ref.avatar_id != source.avatar_id}
    return same(("no copy", "one copy", "two copies")[len(made)] + " for two edits")


def _public_edits(seen: Observations) -> list[tuple[LookRef, LookRef]]:
    """Source and new look of each edit of a public look that was accepted."""
    found = [one for one in seen.purchases if one.step in PUBLIC_EDITS]
    return [
        (one.request.source, one.ref)
        for one in found
        if isinstance(one.request, LookEdit) and isinstance(one.request.source, LookRef) and one.ref
    ]


# --- credits


def prices(seen: Observations) -> Seen:
    paid, unknown = _total(seen), sum((one.at_risk for one in seen.purchases), Decimal(0))
    fell = _fell_by(seen)
    if isinstance(fell, Seen):
        return fell
    if unknown:
        at_risk = f"whether {format_amount(unknown)} credits were paid is not known"
        return not_seen(f"the balance fell by {format_amount(fell)}; {at_risk}")
    if fell == paid:
        return same(f"the balance fell by {format_amount(fell)}, as by the price list")
    if fell == paid - _failed(seen):
        return same(
            f"the balance fell by {format_amount(fell)}, as by the price list without the looks that failed"
        )
    return differs(
        f"the balance fell by {format_amount(fell)}; "
        f"by the price list {format_amount(paid)} credits were paid"
    )


def refund(seen: Observations) -> Seen:
    failed, fell = _failed(seen), _fell_by(seen)
    if not failed:
        return not_seen("no look that was bought in this run has failed")
    if isinstance(fell, Seen):
        return fell
    if fell == _total(seen):
        return same("not refunded so far")
    is_refunded = fell == _total(seen) - failed
    paid = f"{format_amount(failed)} credits were paid for looks that failed"
    return (differs if is_refunded else not_seen)(f"the balance fell by {format_amount(fell)}; {paid}")


def _fell_by(seen: Observations) -> Decimal | Seen:
    if not any(one.charged or one.at_risk for one in seen.purchases):
        return not_seen("nothing was bought in this run")
    fell = seen.balance.fell_by
    return not_seen("balance not asked") if fell is None else fell


def _total(seen: Observations) -> Decimal:
    return sum((one.charged for one in seen.purchases), Decimal(0))


def _failed(seen: Observations) -> Decimal:
    return sum((one.charged for one in seen.purchases if one.ending == "failed"), Decimal(0))


# --- deliveries


def deliveries(seen: Observations) -> Seen:
    new = [one for one in _new(seen) if one.ending]
    if not seen.receiver_used or not new:
        return not_seen("no --public-url was given, or no look was bought in this run")
    taken = [one.body for one in seen.deliveries if one.answered == 200 and isinstance(one.body, dict)]
    named = [body.get("look_id") or body.get("job_id") for body in taken]
    counts = [named.count(one.ref.look_id) for one in new if one.ref is not None]
    if not any(counts) and not seen.receiver_reached:
        return not_seen("none came, but nor did this machine's own request to the public URL")
    came = f"{sum(count > 0 for count in counts)} of {len(counts)} came"
    twice = f", {sum(count > 1 for count in counts)} more than once" if any(n > 1 for n in counts) else ""
    return (same if set(counts) == {1} else differs)(came + twice)


# --- parts


def _bought(seen: Observations, step: str) -> Purchase | None:
    return next((one for one in seen.purchases if one.step == step), None)


def _new(seen: Observations) -> list[Purchase]:
    """The looks that were accepted in this run."""
    return [one for one in seen.purchases if one.ref is not None and not one.earlier]
