"""The unknowns of a store, the looks that they may have made, and the command that settles one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import attrs

from hoox_async import (
    BatchReport,
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
from hoox_async._core.intents.outcomes import undecided

from .options import StoreConnection
from .stores import AnyStore, DatabaseStore, read_report, store_words
from .terminal import program

_MOST_AVATARS = 8  # of one unknown, that are read one by one
_MOST_NEW_AVATARS = 60  # their pictures are downloaded


def resolve_words(given: str, connection: StoreConnection) -> list[str]:
    """How a command begins that settles an unknown of this store, which is named as it was typed."""
    shown, *location = store_words(given, connection.location)
    return [*program(), "resolve", *connection.arguments(), *location, shown]


async def find_unknowns(
    connection: StoreConnection, store: AnyStore, *, with_looks: bool = False
) -> tuple[list[Unknown], list[LookDetails]]:
    """The unknowns that can be decided about, and ``with_looks`` what the API says of looks that they show.

    A database is opened only for looks of unknowns that it has: else nothing is made in it.
    """
    if isinstance(store, DatabaseStore):
        recorded = await recorded_unknowns(store)
        if not (with_looks and recorded):
            return recorded, []
    async with connection.session(store=store, poll="awaited") as session:
        found = await session.unknowns()
        return found, await _read_looks(session, found) if with_looks else []


async def recorded_unknowns(store: AnyStore) -> list[Unknown]:
    """The same from the store alone: without a request, also while another process has it open."""
    now = datetime.now(UTC)
    return [_unknown_of(outcome) for outcome in undecided(await read_report(store), now)]


def _unknown_of(outcome: Outcome) -> Unknown:
    assert not isinstance(outcome.request, PrunedRequest), "what is unknown is never pruned"
    assert outcome.attempt is not None, "what is unknown was sent"
    return Unknown(
        outcome.key,
        outcome.request,
        outcome.attempt,
        outcome.submitted_at,
        outcome.candidates,
        outcome.older,
        unlisted=outcome.unlisted,
        delivered=outcome.delivered,
    )


async def _read_looks(session: HooxSession, unknowns: Iterable[Unknown]) -> list[LookDetails]:
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
