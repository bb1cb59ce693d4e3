"""One request's place in the quota, from the gate that gave it, and a caller's way to get one."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._gate import Gate


class Slot:
    """Leave to send one request. Use it as a context manager around the sending.

    A paid request calls `stamp` when its headers go out; it counts from then on. A read says
    ``with slot.read():`` and counts from now until a minute after the end of the block. A slot of
    which neither was said is given back and counts nothing.
    """

    __slots__ = ("_gate", "_id", "_state", "_taken_at", "sent_at")

    def __init__(self, gate: Gate, slot_id: int) -> None:
        self._gate = gate
        self._id = slot_id
        self._state = "taken"
        self._taken_at = gate.clock.now()
        self.sent_at: float | None = None
        """The loop's time at which the request went out; None until then."""

    @property
    def given_back(self) -> bool:
        """Whether it has ended and nothing was sent."""
        return self._state == "over" and self.sent_at is None

    def is_stale(self, longest: float) -> bool:
        """Whether a new slot must be taken: it was held for longer than that, or all has paused since."""
        gate = self._gate
        held = gate.clock.now() - self._taken_at
        return held > longest or gate.checking or gate.window.is_overtaken(self._id)

    def stamp(self) -> None:
        """The headers of a paid request go out now. Said again, it changes nothing."""
        if self._state == "taken":
            self._state = "sent"
            with self._gate.quota.lock:
                self.sent_at = self._gate.clock.now()
                self._gate.window.stamp(self._id, self.sent_at)
            self._gate.slots_changed()

    def read(self) -> Slot:
        """A read goes out now; gives the slot itself. Said again, it changes nothing."""
        if self._state == "taken":
            self._state = "reading"
            with self._gate.quota.lock:
                self.sent_at = self._gate.clock.now()
                self._gate.window.read(self._id, self.sent_at)
        return self

    def accepted(self) -> None:
        """Its request was answered with anything but a 429."""
        self._gate.window.accepted(self._gate.clock.now(), self._id)

    def refused(self, seconds: float | None) -> float:
        """Its request was answered 429; for how many seconds nothing goes now."""
        return self._gate.window.pause(self._gate.clock.now(), seconds, self._id)

    def give_back(self) -> None:
        """Nothing was sent, for certain: the slot counts nothing. A stamped one counts all the same."""
        if self._state in ("taken", "reading"):
            self._state = "over"
            with self._gate.quota.lock:
                self._gate.window.give_back(self._id)
            self._gate.slots_changed()

    def __enter__(self) -> Slot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gate.last_sent_at = self.sent_at
        if self._state in ("sent", "reading"):
            self._state = "over"
            with self._gate.quota.lock:
                self._gate.window.end(self._id, self._gate.clock.now())
            self._gate.slots_changed()
        else:
            self.give_back()


class OwnSlots:
    """Slots for one caller's submission: each call gives one, all within ``max_wait`` seconds from now on.

    ``max_wait=None``: without an end.
    """

    __slots__ = ("_gate", "_until", "since")

    def __init__(self, gate: Gate, max_wait: float | None) -> None:
        self._gate = gate
        self.since = gate.clock.now()
        self._until = None if max_wait is None else self.since + max_wait

    def left(self) -> float | None:
        """The seconds that are left; None without an end."""
        return None if self._until is None else max(0.0, self._until - self._gate.clock.now())

    async def __call__(self) -> Slot:
        """A slot. Raises as `Gate.own` does, and `NotSent` when it takes longer than is left."""
        return await self._gate.own(self.left(), since=self.since)
