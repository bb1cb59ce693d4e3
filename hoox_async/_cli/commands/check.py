"""``check``: asks whether the key is good, or compares the whole API with what this library assumes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import attrs
from cyclopts import Group, Parameter

from hoox_async import (
    ConfigurationError,
    HooxSession,
    ImageAvatar,
    InvalidRequest,
    LookRef,
    NotFound,
    Outcome,
    Timeouts,
    __version__,
)
from hoox_async._checks import option
from hoox_async._core.formatting import format_credits
from hoox_async.webhooks import WebhookHub

from ..exit_codes import Exit, is_access
from ..options import Output, StoreConnection, check_writable
from ..signals import run_until, stop_on_signals
from ..stores import AnyStore, Location, named_store, read_outcomes, store_words
from ..terminal import Terminal, sanitize

if TYPE_CHECKING:
    from hoox_async._conformance import Check, Observations, Plan, Receiver, Report


_GROUP = Group("Conformance", sort_key=1)
_TIMEOUTS = Timeouts(connect=10.0, read=20.0, answer=60.0)
_REAL_HOST = "app.hoox.video"
_REAL_URL = f"https://{_REAL_HOST}/api/public/v1"
_DOCUMENTED_KEY = r"hx_live_[0-9a-f]{64}"
_REFRESH = 0.2  # seconds
_SPREAD = 6.0
"""Seconds between the first and the last read: so long, a quota's reset shows how it moves."""
_STORE = "conformance.hoox.db"


@Parameter(name="*", group=_GROUP)
@attrs.frozen(kw_only=True)
class ConformanceOptions:
    """The options of ``check --conformance``.

    Parameters
    ----------
    conformance
        Make one avatar from images (0 credits), compare all answers with what this library assumes, and print
        a report without secrets.
    spend
        Buy too, for so many credits at most, all runs with the store together: an avatar at 4K (4 credits),
        an edit of it at 2K (2), and two edits for --edit-public (4). Nothing is bought twice.
    edit_public
        A look of a public avatar, as avatar_id:look_id: edit it twice, to see whether its avatar is copied.
        Needs --spend.
    store
        The file that records what was bought with --spend (conformance.hoox.db beside the report). Keep it:
        run again with it, the check goes on.
    yes
        Do not ask.
    image
        The URL of a picture for the avatar (pictures of the public catalogue). Repeatable.
    avatar
        The id of an avatar to read too, such as one with a look that is being made (up to 3 that the
        workspace has). Repeatable.
    public_url
        The URL at which the API reaches --listen, by a tunnel or proxy: checks deliveries too.
    listen
        Where deliveries are received, as host:port (127.0.0.1:8765).
    delivery_wait
        The most seconds to wait for a delivery (60).
    out
        Save the report in this file: as JSON if it ends in .json, else as text.
    """

    conformance: Annotated[bool, Parameter(negative=())] = False
    spend: Decimal | None = None
    edit_public: str | None = None
    store: str | None = None
    yes: Annotated[bool, Parameter(negative=())] = False
    image: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    avatar: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    public_url: str | None = None
    listen: str = "127.0.0.1:8765"
    delivery_wait: float = 60.0
    out: Path | None = None

    def check(self) -> None:
        """Raise `ConfigurationError` or `InvalidRequest` for what cannot work, before anything is sent."""
        if not self.conformance:
            given = [
                field.name for field in attrs.fields(type(self)) if getattr(self, field.name) != field.default
            ]
            if given:
                raise ConfigurationError(f"--{given[0].replace('_', '-')}: only with --conformance")
            return
        self._check_spending()
        option.seconds("--delivery-wait", self.delivery_wait)
        if self.image:
            ImageAvatar(self.image)  # raises InvalidRequest
        if self.public_url is not None:
            self.address()
            _check_public_url(self.public_url)
        if self.out is not None:
            if self.out.exists():
                raise ConfigurationError(f"--out {self.out}: it exists already; choose another name")
            check_writable("--out", self.out)

    def _check_spending(self) -> None:
        for name, value in (("--edit-public", self.edit_public), ("--store", self.store)):
            if value is not None and self.spend is None:
                raise ConfigurationError(f"{name}: only with --spend")
        if self.spend is not None and not option.credits("--spend", self.spend):
            raise option.error("--spend", self.spend, "a number of credits above 0")
        self.public_look()

    def public_look(self) -> LookRef | None:
        """The look of --edit-public. Raises `ConfigurationError`."""
        if self.edit_public is None:
            return None
        try:
            return LookRef.parse(self.edit_public)
        except InvalidRequest:
            raise ConfigurationError(
                f"--edit-public {self.edit_public}: expected a look as avatar_id:look_id"
            ) from None

    def store_for(self, location: Location) -> AnyStore | None:
        """The store of what is bought; None if nothing is. Raises `ConfigurationError`."""
        if self.spend is None:
            return None
        if self.store is not None:
            return named_store(self.store, location)
        return Path(_STORE) if self.out is None else self.out.with_name(_STORE)

    def address(self) -> tuple[str, int]:
        """Host and port of --listen. Raises `ConfigurationError`."""
        host, _, port = self.listen.rpartition(":")
        if not host or not (port.isascii() and port.isdigit() and int(port) <= 65535):
            raise ConfigurationError(f"--listen {self.listen}: expected host:port, such as 127.0.0.1:8765")
        return host.strip("[]"), int(port)


