"""Versions of looks that are ready: the same picture in 4K, or variants of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated

import attrs
from cyclopts import Group, Parameter

from hoox_async import (
    BatchItem,
    ConfigurationError,
    ImageAvatar,
    LookEdit,
    LookRef,
    Outcome,
    OutcomeState,
    PrunedRequest,
    Request,
    Resolution,
)

from ..campaign import VERSION_MARK, ItemOrigin, origin_of_key
from ..text import format_count, shorten_list

_VERSIONS = Group(
    "Versions of looks that are ready",
    sort_key=2,
    help="A version is an edit of the look that --only chooses, under a key of its own. The look itself is "
    "never changed or replaced, and running the same command again pays for nothing twice.",
)
_SAME_IN_4K = (
    "Keep this picture exactly as it is: the same person, face, clothes, pose, place, light and framing. "
    "Only make its details finer."
)
_LABEL = re.compile(r"\w(?:[\w-]*\w)?")
_MOST_VARIANTS = 100


@Parameter(name="*", group=_VERSIONS)
@attrs.frozen(kw_only=True)
class VersionOptions:
    """Which versions to make of the chosen looks."""

    four_k: Annotated[
        bool,
        Parameter(
            name=["--4k", "--4K"],
            negative=(),
            help="Make each of them in 4K. The API draws it anew from the picture, so details can differ.",
        ),
    ] = False
    variants: Annotated[
        int | None,
        Parameter(help="Make this many variants of each: its prompt again, from its own picture."),
    ] = None
    prompt: Annotated[
        str | None, Parameter(help="The prompt for all of these versions, such as 'the same at night'.")
    ] = None
    label: Annotated[
        str | None,
        Parameter(
            help="The versions' name in their keys (4k, v). With another prompt, give another label: the key "
            "alex/car~night1 is the first variant of alex/car with the label night."
        ),
    ] = None

    @property
    def asked_for(self) -> bool:
        """Whether versions are to be made, and not the campaign's own looks."""
        return self.four_k or self.variants is not None

    def check(self) -> None:
        """Raise `ConfigurationError` for values out of range and for options that need another one."""
        for option, value in (("--prompt", self.prompt), ("--label", self.label)):
            if value is not None and not self.asked_for:
                raise ConfigurationError(f"{option}: only for versions; give --4k or --variants too")
        if self.variants is not None and not 1 <= self.variants <= _MOST_VARIANTS:
            raise ConfigurationError(
                f"--variants {self.variants}: expected a whole number from 1 to {_MOST_VARIANTS}"
            )
        if self.prompt is not None and not self.prompt.strip():
            raise ConfigurationError("--prompt: expected a text that is not empty")
        if self.label is not None and not _LABEL.fullmatch(self.label):
            raise ConfigurationError(f"--label {self.label!r}: expected letters, digits, - and _")

    def typed(self) -> list[str]:
        """These options as they are typed."""
        words = ["--4k"] if self.four_k else []
        for name in ("variants", "prompt", "label"):
            if (value := getattr(self, name)) is not None:
                words += [f"--{name}", str(value)]
        return words

    def names(self) -> list[str]:
        """What stands behind the mark in the key of each version of one look."""
        if self.variants is None:
            return [self.label or "4k"]
        label = self.label or ("4k-v" if self.four_k else "v")
        return [f"{label}{number}" for number in range(1, self.variants + 1)]


@attrs.frozen
class Versions:
    """The items of the versions, where each comes from, and lines about the looks that have none."""

    items: tuple[BatchItem, ...]
    origins: Mapping[str, ItemOrigin]
    notes: tuple[str, ...]


def make_versions(
    chosen: Iterable[str],
    stored: Mapping[str, Outcome],
    origins: Mapping[str, ItemOrigin],
    options: VersionOptions,
) -> Versions:
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
    return Versions(tuple(items), own_origins, tuple(notes))


def _version_of(
    request: Request | PrunedRequest, source: LookRef, options: VersionOptions
) -> LookEdit | None:
    """The edit that makes a version of this look; None if there is no prompt for it."""
    prompt = options.prompt or (None if options.variants is not None else _SAME_IN_4K)
    resolution = Resolution.FOUR_K if options.four_k else Resolution.TWO_K
    if isinstance(request, ImageAvatar | PrunedRequest):
        if prompt is None:
            return None
        return LookEdit(
            source,
            prompt,
            resolution=resolution,
            webhook_url=request.webhook_url,
            metadata=request.metadata,
        )
    if isinstance(request, LookEdit):
        kept = request.resolution if not options.four_k else resolution
        return attrs.evolve(request, source=source, prompt=prompt or request.prompt, resolution=kept)
    return LookEdit(
        source,
        prompt or request.prompt,
        style=request.style,
        format=request.format,
        resolution=resolution if options.four_k else request.resolution,
        images=request.element_images,
        webhook_url=request.webhook_url,
        metadata=request.metadata,
    )
