"""Writes the contact sheet: one HTML page that opens from disk and loads nothing from elsewhere."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from .._io.clock import Clock
from ..errors import ConfigurationError
from .formatting import STATE_EXPLANATIONS, format_amount, format_duration
from .jsonl import write_atomically
from .sheet_contents import moment, sections
from .sheet_pictures import SheetPicture, collect_pictures

if TYPE_CHECKING:
    from .report import BatchReport, Fetch


async def write_sheet(
    report: BatchReport,
    folder: Path,
    *,
    title: str,
    given: Mapping[str, Path],
    fetch: Fetch | None,
    download: bool,
) -> Path:
    """Collect the pictures, write the page and return its path. See `BatchReport.write_contact_sheet`."""
    _require_jinja()
    made_at = Clock(asyncio.get_running_loop()).utc()
    pictures = await collect_pictures(report.outcomes, folder, given=given, fetch=fetch, download=download)

    def write() -> Path:
        return write_atomically(
            folder / "index.html", [render(report, pictures, title=title, made_at=made_at)]
        )

    return await anyio.to_thread.run_sync(write)


def render(report: BatchReport, pictures: Sequence[SheetPicture], *, title: str, made_at: datetime) -> str:
    """The page's HTML. ``pictures`` has one entry for each outcome. Blocks: it reads the template."""
    _require_jinja()
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("hoox_async._report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    styles = loader.get_source(environment, "sheet.css")[0].replace("\r\n", "\n")
    script = loader.get_source(environment, "sheet.js")[0].replace("\r\n", "\n")
    return environment.get_template("index.html.j2").render(
        title=title,
        made_at=moment(made_at),
        made_at_iso=made_at.isoformat(timespec="seconds"),
        sections=sections(report.outcomes, pictures),
        styles=Markup(styles),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        policy=_policy(styles, script),
        total=len(report),
        **_totals(report),
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
    middle, slowest = report.median_seconds, report.slowest_seconds
    return {
        "states": states,
        "ready": len(report.ready),
        "spent": format_amount(report.credits_spent),
        "at_risk": format_amount(report.credits_at_risk) if report.credits_at_risk else "",
        "median": format_duration(middle) if middle is not None else "",
        "slowest": format_duration(slowest) if slowest is not None else "",
    }


def _require_jinja() -> None:
    try:
        import jinja2  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            'the contact sheet needs Jinja2: in your clone of hoox-async, pip install -e ".[report]"'
        ) from None
