"""Lists the unknowns of a store, and writes the page that shows them with their pictures."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from hoox_async import (
    BatchReport,
    ConfigurationError,
    HooxError,
    HooxSession,
    LookDetails,
    LookEdit,
    LookRef,
    Outcome,
    OutcomeState,
    PrunedRequest,
    Unknown,
)

from .options import StoreConnection, program
from .stores import AnyStore, DatabaseStore, beside, read_report, read_unknowns, store_words
from .terminal import Terminal, require_modules
from .text import format_count, format_credits, one_line

_FOUND_ELSEWHERE = {
    "copies": "looks of the copy that the API made of the public avatar",
    "name": "looks of the workspace's avatars of the same name: a public avatar is copied when it is edited",
}


async def list_unknowns(
    connection: StoreConnection, store: AnyStore, folder: Path | None = None, given: str | None = None
) -> tuple[list[Unknown], Path | None]:
    """The unknowns, and the page where one was asked for. ``given`` is the store as it was typed.

    A database is opened only for a page that has something to show: else nothing is made in it.
    """
    if isinstance(store, DatabaseStore) and (folder is None or not await read_unknowns(store)):
        return await recorded_unknowns(connection, store, folder, given)
    async with connection.session(store=store, poll="awaited") as session:
        found = await session.unknowns()
        if folder is None:
            return found, None
        looks = await read_looks(session, found)
        words = resolve_words(given or str(store), connection)
        return found, await write_page(store, folder, looks, words)


async def recorded_unknowns(
    connection: StoreConnection, store: AnyStore, folder: Path | None, given: str | None
) -> tuple[list[Unknown], Path | None]:
    """As `list_unknowns`, from the store alone: without a request, and while another process has it open."""
    found = await read_unknowns(store)
    words = resolve_words(given or str(store), connection)
    return found, await write_page(store, folder, [], words) if folder is not None else None


def show_unknown(unknown: Unknown, terminal: Terminal) -> None:
    sent = f", sent {unknown.sent_at:%Y-%m-%d %H:%M:%S} UTC" if unknown.sent_at else ""
    terminal.result(f"{unknown.key}  ({format_credits(unknown.request.credits)}{sent})")
    prompt = getattr(unknown.request, "prompt", None)
    if prompt:
        terminal.result(f"  {one_line(prompt, 74)}")
    for number, ref in enumerate(unknown.candidates, 1):
        terminal.result(f"  {number}  {ref}")
    if unknown.candidates_from in _FOUND_ELSEWHERE:
        terminal.result(f"  {_FOUND_ELSEWHERE[unknown.candidates_from]}")
    if not unknown.candidates:
        terminal.result("  no look was found that could be its result")
    if unknown.older:
        older = format_count(len(unknown.older), "older look")
        terminal.result(f"  {older} left out: listed before it was sent")
    for avatar_id in unknown.unlisted:
        terminal.result(f"  the looks of {avatar_id} were not listed before it was sent: they may be older")


_MOST_AVATARS = 8  # of one unknown, that are read one by one
_MOST_NEW_AVATARS = 60  # their pictures are downloaded


def resolve_words(given: str, connection: StoreConnection) -> list[str]:
    """How a command begins that settles an unknown of this store, which is named as it was typed."""
    shown, *location = store_words(given, connection.location)
    return [*program(), "resolve", *connection.arguments(), *location, shown]


async def read_looks(session: HooxSession, unknowns: Iterable[Unknown]) -> list[LookDetails]:
    """The looks of the avatars of candidates and of edited looks; where those are many, all of the workspace.

    Takes one request for each such avatar, and two where an avatar was lost or the avatars are many. What
    can't be read is left out.
    """
    looks: list[LookDetails] = []
    avatars, lists = dict[str, None](), False
    for unknown in unknowns:
        shown = (*unknown.candidates, *unknown.older, *_source_of(unknown))
        own = dict.fromkeys(ref.avatar_id for ref in shown)
        is_lost = not isinstance(unknown.request, LookEdit) or len(own) > _MOST_AVATARS
        lists, avatars = lists or is_lost, avatars if is_lost else avatars | own
    for avatar_id in avatars:
        with suppress(HooxError):  # the page says that its picture was not asked for
            looks += (await session.avatar(avatar_id)).looks
    if lists:
        with suppress(HooxError):
            public = {details.ref for details in await session.looks(only_public=True)}
            looks += [details for details in await session.looks() if details.ref not in public]
    return looks


def _source_of(unknown: Unknown) -> tuple[LookRef, ...]:
    """The edited look, where there are candidates to compare it with."""
    source = unknown.request.source if isinstance(unknown.request, LookEdit) else None
    return (source,) if isinstance(source, LookRef) and unknown.candidates else ()


def with_new_avatars(report: BatchReport, looks: Sequence[LookDetails]) -> BatchReport:
    """The report with candidates for lost avatars: looks of avatars that nothing in the store is about.

    If the request named its avatar, only looks of avatars of that name.
    """
    known = {ref.avatar_id for outcome in report for ref in (outcome.ref, *outcome.candidates) if ref}
    sources = (getattr(outcome.request, "source", None) for outcome in report)
    known.update(source.avatar_id for source in sources if isinstance(source, LookRef))
    new = [details for details in looks if details.ref.avatar_id not in known]

    def shown(outcome: Outcome) -> Outcome:
        if outcome.state is not OutcomeState.UNKNOWN or isinstance(outcome.request, LookEdit | PrunedRequest):
            return outcome
        name = outcome.request.name
        fitting = [details.ref for details in new if name in (None, details.avatar_name)]
        candidates = (*outcome.candidates, *fitting[:_MOST_NEW_AVATARS])
        avatars = dict.fromkeys(ref.avatar_id for ref in candidates)
        return attrs.evolve(outcome, candidates=candidates, unlisted=tuple(avatars))

    return BatchReport(shown(outcome) for outcome in report)


def page_folder(page: Path | None, store: AnyStore) -> Path:
    """The folder of the page. Raises `ConfigurationError` for the name of a file."""
    if page is None:
        return beside(store, f"{campaign_name(store)}.unknowns")
    if page.suffix.lower() in (".html", ".htm") or page.is_file():
        raise ConfigurationError(f"--page {page}: name a folder; the page is index.html in it")
    return page


def campaign_name(store: AnyStore) -> str:
    """The name of the campaign that a store belongs to."""
    return store.name.removesuffix(".db").removesuffix(".hoox")


def require_page_modules() -> None:
    """Raise `ConfigurationError` without what pages need."""
    require_modules("report", {"jinja2": "Jinja2", "PIL": "Pillow"}, "the page")


async def write_page(
    store: AnyStore, folder: Path, looks: Sequence[LookDetails], resolve_command: list[str]
) -> Path:
    """Write the page of the store's unknowns. Raises `StoreError` and `OSError`."""
    report = with_new_avatars(await read_report(store), looks)
    return await report.write_unknowns_page(
        folder, title=campaign_name(store), candidates=looks, resolve_command=resolve_command
    )


def show_page(page: Path, terminal: Terminal) -> None:
    """Open the page in the user's browser."""
    if not webbrowser.open(page.resolve().as_uri()):
        terminal.notice("no browser could be started: open the page yourself")
