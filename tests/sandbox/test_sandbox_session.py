"""The library's own session on the sandbox."""

from __future__ import annotations

from typing import Any

import pytest

from hoox_async import PromptAvatar
from hoox_async.errors import OutcomeUnknown
from hoox_async.sandbox import Fault, Sandbox

pytestmark = pytest.mark.both_loops


async def test_a_session_of_the_sandbox_makes_a_look() -> None:
    """A sandbox's session has its key, base URL and quota, and makes a look with one charge."""
    async with Sandbox() as sandbox, sandbox.session() as session:
        look = await session.run(PromptAvatar("a friendly host", name="Alex"))
        assert look.ref == sandbox.ledger[0].ref
        assert session.quota.limit == 6000
        assert [charge.credits for charge in sandbox.ledger] == [2]


@pytest.mark.parametrize(
    "fault", [Fault.DROP_AFTER, Fault.ERROR_500_AFTER, Fault.TRUNCATED], ids=lambda f: f.name
)
async def test_a_charged_request_without_a_readable_response_is_unknown(fault: Fault) -> None:
    """The session sends it once, and reports its outcome as unknown."""
    options: dict[str, Any] = {"requests_per_minute": 600}
    async with Sandbox() as sandbox, sandbox.session(**options) as session:
        sandbox.fail_next("create", fault)
        with pytest.raises(OutcomeUnknown):
            await session.submit(PromptAvatar("a friendly host"))
        assert [record.endpoint for record in sandbox.requests].count("create") == 1
        assert len(sandbox.ledger) == 1
