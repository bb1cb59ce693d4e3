"""Writes the contact sheet and the page of unknowns: HTML that opens from disk and loads nothing else."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from .._api.requests import FREE
from .._core.formatting import format_amount, format_duration, format_moment
from .._core.intents.outcomes import STATE_EXPLANATIONS, undecided
from .._io.clock import Clock, running_loop
from ..errors import ConfigurationError
from .jsonl import write_atomically
from .look_cards import count_too_small, sections
from .page_pictures import SheetPicture, collect_pictures
from .unknowns import UnknownCard, decide_command, looks_of_unknowns, unknown_cards

PICKS_FILE = "picks.json"
NO_COMMANDS: Mapping[str, Sequence[str]] = {}

if TYPE_CHECKING:
    from .._api.models import LookDetails, LookRef
    from .report import BatchReport, Fetch


async def write_sheet(
    report: BatchReport,
    folder: Path,
    *,
    title: str,
    given: Mapping[str, Path],
    fetch: Fetch | None,
    download: bool,
    candidates: Sequence[LookDetails] = (),
    resolve_command: Sequence[str] | None = None,
    picks_commands: Mapping[str, Sequence[str]] = NO_COMMANDS,
    progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Collect the pictures, write the page and return its path. See `BatchReport.write_contact_sheet`."""
    _require_modules()
    made_at = Clock(running_loop()).utc()
    details = _of_unknowns(report, candidates)
    pictures, of_candidates = await collect_pictures(
        report.outcomes,
        tuple(details.values()),
        folder,
        given=given,
        fetch=fetch,
        download=download,
        progress=progress,
    )
    unknowns = unknown_cards(report.outcomes, details, of_candidates, resolve_command, made_at)

    return await _write(
        folder,
        partial(
            render,
            report,
            pictures,
            title=title,
            made_at=made_at,
            unknowns=unknowns,
            resolve_command=resolve_command,
            picks_commands=picks_commands,
        ),
    )


async def write_unknowns(
    report: BatchReport,
    folder: Path,
    *,
    title: str,
    fetch: Fetch | None,
    download: bool,
    candidates: Sequence[LookDetails],
    resolve_command: Sequence[str] | None,
) -> Path:
    """Collect the pictures, write the page and return its path. See `BatchReport.write_unknowns_page`."""
    _require_modules()
    made_at = Clock(running_loop()).utc()
    details = _of_unknowns(report, candidates)
    _, pictures = await collect_pictures(
        (), tuple(details.values()), folder, given={}, fetch=fetch, download=download
    )
    unknowns = unknown_cards(report.outcomes, details, pictures, resolve_command, made_at)

    return await _write(
        folder,
        partial(
            _render_page,
            "unknowns.html.j2",
            ("sheet.css", "unknowns.css"),
            ("page.js", "unknowns.js"),
            title=title,
            made_at=made_at,
            at_risk=format_amount(sum((one.at_risk for one in undecided(report.outcomes, made_at)), FREE)),
            unknowns=unknowns,
            decide_command=decide_command(resolve_command),
        ),
    )


async def _write(folder: Path, page: Callable[[], str]) -> Path:
    """Render and write the page in a thread."""
    return await anyio.to_thread.run_sync(lambda: write_atomically(folder / "index.html", [page()]))


def _of_unknowns(report: BatchReport, candidates: Sequence[LookDetails]) -> dict[LookRef, LookDetails]:
    wanted = looks_of_unknowns(report.outcomes)
    return {details.ref: details for details in candidates if details.ref in wanted}


def render(
    report: BatchReport,
    pictures: Sequence[SheetPicture],
    *,
    title: str,
    made_at: datetime,
    unknowns: Sequence[UnknownCard] = (),
    resolve_command: Sequence[str] | None = None,
    picks_commands: Mapping[str, Sequence[str]] = NO_COMMANDS,
) -> str:
    """The page's HTML. ``pictures`` has one entry for each outcome. Blocks: it reads the template."""
    return _render_page(
        "index.html.j2",
        ("sheet.css", "unknowns.css"),
        ("page.js", "unknowns.js", "marks.js", "sheet.js"),
        title=title,
        made_at=made_at,
        sections=sections(report.outcomes, pictures),
        unknowns=unknowns,
        decidable={card.key: number for number, card in enumerate(unknowns, 1)},
        decide_command=decide_command(resolve_command),
        picks_commands=[(label, shlex.join(words)) for label, words in picks_commands.items()]
        or [("In a command", f"--only @{PICKS_FILE}")],
        total=len(report),
        too_small=count_too_small(report.outcomes, pictures),
        **_totals(report),
    )


def _render_page(
    template: str,
    styles: Sequence[str],
    scripts: Sequence[str],
    *,
    title: str,
    made_at: datetime,
    **values: Any,
) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("hoox_async._report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )

    def text(names: Sequence[str]) -> str:
        return "\n".join(loader.get_source(environment, name)[0].replace("\r\n", "\n") for name in names)

    style, script = text(styles), text(scripts)
    return environment.get_template(template).render(
        title=title,
        made_at=format_moment(made_at),
        made_at_iso=made_at.isoformat(timespec="seconds"),
        styles=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        policy=_policy(style, script),
        **values,
    )


def _policy(styles: str, script: str) -> str:
    """The Content-Security-Policy: only pictures beside the page, and this one style and script."""
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file:; "
        f"style-src '{_hash(styles)}'; script-src '{_hash(script)}'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _totals(report: BatchReport) -> dict[str, Any]:
    states, start = [], 0
    for state, count in report.counts.items():
        if count:
            states.append(
                {"name": state.value, "count": count, "start": start, "explained": STATE_EXPLANATIONS[state]}
            )
            start += count
    middle, slowest, costs = report.median_seconds, report.slowest_seconds, report.costs
    return {
        "states": states,
        "ready": len(report.ready),
        "spent": format_amount(report.credits_spent),
        "failed_credits": str(costs) if costs.failed else "",
        "at_risk": format_amount(report.credits_at_risk) if report.credits_at_risk else "",
        "median": format_duration(middle) if middle is not None else "",
        "slowest": format_duration(slowest) if slowest is not None else "",
    }


def _require_modules() -> None:
    for module, name in (("jinja2", "Jinja2"), ("PIL", "Pillow")):
        try:
            __import__(module)
        except ImportError:
            raise ConfigurationError(
                f'the contact sheet needs {name}: in your clone of hoox-async, pip install -e ".[report]"'
            ) from None
