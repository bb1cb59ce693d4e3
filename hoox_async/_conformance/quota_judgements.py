"""Judges the quota headers that were seen: what they mean, and what is counted. Pure, as `judgements`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import pairwise

from hoox_async.testing import RecordedAnswer

from .observations import Observations, Seen, differs, not_seen, same
from .shapes import field_name

_LIMIT, _REMAINING, _RESET = "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"
_HOUR = 3600.0
_STILL = 2.0  # seconds: resets are whole seconds, and so are dates


def limit(seen: Observations) -> Seen:
    values = {value for one in _counted(seen) if (value := _whole(one, _LIMIT)) is not None}
    if not values:
        return _none_of(seen, _LIMIT)
    text = ", ".join(map(str, sorted(values)))
    return (same if values == {100} else differs)(text)


def counting(seen: Observations) -> Seen:
    pairs = [
        (later, before - after)
        for earlier, later in pairwise(_counted(seen))
        if (before := _whole(earlier, _REMAINING)) is not None
        and (after := _whole(later, _REMAINING)) is not None
    ]
    if not pairs:
        return _none_of(seen, _REMAINING)
    drops = [drop for _, drop in pairs]
    free = {later.endpoint for later, drop in pairs if drop == 0} - {
        later.endpoint for later, drop in pairs if drop > 0
    }
    finding = "it changes by " + ", ".join(map(str, sorted({-drop for drop in drops})))
    if all(drop == 1 for drop in drops):
        return same("it falls by 1 with each request, whatever the endpoint")
    if free:
        return differs(f"{finding}; not by {', '.join(sorted(free))}")
    if min(drops) >= 2:
        return differs(f"{finding}: others use the quota, or a request counts more than once")
    return same(f"{finding}: others use the quota too, or earlier requests leave it")


def reset(seen: Observations) -> Seen:
    found = [one for one in _counted(seen) if one.headers.get(_RESET, "").strip()]
    if not found:
        return _none_of(seen, _RESET)
    forms = {_form(one) for one in found}
    seconds_left = [seconds for one in found if (seconds := _until_reset(one)) is not None]
    finding = " and ".join(sorted(forms))
    if seconds_left:
        finding += f", {min(seconds_left):.0f} to {max(seconds_left):.0f} s ahead"
    return (same if forms == {"Unix seconds"} else differs)(finding)


def moves(seen: Observations) -> Seen:
    moments = [
        (_now(one), _now(one) + seconds)
        for one in _counted(seen)
        if (seconds := _until_reset(one)) is not None
    ]
    if len(moments) < 2:
        return not_seen("less than two resets that can be understood")
    (first, at_first), (last, at_last) = moments[0], moments[-1]
    passed, moved = last - first, at_last - at_first
    if passed < 2 * _STILL:
        return not_seen(f"the answers are only {passed:.0f} s apart")
    if abs(moved) <= _STILL:
        return same(
            f"it stood still for {passed:.0f} s: it is the end of a minute, or of the oldest request's"
        )
    if abs(moved - passed) <= _STILL:
        return same(f"it moved along with the clock: it is always {at_last - last:.0f} s ahead")
    return same(f"it moved by {moved:.0f} s in {passed:.0f} s")


def date(seen: Observations) -> Seen:
    answers = _counted(seen)
    if not answers:
        return not_seen("no answer")
    off = [abs((date - one.ended_at).total_seconds()) for one in answers if (date := _date_of(one))]
    if not off:
        return differs("no Date header")
    return same(f"in {len(off)} of {len(answers)} answers, {max(off):.0f} s off this machine's clock at most")


def throttled(seen: Observations) -> Seen:
    refused = [one for one in seen.in_order() if one.status == 429]
    if not refused:
        return not_seen("no 429 came, and spending the quota would stop the workspace for a minute")
    with_header = sum("retry-after" in one.headers for one in refused)
    with_quota = sum(_RESET in one.headers or _REMAINING in one.headers for one in refused)
    text = f"{len(refused)} answers of 429, {with_header} with Retry-After, {with_quota} with quota headers"
    return same(text)


def on_refusals(seen: Observations) -> Seen:
    refusals = [one for one in _counted(seen) if one.status is not None and one.status >= 400]
    if not refusals:
        return not_seen("no refusal")
    found = sum(any(name in one.headers for name in (_LIMIT, _REMAINING, _RESET)) for one in refusals)
    return same(f"in {found} of {len(refusals)} answers to requests that were refused")


def other_headers(seen: Observations) -> Seen:
    names = {name for one in seen.in_order() for name in one.headers if re.search("rate|quota|limit", name)}
    others = sorted(field_name(name) for name in names - {_LIMIT, _REMAINING, _RESET})
    if not seen.in_order():
        return not_seen("no answer")
    return differs(", ".join(others)) if others else same("none")


# --- parts


def _counted(seen: Observations) -> list[RecordedAnswer]:
    return [one for one in seen.in_order() if one.status is not None]


def _none_of(seen: Observations, header: str) -> Seen:
    return differs(f"no {header} header that is a number") if _counted(seen) else not_seen("no answer")


def _whole(answer: RecordedAnswer, header: str) -> int | None:
    text = answer.headers.get(header, "").strip()
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None


def _form(answer: RecordedAnswer) -> str:
    text, now = answer.headers[_RESET].strip(), _now(answer)
    number = _number(text)
    if number is None:
        return "a date" if _parsed_date(text) is not None else "another text"
    if abs(number - now) <= _HOUR:
        return "Unix seconds"
    if abs(number / 1000 - now) <= _HOUR:
        return "Unix milliseconds"
    return "seconds from now" if number <= _HOUR else "another number"


def _until_reset(answer: RecordedAnswer) -> float | None:
    """How many seconds after the answer its reset is, whatever its form; None if it has none."""
    text = answer.headers.get(_RESET, "").strip()
    number = _number(text)
    if number is None:
        date = _parsed_date(text)
        return None if date is None else date.timestamp() - _now(answer)
    match _form(answer):
        case "Unix seconds":
            return number - _now(answer)
        case "Unix milliseconds":
            return number / 1000 - _now(answer)
        case "seconds from now":
            return number
    return None


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{0,9})?", text) else None


def _now(answer: RecordedAnswer) -> float:
    """The server's time at the answer, in Unix seconds; this machine's where the answer has no date."""
    return (_date_of(answer) or answer.ended_at).timestamp()


def _date_of(answer: RecordedAnswer) -> datetime | None:
    return _parsed_date(answer.headers.get("date", ""))


def _parsed_date(text: str) -> datetime | None:
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            date = parse(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return None
