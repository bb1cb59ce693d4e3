"""The options of ``batch``, and the command that resumes a run with them."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import attrs
from cyclopts import Group, Parameter

from hoox_async import Budget, ConfigurationError
from hoox_async._checks import option

from ..options import STDIN, StoreConnection
from ..selection import Selection
from ..terminal import as_typed, command_line

_VERSIONS = Group(
    "Versions of looks that are ready",
    sort_key=2,
    help="A version is an edit of the look that --only chooses, under a key of its own. The look itself is "
    "never changed or replaced, and running the same command again pays for nothing twice.",
)
_LABEL = re.compile(r"\w(?:[\w-]*\w)?")
_MOST_VARIANTS = 100


@Parameter(name="*", group=_VERSIONS)
@attrs.frozen(kw_only=True)
class VersionOptions:
    """Which versions to make of the chosen looks.

    Parameters
    ----------
    four_k
        Make each of them in 4K. The API draws it anew from the picture, so details can differ.
    variants
        Make this many variants of each: its prompt again, from its own picture.
    prompt
        The prompt for all of these versions, such as 'the same at night'.
    label
        The versions' name in their keys (4k, v). With another prompt, give another label: the key
        alex/car~night1 is the first variant of alex/car with the label night.
    """

    four_k: Annotated[bool, Parameter(name=["--4k", "--4K"], negative=())] = False
    variants: int | None = None
    prompt: str | None = None
    label: str | None = None

    @property
    def asked_for(self) -> bool:
        """Whether versions are to be made, and not the campaign's own looks."""
        return self.four_k or self.variants is not None

    def check(self) -> None:
        """Raise `ConfigurationError` for values out of range and for options that need another one."""
        for flag, value in (("--prompt", self.prompt), ("--label", self.label)):
            if value is not None and not self.asked_for:
                raise ConfigurationError(f"{flag}: only for versions; give --4k or --variants too")
        if self.variants is not None:
            option.whole("--variants", self.variants, least=1, most=_MOST_VARIANTS)
        if self.prompt is not None:
            option.text("--prompt", self.prompt)
        if self.label is not None and not _LABEL.fullmatch(self.label):
            raise ConfigurationError(f"--label {self.label!r}: expected letters, digits, - and _")

    def names(self) -> list[str]:
        """What stands behind the mark in the key of each version of one look."""
        if self.variants is None:
            return [self.label or "4k"]
        label = self.label or ("4k-v" if self.four_k else "v")
        return [f"{label}{number}" for number in range(1, self.variants + 1)]


