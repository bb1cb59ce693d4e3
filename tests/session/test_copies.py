"""Edits of public avatars, which the API copies into the workspace: which look is whose."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from delivery_kit import PICTURE, Stage, stage
from internals_kit import Delivery, IntentState
from session_kit import edit, intent_of, made, prompt, sends

from hoox_async import Evidence, LookRef, LookStatus
from hoox_async.errors import InvalidRequest
from hoox_async.sandbox import AnswerForms, Space

pytestmark = pytest.mark.virtual_time
ADA = LookRef("avtr_public_ada", "look_public_ada")
each_form = pytest.mark.parametrize("copies", ["none", "one", "each"])


def space_with(copies: Any, **options: Any) -> Space:
    return Space(rng=Random(1), requests_per_minute=None, forms=AnswerForms(copies=copies), **options)


async def deliver(on: Stage, attempt: str, look: LookRef, form: str) -> None:
    """The delivery of a ready look, and time for what it makes necessary."""
    on.space.settle(look, "ready", asyncio.get_running_loop().time())
    avatar_id = look.avatar_id if form == "new" else None
    assert await on.hub(attempt, Delivery(look.look_id, LookStatus.READY, avatar_id, PICTURE))
    await asyncio.sleep(30)


@each_form
async def test_the_look_is_followed_under_the_answered_ref(copies: Any) -> None:
    """The edit's job and its look have the ref of the answer, whose avatar may be a copy."""
    space = space_with(copies)
    async with stage(space) as on:
        job = await on.session.submit(edit(ADA), key="k")
        assert job.ref == on.last
        space.settle(job.ref, "ready", asyncio.get_running_loop().time())
        assert (await job).ref == on.last


@each_form
@pytest.mark.parametrize("form", ["new", "old"])
@pytest.mark.parametrize("edited_before", [False, True])
async def test_a_delivery_confirms_a_lost_edit_of_a_public_avatar(
    copies: Any, form: str, edited_before: bool
) -> None:
    """Its look gets the ref that it has in the API. Without an avatar a delivery proves a look's id only."""
    async with stage(space_with(copies)) as on:
        if edited_before:
            await on.session.submit(edit(ADA, "before"), key="before")
        attempt = await on.lose(edit(ADA), "k")
        await deliver(on, attempt, on.last, form)
        intent = await intent_of(on.session, "k")
        assert (intent.ref, intent.evidence) == (on.last, Evidence.WEBHOOK)
        assert intent.state is IntentState.READY
        assert (await on.session.status(on.last)).status is LookStatus.READY


async def test_known_copies_are_asked_before_the_list() -> None:
    """A look that is in a known copy of the avatar is found there, also while the list does not have it."""
    async with stage(space_with("one")) as on:
        await on.session.submit(edit(ADA, "before"), key="before")
        attempt = await on.lose(edit(ADA), "k")
        assert await on.hub(attempt, Delivery(on.last.look_id, LookStatus.PROCESSING, None))
        await asyncio.sleep(10)
        assert (await intent_of(on.session, "k")).ref == on.last
        assert sends(on.space, "list") == 0


@pytest.mark.default_forms
async def test_an_old_form_that_is_found_nowhere_writes_no_ref() -> None:
    """As long as the look's avatar is not found, the edit stays unknown, and a person can name the look."""
    async with stage(space_with("each")) as on:
        attempt = await on.lose(edit(ADA), "k")
        look = on.last
        assert await on.hub(attempt, Delivery(look.look_id, LookStatus.FAILED, None, None, "X", "no luck"))
        await asyncio.sleep(600)
        intent = await intent_of(on.session, "k")
        assert (intent.state, intent.ref) == (IntentState.UNKNOWN, None)
        await on.session.resolve("k", look)
        assert (await intent_of(on.session, "k")).ref == look


@pytest.mark.parametrize(
    ("copies", "edited_before", "found_in"),
    [
        ("none", False, "avatar"),
        ("one", True, "copies"),
        ("one", False, "name"),
        ("each", True, "name"),
    ],
)
async def test_candidates_come_from_the_avatar_its_copies_or_its_name(
    copies: Any, edited_before: bool, found_in: str
) -> None:
    """`candidates_from` says where they were found; other people's public looks are none of them."""
    async with stage(space_with(copies)) as on:
        if edited_before:
            for n in range(7 if copies == "each" else 1):
                await on.session.submit(edit(ADA, f"before {n}"), key=f"before {n}")
        await on.lose(edit(ADA), "k")
        on.space.settle(on.last, "ready", asyncio.get_running_loop().time())
        [unknown] = await on.session.unknowns()
        assert on.last in unknown.candidates
        assert unknown.candidates_from == found_in
        assert not any("public" in ref.look_id for ref in unknown.candidates)
        assert sends(on.space, "list") <= 2
        await on.session.resolve("k", on.last)
        assert (await intent_of(on.session, "k")).ref == on.last


async def test_only_an_avatar_of_the_store_is_certainly_not_copied() -> None:
    """`resolve` takes a look of another avatar only where no intent of this store created the edited one."""
    async with stage(space_with("one")) as on:
        own = (await on.session.submit(prompt(), key="own")).ref
        on.space.settle(own, "ready", asyncio.get_running_loop().time())
        copied = (await on.session.submit(edit(ADA), key="copied")).ref
        on.space.settle(copied, "ready", asyncio.get_running_loop().time())
        stranger, other = made(on.space), made(on.space)
        for source, may_be_public in ((own, False), (copied, False), (stranger, True), (ADA, True)):
            key = str(source)
            await on.lose(edit(source), key)
            if may_be_public:
                await on.session.resolve(key, other)
                other = made(on.space)
                continue
            with pytest.raises(InvalidRequest, match="which was edited"):
                await on.session.resolve(key, other)


async def test_a_corrected_look_is_offered_to_other_edits_of_the_copied_avatar() -> None:
    """A look of a copy that a person took back may be that of another lost edit of the public avatar."""
    async with stage(space_with("one")) as on:
        await on.lose(edit(ADA, "first"), "first")
        first = on.last
        await on.lose(edit(ADA, "second"), "second")
        second = on.last
        await on.session.resolve("first", second)
        await on.session.resolve("first", first)
        assert second in (await intent_of(on.session, "second")).candidates
