"""Waiting of an edit for its source look, where that is known not to be done yet."""

from __future__ import annotations

from ..._api.models import Look, LookRef, LookStatus
from ..._core.intents.intent import IntentState, refuses_edits
from ..._io.clock import Clock
from ..._io.ledger.ledger import Ledger
from ...errors import HooxError, NotSent, SessionClosed, WaitTimeout
from ..intents import Intents, within
from ..jobs import JobRegistry, LookJob

_NOT_SENT = frozenset({IntentState.PLANNED, IntentState.REJECTED})


async def await_source(
    clock: Clock,
    store: Ledger,
    intents: Intents,
    registry: JobRegistry,
    ref: LookRef,
    key: str | None,
    max_wait: float | None,
) -> float | None:
    """Wait until a look that is to be edited is READY. Returns the seconds that are left of ``max_wait``.

    Returns at once for a look that neither the session nor its store knows to be unsettled, and for a
    ``key`` under which nothing is to be sent. ``max_wait=None`` waits for ``Timeouts.wait`` at most.
    No credits, permit or lock are held meanwhile. Raises `NotSent` where the time runs out or the source
    could not be made, `StoreError` and `SessionClosed`.
    """
    began = clock.now()
    job = await within(max_wait, _unsettled_source(store, intents, registry, ref, key))
    left = None if max_wait is None else max(0.0, max_wait - (clock.now() - began))
    if job is None:
        return left
    look = await _settled(registry, job, registry.default_timeout if left is None else left)
    if look.status is LookStatus.FAILED:
        raise NotSent(f"the source {ref} could not be made; the edit was not sent")
    return None if max_wait is None else max(0.0, max_wait - (clock.now() - began))


async def _unsettled_source(
    store: Ledger, intents: Intents, registry: JobRegistry, ref: LookRef, key: str | None
) -> LookJob | None:
    """The source's job, where its state is known and not READY, and something is to be sent under the key."""
    if key is not None:
        stored = await intents.stored(key)
        if stored is not None and stored.state not in _NOT_SENT:
            return None
    if registry.is_unsettled(ref):
        return registry.job(ref)
    intent = await store.by_ref(ref)
    return registry.job_of(intent) if intent is not None and refuses_edits(intent) else None


async def _settled(registry: JobRegistry, job: LookJob, seconds: float) -> Look:
    try:
        return await registry.settled(job, seconds)
    except WaitTimeout:
        message = f"the source {job.ref} was not done after {seconds:g} s; the edit was not sent"
        raise NotSent(message) from None
    except SessionClosed:
        raise SessionClosed("the session was closed; the edit was not sent") from None
    except HooxError as error:  # that is about the source, which was paid for; nothing was sent for the edit
        raise NotSent(f"the source {job.ref} could not be awaited; the edit was not sent: {error}") from error
