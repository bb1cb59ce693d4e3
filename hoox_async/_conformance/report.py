"""The report of a check: for people as text, for programs as JSON. It holds no secret and no name."""

from __future__ import annotations

import platform
import textwrap
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import attrs

from hoox_async import Endpoint
from hoox_async._core.formatting import format_amount, format_count

from .assumptions import SOURCES, Fact, judge
from .observations import Observations, Purchase, Step
from .purchase_judgements import size_text
from .shapes import field_name, shape, shape_text

FORMAT = 2
"""The number of the report's form, for programs that read many of them."""
WIDTH = 80
_LABEL = 10


@attrs.frozen
class Report:
    """All that a check found out."""

    version: str
    made_at: datetime
    address: str
    """"the real API", or another kind of address: a company's proxy is not named."""
    made: str
    bought: tuple[dict[str, Any], ...]
    balance: str
    facts: tuple[Fact, ...]
    steps: tuple[Step, ...]
    headers: tuple[str, ...]
    shapes: dict[str, Any]

    @property
    def important(self) -> list[Fact]:
        """The differences that matter."""
        return [fact for fact in self.facts if fact.matters]

    @property
    def harmless(self) -> list[Fact]:
        """The differences that do not matter."""
        return [fact for fact in self.facts if fact.differs and not fact.matters]

    @property
    def confirmed(self) -> list[Fact]:
        """What was seen as it is assumed."""
        return [fact for fact in self.facts if fact.differs is False]

    @property
    def open(self) -> list[Fact]:
        """What was not seen."""
        return [fact for fact in self.facts if fact.differs is None]

    @property
    def failed(self) -> list[Step]:
        """The steps that failed or were skipped."""
        return [step for step in self.steps if step.outcome != "done"]

    def summary(self) -> str:
        """One line: how many facts differ, and how many steps failed."""
        parts = [
            f"{format_count(len(self.confirmed), 'fact')} as assumed",
            f"{len(self.important)} different in a way that matters",
            f"{len(self.harmless)} different in a harmless way",
            f"{len(self.open)} not seen",
        ]
        if self.failed:
            parts.append(f"{format_count(len(self.failed), 'step')} failed or skipped")
        return ", ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "format": FORMAT,
            "version": self.version,
            "python": platform.python_version(),
            "made_at": self.made_at.isoformat(timespec="seconds"),
            "address": self.address,
            "avatar": self.made,
            "bought": list(self.bought),
            "balance": self.balance,
            "summary": self.summary(),
            "facts": [attrs.asdict(fact) for fact in self.facts],
            "steps": [{**attrs.asdict(step), "seconds": round(step.seconds, 3)} for step in self.steps],
            "headers": list(self.headers),
            "shapes": self.shapes,
        }

    def as_text(self) -> str:
        """The report for people, at most 80 characters wide but for the shapes."""
        moment = f"{self.made_at:%Y-%m-%d %H:%M} UTC"
        lines = [
            f"hoox-async conformance report, format {FORMAT}",
            f"hoox-async {self.version}, Python {platform.python_version()}, {moment}",
            *_wrapped(f"Address: {self.address}. Avatar: {self.made}."),
            *self._purchases(),
            *_wrapped(f"Summary: {self.summary()}."),
            "",
            *_section("Differs, and it matters", self.important, consequence=True),
            *_section("Differs, and does not matter", self.harmless, consequence=True),
            *_section("As assumed", self.confirmed),
            *_section("Not seen", self.open),
            "Steps",
            *(line for step in self.steps for line in _step_lines(step)),
            "",
            "Names of the headers that came",
            *_wrapped(", ".join(self.headers) or "none", indent="  "),
            "",
            "Shapes of the answers (kinds of values, not the values)",
        ]
        for name, found in self.shapes.items():
            lines += [f"  {name}", *_wrapped(shape_text(found), indent="    ")]
        sources = ", ".join(f"[{letter}] {name}" for letter, name in SOURCES.items())
        lines += ["", *_wrapped(f"Sources of what is assumed: {sources}")]
        return "\n".join(lines) + "\n"

    def _purchases(self) -> Iterable[str]:
        """What was bought, one line each, and the balance."""
        for one in self.bought:
            parts = (one["state"], one["size"], f"{one['credits']} credits in this run")
            yield from _wrapped(f"Bought: {one['what']}: {', '.join(filter(None, parts))}.")
        if self.bought:
            yield from _wrapped(f"Balance: {self.balance}.")


