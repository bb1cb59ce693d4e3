"""What a page shows of the unknowns: each with its candidates and the three decisions about it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from .._api.models import LookDetails, LookRef, LookStatus
from .._api.requests import Format, LookEdit
from .._core.formatting import format_credits, format_moment
from .._core.intents.outcomes import Outcome, OutcomeState, undecided
from .look_cards import frame_of, prompt_of, reason_of, sentence
from .page_pictures import SheetPicture

DECISIONS_FILE = "decisions.json"


class CandidateCard(NamedTuple):
    """A look that an unknown may have made. ``problem`` says why there is no picture.

    ``other_format`` is the look's format where that is not the one that was ordered, else empty.
    """

    ref: str
    picture: SheetPicture
    wide: bool
    fits: bool
    problem: str
    age: str
    other_format: str
    command: str


class UnknownCard(NamedTuple):
    """One unknown. ``older`` are looks that were listed before it was sent.

    ``unlisted`` are the avatars of candidates of an edit whose looks may be of any age. ``delivered`` is the
    id of its look where a delivery has named that without its avatar.
    ``attempt`` distinguishes this sending from a later one of the same key.
    """

    key: str
    prompt: str
    note: str
    reason: str
    sent: str
    attempt: str
    price: str
    credits: str
    at_risk: str
    source: SheetPicture
    edited: str
    candidates: tuple[CandidateCard, ...]
    older: tuple[CandidateCard, ...]
    unlisted: tuple[str, ...]
    delivered: str
    resend_command: str
    drop_command: str


def unknown_cards(
    outcomes: Sequence[Outcome],
    details: Mapping[LookRef, LookDetails],
    pictures: Mapping[LookRef, SheetPicture],
    resolve_command: Sequence[str] | None,
    now: datetime,
) -> list[UnknownCard]:
    """The unknowns among the outcomes that can be decided about now, in their order.

    ``details`` are what the API says of looks, ``pictures`` those that were collected for them.
    """
    sources = _sources(outcomes)
    return [
        _card(outcome, sources.get(outcome.key), details, pictures, resolve_command)
        for outcome in undecided(outcomes, now)
    ]


def decide_command(resolve_command: Sequence[str] | None) -> str:
    """The command that carries out a file of decisions, empty where none is known."""
    return shlex.join([*resolve_command, f"@{DECISIONS_FILE}"]) if resolve_command else ""


def looks_of_unknowns(outcomes: Sequence[Outcome]) -> set[LookRef]:
    """The looks of which the page shows pictures: candidates, and the looks that were edited."""
    unknowns = [outcome for outcome in outcomes if outcome.state is OutcomeState.UNKNOWN]
    looks = {ref for outcome in unknowns for ref in (*outcome.candidates, *outcome.older)}
    return looks | set(_sources(outcomes).values())


def _sources(outcomes: Sequence[Outcome]) -> dict[str, LookRef]:
    """The looks that unknowns are edits of, by the keys of the unknowns. A source may be named by its key."""
    by_key = {outcome.key: outcome.ref for outcome in outcomes}
    found: dict[str, LookRef] = {}
    for outcome in outcomes:
        if outcome.state is OutcomeState.UNKNOWN and isinstance(outcome.request, LookEdit):
            source = outcome.request.source
            ref = source if isinstance(source, LookRef) else by_key.get(str(source))
            if ref is not None:
                found[outcome.key] = ref
    return found


def _card(
    outcome: Outcome,
    source: LookRef | None,
    details: Mapping[LookRef, LookDetails],
    pictures: Mapping[LookRef, SheetPicture],
    words: Sequence[str] | None,
) -> UnknownCard:
    key = outcome.key
    ordered = getattr(outcome.request, "format", None)

    def card(ref: LookRef, age: str) -> CandidateCard:
        command = _command(words, key, str(ref))
        return _candidate(ref, details.get(ref), pictures.get(ref), age, ordered, command)

    request = outcome.request
    return UnknownCard(
        key=key,
        prompt=prompt_of(outcome),
        note=" · ".join(
            str(value)
            for value in (getattr(request, name, None) for name in ("style", "format", "resolution"))
            if value
        ),
        reason=sentence(reason_of(outcome, SheetPicture())),
        sent=format_moment(outcome.submitted_at),
        attempt=outcome.attempt or "",
        price=format(request.credits, "f"),
        credits=format_credits(request.credits),
        at_risk=format_credits(outcome.at_risk),
        source=pictures.get(source, SheetPicture()) if source else SheetPicture(),
        edited=str(getattr(outcome.request, "source", "")),
        candidates=tuple(card(ref, _age(ref, outcome)) for ref in outcome.candidates),
        older=tuple(card(ref, "listed before it was sent") for ref in outcome.older),
        unlisted=outcome.unlisted if isinstance(request, LookEdit) else (),
        delivered=outcome.delivered or "",
        resend_command=_command(words, key, "resend", outcome.attempt),
        drop_command=_command(words, key, "drop"),
    )


def _candidate(
    ref: LookRef,
    details: LookDetails | None,
    picture: SheetPicture | None,
    age: str,
    ordered: str | None,
    command: str,
) -> CandidateCard:
    wide, fits = frame_of(picture or SheetPicture(), details.format if details else None)
    return CandidateCard(
        ref=str(ref),
        picture=picture or SheetPicture(),
        wide=wide,
        fits=fits,
        problem=sentence(_problem(details, picture)),
        age=age,
        other_format=_other_format(picture, details, ordered, wide=wide),
        command=command,
    )


def _other_format(
    picture: SheetPicture | None, details: LookDetails | None, ordered: str | None, *, wide: bool
) -> str:
    is_known = bool(picture and picture.width) or bool(details and details.format)
    found = Format.HORIZONTAL if wide else Format.VERTICAL
    return str(found) if is_known and ordered is not None and found != ordered else ""


def _problem(details: LookDetails | None, picture: SheetPicture | None) -> str:
    if picture is not None:
        return picture.problem or ""
    if details is None:
        return "its picture was not asked for"
    if details.status is LookStatus.FAILED:
        return f"it could not be made: {details.error_message or 'no reason given'}"
    if details.status in (LookStatus.PENDING, LookStatus.PROCESSING):
        return "it is still being made"
    return "the API gave no picture for this look"


def _age(candidate: LookRef, outcome: Outcome) -> str:
    """The API gives no time for a look: all that is known is whether an answer had listed it before."""
    return "age not known" if candidate.avatar_id in outcome.unlisted else "not listed before it was sent"


def _command(words: Sequence[str] | None, key: str, verdict: str, attempt: str | None = None) -> str:
    """The command for a decision, or the line of Python where no store has a command line.

    With an ``attempt`` it is carried out once, however often it is run.
    """
    if words:
        return shlex.join([*words, key, verdict, *(("--attempt", attempt) if attempt else ())])
    if verdict in ("resend", "drop"):
        return f"await session.{verdict}({key!r}{f', attempt={attempt!r}' if attempt else ''})"
    return f"await session.resolve({key!r}, {verdict!r})"