def _check_public_url(url: str) -> None:
    try:
        WebhookHub(url, "only to check the address")
    except ConfigurationError as error:
        raise ConfigurationError(str(error).replace("public_url:", "--public-url", 1)) from None


def check(
    *,
    options: ConformanceOptions = ConformanceOptions(),
    connection: StoreConnection = StoreConnection(),
    output: Output = Output(),
) -> int:
    """Check the API key, and show how much of the quota is left.

    Takes one small request. With --conformance, checks the whole library against the API, for 0 credits;
    with --spend too, also what is paid for.

    - `hoox-async check --conformance --out conformance.txt`
    - `hoox-async check --conformance --spend 4 --out bought.txt`
    """
    terminal = output.terminal()
    options.check()
    if options.conformance:
        return _run_conformance(options, connection, terminal)

    async def ask() -> int:
        async with connection.reading(terminal, "checking") as session:
            await _check_key(session, connection.base_url)
            quota = session.quota
        resets_at = quota.resets_at.isoformat() if quota.resets_at else None
        terminal.record("check", key="ok", limit=quota.limit, remaining=quota.remaining, resets_at=resets_at)
        terminal.result(f"the key is good; {quota.remaining} of {quota.limit} requests a minute are left")
        return Exit.READY

    return asyncio.run(ask())


async def _check_key(session: HooxSession, base_url: str | None) -> None:
    # the API has no endpoint that only checks a key; a look that can't exist is the smallest answer
    try:
        await session.status(LookRef("avtr_none", "look_none"))
    except NotFound as error:
        if is_access(error):
            raise
        # any web server answers 404 to an unknown path; only the API says that an avatar or look is missing
        if base_url is not None and not any(word in error.message.lower() for word in ("avatar", "look")):
            raise ConfigurationError(
                f"--base-url {base_url}: a server answers there, but it is not the API"
            ) from None


