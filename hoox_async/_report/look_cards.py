"""What the contact sheet shows, as plain values: a section for each avatar, a card for each look. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from .._api.models import LookRef
from .._api.pictures import is_too_small, resolution_of
from .._api.requests import (
    FREE,
    Format,
    ImageAvatar,
    LookEdit,
    PromptAvatar,
    PrunedRequest,
    content_of,
    fields_of,
)
from .._core.formatting import format_amount, format_credits, format_duration, format_moment, format_pixels
from .._core.intents.outcomes import STATE_EXPLANATIONS, Outcome, OutcomeState, seconds_of
from .page_pictures import SheetPicture

WIDE = 1.15  # a picture with a larger ratio of width to height is shown among the horizontal ones


class Card(NamedTuple):
    """One look on the page. All fields are plain text: the template escapes them.

    ``fits`` says whether the picture has the shape of its frame, so that it can fill it. ``too_small`` is the
    size of a picture with fewer pixels than was paid for, else empty.
    """

    number: int
    title: str
    key: str
    ref: str
    state: str
    wide: bool
    fits: bool
    picture: SheetPicture
    prompt: str
    shared: str
    """The beginning of the prompt that other prompts have too; a card shows the rest."""
    note: str
    """One short line: style, time, credits."""
    too_small: str
    reason: str
    candidates: tuple[str, ...]
    details: tuple[tuple[str, str], ...]


class Section(NamedTuple):
    """One avatar and its looks, vertical ones first."""

    number: int
    name: str
    avatar_id: str
    tall: tuple[Card, ...]
    wide: tuple[Card, ...]
    ready: int
    credits: str

    @property
    def total(self) -> int:
        """The number of its looks."""
        return len(self.tall) + len(self.wide)


def sections(outcomes: Sequence[Outcome], pictures: Sequence[SheetPicture]) -> list[Section]:
    """The outcomes grouped by avatar, avatars in the order of their first outcome."""
    groups: dict[str, list[tuple[int, Outcome]]] = {}
    avatars = _AvatarOfOutcome(outcomes)
    for index, outcome in enumerate(outcomes):
        groups.setdefault(avatars.of(outcome), []).append((index, outcome))
    made, shared = [], shared_beginnings({prompt_of(outcome) for outcome in outcomes})
    for number, (group, members) in enumerate(groups.items(), 1):
        name = _name(group, [outcome for _, outcome in members])
        cards = [_card(index + 1, outcome, pictures[index], name, shared) for index, outcome in members]
        known = any(o.look or (isinstance(o.request, LookEdit) and isinstance(o.request.source, LookRef))
                    for _, o in members)  # fmt: skip
        made.append(
            Section(
                number=number,
                name=name,
                avatar_id=group if known and group != name else "",
                tall=tuple(card for card in cards if not card.wide),
                wide=tuple(card for card in cards if card.wide),
                ready=sum(outcome.state is OutcomeState.READY for _, outcome in members),
                credits=format_credits(sum((o.credits for _, o in members), FREE)),
            )
        )
    return made


class _AvatarOfOutcome:
    """Finds the avatar of an outcome: an edit's is the one that was edited, also where its look is in a copy.

    The API copies a public avatar for an edit, perhaps each time: such copies belong to one group.
    """

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self._by_key: Mapping[str, Outcome] = {outcome.key: outcome for outcome in outcomes}
        self._copied: dict[str, str] = {}
        for outcome in outcomes:
            edited = self._edited(outcome)
            if outcome.look is not None and edited not in (None, outcome.look.avatar_id):
                self._copied.setdefault(outcome.look.avatar_id, str(edited))

    def _edited(self, outcome: Outcome) -> str | None:
        """The id of the avatar that was edited, if it is known."""
        source = outcome.request.source if isinstance(outcome.request, LookEdit) else None
        if isinstance(source, str):
            made = self._by_key.get(source)
            return made.look.avatar_id if made is not None and made.look is not None else None
        return source.avatar_id if source is not None else None

    def of(self, outcome: Outcome) -> str:
        """The avatar's id if it is known, else the key of the item that creates it."""
        group, seen = self._own(outcome), set[str]()
        while group in self._copied and group not in seen:
            seen.add(group)
            group = self._copied[group]
        return group

    def _own(self, outcome: Outcome) -> str:
        seen: set[str] = set()
        while True:
            if outcome.look is not None:
                return outcome.look.avatar_id
            source = outcome.request.source if isinstance(outcome.request, LookEdit) else None
            if isinstance(source, LookRef):
                return source.avatar_id
            if source is None or source in seen or source not in self._by_key:
                return source or outcome.key
            seen.add(source)
            outcome = self._by_key[source]


def _name(group: str, members: Sequence[Outcome]) -> str:
    for outcome in members:
        if isinstance(outcome.request, PromptAvatar | ImageAvatar):
            return outcome.request.name or outcome.key
    heads = {outcome.key.partition("/")[0] for outcome in members if "/" in outcome.key}
    same = len(heads) == 1 and all("/" in outcome.key for outcome in members)
    return heads.pop() if same else group


