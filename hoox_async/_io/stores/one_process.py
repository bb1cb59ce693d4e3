"""What a store answers to questions about other processes when it belongs to one."""

from __future__ import annotations

from collections.abc import Callable

from ..._core.intents.intent import Intent
from ..protocols import Coordination, PollDuty


class OneProcessStore:
    """The part of `Store` that is about sharing, for a store that one process at a time has open."""

    @property
    def is_shared(self) -> bool:
        """False: one process at a time has it open."""
        return False

    @property
    def epoch(self) -> None:
        """None: it goes by this machine's UTC."""
        return None

    @property
    def shared_permits(self) -> None:
        """None: the process counts its requests itself."""
        return None

    def on_changed_elsewhere(self, listener: Callable[[Intent], None]) -> Callable[[], None]:  # noqa: ARG002
        """Never call the listener: no other process changes the store."""
        return _do_nothing

    def coordinate(self, coordination: Coordination) -> None:
        """Let this process poll all looks: there is no other."""
        coordination.on_duty(PollDuty.ALL)

    def confirm_notified(self, key: str) -> None:
        """Do nothing: no other process could notify its hooks."""

    async def recently_settled(self, count: int) -> list[Intent]:  # noqa: ARG002
        """None: the process has learned itself how long looks take."""
        return []


def _do_nothing() -> None:
    """End calls that were never going to be made."""