def _run_conformance(options: ConformanceOptions, connection: StoreConnection, terminal: Terminal) -> int:
    """Do the check and return the exit code: 0 if nothing failed and nothing that matters differs."""
    from hoox_async import _conformance as room

    key = connection.key()
    base_url = (connection.base_url or _REAL_URL).rstrip("/")
    store = options.store_for(connection.location)
    stored = _stored(store)
    receiver = None if options.public_url is None else room.Receiver(options.public_url, *options.address())
    transport = room.SpellingTransport(key, base_url=base_url, timeouts=_TIMEOUTS)
    session = connection.session(
        key=key,
        store=store,
        transport=transport,
        timeouts=_TIMEOUTS,
        webhooks=None if receiver is None else receiver.hub,
        poll="awaited",
    )
    plan = _plan(options, stored)
    seen = room.Observations(key_has_documented_form=re.fullmatch(_DOCUMENTED_KEY, key.strip()) is not None)
    check = room.Check(session, transport, plan, seen, base_url=base_url, receiver=receiver)
    if not _consent(options, plan, store, base_url, connection.rpm, terminal):
        terminal.say("nothing was sent")
        return Exit.UNFINISHED
    before = _ask_balance("now", options, plan, terminal)
    ended = asyncio.run(_run(check, session, receiver, terminal))
    if before is not None and ended is not Exit.UNFINISHED:
        with suppress(KeyboardInterrupt):  # the report must come out
            seen.balance = room.Balance(before, _ask_balance("after the check", options, plan, terminal))
    report = room.build_report(
        seen,
        version=__version__,
        now=datetime.now(UTC),
        is_real=urlsplit(base_url).hostname == _REAL_HOST,
        tried_to_make=any(answer.endpoint.paid for answer in seen.in_order()),
    )
    _show(report, options.out, terminal)
    _say_what_stays(seen, store, connection, terminal)
    if ended is not Exit.READY:
        return ended
    return Exit.FAILED if report.failed or report.important else Exit.READY


def _stored(store: AnyStore | None) -> Mapping[str, Outcome]:
    if store is None or not store.exists():
        return {}
    return asyncio.run(read_outcomes(store))


def _plan(options: ConformanceOptions, stored: Mapping[str, Outcome]) -> Plan:
    """What is done. Raises `ConfigurationError` if nothing can be bought for the credits."""
    from hoox_async import _conformance as room

    wanted = room.choose(options.spend or Decimal(0), options.public_look(), stored)
    if options.spend is not None and not wanted:
        raise ConfigurationError(
            f"--spend {options.spend:f}: nothing costs so little; the first purchase costs "
            f"{room.FIRST_PRICE:f} credits"
        )
    return room.Plan(
        options.image,
        options.avatar,
        _SPREAD,
        options.delivery_wait,
        wanted,
        spends=options.spend is not None,
        tries_other_name=room.OTHER_NAME_KEY not in stored,
    )


async def _run(check: Check, session: HooxSession, receiver: Receiver | None, terminal: Terminal) -> Exit:
    """Do the steps until the end or a signal. `Exit.READY` unless they were stopped before the end."""
    ends = {"done": Exit.READY, "refused": Exit.ACCESS, "silent": Exit.UNFINISHED}
    with stop_on_signals(lambda: terminal.notice("stopping; the report says what was seen so far")) as stop:
        async with receiver or nullcontext(), session:
            await run_until(stop.requested, _shown(check, terminal))
        return Exit.UNFINISHED if stop.requested.is_set() else ends[check.ended]


async def _shown(check: Check, terminal: Terminal) -> None:
    """Run the check, and show its step where stderr is a terminal."""
    if not terminal.live:
        await check.run()
        return
    with terminal.err.status("checking") as status:
        work = asyncio.create_task(check.run())
        try:
            while not work.done():
                status.update(f"checking: {check.step}")
                await asyncio.wait([work], timeout=_REFRESH)
            await work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


def _consent(
    options: ConformanceOptions,
    plan: Plan,
    store: AnyStore | None,
    base_url: str,
    rpm: int,
    terminal: Terminal,
) -> bool:
    """Tell what will happen, and ask unless --yes was given."""
    lines = _announcement(options, plan, store, base_url, rpm)
    if options.yes:
        terminal.say("\n".join(lines))
        return True
    terminal.notice("\n".join(lines))  # whoever is asked has to see what for
    return terminal.agrees(
        "Go on?", if_nobody="nobody can be asked whether to make the avatar: add --yes. Nothing was sent"
    )


