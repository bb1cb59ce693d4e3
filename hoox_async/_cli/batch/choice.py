"""What a run of ``batch`` is about: a part of the campaign, picked looks, or versions of looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from hoox_async import BatchItem, ConfigurationError, LookEdit, Outcome, PrunedRequest

from ..campaign import Campaign, ItemOrigin, Selection, check_limit, origin_of_key, select
from ..text import shorten_list
from .batch_options import BatchOptions
from .versions import make_versions


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
    made = make_versions(chosen[: options.limit], stored, campaign.origins, options.versions)
    return Choice(made.items, made.origins, made.notes)


def _named(item: BatchItem) -> BatchItem:
    """The item; an avatar without a name is named by its key, so that people find it in their workspace."""
    request = item.request
    if isinstance(request, LookEdit) or request.name is not None:
        return item
    return BatchItem(item.key, attrs.evolve(request, name=item.key))
