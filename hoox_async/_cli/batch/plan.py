"""The plan of a run: which items, what would be sent, its credits and time, and what earlier runs left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property

import attrs

from hoox_async import (
    BatchItem,
    BatchRunner,
    ConfigurationError,
    Estimate,
    HooxSession,
    ImageAvatar,
    LookEdit,
    LookRef,
    NotFound,
    Outcome,
    OutcomeState,
    PromptAvatar,
    PrunedRequest,
    Request,
    Resolution,
)
from hoox_async._core.formatting import (
    format_amount,
    format_count,
    format_credits,
    format_duration,
    format_kinds,
)
from hoox_async._core.intents.keys import digest
from hoox_async._core.intents.outcomes import is_awaited

from ..campaign.builder import VERSION_MARK, Campaign, ItemOrigin, origin_of_key
from ..exit_codes import is_access
from ..request_fields import changed_fields, described
from ..selection import Selection, check_limit, select
from ..terminal import Terminal, shorten_list
from .options import BatchOptions, VersionOptions


@attrs.frozen
class Choice:
    """The items of a run, where each comes from, and lines for people about what may surprise them."""

    items: tuple[BatchItem, ...]
    origins: Mapping[str, ItemOrigin]
    notes: tuple[str, ...] = ()


def choose(
    campaign: Campaign, stored: Mapping[str, Outcome], selection: Selection, options: BatchOptions
) -> Choice:
    """The items that these options choose. ``stored`` are the outcomes of the store, by key.

    Raises `ConfigurationError` if a pattern, a picked key or a limit chooses nothing.
    """
    if options.versions.asked_for:
        return _versions(campaign, stored, selection, options)
    keys = {item.key for item in campaign.items}
    # a picked look that the file has no more, or a version: as it was made, so that it costs nothing
    extra = [key for key in selection.picked if key in stored and key not in keys]
    items = [_named(item) for item in campaign.items]
    for key in extra:
        request = stored[key].request
        if not isinstance(request, PrunedRequest):
            items.append(BatchItem(key, request))
    origins = {**campaign.origins, **{key: origin_of_key(key) for key in extra}}
    chosen = select(items, only=selection, limit=options.limit)
    return Choice(chosen, origins, _braces(chosen))


def _braces(items: Iterable[BatchItem]) -> tuple[str, ...]:
    """A note about prompts with a brace: it may be a mistyped variable, and each look is paid for."""
    keys = [item.key for item in items if {"{", "}"} & set(getattr(item.request, "prompt", None) or "")]
    if not keys:
        return ()
    have = "prompt has a brace" if len(keys) == 1 else "prompts have braces"
    return (f"{len(keys):,} {have}, sent as it stands: {shorten_list(keys, 3)}",)


def _versions(
    campaign: Campaign, stored: Mapping[str, Outcome], selection: Selection, options: BatchOptions
) -> Choice:
    if not selection:
        raise ConfigurationError("--4k, --variants: say of which looks with --only PATTERN or --only @FILE")
    check_limit(options.limit)
    keys = dict.fromkeys((*(item.key for item in campaign.items), *stored))
    found = selection.chosen(keys)
    chosen = [key for key in keys if key in found]
    return _make_versions(chosen[: options.limit], stored, campaign.origins, options.versions)


_SAME_IN_4K = (
    "Keep this picture exactly as it is: the same person, face, clothes, pose, place, light and framing. "
    "Only make its details finer."
)


def _make_versions(
    chosen: Iterable[str],
    stored: Mapping[str, Outcome],
    origins: Mapping[str, ItemOrigin],
    options: VersionOptions,
) -> Choice:
    """The versions of these looks. ``stored`` are the outcomes of the store, by key.

    A look that is in 4K already stands for its own 4K version, at no cost. Raises `ConfigurationError` if no
    look can have a version.
    """
    items: list[BatchItem] = []
    own_origins: dict[str, ItemOrigin] = {}
    not_ready: list[str] = []
    in_4k: list[str] = []
    no_prompt: list[str] = []
    for key in chosen:
        origin = origins.get(key) or origin_of_key(key)
        outcome = stored.get(key)
        if outcome is None or outcome.state is not OutcomeState.READY or outcome.ref is None:
            not_ready.append(key)
            continue
        if options.variants is None and getattr(outcome.request, "resolution", None) == Resolution.FOUR_K:
            assert not isinstance(outcome.request, PrunedRequest)
            in_4k.append(key)
            items.append(BatchItem(key, outcome.request))
            own_origins[key] = origin
            continue
        request = _version_of(outcome.request, outcome.ref, options)
        if request is None:
            no_prompt.append(key)
            continue
        for name in options.names():
            made = f"{key}{VERSION_MARK}{name}"
            items.append(BatchItem(made, request))
            own_origins[made] = origin._replace(scene=f"{origin.scene}{VERSION_MARK}{name}")
    notes = [
        f"{format_count(len(keys), 'look')} {why}: {shorten_list(keys, 3)}"
        for keys, why in (
            (not_ready, "left out, not ready"),
            (no_prompt, "left out, made from images and so without a prompt (give --prompt)"),
            (in_4k, "in 4K already"),
        )
        if keys
    ]
    if not items:
        raise ConfigurationError(f"no version can be made: {'; '.join(notes) or 'no look is chosen'}")
    return Choice(tuple(items), own_origins, tuple(notes))


def _version_of(
    request: Request | PrunedRequest, source: LookRef, options: VersionOptions
) -> LookEdit | None:
    """The edit that makes a version of this look; None if there is no prompt for it."""
    prompt = options.prompt or (None if options.variants is not None else _SAME_IN_4K)
    if isinstance(request, LookEdit):
        version = attrs.evolve(request, source=source, prompt=prompt or request.prompt)
    elif isinstance(request, PromptAvatar):
        version = LookEdit(
            source,
            prompt or request.prompt,
            style=request.style,
            format=request.format,
            resolution=request.resolution,
            images=request.element_images,
            webhook_url=request.webhook_url,
            metadata=request.metadata,
        )
    elif prompt is not None:
        version = LookEdit(source, prompt, webhook_url=request.webhook_url, metadata=request.metadata)
    else:
        return None
    return attrs.evolve(version, resolution=Resolution.FOUR_K) if options.four_k else version


def _named(item: BatchItem) -> BatchItem:
    """The item; an avatar without a name is named by its key, so that people find it in their workspace."""
    request = item.request
    if isinstance(request, LookEdit) or request.name is not None:
        return item
    return BatchItem(item.key, attrs.evolve(request, name=item.key))


@attrs.frozen
class Plan:
    """What would be sent now. ``stored`` holds all outcomes of the store, by key, as they were read once."""

    items: tuple[BatchItem, ...]
    stored: Mapping[str, Outcome]
    estimate: Estimate

    @cached_property
    def changed(self) -> tuple[str, ...]:
        """The keys whose content differs from what was paid for. Of a pruned one only the run can say it."""
        return tuple(
            item.key
            for item in self.items
            if (before := self.stored.get(item.key)) is not None
            and not _never_charged(before)
            and _is_other_content(before, item.request)
        )

    @property
    def spent(self) -> Decimal:
        """Credits that all runs with this store have spent or put at risk."""
        return sum((outcome.credits + outcome.at_risk for outcome in self.stored.values()), Decimal(0))

    @property
    def elsewhere(self) -> Decimal:
        """The same of the store's other items, which are not part of this run."""
        others = self.stored.keys() - self.keys
        paid = (self.stored[key].credits + self.stored[key].at_risk for key in others)
        return sum(paid, Decimal(0))

    @property
    def keys(self) -> set[str]:
        """The keys of this run's items."""
        return {item.key for item in self.items}

    def to_send(self, options: BatchOptions) -> list[BatchItem]:
        """The items that will be sent."""
        return [item for item in self.items if self._is_to_send(item, options)]

    def _is_to_send(self, item: BatchItem, options: BatchOptions) -> bool:
        before = self.stored.get(item.key)
        if before is None:
            return True
        if before.state in (OutcomeState.UNKNOWN, OutcomeState.SKIPPED):  # it may have been paid
            return False
        if item.key in self.changed:
            is_unsent = before.state is OutcomeState.UNSENT
            return options.changed == "redo" or (options.changed == "keep" and is_unsent)
        if before.state is OutcomeState.UNSENT or before.state.value in options.retry:
            return True
        return _never_charged(before) and _is_other_content(before, item.request)

    def redo_credits(self, options: BatchOptions) -> Decimal:
        """What ``--changed redo`` costs more than ``--changed keep``."""
        return self._more(attrs.evolve(options, changed="redo"), attrs.evolve(options, changed="keep"))

    def retry_credits(self, options: BatchOptions) -> Decimal:
        """What ``--retry failed`` costs."""
        others = tuple(state for state in options.retry if state != "failed")
        with_failed = attrs.evolve(options, retry=(*others, "failed"))
        return self._more(with_failed, attrs.evolve(options, retry=others))

    def _more(self, options: BatchOptions, others: BatchOptions) -> Decimal:
        more, less = (
            sum((item.request.credits for item in self.to_send(chosen)), Decimal(0))
            for chosen in (options, others)
        )
        return more - less

    def cap(self, options: BatchOptions) -> Decimal | None:
        """The cap for this run's items: the user's cap less what other items of the store have spent."""
        if options.max_credits is None:
            return None
        return max(Decimal(0), options.max_credits - self.elsewhere)

    def most_credits(self, options: BatchOptions) -> Decimal:
        """What this run spends at most: the estimate, or what ``--max-credits`` leaves of it."""
        if options.max_credits is None:
            return self.estimate.credits
        return min(self.estimate.credits, max(Decimal(0), options.max_credits - self.spent))

    def existing_sources(self, options: BatchOptions) -> dict[LookRef, list[str]]:
        """The looks that are no items and that items to be sent are edits of, each with their keys."""
        found: dict[LookRef, list[str]] = {}
        for item in self.to_send(options):
            if isinstance(item.request, LookEdit) and isinstance(item.request.source, LookRef):
                found.setdefault(item.request.source, []).append(item.key)
        return found

    def in_order(self) -> tuple[BatchItem, ...]:
        """The items, those already in the store first, so that the cap counts those before it sends."""
        return tuple(sorted(self.items, key=lambda item: item.key not in self.stored))


