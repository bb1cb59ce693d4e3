"""The options of ``batch``."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import attrs
from cyclopts import Group, Parameter

from hoox_async import ConfigurationError

from ..options import Connection, command

_WHAT = Group("What to make", sort_key=1)
_TRY = Group("Before it costs", sort_key=2)
_MONEY = Group("Credits", sort_key=3)
_PICTURES = Group("Pictures", sort_key=4)

Retry = Literal["failed", "rejected", "pending", "ready"]
Changed = Literal["error", "keep", "redo"]
NAMES = "{avatar}/{scene}-{n}"


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class BatchOptions:
    """What to make of a campaign, at which cost, and where the pictures go."""

    only: Annotated[
        tuple[str, ...],
        Parameter(
            group=_WHAT,
            negative=(),
            help="Only items with such a key, as 'alex/*', and their sources; can be given several times.",
        ),
    ] = ()
    limit: Annotated[
        int | None, Parameter(group=_WHAT, help="At most so many looks, with what they are made from.")
    ] = None
    dry_run: Annotated[
        bool,
        Parameter(group=_TRY, negative=(), help="Show what would be sent, what it costs, how long it takes."),
    ] = False
    rehearse: Annotated[
        bool,
        Parameter(
            group=_TRY, negative=(), help="Run all of it on a local sandbox: no key, no credits, no network."
        ),
    ] = False
    speed: Annotated[
        float, Parameter(group=_TRY, help="How many times faster than real a rehearsal goes (60).")
    ] = 60.0
    yes: Annotated[bool, Parameter(group=_MONEY, negative=(), help="Don't ask before credits are spent.")] = (
        False
    )
    max_credits: Annotated[
        Decimal | None,
        Parameter(group=_MONEY, help="Never spend more credits, over all runs of this campaign's store."),
    ] = None
    max_failures: Annotated[
        int | None, Parameter(group=_MONEY, help="Send nothing more after so many failed or refused looks.")
    ] = None
    retry: Annotated[
        tuple[Retry, ...],
        Parameter(
            group=_WHAT,
            negative=(),
            help="Pay anew for what ended like this earlier; can be given several times.",
        ),
    ] = ()
    changed: Annotated[
        Changed,
        Parameter(
            group=_WHAT,
            help="When an item's content differs from what was paid for under its key: refuse it (error), "
            "keep the old look, or redo it and pay anew.",
        ),
    ] = "error"
    exclusive: Annotated[
        bool,
        Parameter(
            group=_WHAT,
            negative=(),
            help="Your word that nobody else makes looks of these avatars meanwhile: so the look of a "
            "request whose answer was lost can be found.",
        ),
    ] = False
    look_timeout: Annotated[
        float, Parameter(group=_WHAT, help="Seconds to wait for a look before it is left for later (900).")
    ] = 900.0
    out: Annotated[
        Path | None,
        Parameter(group=_PICTURES, help="Save each picture in this folder, the moment it is ready."),
    ] = None
    names: Annotated[
        str,
        Parameter(
            group=_PICTURES,
            help="The pictures' names ({avatar}/{scene}-{n}); {key} {style} {format} {look_id} go too.",
        ),
    ] = NAMES

    def check(self) -> None:
        """Raise `ConfigurationError` for a number that makes no sense."""
        if not 0 < self.speed < float("inf"):
            raise ConfigurationError(f"--speed {self.speed:g}: expected a number above 0")
        if not self.look_timeout > 0:
            raise ConfigurationError(f"--look-timeout {self.look_timeout:g}: expected seconds above 0")
        if self.max_credits is not None and not (self.max_credits.is_finite() and self.max_credits >= 0):
            raise ConfigurationError(f"--max-credits {self.max_credits}: expected a number from 0 on")
        if self.max_failures is not None and self.max_failures < 1:
            raise ConfigurationError(f"--max-failures {self.max_failures}: expected a whole number from 1")
        if self.dry_run and self.rehearse:
            raise ConfigurationError("--dry-run and --rehearse: expected one of them")


def resuming(file: Path, options: BatchOptions, connection: Connection, *, json: bool) -> str:
    """The command that goes on with this run.

    Without ``--retry``: what was paid for anew and failed again would be paid for once more.
    """
    usual = BatchOptions()
    typed = ["batch", str(file)]
    for pattern in options.only:
        typed += ["--only", pattern]
    for name in ("limit", "max_credits", "max_failures", "changed", "look_timeout", "out", "names"):
        value = getattr(options, name)
        if value != getattr(usual, name):
            typed += [f"--{name.replace('_', '-')}", _typed(value)]
    typed += [f"--{name}" for name in ("yes", "exclusive") if getattr(options, name)]
    typed += connection.words()
    return command(*typed, *(["--json"] if json else []))


def _typed(value: object) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    return f"{value:g}" if isinstance(value, float) else str(value)
