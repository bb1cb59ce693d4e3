"""The store in memory, which ends with the process: plain dictionaries."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Collection, Generator, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from ..._api.models import LookRef
from ..._api.webhook_payloads import Delivery
from ..._core.intents.budget import StoredBudget
from ..._core.intents.copies import KnownAvatar
from ..._core.intents.intent import Intent, IntentState
from ..._core.intents.transitions import LookTaken, Transition, claimed_look, recovery_transitions
from ...errors import StoreError, StoreLocked
from ..protocols import StoreGauges, Workspace
from .budget_charges import charged_budgets
from .index_changes import FORGETTABLE, OPEN_STATES, IndexChanges, apply_transitions, changes_between
from .one_process import OneProcessStore
from .workspace_binding import plain_url, require_new_key, require_url


class _Done:
    """An awaitable that is done already. It can be awaited any number of times."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


_DONE = _Done()
_NAME = "the memory store"
_KEPT_SENDS = timedelta(minutes=2)


class MemoryStore(OneProcessStore):
    """A `Store` in memory, for one session at a time.

    A later session of the same process may open it again and continues where the earlier one stopped. An
    intent whose key cannot be used again is deleted by `forget`; its look stays claimed.
    """

    def __init__(self) -> None:
        self._is_open = False
        self._workspace: Workspace | None = None
        self._key_confirmed = False
        self._intents: dict[str, Intent] = {}  # in the order of the plan
        self._open_keys: set[str] = set()  # few, however many intents there are
        self._places: dict[str, int] = {}
        self._planned = 0
        self._attempts: dict[str, str] = {}
        self._refs: dict[LookRef, str] = {}
        self._forgotten: set[LookRef] = set()  # still claimed: looks of forgotten intents
        self._claimed: dict[str, set[str]] = {}  # look ids by avatar
        # by avatar, the avatars that its looks were made from; None for a look that came with its avatar
        self._made_from: dict[str, set[str | None]] = {}
        self._deliveries: dict[str, Delivery] = {}
        self._sends: deque[datetime] = deque()  # in order
        self._budgets: dict[str, StoredBudget] = {}

    def __repr__(self) -> str:
        return f"MemoryStore(<{len(self._intents)} intents>)"

    async def read_unopened(self) -> AsyncIterator[Intent]:
        """Every intent of earlier sessions, and of one that has it open."""
        for intent in tuple(self._intents.values()):
            yield intent

    async def open(self, workspace: Workspace) -> None:
        """Bind the store to the workspace. Raises `StoreLocked` while another has it; `StoreMismatch`."""
        if self._is_open:
            raise StoreLocked(f"{_NAME} is open in another session; one session at a time")
        if self._workspace is not None:
            require_url(plain_url(self._workspace.base_url), workspace, _NAME)
            if workspace.api_key != self._workspace.api_key:
                if self._key_confirmed or not all(intent.never_charged for intent in self._intents.values()):
                    require_new_key(workspace, _NAME)
                self._key_confirmed = False
        self._workspace = workspace
        self._is_open = True
        try:
            for intent in await self.in_states([IntentState.SENDING]):
                await self.advance(intent.key, *recovery_transitions(intent))
        except BaseException:
            self._is_open = False
            raise

    async def aclose(self) -> None:
        """Close the store. A later session can open it."""
        self._is_open = False

    def confirm_key(self) -> None:
        """Bind the store to its API key for good."""
        self._key_confirmed = True

    async def get(self, keys: Collection[str]) -> dict[str, Intent]:
        """The intents of these keys, those that are known."""
        self._require_open()
        return {key: self._intents[key] for key in keys if key in self._intents}

    async def plan(self, intent: Intent) -> Intent:
        """Insert a new intent. Where its key exists already, change nothing and return the stored intent."""
        self._require_open()
        stored = self._intents.get(intent.key)
        if stored is not None:
            return stored
        changes = changes_between(None, intent)
        self._require_new_attempts(changes)
        self._budgets |= charged_budgets(self._budgets.get, None, intent)
        self._planned += 1
        self._places[intent.key] = self._planned
        self._put(intent, [changes])
        return intent

    async def advance(self, key: str, *transitions: Transition) -> Intent:
        """Apply the transitions, all or none. Raises `IllegalTransition`; `StoreError` for an unknown key."""
        self._require_open()
        intent = self._intents.get(key)
        if intent is None:
            raise StoreError(f"{_NAME} has no intent under the key {key!r}")
        after, all_changes = apply_transitions(intent, transitions)
        for changes in all_changes:
            self._require_new_attempts(changes)
            if changes.checked and changes.claimed is not None:
                self._require_unclaimed(changes.claimed, key)
        self._budgets |= charged_budgets(self._budgets.get, intent, after)
        old_claim = claimed_look(intent)
        if old_claim is not None and old_claim != claimed_look(after) and self._refs.get(old_claim) == key:
            del self._refs[old_claim]
        self._put(after, all_changes)
        return after

    async def open_budget(self, name: str, max_credits: Decimal, spent: Decimal) -> StoredBudget:
        """Create the budget, unless there is one of this name. Returns what is stored."""
        self._require_open()
        return self._budgets.setdefault(name, StoredBudget(name, max_credits, spent))

    async def budget(self, name: str) -> StoredBudget | None:
        """The budget of this name."""
        self._require_open()
        return self._budgets.get(name)

    async def by_attempt(self, attempt_id: str) -> Intent | None:
        """The intent that has this attempt, the latest or an earlier one."""
        self._require_open()
        key = self._attempts.get(attempt_id)
        return self._intents.get(key) if key is not None else None

    async def by_ref(self, ref: LookRef) -> Intent | None:
        """The intent that has this look."""
        self._require_open()
        key = self._refs.get(ref)
        return self._intents[key] if key is not None else None

    async def in_states(
        self,
        states: Collection[IntentState],
        *,
        own: bool = False,  # noqa: ARG002 -- all are its own
    ) -> list[Intent]:
        """All intents in these states, in the order in which they were planned."""
        self._require_open()
        wanted = frozenset(states)
        if wanted <= OPEN_STATES:
            keys: Iterable[str] = sorted(self._open_keys, key=self._places.__getitem__)
        else:
            keys = self._intents
        return [intent for intent in map(self._intents.__getitem__, keys) if intent.state in wanted]

    async def stream(self) -> AsyncIterator[Intent]:
        """Every intent, in the order in which they were planned."""
        self._require_open()
        for key in tuple(self._intents):
            intent = self._intents.get(key)
            if intent is not None:
                yield intent

    async def stream_accepted(self) -> AsyncIterator[Intent]:
        """Every intent that is ACCEPTED, in the order in which they were planned."""
        self._require_open()
        for key in sorted(self._open_keys, key=self._places.__getitem__):
            intent = self._intents.get(key)
            if intent is not None and intent.state is IntentState.ACCEPTED:
                yield intent

    async def gauges(self) -> StoreGauges:
        """Counts of the open intents."""
        accepted = await self.in_states((IntentState.ACCEPTED,))
        unknowns = await self.in_states((IntentState.UNKNOWN,))
        return StoreGauges(len(unknowns), len(accepted), accepted[0] if accepted else None)

    async def release(self, key: str) -> None:  # noqa: ARG002 -- the protocol's signature
        """Do nothing: no other process can give a planned intent other content."""
        self._require_open()

    async def forget(self, key: str) -> None:
        """Delete an intent whose key cannot be used again, once its cost is certain. Others are kept."""
        self._require_open()
        intent = self._intents.get(key)
        if intent is None or intent.own_key or intent.state not in FORGETTABLE:
            return
        del self._intents[key], self._places[key]
        self._open_keys.discard(key)
        if intent.ref is not None and self._refs.get(intent.ref) == key:
            del self._refs[intent.ref]
            self._forgotten.add(intent.ref)
        for attempt in intent.attempts:
            self._attempts.pop(attempt.id, None)
            self._deliveries.pop(attempt.id, None)

    async def claimed_looks(self, avatar_id: str) -> frozenset[str]:
        """The ids of an avatar's looks that were made for an intent."""
        self._require_open()
        return frozenset(self._claimed.get(avatar_id, ()))

    async def known_avatar(self, avatar_id: str) -> KnownAvatar:
        """What the store's intents tell of an avatar, those that are forgotten included."""
        self._require_open()
        made = self._made_from
        if made.get(avatar_id, set()) - {avatar_id}:
            return KnownAvatar(created=True)
        copies = (other for other, sources in made.items() if avatar_id in sources)
        return KnownAvatar(copies=frozenset(copies) - {avatar_id})

    async def claim_look(self, ref: LookRef) -> None:
        """Write that this look was made for an intent."""
        self._require_open()
        self._claimed.setdefault(ref.avatar_id, set()).add(ref.look_id)

    async def keep_delivery(self, attempt_id: str, delivery: Delivery) -> None:
        """Keep the first delivery of an attempt. One of an unknown attempt is not kept."""
        self._require_open()
        if attempt_id in self._attempts:
            self._deliveries.setdefault(attempt_id, delivery)

    async def kept_delivery(self, attempt_id: str) -> Delivery | None:
        """The delivery that was kept for this attempt."""
        self._require_open()
        return self._deliveries.get(attempt_id)

    async def stream_delivered(self) -> AsyncIterator[str]:
        """The ids of attempts for which a delivery was kept, of intents that are ACCEPTED or UNKNOWN."""
        for intent in await self.in_states((IntentState.ACCEPTED, IntentState.UNKNOWN)):
            for attempt in intent.attempts:
                if attempt.id in self._deliveries:
                    yield attempt.id

    def note_sends(self, sent_at: Sequence[datetime]) -> Awaitable[None]:
        """Keep send times. Those of more than two minutes before the newest are dropped."""
        self._require_open()
        sends = self._sends
        if len(sent_at) == 1 and sends and sends[-1] <= sent_at[0]:  # as nearly always
            sends.append(sent_at[0])
            while sends[-1] - sends[0] > _KEPT_SENDS:
                sends.popleft()
        elif sent_at:
            newest = max(sent_at)
            times = sorted((*sends, *sent_at))
            self._sends = deque(time for time in times if abs(newest - time) <= _KEPT_SENDS)
        return _DONE

    async def recent_sends(self, since: datetime) -> list[datetime]:
        """The send times after ``since``, oldest first."""
        self._require_open()
        return [time for time in self._sends if time > since]

    def _require_open(self) -> None:
        if not self._is_open:
            raise StoreError(f"{_NAME} is not open")

    def _require_new_attempts(self, changes: IndexChanges) -> None:
        for attempt in changes.attempts:
            if attempt.id in self._attempts:
                raise StoreError(f"{_NAME} knows the attempt {attempt.id!r} already")

    def _require_unclaimed(self, ref: LookRef, key: str) -> None:
        """Raise `LookTaken` where another intent has this look."""
        owner = self._refs.get(ref)
        if owner is None and ref in self._forgotten:
            owner = "an earlier request"
        if owner is not None and owner != key:
            raise LookTaken(ref, owner)

    def _put(self, intent: Intent, all_changes: Sequence[IndexChanges]) -> None:
        key = intent.key
        self._intents[key] = intent
        if intent.state in OPEN_STATES:
            self._open_keys.add(key)
        else:
            self._open_keys.discard(key)
        claimed = claimed_look(intent)
        if claimed is not None:
            self._refs.setdefault(claimed, key)
        for changes in all_changes:
            for attempt in changes.attempts:
                self._attempts[attempt.id] = key
                if not self._sends or attempt.sent_at >= self._sends[0]:  # else the attempt was written late
                    self.note_sends((attempt.sent_at,))
            if changes.claimed is not None:
                source = intent.source.avatar_id if intent.source is not None else None
                self._made_from.setdefault(changes.claimed.avatar_id, set()).add(source)
            for ref in (changes.claimed, *changes.paid_besides):
                if ref is not None:
                    self._claimed.setdefault(ref.avatar_id, set()).add(ref.look_id)