async def make_plan(
    session: HooxSession, items: Sequence[BatchItem], stored: Mapping[str, Outcome], options: BatchOptions
) -> Plan:
    """Work out what a run would send, without sending anything."""
    runner = BatchRunner(session, retry=options.retry, changed=options.changed)
    return Plan(tuple(items), stored, await runner.estimate(items))


async def missing_sources(
    session: HooxSession, wanted: Mapping[LookRef, list[str]]
) -> dict[LookRef, list[str]]:
    """Those of these looks that do not exist, each with its keys.

    It takes one free request, and one more for each avatar that the list lacks. Raises `HooxError`.
    """
    existing = {details.ref for details in await session.looks()}
    for avatar_id in {ref.avatar_id for ref in wanted.keys() - existing}:
        try:
            existing.update(details.ref for details in (await session.avatar(avatar_id)).looks)
        except NotFound as error:
            if is_access(error):
                raise
    return {ref: keys for ref, keys in wanted.items() if ref not in existing}


def _is_other_content(stored: Outcome, request: Request) -> bool:
    """Whether the store has other content under the key. Of a pruned request that is not known."""
    return not isinstance(stored.request, PrunedRequest) and digest(stored.request) != digest(request)


def _never_charged(outcome: Outcome) -> bool:
    """Whether the item certainly cost nothing, so that other content may take its place under the key."""
    unpaid = outcome.state in (OutcomeState.UNSENT, OutcomeState.REJECTED)
    return unpaid and not outcome.credits and not outcome.at_risk


