"""Writes the page of unknowns, and reads what pages show of the looks that unknowns may have made."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterable
from pathlib import Path

from hoox_async import BatchReport, ConfigurationError, HooxError, HooxSession, LookDetails, Unknown

from .options import StoreConnection, program
from .terminal import Terminal, require_modules


def resolve_words(given: Path, connection: StoreConnection) -> list[str]:
    """How a command begins that settles an unknown of this store, which is named as it was typed."""
    return [*program(), "resolve", *connection.arguments(), str(given)]


async def read_looks(session: HooxSession, unknowns: Iterable[Unknown]) -> list[LookDetails]:
    """All looks of the candidates' avatars, by one request for each. What can't be read is left out."""
    looks: list[LookDetails] = []
    for avatar_id in dict.fromkeys(ref.avatar_id for unknown in unknowns for ref in unknown.candidates):
        try:
            looks += (await session.avatar(avatar_id)).looks
        except HooxError:
            continue  # the page says that its picture was not asked for
    return looks


def page_folder(page: Path | None, store: Path) -> Path:
    """The folder of the page. Raises `ConfigurationError` for the name of a file."""
    if page is None:
        return store.with_name(f"{campaign_name(store)}.unknowns")
    if page.suffix.lower() in (".html", ".htm") or page.is_file():
        raise ConfigurationError(f"--page {page}: name a folder; the page is index.html in it")
    return page


def campaign_name(store: Path) -> str:
    """The name of the campaign that a store belongs to."""
    return store.name.removesuffix(".db").removesuffix(".hoox")


def require_page_modules() -> None:
    """Raise `ConfigurationError` without what pages need."""
    require_modules("report", {"jinja2": "Jinja2", "PIL": "Pillow"}, "the page")


async def write_page(
    store: Path, folder: Path, looks: Iterable[LookDetails], resolve_command: list[str]
) -> Path:
    """Write the page of the store's unknowns. Raises `StoreError` and `OSError`."""
    report = await BatchReport.open(store)
    return await report.write_unknowns_page(
        folder, title=campaign_name(store), candidates=looks, resolve_command=resolve_command
    )


def show_page(page: Path, terminal: Terminal) -> None:
    """Open the page in the user's browser."""
    if not webbrowser.open(page.resolve().as_uri()):
        terminal.say("no browser could be started: open the page yourself")