def _announcement(
    options: ConformanceOptions, plan: Plan, store: AnyStore | None, base_url: str, rpm: int
) -> list[str]:
    from hoox_async._conformance import FAILED_AT_FIRST, NAME

    picture = "the pictures that you named." if options.image else "pictures of the public catalogue."
    minutes = f"{1 + len(plan.wanted)} minutes" if plan.wanted else "half a minute"
    lines = [
        f"This check talks to {base_url}:",
        f"- about {plan.requests} requests of the workspace's {rpm} a minute, in about {minutes}",
        f"- makes one avatar, {NAME!r}, from {picture}",
        "  That costs 0 credits by the vendor's price list. The API cannot delete it:",
        "  delete it on the site afterwards. Compare your credits there, before and after.",
    ]
    if plan.spends:
        lines += _purchases(options, plan, store)
    else:
        lines.append("- sends no prompt, no edit and nothing else that could cost credits")
    lines.append("- one of the requests has a wrong API key, to see how that is refused")
    if options.public_url is not None:
        lines += [
            f"- waits for deliveries on {options.listen}, {options.delivery_wait:g} s at most, and answers",
            f"  the first {FAILED_AT_FIRST} with 503, to see when they are sent again",
        ]
    return [*lines, "The report holds no API key, token, address, id or name."]


def _purchases(options: ConformanceOptions, plan: Plan, store: AnyStore | None) -> list[str]:
    now = sum((one.price for one in plan.wanted), Decimal(0))
    lines = ["  Another one, for 0 credits, by the other name of the field for images."]
    lines = lines if plan.tries_other_name else []
    lines.append(f"- buys for {format_credits(now)}, and never for more than {options.spend:f} in all runs:")
    for one in plan.wanted:
        cost = format_credits(one.price) if one.stored is None else "bought before"
        lines.append(f"  {one.what}: {cost}")
    return [*lines, f"  What is bought is recorded in {store}: keep it, and nothing is bought twice."]


def _ask_balance(moment: str, options: ConformanceOptions, plan: Plan, terminal: Terminal) -> Decimal | None:
    """The workspace's credits, as the person at the terminal reads them on the site. None: not told."""
    if options.yes or not terminal.can_ask or not any(one.price for one in plan.wanted):
        return None
    question = f"Credits of the workspace {moment}, as the site shows them (Enter: leave that out):"
    while answer := terminal.ask(question):
        try:
            credits = Decimal(answer.replace(",", "").replace(" ", ""))
        except InvalidOperation:
            credits = Decimal("NaN")
        if credits.is_finite():
            return credits
        terminal.notice(f"{answer!r}: expected a number, such as 118.5")
    return None


def _show(report: Report, out: Path | None, terminal: Terminal) -> None:
    as_json = report.as_json()
    terminal.record("conformance", **as_json)
    text = sanitize(report.as_text())
    if not terminal.as_json:
        terminal.result(text.rstrip("\n"))
    if out is not None:
        content = json.dumps(as_json, indent=2) + "\n" if out.suffix == ".json" else text
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(content, encoding="utf-8")
        except OSError as error:
            if terminal.as_json:
                terminal.notice(text)
            raise ConfigurationError(f"--out {out}: {error.strerror or error}; the report is above") from None
        terminal.say(f"saved {out}")
    terminal.say(report.summary())
    terminal.say("It holds no secret: please send it to the maintainers, also if nothing differs.")


def _say_what_stays(
    seen: Observations, store: AnyStore | None, connection: StoreConnection, terminal: Terminal
) -> None:
    from hoox_async._conformance import NAME

    ids = ", ".join(seen.avatars)
    if len(seen.avatars) == 1:
        terminal.notice(f"the avatar {ids} ({NAME!r}) stays until you delete it on the site")
    elif ids:
        terminal.notice(f"the avatars {ids} ({NAME!r}) stay until you delete them on the site")
    at_risk = sum((one.at_risk for one in seen.purchases), Decimal(0))
    if at_risk and store is not None:
        text = f"{format_credits(at_risk)} may have been paid, for no answer. Look at it with:"
        terminal.suggest(text, "unknowns", *store_words(store), *connection.arguments())