def show_plan(
    plan: Plan, name: str, options: BatchOptions, terminal: Terminal, notes: Sequence[str] = ()
) -> list[str]:
    """Write the plan as a JSON record (with ``--json``) and return it as lines for people.

    ``notes`` say what may surprise.
    """
    now, retry_credits = datetime.now(UTC), plan.retry_credits(options)
    standing = Counter(_standing(plan.stored[key], now) for key in plan.keys & plan.stored.keys())
    terminal.record(
        "plan",
        items=len(plan.items),
        to_send=plan.estimate.count,
        by_kind=dict(plan.estimate.by_kind),
        credits=format(plan.estimate.credits, "f"),
        seconds=plan.estimate.duration if plan.estimate.count else 0,
        spent=format(plan.spent, "f"),
        max_credits=format(options.max_credits, "f") if options.max_credits is not None else None,
        budget=options.budget,
        standing=dict(standing),
        changed=list(plan.changed),
        redo_credits=format(plan.redo_credits(options), "f"),
        retry_credits=format(retry_credits, "f"),
        notes=list(notes),
    )
    lines = [f"{name}: {format_count(len(plan.items), 'look')}"]
    lines += [row("note", note) for note in notes]
    if standing:
        counts = [f"{count:,} {_in_words(word)}" for word, count in sorted(standing.items())]
        lines.append(row("from before", ", ".join(counts)))
    if retry_credits:
        chosen = "" if "failed" in options.retry else " would pay for the failed ones again:"
        lines.append(row("", f"--retry failed{chosen or ':'} {format_credits(retry_credits)}"))
    lines += _changed_lines(plan, options)
    if not plan.estimate.count:
        return [*lines, row("to send", "nothing")]
    cap = f", never more than {format_amount(options.max_credits)}" if options.max_credits is not None else ""
    before = f" ({format_amount(plan.spent)} spent before{cap})" if plan.spent or cap else ""
    lines.append(row("to send", format_kinds(plan.estimate.by_kind)))
    lines.append(row("credits", format_amount(plan.estimate.credits) + before))
    if budget := options.named_budget():
        most = format_credits(budget.max_credits)
        lines.append(row("budget", f"{budget.name}: never more than {most} for all that use it"))
    lines.append(row("takes", f"about {format_duration(round(plan.estimate.duration))}"))
    if options.max_credits is not None and plan.spent + plan.estimate.credits > options.max_credits:
        lines.append(row("", "the cap is too low for all of them: the rest is left for a later run"))
    return lines


