"""The watchlist: adds, drops, and which request comes next."""

from __future__ import annotations

from collections.abc import Hashable

from ...errors import AuthenticationError, HooxError, PermissionDenied
from ..codec import look_from_details
from ..models import Avatar, Look, LookRef
from ._entries import Ask, AskKind, Entry, Place
from ._failures import back_off, breaks_group, go_alone, refuses_look
from ._groups import Group, Strays
from ._ladder import Unit
from ._merge import News
from ._waiting import Waiting

PRICE = 80.0  # look-seconds; measured on 1,000 edits of 20 avatars: makespan against lag
IDLE_PRICE = PRICE / 256
_EXTRA_TRIES, _EXTRA_PAUSE = 2, 2.0  # seconds
_USUAL_LIMIT = 100
_LATE_TO_LIST = 15.0  # an avatar's answer may lack a look that is younger (seconds)


class Watchlist(Waiting):
    """Looks that somebody waits for. Decides which status request to send next, and when.

    All times are the loop's, in seconds, and come in as arguments. ``limit`` is the quota in requests
    a minute: with nothing to submit, requests that promise little take half of it at most. ``price``
    is what a request must be worth, in look-seconds, while submissions wait for slots, and ``idle_price``
    while none do. Both are of a quota of 100; the slots of a larger one are worth less. A decision
    takes O(log n) steps: it brings some avatars up to now, 32 at most, however many have something to tell.
    """

    def __init__(self, *, limit: int = 100, price: float = PRICE, idle_price: float = IDLE_PRICE) -> None:
        slot = _USUAL_LIMIT / max(limit, 1)
        super().__init__(limit, price * slot, idle_price * slot)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, ref: object) -> bool:
        return ref in self._entries

    def knows_avatar(self, avatar_id: str) -> bool:
        """Whether a look of this avatar is watched."""
        return avatar_id in self._groups

    def expected(self, kind: Hashable) -> float:
        """The median of how long looks of the kind take, in seconds, as far as is known."""
        return self.durations.expected(kind)

    def add(
        self, ref: LookRef, kind: Hashable, accepted_at: float, now: float, *, pushed: bool = False
    ) -> None:
        """Watch a look. ``kind`` is what durations are learned by; ``accepted_at`` may lie days back.

        ``pushed``: a webhook will probably tell, so asking is worth less until that is late. For a look
        that is watched already only this changes.
        """
        entry = self._entries.get(ref)
        if entry is None:
            model = self.durations.of(kind)
            entry = Entry(ref, model, min(accepted_at, now), expects_webhook=pushed)
            self._entries[ref] = entry
            group = self._groups.get(ref.avatar_id)
            if group is None:
                group = self._groups[ref.avatar_id] = Group(ref.avatar_id, self._losses)
            self._admit(group, entry, now)
        elif entry.expects_webhook is not pushed:
            entry.expects_webhook = pushed
            group = self._groups[ref.avatar_id]
            group.bins = None
            if group.air is None:
                self._place(group, now)

    def drop(self, ref: LookRef) -> None:
        """Watch a look no more. Does nothing if it is not watched."""
        entry = self._entries.get(ref)
        if entry is not None:
            self._remove(entry)

    def heard(self, look: Look, now: float, *, delivered: bool = False) -> News | None:
        """A webhook (``delivered``) or a request of someone's own told of a look. None if that is no news."""
        entry = self._entries.get(look.ref)
        if entry is None:
            return None
        self._failures.told(look.ref)
        group = self._groups[look.ref.avatar_id]
        if delivered and look.status.settled:
            self._note_delivery(entry)
        # what a delivery tells has only just happened
        not_yet = now if delivered else group.last_told(entry)
        news = self._tell(group, entry, look, not_yet, now)
        if group.air is None:
            self._place(group, now)  # without this look, asking is worth less
        return news

    def delivered_late(self, ref: LookRef) -> None:
        """A webhook told of a look that had been found done by asking: its delivery was not lost."""
        self._losses.came_late(ref)

    def due(self, now: float, busy: bool, pace: float | None = None) -> float:
        """When a status request is worth a slot: now or earlier, later, or infinity for not at all.

        ``busy``: paid submissions wait for slots. ``pace``: seconds between two requests, where others
        leave us less than the whole quota: then what slots are left is dearer. Ask again at that time
        before a slot is taken, and after each call that changes something.
        """
        self._keep_pace(pace)
        return self._decide(now, busy).at

    def take(self, now: float, busy: bool) -> Ask | None:
        """The request to send now, if one is worth it, at the pace that `due` was told last.

        The avatar is left alone until its answer is told.
        """
        at, chosen = self._choose(now, busy)  # `due` has brought up to now what it had to
        if at > now:
            at, chosen = self._decide(now, busy)
        if at > now or chosen is None:
            return None
        if isinstance(chosen, Entry):
            group = self._groups[chosen.ref.avatar_id]
            ask = Ask(AskKind.STATUS, group.avatar_id, chosen.ref.look_id, now)
        else:
            if busy or not self._yields(chosen, now):
                self._spend(now, busy)
            group, ask = self._ask_of(chosen, now)
        group.air = ask
        self._unplace(group)
        return ask

    def answered_avatar(self, ask: Ask, avatar: Avatar, now: float) -> list[News]:
        """The answer to a GROUP request. Returns what is news of the looks that are watched."""
        news = self._drain()
        at = self._read_at(ask, now)
        group = self._land(ask)
        self._failures.answered(ask.avatar_id)
        if group is None:
            return news
        group.failures = 0
        expected, seen = len(group.entries), 0
        for details in avatar.looks:
            entry = self._entries.get(details.ref)
            look = look_from_details(details) if entry is not None else None
            if entry is None or look is None:
                continue
            seen += entry.place is Place.GROUPED
            self._failures.told(look.ref)
            told = self._found(group, entry, look, at)
            if told is not None:
                news.append(told)
        if seen < expected:
            self._isolate_lacking(group, avatar, at)
        elif not group.strays:
            group.lone_times = 0
        group.told = max(group.told, at)
        group.bins = None
        self._place(group, now)
        return news

    def answered_look(self, ask: Ask, look: Look, now: float) -> list[News]:
        """The answer to a STATUS request. Returns what is news."""
        news = self._drain()
        at = self._read_at(ask, now)
        group = self._land(ask)
        self._failures.answered(ask.avatar_id)
        entry = self._asked(ask)
        if group is None:
            return news
        group.failures = 0
        if entry is not None and entry.ref == look.ref:
            self._failures.told(look.ref)
            was_settled = entry.place is Place.SETTLED
            told = self._found(group, entry, look, at)
            if was_settled and entry.ref in self._entries:
                if look.status.settled:
                    told = self._give_up_on_extra(entry)
                else:
                    self._retry_extra(entry, now)  # the answer lags behind what was told before
            if told is not None:
                news.append(told)
            if entry.ref in self._entries:
                _note_told(group, entry, at)
        self._place(group, now)
        return [*news, *self._drain()]

    def failed(self, ask: Ask, error: HooxError, now: float) -> list[tuple[LookRef, HooxError]]:
        """A request failed. Returns the looks whose watch ends with this error.

        Those are looks that the API keeps refusing (3 times over 30 s), and all of an avatar, or all
        there are, when access or the API key is (5 times over 60 s). Any other failure makes the
        watchlist wait and try again. `leftovers` tells of settled looks that are given up on.
        """
        group = self._land(ask)
        if isinstance(error, AuthenticationError):
            ended = list(self._entries.values()) if self._failures.key_refused(now) else []
        elif group is None:
            return []
        else:
            ended = self._failed_group(group, ask, error, now)
        entry = self._asked(ask)
        if entry is not None and entry.place is Place.SETTLED and entry not in ended:
            self._retry_extra(entry, now)
        if group is not None:
            self._place(group, now)
        return self._end(ended, error)

    def leftovers(self) -> list[News]:
        """News that `failed` left: settled looks whose picture or reason could not be had.

        What is not taken here comes with the next answer.
        """
        return self._drain()

    def _note_delivery(self, entry: Entry) -> None:
        if entry.place is Place.SETTLED:
            self._losses.came_late(entry.ref)
        elif entry.expects_webhook:
            self._losses.came()

    def _found(self, group: Group, entry: Entry, look: Look, at: float) -> News | None:
        """A status request told of the look."""
        if entry.expects_webhook and look.status.settled and entry.place is not Place.SETTLED:
            self._losses.found(entry.ref)
        return self._tell(group, entry, look, group.last_told(entry), at)

    def _ask_of(self, unit: Unit, now: float) -> tuple[Group, Ask]:
        if isinstance(unit, Strays):
            group, head = unit.group, unit.head()
            if head is not None and (group.lone_until > now or len(unit) + len(group.entries) < 2):
                return group, Ask(AskKind.STATUS, group.avatar_id, head.ref.look_id, now)
        else:
            assert isinstance(unit, Group)
            group = unit
        if group.strays is not None and group.lone_until <= now:
            self._ladder.remove(group.strays)
            group.gather()
        return group, group.ask(now)

    def _land(self, ask: Ask) -> Group | None:
        group = self._groups.get(ask.avatar_id)
        if group is not None and group.air is ask:
            group.air = None
        return group

    def _read_at(self, ask: Ask, now: float) -> float:
        """When the API looked, as near as can be known: half way between asking and being answered."""
        group = self._groups.get(ask.avatar_id)
        return 0.5 * (ask.at + now) if group is not None and group.air is ask else now

    def _asked(self, ask: Ask) -> Entry | None:
        return None if ask.look_id is None else self._entries.get(LookRef(ask.avatar_id, ask.look_id))

    def _isolate_lacking(self, group: Group, avatar: Avatar, at: float) -> None:
        listed = {details.ref.look_id for details in avatar.looks if details.status is not None}
        lacking = [
            entry
            for entry in group.entries
            if entry.ref.look_id not in listed and at - entry.accepted >= _LATE_TO_LIST
        ]
        if lacking:
            group.isolate(lacking)
            go_alone(group, at)

    def _failed_group(self, group: Group, ask: Ask, error: HooxError, now: float) -> list[Entry]:
        if breaks_group(group, ask, error):
            group.isolate(list(group.entries)).all_of_them = True
            go_alone(group, now)
            return []
        if ask.kind is AskKind.STATUS and isinstance(error, PermissionDenied):
            lasting = self._failures.avatar_denied(group, now)
            mine = (entry for entry in self._entries.values() if entry.ref.avatar_id == group.avatar_id)
            return list(mine) if lasting else []
        entry = self._asked(ask)
        if entry is not None and refuses_look(error):
            lasting = self._failures.look_refused(group, entry.ref, now)
            return [entry] if lasting else []
        back_off(group, error, now)
        return []

    def _retry_extra(self, entry: Entry, now: float) -> None:
        tries = self._extra_failures.get(entry.ref, 0) + 1
        self._extra_failures[entry.ref] = tries
        if tries >= _EXTRA_TRIES:
            self._left.append(self._give_up_on_extra(entry))
        else:
            self._lacks(self._groups[entry.ref.avatar_id], entry, now + _EXTRA_PAUSE)

    def _end(self, ended: list[Entry], error: HooxError) -> list[tuple[LookRef, HooxError]]:
        lost: list[tuple[LookRef, HooxError]] = []
        for entry in ended:
            if entry.place is Place.SETTLED:
                self._left.append(self._give_up_on_extra(entry))
            else:
                self._remove(entry)
                lost.append((entry.ref, error))
        return lost

    def _drain(self) -> list[News]:
        left, self._left = self._left, []
        return left


def _note_told(group: Group, entry: Entry, at: float) -> None:
    """A look that is not settled was told of by itself."""
    if entry.place is Place.STRAY and group.strays is not None:
        group.strays.insert(entry, at)
    elif entry.place is Place.GROUPED and entry.index >= 0 and len(group.entries) <= 8:
        others = (other.accepted for other in group.entries if other is not entry)
        group.told = max(group.told, min(at, min(others, default=at)))
