"""One open session: rate limiter, submissions, polling, deliveries, unknowns, and the public `HooxSession`.

It acts on what `_core` decides, and may import `_api`, `_core`, `_io`, `events`, `webhooks` and `errors`.

The way of a submission:

1. `HooxSession.submit` checks the request and waits for an unsettled source.
2. `Submitter` locks the key, reads the store and decides what to send.
3. `SubmitAttempt`, in a task of the session, reserves the credits and takes a permit.
4. SENDING is committed, then the POST goes out.
5. The outcome is recorded, and the look is polled from there. `submit` describes steps 2 to 5 in detail.

The way of an awaited look:

1. ``await job`` adds a waiter, and the scheduler tracks the look.
2. `Poller` waits for a permit until a request is worth one.
3. `PollScheduler` chooses the request, mostly one for a whole avatar.
4. Its answer updates all looks that it shows.
5. `JobRegistry` settles them in the store, notifies the hooks and wakes the waiters.
"""

from .session import HooxSession, runtime_of, unopened_of

__all__ = ["HooxSession", "runtime_of", "unopened_of"]
