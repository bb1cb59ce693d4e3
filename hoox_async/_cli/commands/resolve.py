"""``resolve``: decides about paid requests whose outcome is not known."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hoox_async import ConfigurationError, InvalidRequest, Unknown

from ..decisions import Decision, Verdict, carry_out, parse_verdict, settle
from ..exit_codes import Exit
from ..json_output import unknown_record
from ..options import Output, StoreConnection
from ..stores import AnyStore, store_of
from ..terminal import Terminal
from ..text import shorten_list
from ..unknown_requests import list_unknowns, show_unknown

_DEFAULT_CONNECTION = StoreConnection()
_DEFAULT_OUTPUT = Output()


def resolve(
    store: str,
    key: str,
    verdict: str | None = None,
    *,
    attempt: str | None = None,
    yes: Annotated[bool, Parameter(negative=())] = False,
    connection: StoreConnection = _DEFAULT_CONNECTION,
    output: Output = _DEFAULT_OUTPUT,
) -> int:
    """Decide about a request that may have been paid for.

    Without a verdict it shows the request with the looks that may be its result, and asks.

    - `hoox-async resolve campaign.toml alex/podcast`
    - `hoox-async resolve campaign.toml alex/podcast resend`
    - `hoox-async resolve campaign.toml @decisions.json`

    Parameters
    ----------
    store
        The store (FILE.hoox.db or a postgresql:// URL), or the campaign file beside it. Also as --store.
    key
        The request's key, as `unknowns` shows it. @FILE carries out the decisions in a file that was saved on
        the page of `unknowns` or on the contact sheet; a decision is carried out once.
    verdict
        avatar_id:look_id names the look that is its result. resend sends it again and pays for that. drop
        gives it up; what it may have cost stays counted as at risk.
    attempt
        The attempt that was decided about, as `unknowns --json` shows it: if it was sent again since, nothing
        is done. A file has it for each decision.
    yes
        Don't ask before the decisions of a file are paid for.
    """
    terminal, path = output.terminal(), store_of(store, connection.location)
    if verdict is None and key.startswith("@"):
        return carry_out(Path(key[1:]), path, store, connection, terminal, yes=yes)
    if verdict is not None:
        decided = Decision(key, attempt, parse_verdict(verdict))
        return asyncio.run(_settle(connection, path, decided, terminal))
    unknown = _find(asyncio.run(list_unknowns(connection, path))[0], key)
    terminal.record("unknown", **unknown_record(unknown))
    if not output.json:
        show_unknown(unknown, terminal)
    if not terminal.can_ask:
        raise ConfigurationError(
            "nothing was done, as nobody can be asked: give the verdict as avatar_id:look_id, resend or drop"
        )
    decided = Decision(key, unknown.attempt, _ask(unknown, terminal))
    return asyncio.run(_settle(connection, path, decided, terminal))


async def _settle(
    connection: StoreConnection, store: AnyStore, decision: Decision, terminal: Terminal
) -> int:
    async with connection.session(store=store) as session:
        await settle(session, decision, terminal)
    return Exit.READY


def _find(listed: list[Unknown], key: str) -> Unknown:
    for unknown in listed:
        if unknown.key == key:
            return unknown
    known = f"expected one of {shorten_list(unknown.key for unknown in listed)}" if listed else "none is"
    raise ConfigurationError(f"{key}: its outcome is not unknown; {known}")


def _ask(unknown: Unknown, terminal: Terminal) -> Verdict:
    choice = "the number of its look, " if unknown.candidates else ""
    while True:
        answer = terminal.ask(
            f"Which one is it? ({choice}avatar_id:look_id, resend or drop; empty: decide later)"
        )
        if not answer:
            raise KeyboardInterrupt
        if answer.isdigit() and 1 <= int(answer) <= len(unknown.candidates):
            return unknown.candidates[int(answer) - 1]
        try:
            return parse_verdict(answer)
        except (InvalidRequest, ConfigurationError) as error:
            terminal.notice(str(error))
