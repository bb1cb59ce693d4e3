"""One open session: rate limiter, submissions, polling, deliveries, unknowns, and the public `HooxSession`.

It acts on what `_core` decides, and may import `_api`, `_core`, `_io`, `events`, `webhooks` and `errors`.

The way of a submission:

1. `HooxSession.submit` checks the request and waits for an unsettled source.
2. `Submitter` locks the key, reads the store and decides what to send.
3. `SubmitAttempt`, in a task of the session, reserves the credits and takes a permit.
4. Once it is connected, SENDING is committed, then the POST goes out.
5. The outcome is recorded, the look is polled from there, and `Deliveries.after_sending` applies what was
   delivered meanwhile. `submit` describes steps 2 to 5 in detail.

The way of an awaited look:

1. ``await job`` loads what the store may know, and adds a waiter. The scheduler tracks the look.
2. `Poller` waits for a permit until a request is worth one.
3. `PollScheduler` chooses the request, mostly one for a whole avatar.
4. Its answer updates all looks that it shows.
5. `JobRegistry` writes their ends to their rows, which has hooks called, and wakes the waiters. While the
   store fails, waiters have the look after 5 s, and hooks once it is written.
"""

from .session import HooxSession, runtime_of, unopened_of

__all__ = ["HooxSession", "runtime_of", "unopened_of"]
