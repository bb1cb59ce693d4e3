"""When a store of any kind is bound to its API key for good."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from internals_kit import Ledger, MarkUnknown, Reason, Reject, Revert, Transition, Workspace
from store_kit import NOW, WORKSPACE, accept, planned, send

from hoox_async.errors import StoreMismatch

WRONG = Workspace(WORKSPACE.base_url, "hx_live_with_a_typing_error")
REFUSED = Reject(Reason(400, None, "no"), NOW)

FREE: dict[str, Sequence[Transition]] = {
    "nothing sent": (),
    "reverted": (send("att_1"), Revert("att_1")),
    "refused": (send("att_1"), REFUSED),
}
PAID: dict[str, Sequence[Transition]] = {
    "sending": (send("att_1"),),
    "unknown": (send("att_1"), MarkUnknown("no answer")),
    "accepted": (send("att_1"), accept("look_1")),
}


async def life(
    store: Ledger, workspace: Workspace, transitions: Sequence[Transition] = (), *, confirmed: bool
) -> None:
    """One session's life with the store."""
    await store.open(workspace)
    if transitions:
        await store.plan(planned("a"))
        await store.advance("a", *transitions)
    if confirmed:
        store.confirm_key()
        store.confirm_key()
    await store.aclose()


@pytest.mark.parametrize("transitions", FREE.values(), ids=FREE)
async def test_a_wrong_key_is_replaced(closed: Ledger, transitions: Sequence[Transition]) -> None:
    """The right key replaces one that no answer confirmed and under which nothing may have been paid.

    Once it is confirmed, another key is refused.
    """
    await life(closed, WRONG, transitions, confirmed=False)
    await life(closed, WORKSPACE, confirmed=True)
    with pytest.raises(StoreMismatch, match="another API key"):
        await closed.open(WRONG)
    await life(closed, WORKSPACE, confirmed=False)


async def test_the_base_url_is_bound_at_once(closed: Ledger) -> None:
    """Another base URL is refused from the first opening on, also while the key is not confirmed."""
    await life(closed, WRONG, confirmed=False)
    with pytest.raises(StoreMismatch, match="belongs to"):
        await closed.open(Workspace("https://other.example", WRONG.api_key))


@pytest.mark.parametrize("transitions", PAID.values(), ids=PAID)
async def test_what_may_have_been_paid_binds_the_key(
    closed: Ledger, transitions: Sequence[Transition]
) -> None:
    """Where something was paid or may have been, another key is refused though no answer confirmed it."""
    await life(closed, WORKSPACE, transitions, confirmed=False)
    with pytest.raises(StoreMismatch, match="new_key=True"):
        await closed.open(WRONG)
    await life(closed, WORKSPACE, confirmed=False)


@pytest.mark.kinds("memory", "sqlite")
async def test_a_replaced_key_has_to_be_confirmed_again(closed: Ledger) -> None:
    """A key given with ``new_key`` is not bound for good either before an answer confirms it."""
    await life(closed, WORKSPACE, confirmed=True)
    await life(closed, Workspace(WRONG.base_url, WRONG.api_key, new_key=True), confirmed=False)
    await life(closed, WORKSPACE, confirmed=True)
    with pytest.raises(StoreMismatch):
        await closed.open(WRONG)


async def test_confirming_never_raises(closed: Ledger) -> None:
    """`confirm_key` before the opening and after the closing raises nothing."""
    closed.confirm_key()
    await life(closed, WORKSPACE, confirmed=True)
    closed.confirm_key()
