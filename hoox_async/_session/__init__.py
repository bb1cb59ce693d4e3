"""One open session: rate limiter, submissions, polling, deliveries, unknowns, and the public `HooxSession`.

It acts on what `_core` decides, and may import `_api`, `_core`, `_io`, `events`, `webhooks` and `errors`.
"""

from .session import HooxSession, runtime_of

__all__ = ["HooxSession", "runtime_of"]
