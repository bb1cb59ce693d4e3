"""What one check saw, and what is said about one assumption, as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import attrs

from hoox_async import Endpoint, LookEdit, LookRef, PromptAvatar
from hoox_async.testing import RecordedAnswer


class Seen(NamedTuple):
    """What was seen, and whether it differs from what is assumed; None if it was not seen."""

    text: str
    differs: bool | None


def same(text: str) -> Seen:
    """It was seen, and is as assumed."""
    return Seen(text, False)


def differs(text: str) -> Seen:
    """It was seen, and is not as assumed."""
    return Seen(text, True)


def not_seen(why: str) -> Seen:
    """It was not seen, and why."""
    return Seen(why, None)


Outcome = Literal["done", "failed", "skipped"]


@attrs.frozen
class Step:
    """One step of the check. ``detail`` says why it failed or was skipped; it holds no text of the API."""

    name: str
    outcome: Outcome
    requests: int = 0
    status: int | None = None
    seconds: float = 0.0
    detail: str = ""


@attrs.frozen
class ReceivedDelivery:
    """One attempt of the API to deliver: when, with which headers and body, and how it was answered.

    ``attempt`` numbers the POST that asked for it, from 0.
    """

    at: datetime
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: Any = attrs.field(repr=False)
    answered: int
    attempt: int = 0


@attrs.define
class Purchase:
    """What was seen of one look that was bought. ``step`` is the name of the step of its POST.

    ``earlier``: an earlier run with the same store had bought it. ``charged`` are the credits of this run's
    POST, ``at_risk`` those that it may have cost.
    """

    step: str
    request: PromptAvatar | LookEdit
    earlier: bool = False
    charged: Decimal = Decimal(0)
    at_risk: Decimal = Decimal(0)
    ref: LookRef | None = None
    accepted_at: datetime | None = None
    was_pending: bool = False
    """Whether it was still being made after the avatar and the list had been read."""
    in_avatar: bool | None = None
    in_list: bool | None = None
    ending: Literal["", "ready", "failed"] = ""
    seconds: float | None = None
    size: tuple[int, int] | None = None
    is_too_small: bool = False
    found_elsewhere: bool = False
    """Whether the picture at the look's own address was smaller, and this one was found at another."""
    address_age: float | None = None
    """The hours since it was made, where its picture was fetched by the address of an earlier run."""
    address_expired: bool = False
    names: dict[str, bool] = attrs.field(factory=dict)
    """Which of look_name, place and tags were kept as sent."""

    @property
    def made_avatar(self) -> bool:
        """Whether this run's POST made an avatar: a new one, or the copy of a public one."""
        if self.ref is None or self.earlier:
            return False
        source = getattr(self.request, "source", None)
        return not isinstance(source, LookRef) or source.avatar_id != self.ref.avatar_id


@attrs.frozen
class Balance:
    """The workspace's credits before and after the purchases, as its owner reads them on the site."""

    before: Decimal | None = None
    after: Decimal | None = None

    @property
    def fell_by(self) -> Decimal | None:
        """The difference; None unless both are known."""
        return None if self.before is None or self.after is None else self.before - self.after


@attrs.define
class Observations:
    """Everything that the check saw. The steps fill it in, and `assumptions` judges it."""

    steps: list[Step] = attrs.field(factory=list)
    answers: dict[str, list[RecordedAnswer]] = attrs.field(factory=dict, repr=False)
    """The answers of each step, by its name."""
    readings: dict[str, str] = attrs.field(factory=dict)
    """What the library read in the answer of a step: the status of the look that was made."""
    made: LookRef | None = None
    looked_at: LookRef | None = None
    """The look that the other steps read: the one that was made, or else one of the list."""
    accepted_at: datetime | None = None
    picture: tuple[str, int] | None = None
    """Content type and bytes of the picture, which was fetched without the API key."""
    wrong_key: tuple[int, Mapping[str, str], Any] | None = attrs.field(default=None, repr=False)
    """HTTP status, headers and JSON of the answer to a wrong API key."""
    receiver_used: bool = False
    receiver_reached: bool = False
    """Whether this machine reached its own receiver by its public URL."""
    deliveries: list[ReceivedDelivery] = attrs.field(factory=list)
    sent_images: int = 0
    sent_place: str = ""
    sent_name: str = ""
    key_has_documented_form: bool = False
    purchases: list[Purchase] = attrs.field(factory=list)
    balance: Balance = Balance()
    other_made: LookRef | None = None
    """The avatar from images that were sent under the other name of their field."""

    @property
    def avatars(self) -> tuple[str, ...]:
        """The ids of the avatars that this run has made, copies of public ones included."""
        bought = (one.ref for one in self.purchases if one.made_avatar)
        refs = (self.made, self.other_made, *bought)
        return tuple(dict.fromkeys(ref.avatar_id for ref in refs if ref is not None))

    def in_order(self) -> list[RecordedAnswer]:
        """All answers, in the order in which their requests were sent."""
        found = [answer for answers in self.answers.values() for answer in answers]
        return sorted(found, key=lambda answer: answer.sent_at)

    def of_step(self, name: str) -> RecordedAnswer | None:
        """The last answer of a step; None if there was none."""
        return next((one for one in reversed(self.answers.get(name, [])) if one.status is not None), None)

    def body(self, name: str) -> Any:
        """The JSON of a step's last answer if it was a success; else None."""
        answer = self.of_step(name)
        if answer is None or answer.status is None or not 200 <= answer.status < 300:
            return None
        return json_of(answer)

    def bodies_of(self, endpoint: Endpoint) -> Iterator[Any]:
        """The JSON of every successful answer of an endpoint."""
        for answer in self.in_order():
            if answer.endpoint is endpoint and answer.status is not None and 200 <= answer.status < 300:
                yield json_of(answer)


def json_of(answer: RecordedAnswer) -> Any:
    """The JSON of an answer; None if it is none."""
    try:
        return answer.json
    except ValueError:
        return None
