"""The database that users open: a PostgreSQL database for all workspaces of a process."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..._api.webhook_payloads import Delivery
from ..._checks import option
from ..._core.intents.intent import Intent
from ..._tracebacks import short_tracebacks
from ...errors import ConfigurationError, StoreError, StoreLocked
from ..clock import Clock, running_loop
from ..protocols import SharedPermits
from ..tasks import tried_until
from .intent_rows import Place, Row
from .ledger import Ledger
from .member import Member
from .offline import NoWorkspace, offline_workspace
from .postgres import PostgresEngine
from .postgres_connections import Connections
from .postgres_permits import PostgresPermits
from .postgres_schema import MIGRATIONS, check_server, ensure_newest
from .postgres_schema import migrate as migrate_schema
from .postgres_url import DatabaseUrl, require_schema
from .shared_ledger import SharedLedger
from .statements import COLUMNS, postgres

if TYPE_CHECKING:
    from ...webhooks.hub import WebhookHub

DEFAULT_WORKSPACE = "default"
_CLOSE_WITHIN = 10.0  # seconds
_LONGEST_LEASE = 86_400.0  # seconds
ATTEMPT_ANYWHERE = COLUMNS + "JOIN hoox.attempts a ON a.intent = i.seq WHERE a.id = :id LIMIT 1"

_log = logging.getLogger("hoox_async")


@short_tracebacks
class PostgresDatabase:
    """A PostgreSQL database that many processes use at the same time as the store of their sessions.

        async with PostgresDatabase("postgresql://user:password@host/db") as database:
            async with HooxSession(api_key, store=database.workspace("shop-a")) as session:
                ...

    All workspaces of a process share its connections and its lease, so open one database object a process.
    Close its sessions before it. Workspaces with the same API key share one quota, whatever they are called.

    - ``url``: any libpq URI. Percent-encode what is special in its user and password.
    - ``schema``: the schema of its tables, which the first process makes.
    - ``webhooks``: the hub whose deliveries are kept also while no session here has their workspace open.
    - ``lease``: seconds after which a process that has not renewed it is taken for dead, a day at most. What
      that was sending becomes unknown then.
    - ``max_connections``: of this process, at least 2. While idle it uses two. Where the server refuses some
      of them, it goes on with those that it has.

    Raises `ConfigurationError` for wrong options, and where psycopg is not installed. ``async with`` raises
    `StoreError` where the database can't be used: a standby, one that may forget commits, missing rights.
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str = "hoox",
        webhooks: WebhookHub | None = None,
        lease: float = 10.0,
        max_connections: int = 6,
    ) -> None:
        self._url = DatabaseUrl.parse(url)
        if webhooks is not None and not callable(getattr(webhooks, "subscribe", None)):
            raise option.error("webhooks", webhooks, "a WebhookHub, or None")
        self.quota_window: float = 60.0
        """The length of the quota's window in seconds. Only tests and benchmarks scale it."""
        self._name = self._url.name
        self._lease = option.number("lease", lease, most=_LONGEST_LEASE, above=True)
        self._webhooks = webhooks
        self._schema = require_schema(schema)
        self._max_connections = option.whole("max_connections", max_connections, least=2)
        self._migrations = MIGRATIONS
        self._connections: list[Connections] = []
        self._unsubscribe: Callable[[], None] | None = None
        self._ledgers: dict[str, SharedLedger] = {}
        self._member: Member | None = None
        self._is_open = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def __repr__(self) -> str:
        return f"<PostgresDatabase: {self._name}, schema {self._schema!r}>"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def name(self) -> str:
        """What messages call the database."""
        return self._name

    @property
    def is_in_own_process(self) -> bool:
        """Whether this process opened it, and not one from which this one was forked."""
        return self._pid == os.getpid()

    def workspace(self, name: str) -> SharedLedger:
        """The ledger of the workspace of this name, for one session at a time: ``HooxSession(store=…)``.

        Raises `ConfigurationError` for a name that can't be one.
        """
        return SharedLedger(self, option.name("name", name, of="workspace"))

    async def open(self) -> None:
        """Connect and begin this process's lease. Raises `StoreError` and `ConfigurationError`."""
        loop = running_loop()
        if self._is_open:
            if not self.is_in_own_process:
                raise self._forked()
            raise StoreLocked(f"{self._name} is open already: a database object is opened once at a time")
        self._is_open, self._loop, self._pid = True, loop, os.getpid()
        member = None
        try:
            member = await self._connect()
            await member.start()
        except BaseException:
            await self._shut_down(member, loop.time() + _CLOSE_WITHIN)
            raise
        self._member = member
        if self._webhooks is not None:
            self._unsubscribe = self._webhooks.subscribe(self._accept_delivery, last=True)

    async def aclose(self) -> None:
        """End the lease and disconnect. It can be called at any time, and again.

        Close the sessions first: while one is open its POSTs may be outstanding, and the lease is left to run
        out instead. In a forked child it does nothing. It takes 10 s at most, also where the server does not
        answer.
        """
        await self.close_by(asyncio.get_running_loop().time() + _CLOSE_WITHIN)

    async def close_by(self, until: float | None) -> None:
        """As `aclose`, until this time of the loop at most (None: as long as the server takes)."""
        member = self._member
        if member is None or not self.is_in_own_process:
            return
        if self._unsubscribe is not None:
            self._unsubscribe()
        self._member = None
        await self._shut_down(member, until)

    async def _shut_down(self, member: Member | None, until: float | None) -> None:
        try:
            if member is not None:
                await member.stop()
                if any(ledger.is_open for ledger in self._ledgers.values()):
                    _log.warning(
                        "%s was closed before its sessions: its lease runs out by itself", self._name
                    )
                else:
                    await tried_until(until, member.leave())  # else the lease runs out
        finally:
            self._is_open = False
            await self._disconnect(until)

    async def _accept_delivery(self, attempt_id: str, delivery: Delivery) -> bool:
        """Keep a delivery of which no open session here knows the attempt, for its workspace's leader.

        False where the attempt is not known. Raises `StoreError`. It may be called on another event loop.
        """
        loop = self._loop
        if loop is None or asyncio.get_running_loop() is loop:
            return await self._keep_delivery(attempt_id, delivery)
        future = asyncio.run_coroutine_threadsafe(self._keep_delivery(attempt_id, delivery), loop)
        return await asyncio.wrap_future(future)

    async def _keep_delivery(self, attempt_id: str, delivery: Delivery) -> bool:
        engine, question = self.require_member().engine, (ATTEMPT_ANYWHERE, {"id": attempt_id})
        [rows] = await engine.run(lambda tx: tx.ask(question), writes=False)
        if not rows:
            return False
        # by nobody: no session here works on it, so the leader does, even if that is this member
        ledger = Ledger(newer=True)
        ledger.begin(engine, Place(Row(*rows[0]).workspace, ""))
        return await ledger.keep_delivery(attempt_id, delivery) is not None

    def require_member(self) -> Member:
        """This process's member. Raises `StoreError` where the database is not open here."""
        if self._member is None:
            raise StoreError(f"{self._name}: the database is not open: use it as `async with`")
        if not self.is_in_own_process:
            raise self._forked()
        if asyncio.get_running_loop() is not self._loop:
            raise StoreError(f"{self._name}: it belongs to the loop that opened it")
        return self._member

    def reserve(self, workspace: str, ledger: SharedLedger) -> None:
        """Let this ledger have the workspace. Raises `StoreLocked` while another one has it."""
        if workspace in self._ledgers:
            raise StoreLocked(
                f"{self._name}: the workspace {workspace!r} is open in another session of this process; one "
                "session at a time"
            )
        self._ledgers[workspace] = ledger

    def release(self, workspace: str, ledger: SharedLedger) -> None:
        """Let others have the workspace."""
        if self._ledgers.get(workspace) is ledger:
            del self._ledgers[workspace]

    def _forked(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self._name} was opened by process {self._pid}, from which this one was forked: a forked "
            "process needs its own database object and session"
        )

    async def read_workspace(self, name: str) -> AsyncIterator[Intent]:
        """Every intent of a workspace, without opening the database; none where it has no such workspace."""
        with suppress(NoWorkspace):
            async with offline_workspace(self._url, name, self._schema) as records:
                async for intent in records.stream():
                    yield intent

    def permits(self, member: Member, quota: int, workspace: int) -> SharedPermits:
        """The permits of a quota, for a session of this workspace."""
        connections, schema = self._connections[0], self._schema

        async def ask(statement: str, *values: Any) -> list[tuple[Any, ...]]:
            return await connections.fetch(postgres(schema).compile(statement), values)

        boot = Clock(asyncio.get_running_loop()).boot
        return PostgresPermits(ask, quota, workspace, member.id, boot=boot, minute=self.quota_window)

    async def _connect(self) -> Member:
        general = Connections(self._url, self._max_connections - 1)
        for_lease = Connections(self._url, 1, deadline=self._lease / 3)
        self._connections = [general, for_lease]
        await check_server(general)
        await ensure_newest(general, self._schema, self._migrations)
        dialect = postgres(self._schema)
        engine = PostgresEngine(general, dialect)
        return Member(
            engine,
            PostgresEngine(for_lease, dialect, instead=engine),
            secrets.token_hex(8),
            self._lease,
        )

    async def _disconnect(self, until: float | None) -> None:
        connections, self._connections = self._connections, []
        async with AsyncExitStack() as closing:  # it goes on with the next one where it is cancelled
            for each in connections:
                closing.push_async_callback(each.aclose, until)


@short_tracebacks
async def migrate_database(url: str, *, schema: str = "hoox") -> tuple[int, int]:
    """Create the tables, or bring them to this release's version, and open nothing else.

    For a role that may, where the role of the application may not create tables. Returns the version before
    and after. Raises `ConfigurationError` and `StoreError`.
    """
    require_schema(schema)
    connections = Connections(DatabaseUrl.parse(url), 1)
    try:
        await check_server(connections)
        state = await migrate_schema(connections, schema)
    finally:
        await connections.aclose()
    return state.version, max(state.version, MIGRATIONS[-1].version)


def single_workspace(url: str, name: str = DEFAULT_WORKSPACE, *, schema: str = "hoox") -> SharedLedger:
    """The ledger of one workspace with a database object of its own, open as long as the ledger is."""
    return SharedLedger(
        PostgresDatabase(url, schema=schema), option.name("name", name, of="workspace"), owns_database=True
    )