def _card(
    number: int, outcome: Outcome, picture: SheetPicture, avatar: str, shared: Mapping[str, str]
) -> Card:
    request, prompt = outcome.request, prompt_of(outcome)
    creates = isinstance(request, PromptAvatar | ImageAvatar)
    tail = outcome.key.partition("/")[2]
    wide, fits = frame_of(picture, getattr(request, "format", None))
    return Card(
        number=number,
        title="Avatar" if creates else tail or outcome.key,
        key=outcome.key,
        ref=str(outcome.look.ref) if outcome.look else "",
        state=outcome.state.value,
        wide=wide,
        fits=fits,
        picture=picture,
        prompt=prompt,
        shared=shared[prompt],
        note=_note(outcome),
        too_small=_pixels(picture) if _is_too_small(outcome, picture) else "",
        reason=sentence(reason_of(outcome, picture)),
        candidates=tuple(str(ref) for ref in outcome.candidates),
        details=tuple((name, value) for name, value in _details(outcome, picture, avatar) if value),
    )


def count_too_small(outcomes: Sequence[Outcome], pictures: Sequence[SheetPicture]) -> int:
    """How many pictures have fewer pixels than was paid for."""
    return sum(map(_is_too_small, outcomes, pictures))


def _is_too_small(outcome: Outcome, picture: SheetPicture) -> bool:
    return is_too_small(picture.size, resolution_of(outcome.request))


def _pixels(picture: SheetPicture) -> str:
    return format_pixels(*picture.size) if picture.size is not None else ""


def frame_of(picture: SheetPicture, format: str | None) -> tuple[bool, bool]:
    """Whether the picture's frame is horizontal, and whether the picture has the shape of its frame."""
    ratio = picture.width / picture.height if picture.height else 0.0
    wide = ratio > WIDE if ratio else format == Format.HORIZONTAL
    return wide, abs(ratio / (16 / 9 if wide else 9 / 16) - 1) < 0.04


def prompt_of(outcome: Outcome) -> str:
    """The request's prompt, or what stands for it where the avatar is made from pictures."""
    request = outcome.request
    if isinstance(request, ImageAvatar):
        count = len(request.image_urls)
        return f"From {count} picture{'' if count == 1 else 's'} of your own"
    if isinstance(request, PrunedRequest):
        return "pruned"
    return getattr(request, "prompt", "") or ""


_CLAUSE = re.compile(r"[.!?,;:]\s+")
_LONG = 40  # characters: about a line of a card
_MANY = 3  # prompts with the same beginning


def shared_beginnings(prompts: Collection[str]) -> dict[str, str]:
    """For each prompt its beginning that many others have too, such as a campaign's prefix; else "".

    A beginning is as long as a line, and ends between two clauses.
    """
    ends = {
        prompt: [found.end() for found in _CLAUSE.finditer(prompt) if found.end() >= _LONG]
        for prompt in prompts
    }
    counts = Counter(prompt[:end] for prompt in prompts for end in ends[prompt])
    return {
        prompt: max(
            (prompt[:end] for end in ends[prompt] if counts[prompt[:end]] >= _MANY), key=len, default=""
        )
        for prompt in prompts
    }


def _note(outcome: Outcome) -> str:
    seconds = seconds_of(outcome) if outcome.look and outcome.look.status.settled else None
    parts = [
        str(getattr(outcome.request, "style", None) or ""),
        format_duration(seconds) if seconds is not None else "",
        f"{format_amount(outcome.credits)} cr" if outcome.credits else "",
        f"{format_amount(outcome.at_risk)} cr at risk" if outcome.at_risk else "",
    ]
    return " · ".join(part for part in parts if part)


def reason_of(outcome: Outcome, picture: SheetPicture) -> str:
    """Why there is no picture; empty where there is one."""
    if outcome.state is OutcomeState.READY:
        return picture.problem or ""
    if outcome.look is not None and outcome.look.error is not None:
        return str(outcome.look.error)
    # some errors begin with the item's key, which the card shows already
    message = str(outcome.error).removeprefix(f"{outcome.key}: ") if outcome.error else ""
    return message or STATE_EXPLANATIONS[outcome.state]


def sentence(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def _details(outcome: Outcome, picture: SheetPicture, avatar: str) -> list[tuple[str, str]]:
    request, look = outcome.request, outcome.look
    seconds = seconds_of(outcome)
    source = getattr(request, "source", None)
    return [
        ("State", outcome.state.value),
        ("Avatar", avatar),
        ("Key", outcome.key),
        ("Look", str(look.ref) if look else ""),
        ("Made from", str(source) if source else ""),
        *_fields_shown(request),
        ("Pixels", _pixels(picture)),
        ("Time taken", format_duration(seconds) if seconds is not None else ""),
        ("Credits", format_amount(outcome.credits)),
        ("At risk", format_credits(outcome.at_risk) if outcome.at_risk else ""),
        ("Evidence", outcome.evidence.value if outcome.evidence else ""),
        ("Sent", format_moment(outcome.submitted_at)),
        ("Settled", format_moment(outcome.settled_at)),
        *((f"Metadata: {name}", value) for name, value in outcome.metadata.items()),
    ]


_SHOWN_ELSEWHERE = ("prompt", "source", "extra")


def _fields_shown(request: object) -> list[tuple[str, str]]:
    """Each field of the request that is set, by its label; of addresses only how many there are."""
    if not isinstance(request, PromptAvatar | ImageAvatar | LookEdit):
        return []
    content = content_of(request)
    return [
        (field.label, _shown(content[field.name]))
        for field in fields_of(type(request))
        if field.name in content and field.name not in _SHOWN_ELSEWHERE
    ]


def _shown(value: object) -> str:
    if isinstance(value, list):
        return str(len(value)) if any("://" in one for one in value) else ", ".join(value)
    return ("yes" if value is True else str(value)) if value else ""
