"""Unknowns, paid requests whose outcome is not known: settled by proof or by the user, never by a guess.

Their candidates, the looks that they may have made, are listed for people and never assigned.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

from .._api.models import Avatar, Look, LookDetails, LookRef
from .._api.responses import look_from_details
from .._core.intents.candidates import CandidateAges, KnownAvatar, avatars_of_edits, by_age, where_found
from .._core.intents.deliveries import will_be_delivered
from .._core.intents.intent import Evidence, Intent, IntentState, Unknown
from .._core.intents.keys import is_key
from .._core.intents.transitions import (
    AddCandidates,
    Correct,
    Drop,
    IfUnchanged,
    IllegalTransition,
    LookTaken,
)
from .._core.polling import LookUpdate, PollScheduler, is_complete
from .._core.polling.durations import kind_of
from .._io.clock import Clock
from .._io.ledger.ledger import Ledger
from .._io.tasks import TaskSet
from ..errors import HooxError, InvalidRequest, StoreError
from .intents import Intents
from .jobs import JobRegistry, LookJob
from .reads import Reads

# seconds to wait for the delivery of a lost POST beyond the expected duration of its look
_DELIVERY_SECONDS = 120.0
_AN_UNKNOWN = "the key of an unknown (session.unknowns() lists them)"
_LAST_ATTEMPT = "the last attempt of this unknown; it was sent again meanwhile"


class Unknowns:
    """Settles unknowns by a proof, or as the user decides."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Ledger,
        intents: Intents,
        tasks: TaskSet,
        reads: Reads,
        registry: JobRegistry,
        scheduler: PollScheduler,
    ) -> None:
        self._clock = clock
        self._store = store
        self._intents = intents
        self._tasks = tasks
        self._reads = reads
        self._registry = registry
        self._scheduler = scheduler

    async def confirm(
        self, intent: Intent, ref: LookRef, evidence: Evidence, look: Look | None = None
    ) -> Intent:
        """Record that this is the unknown's look.

        Raises `StoreError`, and `IllegalTransition` where the intent has changed meanwhile.
        """
        accepted = await self._intents.accept_proof(intent, ref, evidence)
        await self._follow(accepted, look)
        return accepted

    async def _correct(self, intent: Intent, ref: LookRef, look: Look | None = None) -> Intent:
        """Record that the user names another look for it than before.

        The look that was named before may be another unknown's. Raises `StoreError`; `IllegalTransition`
        where the intent has changed meanwhile, and `LookTaken`.
        """
        step = Correct(ref, self._clock.utc())
        corrected = await self._intents.advance(intent.key, step)  # it checks its own preconditions
        if intent.ref is not None:
            self._registry.forget_payment(intent.ref)
            await self._offer(intent.ref, corrected)
        await self._follow(corrected, look)
        return corrected

    async def _offer(self, ref: LookRef, corrected: Intent) -> None:
        """Add this look, which is not the corrected intent's, to other unknowns that may have made it.

        Those are edits of its avatar, or of the one that the intent edits: the look's may be a copy of that.
        """
        avatars = {ref.avatar_id, corrected.source.avatar_id if corrected.source else None}
        for intent in await self._store.in_states((IntentState.UNKNOWN,)):
            if intent.source is not None and intent.source.avatar_id in avatars:
                await self._add_candidates(intent, [ref])

    async def _follow(self, accepted: Intent, look: Look | None) -> None:
        self._registry.poll_accepted(accepted)
        job = self._registry.job_of(accepted)  # referenced until it is recorded
        if look is not None and look.status.settled:
            await self._registry.publish([LookUpdate(look, is_complete(look))])
        del job

    # --- the user's decisions

    async def resolve(self, key: str, ref: LookRef, attempt: str | None) -> LookJob:
        """See `HooxSession.resolve`."""
        async with self.deciding(key, attempt, or_named_by_user=True) as intent:
            if intent.ref == ref:
                return self._registry.job_of(intent)
            return await self._tasks.complete(self._claim(intent, ref), "hoox-resolve")

    async def drop(self, key: str, attempt: str | None) -> None:
        """See `HooxSession.drop`."""
        async with self.deciding(key, attempt) as intent:
            if intent.state is IntentState.UNKNOWN:
                await self._intents.advance(intent.key, IfUnchanged(intent), Drop())

    @asynccontextmanager
    async def deciding(
        self, key: str, attempt: str | None, *, or_named_by_user: bool = False
    ) -> AsyncIterator[Intent]:
        """The unknown that the user decides about; the block carries the decision out.

        Raises `InvalidRequest` where it is no unknown (any more), or ``attempt`` is given and is not its last
        one; also where the block raises `IllegalTransition`, since it has changed meanwhile.
        ``or_named_by_user``: also accept an intent whose look the user named before.
        """
        intent = await self._undecided(key, attempt, or_named_by_user=or_named_by_user)
        try:
            yield intent
        except IllegalTransition:
            expected = f"{_AN_UNKNOWN}; it was settled or sent again meanwhile"
            raise InvalidRequest("key", key, expected) from None

    async def _undecided(self, key: str, attempt: str | None, *, or_named_by_user: bool) -> Intent:
        intent = await self._intents.stored(key) if is_key(key) else None
        if intent is None:
            raise InvalidRequest("key", key, _AN_UNKNOWN)
        by_user = intent.state.paid and intent.evidence is Evidence.USER
        undecided = intent.state in (IntentState.UNKNOWN, IntentState.DROPPED)
        if not undecided and not (by_user and or_named_by_user):
            raise InvalidRequest("key", key, _AN_UNKNOWN)
        if attempt is not None and attempt != intent.last_attempt:
            raise InvalidRequest("attempt", attempt, _LAST_ATTEMPT)
        return intent

    async def _require_possible(self, intent: Intent, ref: LookRef) -> None:
        """Raise `InvalidRequest` where this look cannot be the intent's own."""
        if intent.source is not None and ref.avatar_id != intent.source.avatar_id:
            known = await self._store.known_avatar(intent.source.avatar_id)
            if known.created:  # else it may be a public one, of which the API makes a copy
                expected = f"a look of {intent.source.avatar_id}, which was edited"
                raise InvalidRequest("look", str(ref), expected)
        if intent.delivered is not None and ref.look_id != intent.delivered:
            expected = f"the look {intent.delivered}, which a delivery for this request has named"
            raise InvalidRequest("look", str(ref), expected)
        if ref == intent.source:
            raise InvalidRequest("look", str(ref), "the look that was made, not the one that was edited")
        other = await self._store.by_ref(ref)
        if other is not None and other.key != intent.key:
            raise _taken(ref, other.key)
        for key in await self._store.delivered_to(ref.look_id) - {intent.key}:
            raise _taken(ref, key)
        if other is None and ref.look_id in await self._store.claimed_looks(ref.avatar_id):
            raise InvalidRequest(
                "look", str(ref), "a look that another request has not paid for besides its own"
            )

    async def _claim(self, intent: Intent, ref: LookRef) -> LookJob:
        """Check the look, then record that it is the intent's. Must not be cancelled midway."""
        await self._require_possible(intent, ref)
        look = look_from_details(await self._reads.look(ref))
        other = await self._store.by_ref(ref)
        if other is not None and other.key == intent.key and other.ref == ref:
            # a delivery proved it at the same time
            return self._registry.job_of(other)
        try:
            if intent.ref is None:
                accepted = await self.confirm(intent, ref, Evidence.USER, look)
            else:
                accepted = await self._correct(intent, ref, look)
        except LookTaken as taken:
            raise _taken(ref, taken.owner) from None
        stored = await self._intents.stored(accepted.key)
        return self._registry.job_of(accepted if stored is None else stored)

    # --- listing, and waiting for a proof

    async def wait_for_delivery(self, unknown: Intent, seconds: float) -> None:
        """Wait until a delivery on the attempt's own URL has proved which look a lost POST made.

        ``seconds`` at most, and no longer than a delivery may still come, or than the intent is unchanged.
        """
        until = self._clock.now() + min(seconds, self._delivery_expected_for(unknown))
        with suppress(StoreError):
            while (left := until - self._clock.now()) > 0 and not self._intents.is_closed:
                await self._intents.wait_changed(unknown, left)
                now = await self._intents.stored(unknown.key)
                if now is None or not now.unchanged_since(unknown):
                    return

    def _delivery_expected_for(self, unknown: Intent) -> float:
        """For how many seconds from now a delivery may still come; 0 or less: none will."""
        is_delivered = will_be_delivered(unknown.request, has_webhooks=self._registry.has_webhooks)
        if not is_delivered or unknown.sent_at is None:
            return 0.0
        expected = self._scheduler.expected(kind_of(unknown.request))
        until = self._clock.to_loop(unknown.sent_at) + 3 * expected + _DELIVERY_SECONDS
        return until - self._clock.now()

    async def list_all(self) -> list[Unknown]:
        """All unknowns with their candidates, which are read anew.

        A look can appear late, or be claimed by another intent. What can't be read is left out: then the
        candidates are those that were recorded earlier. Raises `StoreError`.
        """
        search = _Search(self._store, self._reads)
        found: list[Unknown] = []
        for intent in await self._store.in_states((IntentState.UNKNOWN,)):
            known, looks = KnownAvatar(), list[LookRef]()
            if intent.source is not None:
                known = await search.known(intent.source.avatar_id)
                looks = await search.looks_of_edit(intent.source, known)
            ages = await self._add_candidates(intent, looks)
            found.append(
                Unknown(
                    intent.key,
                    intent.content,
                    intent.attempts[-1].id,
                    intent.sent_at,
                    ages.candidates,
                    ages.older,
                    where_found(ages.candidates, intent.source, known),
                    ages.unlisted,
                    intent.delivered,
                )
            )
        return found

    async def _is_anothers(self, ref: LookRef, unknown: Intent) -> bool:
        """Whether the look was made for an intent, or a delivery for another one has named it."""
        if ref.look_id in await self._store.claimed_looks(ref.avatar_id):
            return True
        return bool(await self._store.delivered_to(ref.look_id) - {unknown.key})

    async def _add_candidates(self, intent: Intent, refs: Iterable[LookRef]) -> CandidateAges:
        """Add looks to the unknown's candidates, by their ages, without those that others have claimed.

        Returns the resulting candidates. Raises `StoreError`.
        """
        known = (*intent.candidates, *intent.older)
        found = [ref for ref in dict.fromkeys((*known, *refs)) if ref != intent.source]
        others = tuple([ref for ref in found if await self._is_anothers(ref, intent)])
        free = [ref for ref in found if ref not in others]
        listed = await self._store.listed_before(intent.key, {ref.avatar_id for ref in free})
        ages = by_age(free, listed)
        if ages != (intent.candidates, intent.older, intent.unlisted):
            step = AddCandidates(ages.candidates, others, ages.older, ages.unlisted)
            with suppress(IllegalTransition):  # it was settled meanwhile
                changed = await self._intents.advance(intent.key, step)
                return CandidateAges(changed.candidates, changed.older, changed.unlisted)
        return ages