_ITEMS = Group("What to make", sort_key=1)
_TRIAL = Group("Before it costs", sort_key=3)
_MONEY = Group("Credits", sort_key=4)
_PICTURES = Group("Pictures", sort_key=5)
Retry = Literal["failed", "rejected", "pending", "ready"]
Changed = Literal["error", "keep", "redo"]
NAMES = "{avatar}/{scene}-{n}"
_RESUMED = (
    "limit", "max_credits", "budget", "max_failures", "changed", "look_timeout", "out", "names", "store",
)  # fmt: skip


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class BatchOptions:
    """Which items to make, the limits on cost and failures, and where the pictures go.

    Parameters
    ----------
    only
        Only items whose key matches, such as 'alex/*', or @FILE for the picks that the contact sheet saved;
        and their sources. Repeatable.
    limit
        At most this many looks, and the sources they are made from.
    settings
        A value for a variable in the file's texts: product=lamp is for {product}. Repeatable.
    dry_run
        Show what would be sent, what it costs and how long it takes; make nothing. With a key, check for free
        that the avatars that are edited exist.
    list_items
        With --dry-run: list each item with its source, prompt and credits.
    rehearse
        Run the campaign on a local sandbox: no key, no credits, no network.
    speed
        How many times faster than the real API a rehearsal runs (60).
    yes
        Don't ask before spending credits.
    max_credits
        Never spend more than this, counted over all runs with this campaign's store.
    budget
        NAME:CREDITS: a cap that is kept in the store under this name, for all machines and campaigns that use
        it. `store budget NAME --cap N` changes it.
    max_failures
        Send nothing more once this many looks have failed or were refused.
    retry
        Pay again for items that an earlier run left in this state. Repeatable.
    changed
        What to do with an item that was changed after it was paid for: give an error (error), keep the look
        that was paid for (keep), or pay for a new one (redo). Default: error.
    store
        The store that records what was paid. Default: FILE.hoox.db, beside the campaign file.
    look_timeout
        Seconds to wait for each look; one that takes longer is left for the next run (900).
    out
        Save each picture in this folder as soon as it is ready.
    accept_small
        With --out: go on making looks at 4K even if the last three pictures are too small for it.
    names
        The pictures' names ({avatar}/{scene}-{n}). Also usable: {key} {style} {format} {look_id}.
    """

    only: Annotated[tuple[str, ...], Parameter(group=_ITEMS, negative=())] = ()
    limit: Annotated[int | None, Parameter(group=_ITEMS)] = None
    settings: Annotated[tuple[str, ...], Parameter(name="--set", group=_ITEMS, negative=())] = ()
    versions: VersionOptions = VersionOptions()
    dry_run: Annotated[bool, Parameter(group=_TRIAL, negative=())] = False
    list_items: Annotated[bool, Parameter(name="--list", group=_TRIAL, negative=())] = False
    rehearse: Annotated[bool, Parameter(group=_TRIAL, negative=())] = False
    speed: Annotated[float, Parameter(group=_TRIAL)] = 60.0
    yes: Annotated[bool, Parameter(group=_MONEY, negative=())] = False
    max_credits: Annotated[Decimal | None, Parameter(group=_MONEY)] = None
    budget: Annotated[str | None, Parameter(group=_MONEY)] = None
    max_failures: Annotated[int | None, Parameter(group=_MONEY)] = None
    retry: Annotated[tuple[Retry, ...], Parameter(group=_ITEMS, negative=())] = ()
    changed: Annotated[Changed, Parameter(group=_ITEMS)] = "error"
    store: Annotated[str | None, Parameter(group=_ITEMS)] = None
    look_timeout: Annotated[float, Parameter(group=_ITEMS)] = 900.0
    out: Annotated[Path | None, Parameter(group=_PICTURES)] = None
    accept_small: Annotated[bool, Parameter(group=_PICTURES, negative=())] = False
    names: Annotated[str, Parameter(group=_PICTURES)] = NAMES

    def check(self) -> None:
        """Raise `ConfigurationError` for a number out of range or options that exclude each other."""
        option.number("--speed", self.speed, above=True)
        option.seconds("--look-timeout", self.look_timeout, endless=True)
        if self.max_credits is not None:
            option.credits("--max-credits", self.max_credits)
        self.named_budget()
        if self.max_failures is not None:
            option.whole("--max-failures", self.max_failures, least=1)
        self.versions.check()
        if self.list_items and not self.dry_run:
            raise ConfigurationError("--list: only with --dry-run, which sends nothing")
        if self.dry_run and self.rehearse:
            raise ConfigurationError("--dry-run and --rehearse: give only one of them")

    @property
    def is_capped(self) -> bool:
        """Whether the user has given a cap of credits."""
        return self.max_credits is not None or self.budget is not None

    def named_budget(self) -> Budget | None:
        """A new object for the budget of ``--budget``. Raises `ConfigurationError`."""
        if self.budget is None:
            return None
        name, _, credits = self.budget.rpartition(":")
        try:
            return Budget(credits, name=name)
        except ConfigurationError:
            raise ConfigurationError(
                f"--budget {self.budget!r}: expected NAME:CREDITS, such as spring:5000"
            ) from None

    def needs_store(self, selection: Selection) -> bool:
        """Whether the choice depends on what was made before: versions, and picks, which may be versions."""
        return self.versions.asked_for or bool(selection.picked)


def resume_command(file: str, options: BatchOptions, connection: StoreConnection, *, json: bool) -> str:
    """The command that resumes this run.

    It leaves out ``--retry``, which would pay once more for an item that was retried and failed again.
    """
    words = ["batch", "-" if file == STDIN else file]
    words += as_typed(options, "only", "settings")
    words += as_typed(options.versions, "four_k", "variants", "prompt", "label")
    words += as_typed(options, *_RESUMED) + connection.location.arguments()
    words += as_typed(options, "accept_small", "yes") + connection.arguments()
    return command_line(*words, *(["--json"] if json else []))
