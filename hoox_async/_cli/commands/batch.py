"""``batch FILE``: reads the file, shows the plan, asks for consent, runs, and shows how it ended."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any

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
from ..batch.plan import Choice, Plan, choose, make_plan, missing_sources, row, show_items, show_plan
from ..batch.run import PictureTarget, RunResult, RunState, TerminalRun
from ..batch.summary import NextCommands, show_interrupted, show_summary
from ..campaign.builder import Campaign
from ..campaign.parse import parse_campaign, read_campaign
from ..campaign.problems import CampaignError
from ..campaign.variables import parse_settings
from ..exit_codes import Exit, NoKey
from ..options import STDIN, Output, StoreConnection, check_writable
from ..pictures import check_template, picture_name
from ..request_fields import columns
from ..selection import Selection, parse_only
from ..stores import AnyStore, DatabaseStore, named_store, read_outcomes, store_beside, store_words
from ..terminal import Terminal, command_line, require_modules, shorten_list

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
        check_writable("--out", options.out)
        check_template(options.names, campaign)
    store = _store(file, options, connection)
    command = _Batch(file, campaign, selection, store, options, connection, terminal)
    return command.rehearse() if options.rehearse else command.make()


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


@attrs.frozen
class _Batch:
    """One call of the command: what was typed, and what was read from it."""

    file: str
    campaign: Campaign
    selection: Selection
    store: AnyStore | None
    options: BatchOptions
    connection: StoreConnection
    terminal: Terminal

    def make(self) -> int:
        """Show the plan, ask for consent, run, and show how it ended."""
        options, terminal, store = self.options, self.terminal, self.store
        choice, plan = asyncio.run(self._plan(self._existing()))
        lines = show_plan(plan, _name(self.file), options, terminal, choice.notes)
        if options.dry_run:
            if options.list_items:
                show_items(plan, options, terminal)
            terminal.result("\n".join(lines))
            return asyncio.run(self._check_sources(plan))
        if store is None:
            raise ConfigurationError(
                "batch -: give --store FILE, where what was paid for is recorded; "
                "else it would be paid for again"
            )
        terminal.say("\n".join(lines))
        if not self._has_consent(plan):
            terminal.say("nothing was sent")
            return Exit.UNFINISHED
        pictures = self._pictures(choice, options.out, earlier=plan.stored.values())
        result = asyncio.run(self._run(plan, store, pictures))
        next_commands = self._next_commands(plan, result)
        if result.interrupted:
            stored = asyncio.run(read_outcomes(store))
            code = show_interrupted(terminal, stored=stored, keys=plan.keys, next_commands=next_commands)
        else:
            code = show_summary(result, terminal, pictures=pictures, next_commands=next_commands)
        if self.file == STDIN and code in (Exit.UNFINISHED, Exit.ACCESS):
            terminal.notice("It has to read the same campaign from stdin again.")
        return code

    def _existing(self) -> AnyStore | None:
        return self.store if self.store is not None and self.store.exists() else None

    async def _plan(self, store: AnyStore | None) -> tuple[Choice, Plan]:
        """The plan of a run. It only reads the store: without a key, and also while others have it open."""
        if not self.options.dry_run:
            self.connection.key()  # where it is missing, say so before anybody is asked anything
        session = self.connection.session(store=store, key=_NO_KEY)  # never opened
        stored = {} if store is None else await read_outcomes(store)
        choice = choose(self.campaign, stored, self.selection, self.options)
        return choice, await make_plan(session, choice.items, stored, self.options)

    async def _check_sources(self, plan: Plan) -> Exit:
        """With a key, check for free that the looks that are edited exist. Says what is missing."""
        terminal, wanted = self.terminal, plan.existing_sources(self.options)
        if not wanted:
            return Exit.READY
        count = format_count(len(wanted), "existing look")
        try:
            session = self.connection.session(poll="awaited", timeouts=Timeouts(answer=_CHECK_SECONDS))
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
            by = shorten_list(keys, 3)
            terminal.notice(f"{ref}: there is no such look in this workspace; edited by {by}")
        if not missing:
            terminal.result(row("sources", f"{count}, found"))
        return Exit.USE if missing else Exit.READY

    def _has_consent(self, plan: Plan) -> bool:
        options, most = self.options, plan.most_credits(self.options)
        if options.yes or not most or (options.is_capped and not self.terminal.can_ask):
            return True
        return self.terminal.agrees(
            f"Spend {'up to ' if most < plan.estimate.credits else ''}{format_credits(most)}?",
            if_nobody="nobody can be asked whether the cost is all right: add --yes or --max-credits, or "
            "--budget",
        )

    def _pictures(
        self, choice: Choice, folder: Path | None, *, earlier: Iterable[Outcome] = ()
    ) -> PictureTarget | None:
        if folder is None:
            return None
        items = {item.key: item for item in choice.items}

        def name_of(outcome: Outcome) -> PurePosixPath:
            look_id = outcome.look.look_id if outcome.look else ""
            origin = choice.origins[outcome.key]
            return picture_name(self.options.names, items[outcome.key], origin, look_id=look_id)

        return PictureTarget(folder, name_of, accept_small=self.options.accept_small, earlier=earlier)

    async def _run(self, plan: Plan, store: AnyStore, pictures: PictureTarget | None) -> RunResult:
        options = self.options
        state = RunState(len(plan.items), max_credits=options.max_credits, elsewhere=plan.elsewhere)
        session = self.connection.session(store=store, hooks=[state])
        runner = self._runner(session, state, plan.cap(options), retry=options.retry, changed=options.changed)
        return await TerminalRun(session, runner, plan.in_order(), state, self.terminal, pictures).run()

    def _runner(
        self, session: HooxSession, state: RunState, cap: Decimal | None, **options: Any
    ) -> BatchRunner:
        return BatchRunner(
            session,
            max_credits=cap,
            budget=self.options.named_budget(),
            max_failures=self.options.max_failures,
            look_timeout=self.options.look_timeout,
            progress=state.show,
            **options,
        )

    def _next_commands(self, plan: Plan, result: RunResult) -> NextCommands:
        options, connected = self.options, self.connection.arguments()
        store = [self.file]
        if options.store is not None:
            store = store_words(options.store, self.connection.location)
        saved = ["--pictures", str(options.out)] if options.out is not None else []
        return NextCommands(
            again=self._resume(options),
            uncapped=self._uncapped_command(plan, result, store),
            accept_small=self._resume(attrs.evolve(options, accept_small=True)),
            unknowns=command_line("unknowns", *store, *connected),
            report=command_line("report", *store, *saved, *connected),
        )

    def _resume(self, options: BatchOptions) -> str:
        return resume_command(self.file, options, self.connection, json=self.terminal.as_json)

    def _uncapped_command(self, plan: Plan, result: RunResult, store: Sequence[str]) -> str:
        """The command that resumes this run with a cap that is enough for all items."""
        options, budget, cap = self.options, self.options.named_budget(), plan.cap(self.options)
        unsent = (outcome for outcome in result.outcomes if outcome.state is OutcomeState.UNSENT)
        missing = sum((outcome.request.credits for outcome in unsent), Decimal(0))
        if budget is not None and budget.name is not None:
            enough = format(budget.max_credits + missing, "f")
            change = command_line("store", "budget", budget.name, "--cap", enough, "--store", *store)
            return f"{change} && {self._resume(attrs.evolve(options, budget=f'{budget.name}:{enough}'))}"
        if options.max_credits is None or cap is None:
            return self._resume(options)
        spent = sum((o.credits + o.at_risk for o in result.outcomes), options.max_credits - cap)
        return self._resume(attrs.evolve(options, max_credits=spent + missing))

    def rehearse(self) -> int:
        """Run the campaign on a local sandbox, and show how it ended."""
        options, folder = self.options, self.options.out
        if folder is not None:
            require_modules("sandbox", {"PIL": "Pillow"}, "a rehearsal with pictures")
            # its pictures must never be taken for those of the real run
            folder = folder.parent / f"{folder.resolve().name}-rehearsal"
        # a picked look or a version is known by its store alone; what the sandbox makes is new each time
        store = self._existing() if options.needs_store(self.selection) else None
        stored = asyncio.run(read_outcomes(store)) if store is not None else {}
        choice = choose(self.campaign, stored, self.selection, options)
        pictures = self._pictures(choice, folder)
        plan = asyncio.run(make_plan(self.connection.session(key=_NO_KEY), choice.items, {}, options))
        self.terminal.say("\n".join(show_plan(plan, "rehearsal", options, self.terminal, choice.notes)))
        result = asyncio.run(self._run_on_sandbox(choice.items, pictures))
        if result.interrupted:
            self.terminal.notice("the rehearsal was stopped")
            return Exit.UNFINISHED
        return show_summary(result, self.terminal, pictures=pictures)

    async def _run_on_sandbox(self, items: Sequence[BatchItem], pictures: PictureTarget | None) -> RunResult:
        """Run these items on a sandbox that is ``--speed`` times as fast as the real API."""
        options, terminal = self.options, self.terminal
        limit = max(1, round(self.connection.rpm * options.speed))
        state = RunState(len(items), max_credits=options.max_credits)
        with tempfile.TemporaryDirectory(prefix="hoox-rehearsal-", ignore_cleanup_errors=True) as folder:
            async with Sandbox(speed=options.speed, requests_per_minute=limit) as sandbox:
                async with sandbox.session() as session:
                    prepared = await _with_stand_ins(session, items)
                session = sandbox.session(store=Path(folder, "rehearsal.hoox.db"), hooks=[state])
                runner = self._runner(session, state, options.max_credits)
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