def _taken(ref: LookRef, owner: str) -> InvalidRequest:
    return InvalidRequest("look", str(ref), f"a look that does not belong to the key {owner!r} already")


_MOST_OF_A_NAME, _MOST_LISTED = 5, 60  # avatars that are read for their name, and else looks


class _Search:
    """Searches for the looks that unknown edits may have made. Each avatar and list is read once."""

    def __init__(self, store: Ledger, reads: Reads) -> None:
        self._store = store
        self._reads = reads
        self._known: dict[str, KnownAvatar] = {}
        self._avatars: dict[str, Avatar | None] = {}
        self._lists: dict[bool, Sequence[LookDetails]] = {}

    async def known(self, avatar_id: str) -> KnownAvatar:
        """What the store's intents tell of an avatar."""
        if avatar_id not in self._known:
            self._known[avatar_id] = await self._store.known_avatar(avatar_id)
        return self._known[avatar_id]

    async def looks_of_edit(self, source: LookRef, known: KnownAvatar) -> list[LookRef]:
        """Looks of the edited avatar that no intent has claimed.

        If it may be public, also those of its known copies, without those of the public catalogue. If there
        are none, looks of the workspace's other avatars of that name, or else also public ones. A look of a
        copy that has the picture of one of the avatar's looks was copied with it.
        """
        edited, *copies = [await self._avatar(each) for each in avatars_of_edits(source.avatar_id, known)]
        looks = list(edited.looks) if edited is not None else []
        pictures = {look.thumbnail_url for look in looks} - {None}

        async def new(found: Iterable[LookDetails]) -> list[LookRef]:
            return await self._unclaimed(look for look in found if look.thumbnail_url not in pictures)

        found = await self._unclaimed(looks)
        if known.created:
            return found
        public = {look.ref for look in await self._list(only_public=True)}
        own = [ref for ref in found if ref not in public]
        own += await new(look for copy in copies if copy is not None for look in copy.looks)
        return own or await new(await self._of_that_name(source, known, public)) or found

    async def _of_that_name(
        self, source: LookRef, known: KnownAvatar, public: Collection[LookRef]
    ) -> list[LookDetails]:
        """Looks of the workspace's other avatars of that name, without those that the store knows."""
        listed = await self._list(only_public=False)
        avatar = await self._avatar(source.avatar_id)
        names = {look.avatar_name for look in listed if look.ref.avatar_id == source.avatar_id}
        names |= {avatar.name} if avatar is not None else set()
        others = (source.avatar_id, *known.copies)
        looks = [
            look
            for look in listed
            if look.avatar_name in names - {None}
            and look.ref not in public
            and look.ref.avatar_id not in others
        ]
        avatars = dict.fromkeys(look.ref.avatar_id for look in looks)
        if len(avatars) > _MOST_OF_A_NAME:
            return looks[:_MOST_LISTED]
        read = [await self._avatar(avatar_id) for avatar_id in avatars]  # a list may be without pending looks
        return [look for avatar in read if avatar is not None for look in avatar.looks]

    async def _unclaimed(self, looks: Iterable[LookDetails]) -> list[LookRef]:
        """Those of the looks that were made for no intent."""
        refs = [look.ref for look in looks]
        claimed = {
            avatar_id: await self._store.claimed_looks(avatar_id)
            for avatar_id in dict.fromkeys(ref.avatar_id for ref in refs)
        }
        return [ref for ref in refs if ref.look_id not in claimed[ref.avatar_id]]

    async def _avatar(self, avatar_id: str) -> Avatar | None:
        if avatar_id not in self._avatars:
            self._avatars[avatar_id] = None
            with suppress(HooxError):
                self._avatars[avatar_id] = await self._reads.avatar(avatar_id)
        return self._avatars[avatar_id]

    async def _list(self, *, only_public: bool) -> Sequence[LookDetails]:
        if only_public not in self._lists:
            self._lists[only_public] = ()
            with suppress(HooxError):
                self._lists[only_public] = await self._reads.looks({"only_public": only_public or None})
        return self._lists[only_public]
