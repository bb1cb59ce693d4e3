"""The calls that the shared store makes to its database. Each is one statement, and so one transaction."""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple, Protocol

from ...._api.models import LookRef
from ...._api.requests import FREE
from ...._core.intents.budget import StoredBudget
from ...._core.intents.copies import KnownAvatar
from ...._core.intents.intent import Attempt, IntentState
from ...protocols import SharedPermits
from ..workspace_binding import Binding


class IntentRow(NamedTuple):
    """A stored intent. ``version`` moves with each write, and ``seq`` is its place in the plan."""

    workspace: int
    seq: int
    key: str
    version: int
    record: str
    crc: int


class IntentWrite(NamedTuple):
    """An intent that is to be written over the version ``was``; 0: it has no row yet.

    ``claimed`` is the look that no other intent may have. ``attempts`` and ``claims`` are the new attempts
    and the looks that it was given, ``extra`` are looks that were paid for besides. ``charges`` are changes
    of what budgets have charged, by the budgets' names. ``replaces``: the intent gets other content.
    """

    key: str
    was: int
    state: IntentState
    claimed: LookRef | None
    record: str
    crc: int
    attempts: Sequence[Attempt] = ()
    claims: Sequence[LookRef] = ()
    extra: Sequence[LookRef] = ()
    charges: Sequence[tuple[str, Decimal]] = ()
    replaces: bool = False


class Written(NamedTuple):
    """The outcome of a write. It took place only if that is ``"written"``.

    - ``"stale"``: the row has another version.
    - ``"taken"``: the intent under the key ``owner`` has the look ``taken`` already.
    - ``"not_alive"``: it would have sent, and this member's lease is over.
    - ``"alive"``: the sender was to be taken for dead, and its lease is not over, or this member was not
      steady for one lease.
    - ``"held"``: it would replace what another member, which is alive, is about to send again.
    - ``"over"``: it would send, and charge ``change`` more to the budget than its cap allows.
    """

    outcome: Literal["written", "stale", "taken", "not_alive", "alive", "held", "over"]
    owner: str = ""
    taken: LookRef | None = None
    budget: StoredBudget | None = None
    change: Decimal = FREE


class WorkspaceRow(NamedTuple):
    """A workspace of the database, and the API keys that are valid for it, the newest first.

    ``quota`` is the number of its quota, which all workspaces share that have a key in common.
    """

    id: int
    quota: int
    bindings: tuple[Binding, ...]
    key_confirmed: bool


class Renewed(NamedTuple):
    """The database's time at a renewal, and the server's timeline, which a failover changes."""

    moment: datetime
    timeline: str


class ChangesRead(NamedTuple):
    """How far the changes until a snapshot were read: those up to this transaction, and in it to this row."""

    until: str
    transaction: str
    seq: int


class Changes(NamedTuple):
    """Intents that other members have changed, and the snapshot from which to ask for the next ones.

    ``read`` is where to go on; None where those were all.
    """

    snapshot: str
    rows: Sequence[IntentRow]
    read: ChangesRead | None


class Unnotified(NamedTuple):
    """A settled intent that no hooks were notified of. ``sender_lives``: its sender's lease is not over."""

    row: IntentRow
    sender_lives: bool


class BudgetRow(NamedTuple):
    """A budget as it is stored, and the credits that were charged to it when it was created."""

    stored: StoredBudget
    initial: Decimal


class KeptDeliveries(NamedTuple):
    """Deliveries of intents that are not settled, and the snapshot from which to ask for the next ones.

    Each is the number of its workspace and the id of its attempt.
    """

    snapshot: str
    kept: Sequence[tuple[int, str]]


