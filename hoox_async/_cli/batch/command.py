"""``batch FILE``: read, plan, ask, run, tell."""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePosixPath

import attrs

from hoox_async import BatchItem, BatchRunner, ConfigurationError, Outcome, OutcomeState

from ..campaign import Campaign, CampaignError, check_template, picture_name, read_campaign, select
from ..exit_codes import Exit, cap_reached
from ..options import Output, StoreConnection, command, store_beside
from ..terminal import Terminal, require
from ..text import in_credits
from .batch_options import BatchOptions, resuming
from .counters import Tally
from .execution import Pictures, Ran, Running
from .plan import Plan, make_plan, read_known, tell_plan
from .summary import Then, tell_end, tell_stop

_OPTIONS = BatchOptions()
_HERE = StoreConnection()
_SHOWN = Output()
_NO_KEY = "hx_dry_run"


def batch(
    file: Path,
    /,
    *,
    options: BatchOptions = _OPTIONS,
    connection: StoreConnection = _HERE,
    output: Output = _SHOWN,
) -> int:
    """Make all looks of a campaign file; run again to go on.

    What was paid for stands in a store beside the file (FILE.hoox.db): running again pays for nothing twice.

    Parameters
    ----------
    file
        The campaign: .toml, .csv or .jsonl.
    """
    options.check()
    terminal = output.terminal()
    campaign = _read(file, terminal)
    items = select(campaign.items, only=options.only, limit=options.limit)
    if options.out is not None:
        check_template(options.names, campaign)
    if options.rehearse:
        return _rehearse(items, campaign, options, connection, terminal)
    store = store_beside(file)
    there = store.exists()
    # a first dry run needs no key and leaves no file
    key = _NO_KEY if options.dry_run and not there else None
    plan = asyncio.run(_plan(items, store if there else None, key, options, connection))
    lines = tell_plan(plan, file.name, options, terminal)
    if options.dry_run:
        terminal.result("\n".join(lines))
        return Exit.READY
    terminal.say("\n".join(lines))
    if not _consent(plan, options, terminal):
        terminal.say("nothing was sent")
        return Exit.UNFINISHED
    pictures = _pictures(options.out, campaign, options)
    ran = asyncio.run(_run(plan, store, options, connection, terminal, pictures))
    then = Then(
        resuming(file, options, connection, json=output.json),
        resuming(file, _with_enough(options, plan, ran), connection, json=output.json),
        command("unknowns", str(file), *connection.words()),
    )
    if not ran.interrupted:
        return tell_end(ran, terminal, pictures=pictures, then=then)
    return tell_stop(terminal, known=asyncio.run(read_known(store)), keys=plan.keys, then=then)


def _read(file: Path, terminal: Terminal) -> Campaign:
    try:
        return read_campaign(file)
    except CampaignError as error:
        for fault in error.faults:
            value = None if fault.value is None else str(fault.value)
            terminal.record("fault", line=fault.line, field=fault.field, value=value, expected=fault.expected)
        raise


async def _plan(
    items: tuple[BatchItem, ...],
    store: Path | None,
    key: str | None,
    options: BatchOptions,
    connection: StoreConnection,
) -> Plan:
    async with connection.session(store=store, key=key, poll="awaited") as session:
        return await make_plan(session, items, {} if store is None else await read_known(store), options)


def _consent(plan: Plan, options: BatchOptions, terminal: Terminal) -> bool:
    if options.yes or not plan.estimate.credits:
        return True
    if terminal.can_ask:
        question = f"Spend {in_credits(plan.estimate.credits)}? [y/N]"
        return terminal.ask(question).lower() in ("y", "yes")
    if options.max_credits is None:
        raise ConfigurationError("nobody is here to agree to the cost: add --yes or --max-credits")
    return True


def _pictures(folder: Path | None, campaign: Campaign, options: BatchOptions) -> Pictures | None:
    if folder is None:
        return None
    items = {item.key: item for item in campaign.items}

    def name_of(outcome: Outcome) -> PurePosixPath:
        look_id = outcome.look.look_id if outcome.look else ""
        place = campaign.places[outcome.key]
        return picture_name(options.names, items[outcome.key], place, look_id=look_id)

    return Pictures(folder, name_of)


async def _run(
    plan: Plan,
    store: Path,
    options: BatchOptions,
    connection: StoreConnection,
    terminal: Terminal,
    pictures: Pictures | None,
) -> Ran:
    tally = Tally(
        len(plan.items), plan.estimate.count, pace=60 / connection.rpm, max_credits=options.max_credits
    )
    tally.stands(plan.known, plan.keys, plan.again(options))
    session = connection.session(store=store, hooks=[tally], exclusive=options.exclusive)
    runner = BatchRunner(
        session,
        max_credits=plan.cap(options),
        max_failures=options.max_failures,
        look_timeout=options.look_timeout,
        retry=options.retry,
        changed=options.changed,
    )
    return await Running(session, runner, plan.in_order(), tally, terminal, pictures).run()


def _with_enough(options: BatchOptions, plan: Plan, ran: Ran) -> BatchOptions:
    """The same options; where the cap stopped the run, with one that all of its items fit under."""
    cap = plan.cap(options)
    if options.max_credits is None or cap is None or not any(cap_reached(o.error) for o in ran.outcomes):
        return options
    unsent = [outcome for outcome in ran.outcomes if outcome.state is OutcomeState.UNSENT]
    spent = sum((o.credits + o.at_risk for o in ran.outcomes), options.max_credits - cap)
    return attrs.evolve(options, max_credits=sum((o.request.credits for o in unsent), spent))


def _rehearse(
    items: tuple[BatchItem, ...],
    campaign: Campaign,
    options: BatchOptions,
    connection: StoreConnection,
    terminal: Terminal,
) -> int:
    from .rehearsal import rehearse

    folder = options.out
    if folder is not None:
        require("sandbox", {"PIL": "Pillow"}, "a rehearsal with pictures")
        # its pictures must never be taken for those of the real run
        folder = folder.parent / f"{folder.resolve().name}-rehearsal"
    pictures = _pictures(folder, campaign, options)
    plan = asyncio.run(_plan(items, None, _NO_KEY, options, connection))
    terminal.say("\n".join(tell_plan(plan, "rehearsal", options, terminal)))
    ran = asyncio.run(rehearse(items, options, terminal, rpm=connection.rpm, pictures=pictures))
    if ran.interrupted:
        terminal.say("the rehearsal was stopped")
        return Exit.UNFINISHED
    return tell_end(ran, terminal, pictures=pictures)
