"""``batch FILE``: reads the file, shows the plan, asks for consent, runs, and shows how it ended."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import attrs

from hoox_async import (
    BatchItem,
    BatchRunner,
    ConfigurationError,
    HooxError,
    HooxSession,
    LookEdit,
    LookRef,
    Outcome,
    OutcomeState,
    Request,
    Timeouts,
)
from hoox_async._core.formatting import format_count, format_credits, format_duration
from hoox_async.sandbox import Sandbox

from ..batch.options import BatchOptions, resume_command
from ..batch.plan import (
    Choice,
    Plan,
    choose,
    make_plan,
    missing_sources,
    read_outcomes,
    row,
    show_items,
    show_plan,
)
from ..batch.run import PictureTarget, RunResult, RunState, TerminalRun
from ..batch.summary import NextCommands, show_interrupted, show_summary
from ..campaign.builder import Campaign
from ..campaign.parse import parse_campaign, read_campaign
from ..campaign.problems import CampaignError
from ..campaign.variables import parse_settings
from ..exit_codes import Exit, NoKey, cap_reached
from ..options import STDIN, Output, StoreConnection, command_line
from ..pictures import check_template, picture_name
from ..request_fields import columns
from ..selection import Selection, parse_only
from ..stores import AnyStore, DatabaseStore, named_store, store_beside, store_words
from ..terminal import Terminal, require_modules, shorten_list

_NO_KEY = "hx_dry_run"
_CHECK_SECONDS = 15.0  # for an answer, when a dry run asks whether avatars exist


def batch(
    file: str,
    /,
    *,
    options: BatchOptions = BatchOptions(),
    connection: StoreConnection = StoreConnection(),
    output: Output = Output(),
) -> int:
    """Make all looks of a campaign file; run again to go on.

    What was paid for is recorded in a store beside the file (FILE.hoox.db), so running the same command
    again continues where it stopped and pays for nothing twice.

    - `hoox-async batch campaign.toml --dry-run`
    - `hoox-async batch campaign.toml --max-credits 200 --out pictures`
    - `hoox-async batch campaign.toml --only @picks.json --4k --out finals`

    A CSV file has a header and one look in each row; examples/campaign.csv is one. Columns: key, avatar (the
    key of a row above, or avatar_id:look_id; empty for a row that makes an avatar), or instead of that
    avatar_id and look_id, COLUMNS, prompt_prefix, metadata.NAME, variables.NAME.
    Only key and prompt (or image_urls) are needed. Several URLs in a cell have spaces between them, several
    tags commas. Commas, semicolons and tabs can separate the columns; the encoding is UTF-8. In JSON lines
    (.jsonl) each line is an object with the same names.

    In TOML, [variables] with product = "lamp" gives {product} in a prompt its value, --set product=chair
    another one, and {{product}} is the text itself. prompt_prefix stands before all prompts.

    Parameters
    ----------
    file
        The campaign: .toml, .csv or .jsonl; - reads any of them from stdin.
    """
    options.check()
    terminal = output.terminal()
    selection = parse_only(options.only)
    campaign = _read(file, parse_settings(options.settings), terminal)
    if options.out is not None:
        check_template(options.names, campaign)
    store = _store(file, options, connection)
    existing = store if store is not None and store.exists() else None
    if options.rehearse:
        return _rehearse(campaign, selection, existing, options, connection, terminal)
    choice, plan = asyncio.run(_plan(campaign, selection, existing, options, connection))
    lines = show_plan(plan, _name(file), options, terminal, choice.notes)
    if options.dry_run:
        if options.list_items:
            show_items(plan, options, terminal)
        terminal.result("\n".join(lines))
        return asyncio.run(_check_sources(plan, options, connection, terminal))
    if store is None:
        raise ConfigurationError(
            "batch -: give --store FILE, where what was paid for is recorded; else it would be paid for again"
        )
    terminal.say("\n".join(lines))
    if not _consent(plan, options, terminal):
        terminal.say("nothing was sent")
        return Exit.UNFINISHED
    pictures = _pictures(options.out, choice, options)
    if pictures is not None:
        pictures = attrs.evolve(pictures, earlier=plan.stored.values())
    result = asyncio.run(_run(plan, store, options, connection, terminal, pictures))
    next_commands = _next_commands(file, options, plan, result, connection, json=output.json)
    if result.interrupted:
        stored = asyncio.run(read_outcomes(store))
        code = show_interrupted(terminal, stored=stored, keys=plan.keys, next_commands=next_commands)
    else:
        code = show_summary(result, terminal, pictures=pictures, next_commands=next_commands)
    if file == STDIN and code in (Exit.UNFINISHED, Exit.ACCESS):
        terminal.notice("It has to read the same campaign from stdin again.")
    return code


batch.__doc__ = (batch.__doc__ or "").replace("COLUMNS", columns())


def _name(file: str) -> str:
    return "stdin" if file == STDIN else Path(file).name


def _store(file: str, options: BatchOptions, connection: StoreConnection) -> AnyStore | None:
    """The store of this run; None if it has none, which is good for a dry run only."""
    if options.store is None:
        return None if file == STDIN else store_beside(Path(file))
    store = named_store(options.store, connection.location)
    if isinstance(store, DatabaseStore) and options.max_credits is not None and not options.rehearse:
        cap = format(options.max_credits, "f")
        raise ConfigurationError(
            f"--max-credits: other machines can use the same store; give --budget NAME:{cap}, for all of them"
        )
    return store


def _store_words(file: str, options: BatchOptions, connection: StoreConnection) -> list[str]:
    return [file] if options.store is None else store_words(options.store, connection.location)


def _read(file: str, settings: Mapping[str, str], terminal: Terminal) -> Campaign:
    try:
        if file == STDIN:
            if sys.stdin.isatty():
                terminal.notice("reading the campaign from stdin; Ctrl-D ends it")
            return parse_campaign(sys.stdin.buffer.read(), None, name=_name(file), settings=settings)
        return read_campaign(Path(file), settings)
    except CampaignError as error:
        for problem in error.problems:
            value = None if problem.value is None else str(problem.value)
            terminal.record(
                "fault", line=problem.line, field=problem.field, value=value, expected=problem.expected
            )
        raise


async def _plan(
    campaign: Campaign,
    selection: Selection,
    store: AnyStore | None,
    options: BatchOptions,
    connection: StoreConnection,
) -> tuple[Choice, Plan]:
    """The plan of a run. It only reads the store: without a key, and also while others have it open."""
    if not options.dry_run:
        connection.key()  # where it is missing, say so before anybody is asked anything
    session = connection.session(store=store, key=_NO_KEY)  # never opened
    stored = {} if store is None else await read_outcomes(store)
    choice = choose(campaign, stored, selection, options)
    return choice, await make_plan(session, choice.items, stored, options)


async def _check_sources(
    plan: Plan, options: BatchOptions, connection: StoreConnection, terminal: Terminal
) -> Exit:
    """With a key, check for free that the looks that are edited exist. Says what is missing."""
    wanted = plan.existing_sources(options)
    if not wanted:
        return Exit.READY
    count = format_count(len(wanted), "existing look")
    try:
        session = connection.session(poll="awaited", timeouts=Timeouts(answer=_CHECK_SECONDS))
    except NoKey:
        terminal.result(row("sources", f"{count}, not checked: that needs an API key"))
        return Exit.READY
    try:
        async with session:
            missing = await missing_sources(session, wanted)
    except HooxError as error:
        terminal.notice(f"whether the avatars exist could not be checked: {error}")
        return Exit.READY
    for ref, keys in missing.items():
        terminal.record("missing", ref=str(ref), keys=keys)
        terminal.notice(f"{ref}: there is no such look in this workspace; edited by {shorten_list(keys, 3)}")
    if not missing:
        terminal.result(row("sources", f"{count}, found"))
    return Exit.USE if missing else Exit.READY


def _consent(plan: Plan, options: BatchOptions, terminal: Terminal) -> bool:
    most = plan.most_credits(options)
    if options.yes or not most or (options.is_capped and not terminal.can_ask):
        return True
    return terminal.agrees(
        f"Spend {'up to ' if most < plan.estimate.credits else ''}{format_credits(most)}?",
        if_nobody="nobody can be asked whether the cost is all right: add --yes or --max-credits, or "
        "--budget",
    )


def _pictures(folder: Path | None, choice: Choice, options: BatchOptions) -> PictureTarget | None:
    if folder is None:
        return None
    items = {item.key: item for item in choice.items}

    def name_of(outcome: Outcome) -> PurePosixPath:
        look_id = outcome.look.look_id if outcome.look else ""
        origin = choice.origins[outcome.key]
        return picture_name(options.names, items[outcome.key], origin, look_id=look_id)

    return PictureTarget(folder, name_of, accept_small=options.accept_small)


async def _run(
    plan: Plan,
    store: AnyStore,
    options: BatchOptions,
    connection: StoreConnection,
    terminal: Terminal,
    pictures: PictureTarget | None,
) -> RunResult:
    state = RunState(len(plan.items), max_credits=options.max_credits, elsewhere=plan.elsewhere)
    session = connection.session(store=store, hooks=[state])
    runner = BatchRunner(
        session,
        max_credits=plan.cap(options),
        budget=options.named_budget(),
        max_failures=options.max_failures,
        look_timeout=options.look_timeout,
        retry=options.retry,
        changed=options.changed,
        progress=state.show,
    )
    return await TerminalRun(session, runner, plan.in_order(), state, terminal, pictures).run()


def _next_commands(
    file: str,
    options: BatchOptions,
    plan: Plan,
    result: RunResult,
    connection: StoreConnection,
    *,
    json: bool,
) -> NextCommands:
    store, connected = _store_words(file, options, connection), connection.arguments()
    saved = ["--pictures", str(options.out)] if options.out is not None else []

    def resume(changed: BatchOptions) -> str:
        return resume_command(file, changed, connection, json=json)

    return NextCommands(
        again=resume(options),
        uncapped=_uncapped_command(options, plan, result, resume, store),
        accept_small=resume(attrs.evolve(options, accept_small=True)),
        unknowns=command_line("unknowns", *store, *connected),
        report=command_line("report", *store, *saved, *connected),
    )


def _uncapped_command(
    options: BatchOptions,
    plan: Plan,
    result: RunResult,
    resume: Callable[[BatchOptions], str],
    store: Sequence[str],
) -> str:
    """The command that resumes this run with a cap that is enough for all items."""
    budget = options.named_budget()
    if budget is None or budget.name is None:
        return resume(_with_sufficient_cap(options, plan, result))
    unsent = (outcome for outcome in result.outcomes if outcome.state is OutcomeState.UNSENT)
    cap = format(sum((outcome.request.credits for outcome in unsent), budget.max_credits), "f")
    change = command_line("store", "budget", budget.name, "--cap", cap, "--store", *store)
    return f"{change} && {resume(attrs.evolve(options, budget=f'{budget.name}:{cap}'))}"


def _with_sufficient_cap(options: BatchOptions, plan: Plan, result: RunResult) -> BatchOptions:
    """The same options; if the cap of credits stopped the run, with a cap that is enough for all items."""
    cap = plan.cap(options)
    if options.max_credits is None or cap is None or not any(cap_reached(o.error) for o in result.outcomes):
        return options
    unsent = [outcome for outcome in result.outcomes if outcome.state is OutcomeState.UNSENT]
    spent = sum((o.credits + o.at_risk for o in result.outcomes), options.max_credits - cap)
    return attrs.evolve(options, max_credits=sum((o.request.credits for o in unsent), spent))


def _rehearse(
    campaign: Campaign,
    selection: Selection,
    store: AnyStore | None,
    options: BatchOptions,
    connection: StoreConnection,
    terminal: Terminal,
) -> int:
    folder = options.out
    if folder is not None:
        require_modules("sandbox", {"PIL": "Pillow"}, "a rehearsal with pictures")
        # its pictures must never be taken for those of the real run
        folder = folder.parent / f"{folder.resolve().name}-rehearsal"
    # a picked look or a version is known by its store alone; what it makes on the sandbox is new each time
    stored = asyncio.run(read_outcomes(store)) if store is not None and options.needs_store(selection) else {}
    choice = choose(campaign, stored, selection, options)
    pictures = _pictures(folder, choice, options)
    plan = asyncio.run(make_plan(connection.session(key=_NO_KEY), choice.items, {}, options))
    terminal.say("\n".join(show_plan(plan, "rehearsal", options, terminal, choice.notes)))
    result = asyncio.run(_on_sandbox(choice.items, options, terminal, rpm=connection.rpm, pictures=pictures))
    if result.interrupted:
        terminal.notice("the rehearsal was stopped")
        return Exit.UNFINISHED
    return show_summary(result, terminal, pictures=pictures)


async def _on_sandbox(
    items: Sequence[BatchItem],
    options: BatchOptions,
    terminal: Terminal,
    *,
    rpm: int,
    pictures: PictureTarget | None,
) -> RunResult:
    """Run these items on a sandbox that is ``options.speed`` times as fast as the real API."""
    limit = max(1, round(rpm * options.speed))
    state = RunState(len(items), max_credits=options.max_credits)
    with tempfile.TemporaryDirectory(prefix="hoox-rehearsal-", ignore_cleanup_errors=True) as folder:
        async with Sandbox(speed=options.speed, requests_per_minute=limit) as sandbox:
            async with sandbox.session() as session:
                prepared = await _with_stand_ins(session, items)
            session = sandbox.session(store=Path(folder, "rehearsal.hoox.db"), hooks=[state])
            runner = BatchRunner(
                session,
                max_credits=options.max_credits,
                budget=options.named_budget(),
                max_failures=options.max_failures,
                look_timeout=options.look_timeout,
                progress=state.show,
            )
            result = await TerminalRun(session, runner, prepared, state, terminal, pictures).run()
    terminal.say(f"rehearsed at {options.speed:g} times the speed, in {format_duration(result.seconds)}")
    return result


async def _with_stand_ins(session: HooxSession, items: Sequence[BatchItem]) -> list[BatchItem]:
    """The items without webhook URLs, edits of existing avatars made from stand-ins on the sandbox."""
    refs = {item.request.source for item in items if isinstance(item.request, LookEdit)}
    stand_ins: dict[LookRef | str, LookRef] = {}
    for ref in refs:
        if isinstance(ref, LookRef):
            made = await session.create_avatar_from_images(
                ["https://rehearsal.invalid/portrait.jpg"], name=ref.avatar_id
            )
            stand_ins[ref] = made.ref
    return [attrs.evolve(item, request=_for_sandbox(item, stand_ins)) for item in items]


def _for_sandbox(item: BatchItem, stand_ins: dict[LookRef | str, LookRef]) -> Request:
    request = item.request
    if isinstance(request, LookEdit):
        source = stand_ins.get(request.source, request.source)
        return attrs.evolve(request, source=source, webhook_url=None)
    return attrs.evolve(request, webhook_url=None)
