"""For tests of programs that use this library: a pytest plugin, virtual time, and recorded answers.

`virtual_time` uses asyncio and anyio only, `recording_transport` the sessions' transport, the plugin also
the public door and the sandbox.

**The plugin** is installed with the package, and pytest loads it by itself. A test in ten lines::

    from hoox_async import PromptAvatar

    async def make_host(session, prompt):
        return await session.run(PromptAvatar(prompt))

    async def test_a_host_is_paid_for_once(hoox_session, hoox_sandbox):
        look = await make_host(hoox_session, "a friendly host")
        assert look.thumbnail_url
        assert hoox_sandbox.credits_spent == 2

- ``hoox_sandbox``: a fresh `hoox_async.sandbox.Sandbox` in a thread of its own, so that a test client
  which blocks its loop works too: give ``.base_url`` and ``.api_key`` to the program under test. The marker
  ``@pytest.mark.hoox_sandbox(failures=0.5)`` gives it options.
- ``hoox_session``: an open session on it, for async tests of pytest-asyncio (both modes) or anyio.
- Each attempt to reach the production host from the tests' process, with any client, fails with an error that
  says so, unless pytest is run with ``--hoox-live``. Mocks that need no connection work. Processes that
  tests start are not blocked: give them no API key.

**Hours in milliseconds.** `VirtualTimeLoop` jumps to the next timer, so that the quota, the waiting and the
time-outs of a long batch pass at once. It does not work with sockets; a session uses the fake workspace in
process::

    from hoox_async.sandbox import InProcessTransport, Space

    async def a_day_of_looks():
        space = Space(requests_per_minute=100, failures=0.02)
        async with HooxSession(space.api_key, transport=InProcessTransport(space)) as session:
            report = await BatchRunner(session).run(requests)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(a_day_of_looks())

``space.ledger`` lists the charges and ``space.requests`` the requests; ``space.faults.fail_next("edit",
Fault.DROP_AFTER)`` makes the next edit fail. The docstring of `VirtualTimeLoop` shows its use with
pytest-asyncio.

**What the API really answered.** A session with ``transport=RecordingTransport(api_key)`` works as any other
one, and ``transport.answers`` holds each answer with its headers and its whole body.
"""

from __future__ import annotations

from .recording_transport import RecordedAnswer, RecordingTransport
from .virtual_time import VirtualTimeLoop

__all__ = ["RecordedAnswer", "RecordingTransport", "VirtualTimeLoop"]