def show_items(plan: Plan, options: BatchOptions, terminal: Terminal) -> None:
    """Write each item: its key, what it costs now, its source and its prompt."""
    sent, now = {item.key for item in plan.to_send(options)}, datetime.now(UTC)
    for item in plan.items:
        request = item.request
        before = plan.stored.get(item.key)
        is_sent = item.key in sent
        credits = request.credits if is_sent else Decimal(0)
        source = str(request.source) if isinstance(request, LookEdit) else None
        prompt = None if isinstance(request, ImageAvatar) else request.prompt
        images = request.image_urls if isinstance(request, ImageAvatar) else ()
        word = _standing(before, now) if before is not None else None
        terminal.record(
            "item",
            key=item.key,
            kind=request.KIND,
            source=source,
            prompt=prompt,
            image_urls=list(images),
            fields=changed_fields(request),
            credits=format(credits, "f"),
            price=format(request.credits, "f"),
            standing=word,
        )
        if not terminal.as_json:
            origin = f"from {source}" if source is not None else "a new avatar"
            standing = f" ({_in_words(word)})" if word is not None and not is_sent else ""
            terminal.result(f"{item.key}: {origin}, {format_credits(credits)}{standing}")
            terminal.result(f"  {' '.join((prompt or ' '.join(images)).split())}")
            if line := described(request):
                terminal.result(f"  {line}")
    if not terminal.as_json:
        terminal.result()


def _standing(outcome: Outcome, now: datetime) -> str:
    """The state of a stored item in one word; ``sending`` while somebody may be waiting for the answer."""
    return "sending" if is_awaited(outcome, now) else outcome.state.value


def _in_words(standing: str) -> str:
    # whoever has sent it may have ended since: only the next session on the store finds that out
    return "sent, not answered yet" if standing == "sending" else standing


def _changed_lines(plan: Plan, options: BatchOptions) -> list[str]:
    if not plan.changed:
        return []
    lines = [row("changed", f"{len(plan.changed):,}: {shorten_list(plan.changed, 3)}")]
    cost = format_credits(plan.redo_credits(options))
    chosen = {
        "error": f"an error; --changed redo costs {cost}, keep none",
        "keep": "the looks that were paid for are kept",
        "redo": f"paid for again: {cost}",
    }
    return [*lines, row("", chosen[options.changed])]


def row(head: str, text: str) -> str:
    """A line of the plan: what it tells, and the value."""
    return f"  {head:<12} {text}"