class Queries(Protocol):
    """A database as one member sees it. Every method raises `StoreError` where the database fails.

    A write that raised may have taken place, or may still take place.
    """

    @property
    def name(self) -> str:
        """What messages call the database."""
        ...

    async def workspace(self, name: str) -> WorkspaceRow | None:
        """The workspace of this name."""
        ...

    async def key_salt(self) -> bytes:
        """The salt of all fingerprints of API keys."""
        ...

    async def add_workspace(self, name: str, binding: Binding) -> None:
        """Add a workspace, unless there is one of this name."""

    async def replace_keys(self, workspace: int, old: Sequence[Binding], new: Sequence[Binding]) -> None:
        """Set the keys that are valid, if they are still the old ones. The first one is unconfirmed then."""

    def confirm_key(self, workspace: int, binding: Binding) -> Coroutine[Any, Any, None]:
        """Write that the newest key is valid, if it is this one."""
        ...

    async def get(self, workspace: int, keys: Collection[str]) -> list[IntentRow]:
        """The rows of those of these keys that are known."""
        ...

    async def put(self, workspace: int, write: IntentWrite, *, if_sender_dead: bool = False) -> Written:
        """Write an intent by compare-and-set.

        ``if_sender_dead``: only if it is SENDING, the lease of the member that sent it is over, and this
        member may take others for dead.
        """
        ...

    async def release(self, workspace: int, key: str | None) -> None:
        """Let others replace the planned intent of this key (None: of all) that this member was to send."""

    async def open_budget(self, workspace: int, budget: StoredBudget) -> BudgetRow:
        """Create the budget, unless there is one of this name.

        One that only restored writes have charged gets this cap, and this charge besides.
        """
        ...

    async def budget(self, workspace: int, name: str) -> StoredBudget | None:
        """The budget of this name."""
        ...

    async def set_cap(self, workspace: int, name: str, max_credits: Decimal) -> None:
        """Change the cap of a budget."""

    async def by_attempt(self, workspace: int, attempt_id: str) -> IntentRow | None:
        """The intent that has this attempt."""
        ...

    async def by_ref(self, workspace: int, ref: LookRef) -> IntentRow | None:
        """The intent that has this look."""
        ...

    async def page(
        self,
        workspace: int,
        states: Collection[IntentState] | None,
        *,
        own: bool = False,
        after: int = 0,
        size: int | None = None,
    ) -> list[IntentRow]:
        """The intents in these states (None: all) with a higher number than ``after``, in that order.

        ``own``: only those that this member was the last to send.
        """
        ...

    async def last_settled(self, workspace: int, count: int) -> list[IntentRow]:
        """Up to ``count`` settled intents, those that were planned last."""
        ...

    async def count_open(self, workspace: int) -> tuple[int, int]:
        """How many intents are UNKNOWN, and how many ACCEPTED."""
        ...

    async def claimed_looks(self, workspace: int, avatar_id: str) -> frozenset[str]:
        """The ids of an avatar's looks that were made for an intent."""
        ...

    async def known_avatar(self, workspace: int, avatar_id: str) -> KnownAvatar:
        """What the workspace's intents tell of an avatar."""
        ...

    async def claim_look(self, workspace: int, ref: LookRef) -> None:
        """Write that this look was made for an intent."""

    async def keep_delivery(
        self, workspace: int, attempt_id: str, record: str, *, for_leader: bool = False
    ) -> None:
        """Keep the first delivery of an attempt that is known.

        ``for_leader``: no session here works on it, so the leader does, even if that is this member.
        """

    async def kept_delivery(self, workspace: int, attempt_id: str) -> str | None:
        """The delivery that was kept for this attempt."""
        ...

    async def delivered(self, workspace: int, after: tuple[int, str], size: int) -> list[tuple[int, str]]:
        """Attempts for which a delivery was kept, of intents that are ACCEPTED or UNKNOWN.

        Each is the number of its intent and its id; they are in that order, and after ``after``.
        """
        ...

    def permits(self, quota: int, workspace: int, minute: float) -> SharedPermits:
        """The permits of a quota, for a session of this workspace. Its window is ``minute`` seconds long."""
        ...

    async def recent_attempts(self, workspace: int, since: datetime) -> list[datetime]:
        """When attempts were sent after ``since``, oldest first."""
        ...

    async def restore(self, workspace: int, write: IntentWrite, version: int) -> Written:
        """Write an intent by compare-and-set, with this version: a failover has lost it.

        It charges its budgets whatever their caps are, and also those that are lost too.
        """
        ...

    async def renew(self, timeline: str | None) -> Renewed:
        """Renew this member's lease, or begin it.

        ``timeline``: the one that the member goes by; None where it knows none. While the server is on
        another one, the member is not alive.
        """
        ...

    async def leave(self) -> None:
        """End this member's lease."""

    async def lead(
        self, candidates: Collection[int], watched: Collection[int]
    ) -> Mapping[int, Literal["self", "other"] | None]:
        """Lead those of the candidates that no living member leads. Returns who leads each, None: nobody."""
        ...

    async def resign(self, workspaces: Collection[int]) -> None:
        """Give up leading these workspaces, and the limit that this member has stated for each."""

    async def confirm_notified(self, looks: Collection[tuple[int, str]]) -> None:
        """Write that the hooks were notified of the end of these looks: workspaces and keys."""

    async def unnotified(self, workspaces: Collection[int]) -> list[Unnotified]:
        """Settled intents that no hooks were notified of, those of ended senders first."""
        ...

    async def own_unnotified(self, workspaces: Collection[int]) -> list[IntentRow]:
        """Settled intents that this member sent and no hooks were notified of."""
        ...

    async def deliveries(self, workspaces: Collection[int], since: str | None) -> KeptDeliveries:
        """What other members have kept since the snapshot, of intents that are not settled; None: ever."""
        ...

    async def attempt_anywhere(self, attempt_id: str) -> IntentRow | None:
        """The intent that has this attempt, in whichever workspace."""
        ...

    async def sent_by_dead_members(self, workspaces: Collection[int]) -> list[IntentRow]:
        """SENDING intents of members whose lease is over. None while this member may not sweep."""
        ...

    async def left_sending(self, workspaces: Collection[int]) -> list[IntentRow]:
        """SENDING intents that this member has sent."""
        ...

    async def earlier_snapshot(self) -> str:
        """A snapshot from which `changes` returns also what was changed lately."""
        ...

    async def changes(
        self, workspaces: Collection[int], since: str | None, read: ChangesRead | None, size: int
    ) -> Changes:
        """What other members have committed since the snapshot; from None on, only the snapshot of now.

        Up to ``size`` intents, after those that were ``read``.
        """
        ...
