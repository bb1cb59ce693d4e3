"""A lost edit of an avatar from several images is never taken for a look that one of the images made."""

from __future__ import annotations

from typing import Any

import pytest
from batch_kit import lose, opened, space_of

from hoox_async import ImageAvatar, LookEdit
from hoox_async.sandbox import AnswerForms, Fault

pytestmark = pytest.mark.virtual_time

IMAGES = ["https://images.test/front.jpg", "https://images.test/left.jpg"]


@pytest.mark.parametrize("looks", ["one", "each"])
async def test_a_look_of_an_image_is_not_adopted(looks: Any) -> None:
    """Whether the API makes one look of all images or one of each: an edit that was never received, of an
    avatar that this session made, stays unknown, and no look is claimed for it."""
    space = space_of(forms=AnswerForms(looks_of_images=looks))
    async with opened(space, exclusive=True) as session:
        source = await session.run(ImageAvatar(IMAGES))
        await lose(session, space, source.ref, "lost", Fault.DROP_BEFORE)
        await session.submit(LookEdit(source, "next"))  # it needs the avatar, which is searched first
        (unknown,) = await session.unknowns()
    assert unknown.candidates == ()


async def test_an_avatar_from_one_image_needs_no_baseline() -> None:
    """An avatar from one image has one look: no request is spent on its baseline."""
    space = space_of()
    async with opened(space, exclusive=True) as session:
        source = await session.run(ImageAvatar(IMAGES[:1]))
        await session.submit(LookEdit(source, "a"))
    assert [record.endpoint for record in space.requests].count("avatar") == 0
