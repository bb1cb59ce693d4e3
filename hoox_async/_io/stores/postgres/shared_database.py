"""A database that processes share, as one object of one process: its member and its open workspaces."""

from __future__ import annotations

import asyncio
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ...._api.webhook_payloads import Delivery
from ...._core.intents.deliveries import can_be_needed
from ...._core.intents.intent import Intent
from ...._core.intents.records import dump_delivery
from ....errors import ConfigurationError, StoreError, StoreLocked
from ...clock import running_loop
from . import intent_rows
from .member import Member
from .names import require_workspace_name
from .queries import Queries
from .store import PostgresStore

if TYPE_CHECKING:
    from ....webhooks.hub import WebhookHub

_log = logging.getLogger("hoox_async")


class SharedDatabase(ABC):
    """The life of a shared database in one process, whatever the database is.

    Subclasses connect: `_connect` returns the queries of a new member, and `_disconnect` releases what that
    has acquired, also after it has raised. `read_workspace` works without them. One object is open on one
    loop at a time.
    """

    def __init__(self, name: str, lease: float, webhooks: WebhookHub | None = None) -> None:
        self.quota_window: float = 60.0
        """The length of the quota's window in seconds. Only tests and benchmarks scale it."""
        self._name = name
        self._lease = lease
        self._webhooks = webhooks
        self._unsubscribe: Callable[[], None] | None = None
        self._stores: dict[str, PostgresStore] = {}
        self._member: Member | None = None
        self._is_open = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

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

    def workspace(self, name: str) -> PostgresStore:
        """The store of the workspace of this name, for one session at a time: ``HooxSession(store=…)``.

        Raises `ConfigurationError` for a name that can't be one.
        """
        return PostgresStore(self, require_workspace_name(name))

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
            member = Member(await self._connect(), self._lease)
            await member.start()
        except BaseException:
            await self._shut_down(member)
            raise
        self._member = member
        if self._webhooks is not None:
            self._unsubscribe = self._webhooks.subscribe(self._accept_delivery, last=True)

    async def aclose(self) -> None:
        """End the lease and disconnect. It can be called at any time, and again.

        Close the sessions first: while one is open its POSTs may be outstanding, and the lease is left to run
        out instead. In a forked child it does nothing.
        """
        member = self._member
        if member is None or not self.is_in_own_process:
            return
        if self._unsubscribe is not None:
            self._unsubscribe()
        self._member = None
        await self._shut_down(member)

    async def _shut_down(self, member: Member | None) -> None:
        try:
            if member is not None:
                await member.stop()
                if any(store.is_open for store in self._stores.values()):
                    _log.warning(
                        "%s was closed before its sessions: its lease runs out by itself", self._name
                    )
                else:
                    with suppress(StoreError):  # then the lease runs out
                        await member.queries.leave()
        finally:
            self._is_open = False
            await self._disconnect()

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
        queries = self.require_member().queries
        row = await queries.attempt_anywhere(attempt_id)
        if row is None:
            return False
        if can_be_needed(intent_rows.read(row), delivery):
            record = dump_delivery(delivery)
            await queries.keep_delivery(row.workspace, attempt_id, record, for_leader=True)
        return True

    def require_member(self) -> Member:
        """This process's member. Raises `StoreError` where the database is not open here."""
        if self._member is None:
            raise StoreError(f"{self._name}: the database is not open: use it as `async with`")
        if not self.is_in_own_process:
            raise self._forked()
        if asyncio.get_running_loop() is not self._loop:
            raise StoreError(f"{self._name}: it belongs to the loop that opened it")
        return self._member

    def reserve(self, workspace: str, store: PostgresStore) -> None:
        """Let this store have the workspace. Raises `StoreLocked` while another one has it."""
        if workspace in self._stores:
            raise StoreLocked(
                f"{self._name}: the workspace {workspace!r} is open in another session of this process; one "
                "session at a time"
            )
        self._stores[workspace] = store

    def release(self, workspace: str, store: PostgresStore) -> None:
        """Let others have the workspace."""
        if self._stores.get(workspace) is store:
            del self._stores[workspace]

    def _forked(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self._name} was opened by process {self._pid}, from which this one was forked: a forked "
            "process needs its own database object and session"
        )

    @abstractmethod
    def read_workspace(self, name: str) -> AsyncIterator[Intent]:
        """Every intent of a workspace, without opening the database; none where it has no such workspace."""

    @abstractmethod
    async def _connect(self) -> Queries:
        """Connect, and return the queries of a new member."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Release what `_connect` has acquired, also after it has raised."""