def build_report(
    seen: Observations, *, version: str, now: datetime, is_real: bool, tried_to_make: bool
) -> Report:
    """Judge what was seen."""
    if seen.made is not None:
        made = "one was made"
    else:
        made = "none is known to have been made" if tried_to_make else "none was made"
    headers = {field_name(name) for answer in seen.in_order() for name in answer.headers}
    return Report(
        version=version,
        made_at=now,
        address="the real API" if is_real else "another address than the real API's",
        made=made,
        bought=tuple(_bought(one) for one in seen.purchases),
        balance=_balance(seen),
        facts=tuple(judge(seen)),
        steps=tuple(seen.steps),
        headers=tuple(sorted(headers)),
        shapes=_shapes(seen),
    )


def _bought(purchase: Purchase) -> dict[str, Any]:
    if purchase.ref is None:
        is_unknown = purchase.at_risk or purchase.earlier
        state = "whether it was made is not known" if is_unknown else "not made"
    else:
        state = purchase.ending or "not known to be done"
    return {
        "what": purchase.step,
        "state": f"{state}, bought in an earlier run" if purchase.earlier else state,
        "size": None if purchase.size is None else size_text(purchase),
        "paid_for": str(purchase.request.resolution),
        "as_paid_for": None if purchase.size is None else not purchase.is_too_small,
        "credits": format_amount(purchase.charged),
        "at_risk": format_amount(purchase.at_risk),
    }


def _balance(seen: Observations) -> str:
    fell = seen.balance.fell_by
    return "balance not asked" if fell is None else f"it fell by {format_amount(fell)} credits"


def _shapes(seen: Observations) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, body in (
        ("POST /avatar/create", seen.body("create")),
        ("GET /avatar/status", next(seen.bodies_of(Endpoint.STATUS), None)),
        ("GET /avatar/{id}", next(seen.bodies_of(Endpoint.AVATAR), None)),
        ("GET /avatar/{id}/look/{id}", seen.body("look")),
        ("GET /avatar/list", seen.body("list")),
        ("a delivery", seen.deliveries[-1].body if seen.deliveries else None),
        ("the headers of a delivery", dict(seen.deliveries[-1].headers) if seen.deliveries else None),
        ("a wrong API key", seen.wrong_key[2] if seen.wrong_key else None),
    ):
        if body is not None:
            found[name] = shape(body)
    return found


def _section(title: str, facts: Sequence[Fact], *, consequence: bool = False) -> Iterable[str]:
    if not facts:
        return
    yield f"{title} ({len(facts)})"
    for fact in facts:
        yield from _wrapped(f"{fact.question} [{fact.id}]", indent="  ")
        yield from _labelled("assumed", f"{fact.assumed} [{', '.join(fact.source)}]")
        yield from _labelled("seen" if fact.differs is not None else "why", fact.seen)
        if fact.differs is None:
            yield from _labelled("told by", fact.told_by)
        if consequence:
            yield from _labelled("matters", f"{_fallen(fact)}: {fact.consequence}")
    yield ""


def _fallen(fact: Fact) -> str:
    return f'yes, "{fact.promise}" falls' if fact.matters else "no"


def _labelled(label: str, text: str) -> list[str]:
    first = "    " + label.ljust(_LABEL)
    return _wrapped(text, indent=first, rest=" " * len(first))


def _step_lines(step: Step) -> list[str]:
    status = f"HTTP {step.status}" if step.status is not None else ""
    requests = format_count(step.requests, "request") if step.requests else ""
    took = f"{step.seconds:.2f} s" if step.outcome != "skipped" else ""
    figures = ", ".join(part for part in (status, requests, took) if part)
    line = f"  {step.name:<24} {step.outcome:<8} {figures}".rstrip()
    return [line, *(_wrapped(step.detail, indent=" " * 27) if step.detail else ())]


def _wrapped(text: str, *, indent: str = "", rest: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [indent]
