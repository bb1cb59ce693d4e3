"""Lost edits of a public avatar over real sockets: a delivery in either form leads to the look's real ref."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from hoox_async import LookEdit, OutcomeUnknown, PromptAvatar
from hoox_async.events import Event, LookSettled
from hoox_async.sandbox import AnswerForms, DeliveryOptions, Fault, Sandbox
from hoox_async.webhooks import WebhookHub

ADA = "avtr_public_ada:look_public_ada"


@pytest.mark.parametrize("form", ["new", "old"])
@pytest.mark.parametrize("copies", ["one", "each"])
async def test_a_lost_edit_of_a_public_avatar_is_confirmed_where_it_is(copies: Any, form: Any) -> None:
    """Its job, made again under the same key, is ready, and its ref and that of its next edit exist."""
    settled = asyncio.Event()

    def hear(event: Event) -> None:
        if isinstance(event, LookSettled) and event.key == "lost":
            settled.set()

    port = unused_port()
    hub = WebhookHub(f"http://127.0.0.1:{port}/hooks", "a secret that is long enough")
    app = web.Application()
    app.add_routes(hub.aiohttp_routes())
    options: dict[str, Any] = {
        "forms": AnswerForms(copies=copies), "deliveries": DeliveryOptions(form=form), "speed": 4000.0,
    }  # fmt: skip
    async with (
        TestServer(app, port=port),
        Sandbox(**options) as sandbox,
        sandbox.session(webhooks=hub, hooks=[hear], poll="awaited") as session,
    ):
        await session.run(PromptAvatar("somebody else"))
        sandbox.fail_next("edit", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown):
            await session.submit(LookEdit(ADA, "at the sea"), key="lost")
        made = sandbox.ledger[-1].ref
        await asyncio.wait_for(settled.wait(), 30)
        job = await session.submit(LookEdit(ADA, "at the sea"), key="lost")
        assert job.ref == (await job).ref == (await session.status(made)).ref == made
        again = await session.run(LookEdit(job, "at night"))
        assert again.ref.avatar_id == made.avatar_id != ADA.partition(":")[0]
    assert len(sandbox.ledger) == 3
