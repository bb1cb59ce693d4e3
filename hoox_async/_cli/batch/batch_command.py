"""``batch FILE``: reads the file, shows the plan, asks for consent, runs, and shows the summary."""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePosixPath

import attrs

from hoox_async import BatchItem, BatchRunner, ConfigurationError, Outcome, OutcomeState

from ..campaign import Campaign, CampaignError, check_template, picture_name, read_campaign, select
from ..exit_codes import Exit, cap_reached
from ..options import Output, StoreConnection, command_line, store_beside
from ..terminal import Terminal, require_modules
from ..text import format_credits
from .batch_options import BatchOptions, resume_command
from .batch_run import BatchRun, PictureTarget, RunResult
from .counters import RunCounters
from .plan import Plan, make_plan, read_outcomes, show_plan
from .summary import NextCommands, show_interrupted, show_summary

_DEFAULT_OPTIONS = BatchOptions()
_DEFAULT_CONNECTION = StoreConnection()
_DEFAULT_OUTPUT = Output()
_NO_KEY = "hx_dry_run"


def batch(
    file: Path,
    /,
    *,
    options: BatchOptions = _DEFAULT_OPTIONS,
    connection: StoreConnection = _DEFAULT_CONNECTION,
    output: Output = _DEFAULT_OUTPUT,
) -> int:
    """Make all looks of a campaign file; run again to go on.

    What was paid for is recorded in a store beside the file (FILE.hoox.db), so running the same command
    again continues where it stopped and pays for nothing twice.

    - `hoox-async batch campaign.toml --dry-run`
    - `hoox-async batch campaign.toml --max-credits 200 --out pictures`

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
    store_exists = store.exists()
    # a first dry run needs no key and leaves no file
    key = _NO_KEY if options.dry_run and not store_exists else None
    plan = asyncio.run(_plan(items, store if store_exists else None, key, options, connection))
    lines = show_plan(plan, file.name, options, terminal)
    if options.dry_run:
        terminal.result("\n".join(lines))
        return Exit.READY
    terminal.say("\n".join(lines))
    if not _consent(plan, options, terminal):
        terminal.say("nothing was sent")
        return Exit.UNFINISHED
    pictures = _pictures(options.out, campaign, options)
    result = asyncio.run(_run(plan, store, options, connection, terminal, pictures))
    next_commands = NextCommands(
        resume_command(file, options, connection, json=output.json),
        resume_command(file, _with_sufficient_cap(options, plan, result), connection, json=output.json),
        command_line("unknowns", str(file), *connection.arguments()),
    )
    if not result.interrupted:
        return show_summary(result, terminal, pictures=pictures, next_commands=next_commands)
    return show_interrupted(
        terminal, stored=asyncio.run(read_outcomes(store)), keys=plan.keys, next_commands=next_commands
    )


def _read(file: Path, terminal: Terminal) -> Campaign:
    try:
        return read_campaign(file)
    except CampaignError as error:
        for problem in error.problems:
            value = None if problem.value is None else str(problem.value)
            terminal.record(
                "fault", line=problem.line, field=problem.field, value=value, expected=problem.expected
            )
        raise


async def _plan(
    items: tuple[BatchItem, ...],
    store: Path | None,
    key: str | None,
    options: BatchOptions,
    connection: StoreConnection,
) -> Plan:
    async with connection.session(store=store, key=key, poll="awaited") as session:
        return await make_plan(session, items, {} if store is None else await read_outcomes(store), options)


def _consent(plan: Plan, options: BatchOptions, terminal: Terminal) -> bool:
    if options.yes or not plan.estimate.credits:
        return True
    if terminal.can_ask:
        question = f"Spend {format_credits(plan.estimate.credits)}? [y/N]"
        return terminal.ask(question).lower() in ("y", "yes")
    if options.max_credits is None:
        raise ConfigurationError(
            "nobody can be asked whether the cost is all right: add --yes or --max-credits"
        )
    return True


def _pictures(folder: Path | None, campaign: Campaign, options: BatchOptions) -> PictureTarget | None:
    if folder is None:
        return None
    items = {item.key: item for item in campaign.items}

    def name_of(outcome: Outcome) -> PurePosixPath:
        look_id = outcome.look.look_id if outcome.look else ""
        origin = campaign.origins[outcome.key]
        return picture_name(options.names, items[outcome.key], origin, look_id=look_id)

    return PictureTarget(folder, name_of)


async def _run(
    plan: Plan,
    store: Path,
    options: BatchOptions,
    connection: StoreConnection,
    terminal: Terminal,
    pictures: PictureTarget | None,
) -> RunResult:
    counters = RunCounters(
        len(plan.items), plan.estimate.count, pace=60 / connection.rpm, max_credits=options.max_credits
    )
    counters.count_earlier_runs(plan.stored, plan.keys, plan.paid_again(options))
    session = connection.session(store=store, hooks=[counters], exclusive=options.exclusive)
    runner = BatchRunner(
        session,
        max_credits=plan.cap(options),
        max_failures=options.max_failures,
        look_timeout=options.look_timeout,
        retry=options.retry,
        changed=options.changed,
    )
    return await BatchRun(session, runner, plan.in_order(), counters, terminal, pictures).run()


def _with_sufficient_cap(options: BatchOptions, plan: Plan, result: RunResult) -> BatchOptions:
    """The same options; if the cap of credits stopped the run, with a cap that is enough for all items."""
    cap = plan.cap(options)
    if options.max_credits is None or cap is None or not any(cap_reached(o.error) for o in result.outcomes):
        return options
    unsent = [outcome for outcome in result.outcomes if outcome.state is OutcomeState.UNSENT]
    spent = sum((o.credits + o.at_risk for o in result.outcomes), options.max_credits - cap)
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
        require_modules("sandbox", {"PIL": "Pillow"}, "a rehearsal with pictures")
        # its pictures must never be taken for those of the real run
        folder = folder.parent / f"{folder.resolve().name}-rehearsal"
    pictures = _pictures(folder, campaign, options)
    plan = asyncio.run(_plan(items, None, _NO_KEY, options, connection))
    terminal.say("\n".join(show_plan(plan, "rehearsal", options, terminal)))
    result = asyncio.run(rehearse(items, options, terminal, rpm=connection.rpm, pictures=pictures))
    if result.interrupted:
        terminal.say("the rehearsal was stopped")
        return Exit.UNFINISHED
    return show_summary(result, terminal, pictures=pictures)
