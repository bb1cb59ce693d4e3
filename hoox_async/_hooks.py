"""Tells the session's hooks what happens. A hook that raises is logged and harms nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from .errors import ConfigurationError
from .events import Event, Hook

_log = logging.getLogger("hoox_async")


class Hooks:
    """Calls each hook with each event, in the order in which the hooks were given."""

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        try:
            self.given: tuple[Hook, ...] = tuple(hooks)
            """The hooks. Where there are none, an event of the busiest paths need not even be made."""
        except TypeError:
            raise ConfigurationError("hooks: expected a list of callables") from None
        for hook in self.given:
            if not callable(hook):
                raise ConfigurationError(f"hooks: {type(hook).__name__} is not callable")

    def tell(self, event: Event) -> None:
        """Tell every hook."""
        for hook in self.given:
            try:
                hook(event)
            except (Exception, asyncio.CancelledError):  # hooks don't await: it is no cancellation of ours
                _log.exception("a hook raised at %s", type(event).__name__)
