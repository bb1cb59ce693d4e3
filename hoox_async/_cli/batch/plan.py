"""What a run would do, before anything is sent: counts, credits, time, and what earlier runs left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs

from hoox_async import (
    BatchItem,
    BatchReport,
    BatchRunner,
    Estimate,
    HooxSession,
    Outcome,
    OutcomeState,
    Request,
)

from ..terminal import Terminal
from ..text import amount, counted, duration, in_credits, listed
from .batch_options import BatchOptions

_KINDS = {
    "prompt": ("avatar from a prompt", "avatars from prompts"),
    "images": ("avatar from images", "avatars from images"),
    "edit": ("edit", "edits"),
}


@attrs.frozen
class Plan:
    """What would be sent now. ``known`` are all outcomes of the store, by key."""

    items: tuple[BatchItem, ...]
    known: Mapping[str, Outcome]
    estimate: Estimate
    changed: tuple[str, ...] = ()
    redo_credits: Decimal = Decimal(0)
    retry_credits: Decimal = Decimal(0)

    @property
    def spent(self) -> Decimal:
        """Credits that all runs of the store have spent or put at risk."""
        return sum((outcome.credits + outcome.at_risk for outcome in self.known.values()), Decimal(0))

    @property
    def keys(self) -> set[str]:
        """The keys of this run's items."""
        return {item.key for item in self.items}

    def again(self, options: BatchOptions) -> set[str]:
        """The keys that are paid anew."""
        redone = set(self.changed) if options.changed == "redo" else set()
        tried = {key for key in self.keys & self.known.keys() if self.known[key].state in options.retry}
        return redone | tried

    def cap(self, options: BatchOptions) -> Decimal | None:
        """The cap for this run's items: what others of the store have spent is taken off."""
        if options.max_credits is None:
            return None
        keys = self.keys
        others = [outcome for key, outcome in self.known.items() if key not in keys]
        elsewhere = sum((outcome.credits + outcome.at_risk for outcome in others), Decimal(0))
        return max(Decimal(0), options.max_credits - elsewhere)

    def in_order(self) -> tuple[BatchItem, ...]:
        """The items, those first that the store knows: so a cap counts them before anything is sent."""
        return tuple(sorted(self.items, key=lambda item: item.key not in self.known))


async def make_plan(
    session: HooxSession, items: Sequence[BatchItem], known: Mapping[str, Outcome], options: BatchOptions
) -> Plan:
    """Ask the runner what it would send. Nothing is sent."""
    changed = tuple(
        item.key
        for item in items
        if item.key in known
        and _content(known[item.key].request) != _content(item.request)
        and not _is_free_to_change(known[item.key])
    )

    async def estimate(**others: Any) -> Estimate:
        chosen = {"retry": options.retry, "changed": options.changed, **others}
        return await BatchRunner(session, **chosen).estimate(items)

    redo = retry = Decimal(0)
    if changed:
        redo = (await estimate(changed="redo")).credits - (await estimate(changed="keep")).credits
    if any(known[item.key].state is OutcomeState.FAILED for item in items if item.key in known):
        with_failed = await estimate(retry=(*options.retry, "failed"))
        without = await estimate(retry=tuple(state for state in options.retry if state != "failed"))
        retry = with_failed.credits - without.credits
    return Plan(tuple(items), known, await estimate(), changed, redo, retry)


async def read_known(store: Path) -> dict[str, Outcome]:
    """All outcomes of a store, by key."""
    return {outcome.key: outcome for outcome in await BatchReport.open(store)}


def _content(request: Request) -> Request:
    """What is paid for: where deliveries go and the user's own notes are no part of it."""
    return attrs.evolve(request, webhook_url=None, metadata={})


def _is_free_to_change(outcome: Outcome) -> bool:
    """Whether it was refused or not sent and never cost anything: then other content takes its place."""
    unpaid = outcome.state in (OutcomeState.UNSENT, OutcomeState.REJECTED)
    return unpaid and not outcome.credits and not outcome.at_risk


def tell_plan(plan: Plan, name: str, options: BatchOptions, terminal: Terminal) -> list[str]:
    """The plan in lines for people; as a record for programs."""
    states = Counter(plan.known[key].state for key in plan.keys & plan.known.keys())
    terminal.record(
        "plan",
        items=len(plan.items),
        to_send=plan.estimate.count,
        by_kind=dict(plan.estimate.by_kind),
        credits=format(plan.estimate.credits, "f"),
        seconds=plan.estimate.duration if plan.estimate.count else 0,
        spent=format(plan.spent, "f"),
        max_credits=format(options.max_credits, "f") if options.max_credits is not None else None,
        standing={state.value: count for state, count in states.items()},
        changed=list(plan.changed),
        redo_credits=format(plan.redo_credits, "f"),
        retry_credits=format(plan.retry_credits, "f"),
    )
    lines = [f"{name}: {counted(len(plan.items), 'look')}"]
    if states:
        lines.append(_row("from before", ", ".join(f"{n:,} {state}" for state, n in sorted(states.items()))))
    if plan.retry_credits:
        chosen = "" if "failed" in options.retry else " would pay for the failed ones anew:"
        lines.append(_row("", f"--retry failed{chosen or ':'} {in_credits(plan.retry_credits)}"))
    lines += _changed_lines(plan, options)
    if not plan.estimate.count:
        return [*lines, _row("to send", "nothing")]
    kinds = [counted(n, *_KINDS.get(kind, (kind,))) for kind, n in plan.estimate.by_kind.items()]
    cap = f", never more than {amount(options.max_credits)}" if options.max_credits is not None else ""
    before = f" ({amount(plan.spent)} spent before{cap})" if plan.spent or cap else ""
    lines.append(_row("to send", ", ".join(kinds)))
    lines.append(_row("credits", amount(plan.estimate.credits) + before))
    lines.append(_row("takes", f"about {duration(round(plan.estimate.duration))}"))
    if options.max_credits is not None and plan.spent + plan.estimate.credits > options.max_credits:
        lines.append(_row("", "the cap is too low for all of them: the rest is left for later"))
    return lines


def _changed_lines(plan: Plan, options: BatchOptions) -> list[str]:
    if not plan.changed:
        return []
    lines = [_row("changed", f"{len(plan.changed):,}: {listed(plan.changed, 3)}")]
    costs = f"--changed redo costs {in_credits(plan.redo_credits)}, keep none"
    chosen = {
        "error": f"refused; {costs}",
        "keep": "the looks that were paid for are kept",
        "redo": f"paid for anew: {in_credits(plan.redo_credits)}",
    }
    return [*lines, _row("", chosen[options.changed])]


def _row(head: str, text: str) -> str:
    return f"  {head:<12} {text}"
