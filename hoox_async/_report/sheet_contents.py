"""What the page shows, as values: sections by avatar, cards by look, totals. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from .._api.models import LookRef
from .._api.requests import FREE, Format, ImageAvatar, LookEdit, PromptAvatar
from .._core.intents.outcomes import Outcome, OutcomeState
from .formatting import EXPLAINED, amount, credits_in_words, duration
from .jsonl import seconds_of
from .sheet_pictures import Shot

WIDE = 1.15  # wider than this (width over height) is shown among the horizontal ones


class Card(NamedTuple):
    """One look on the page. All of it is plain text: the template escapes it."""

    number: int
    title: str
    key: str
    state: str
    wide: bool
    fits: bool
    shot: Shot
    prompt: str
    note: str
    """One short line: style, time, credits."""
    reason: str
    candidates: tuple[str, ...]
    details: tuple[tuple[str, str], ...]


class Section(NamedTuple):
    """One avatar and its looks, upright ones first."""

    number: int
    name: str
    avatar_id: str
    tall: tuple[Card, ...]
    wide: tuple[Card, ...]
    ready: int
    credits: str

    @property
    def total(self) -> int:
        """How many looks it has."""
        return len(self.tall) + len(self.wide)


def sections(outcomes: Sequence[Outcome], shots: Sequence[Shot]) -> list[Section]:
    """The outcomes by avatar, avatars in the order in which they first come."""
    groups: dict[str, list[tuple[int, Outcome]]] = {}
    owner = _Owners(outcomes)
    for index, outcome in enumerate(outcomes):
        groups.setdefault(owner.of(outcome), []).append((index, outcome))
    made = []
    for number, (group, members) in enumerate(groups.items(), 1):
        name = _name(group, [outcome for _, outcome in members])
        cards = [_card(index + 1, outcome, shots[index], name) for index, outcome in members]
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
                credits=credits_in_words(sum((o.credits for _, o in members), FREE)),
            )
        )
    return made


class _Owners:
    """Finds the avatar of each outcome: by its ref, its source's ref, or the item that its source names."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self._by_key: Mapping[str, Outcome] = {outcome.key: outcome for outcome in outcomes}

    def of(self, outcome: Outcome) -> str:
        """The avatar's id where it is known, else the key of the item that was to create it."""
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


def _card(number: int, outcome: Outcome, shot: Shot, avatar: str) -> Card:
    request = outcome.request
    creates = isinstance(request, PromptAvatar | ImageAvatar)
    tail = outcome.key.partition("/")[2]
    ratio = shot.width / shot.height if shot.height else 0.0
    wide = ratio > WIDE if ratio else getattr(request, "format", None) is Format.HORIZONTAL
    return Card(
        number=number,
        title="Avatar" if creates else tail or outcome.key,
        key=outcome.key,
        state=outcome.state.value,
        wide=wide,
        fits=abs(ratio / (16 / 9 if wide else 9 / 16) - 1) < 0.04,
        shot=shot,
        prompt=_prompt(outcome),
        note=_note(outcome),
        reason=_sentence(_reason(outcome, shot)),
        candidates=tuple(str(ref) for ref in outcome.candidates),
        details=tuple((name, value) for name, value in _details(outcome, avatar) if value),
    )


def _prompt(outcome: Outcome) -> str:
    request = outcome.request
    if isinstance(request, ImageAvatar):
        count = len(request.image_urls)
        return f"From {count} picture{'' if count == 1 else 's'} of your own"
    return getattr(request, "prompt", "") or ""


def _note(outcome: Outcome) -> str:
    seconds = seconds_of(outcome) if outcome.look and outcome.look.status.settled else None
    parts = [
        str(getattr(outcome.request, "style", None) or ""),
        duration(seconds) if seconds is not None else "",
        f"{amount(outcome.credits)} cr" if outcome.credits else "",
        f"{amount(outcome.at_risk)} cr at risk" if outcome.at_risk else "",
    ]
    return " · ".join(part for part in parts if part)


def _reason(outcome: Outcome, shot: Shot) -> str:
    if outcome.state is OutcomeState.READY:
        return shot.problem or ""
    if outcome.look is not None and outcome.look.error is not None:
        return str(outcome.look.error)
    # the errors of some states begin with the item's key, which the card shows already
    said = str(outcome.error).removeprefix(f"{outcome.key}: ") if outcome.error else ""
    return said or EXPLAINED[outcome.state]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _details(outcome: Outcome, avatar: str) -> list[tuple[str, str]]:
    request, look = outcome.request, outcome.look
    seconds = seconds_of(outcome)
    source = getattr(request, "source", None)
    return [
        ("State", outcome.state.value),
        ("Avatar", avatar),
        ("Key", outcome.key),
        ("Look", str(look.ref) if look else ""),
        ("Made from", str(source) if source else ""),
        ("Style", str(getattr(request, "style", None) or "")),
        ("Format", str(getattr(request, "format", None) or "")),
        ("Resolution", str(getattr(request, "resolution", None) or "")),
        ("Upscaled", "yes" if getattr(request, "upscale", False) else ""),
        ("Place", str(getattr(request, "place", None) or "")),
        ("Time taken", duration(seconds) if seconds is not None else ""),
        ("Credits", amount(outcome.credits)),
        ("At risk", credits_in_words(outcome.at_risk) if outcome.at_risk else ""),
        ("Evidence", outcome.evidence.value if outcome.evidence else ""),
        ("Sent", moment(outcome.submitted_at)),
        ("Settled", moment(outcome.settled_at)),
        *((f"Metadata: {name}", value) for name, value in outcome.metadata.items()),
    ]


def moment(at: datetime | None) -> str:
    """A time as ``2025-06-01 14:03:09 UTC``."""
    return at.strftime("%Y-%m-%d %H:%M:%S %Z") if at else ""
