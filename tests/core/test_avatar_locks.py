"""The avatars' locks: one edit of an avatar at a time, none while a lost one is searched for."""

from __future__ import annotations

import pytest

from hoox_async._core.reconciliation.avatar_locks import AvatarLocked, AvatarLocks


def test_a_lock_is_held_by_one_edit_at_a_time() -> None:
    """A second edit of the same avatar must not acquire the lock; an edit of another avatar may."""
    locks = AvatarLocks()
    locks.acquire("a")
    assert not locks.can_acquire("a")
    assert locks.can_acquire("b")
    with pytest.raises(AvatarLocked, match="'a': an edit is outstanding"):
        locks.acquire("a")
    locks.release("a")
    assert locks.can_acquire("a")
    locks.acquire("a")


def test_a_lost_edit_closes_the_lock_until_its_search_ends() -> None:
    """A closed lock cannot be acquired; it can again after `reopen`."""
    locks = AvatarLocks()
    locks.acquire("a")
    locks.close("a")
    with pytest.raises(AvatarLocked, match="'a': a lost edit is searched for"):
        locks.acquire("a")
    locks.reopen("a")
    assert locks.can_acquire("a")


def test_a_lock_with_two_lost_edits_opens_after_both_searches() -> None:
    """The lost edits of an earlier process are counted one by one; a `reopen` too many does no harm."""
    locks = AvatarLocks()
    locks.close("a")
    locks.close("a")
    assert locks.lost_edits("a") == 2
    locks.reopen("a")
    assert not locks.can_acquire("a")
    locks.reopen("a")
    assert locks.can_acquire("a")
    assert locks.lost_edits("a") == 0
    locks.reopen("a")
    assert locks.can_acquire("a")


@pytest.mark.parametrize(
    ("before", "after", "unchanged"),
    [
        ([], [], True),
        (["acquire"], [], False),
        (["acquire"], ["release"], False),
        ([], ["acquire"], False),
        ([], ["acquire", "release"], False),
        (["acquire", "release"], [], True),
        (["acquire", "close"], [], True),
        (["acquire", "close"], ["reopen", "acquire", "release"], False),
        (["acquire", "close"], ["reopen"], True),
    ],
)
def test_a_snapshot_tells_whether_an_edit_was_outstanding_since(
    before: list[str], after: list[str], unchanged: bool
) -> None:
    """An edit that was outstanding at any time since the snapshot counts, also if it has ended by now."""
    locks = AvatarLocks()
    for method in before:
        getattr(locks, method)("a")
    snapshot = locks.snapshot("a")
    for method in after:
        getattr(locks, method)("a")
    assert locks.unchanged_since("a", snapshot) is unchanged
    assert locks.unchanged_since("b", locks.snapshot("b"))
