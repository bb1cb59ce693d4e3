"""How the requests of an input get their keys, and how the input is read."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from batch_kit import PICTURE
from hypothesis import given, settings
from hypothesis import strategies as st
from internals_kit import Item

from hoox_async import BatchItem, ImageAvatar, LookEdit, LookRef, Outcome, OutcomeState, PromptAvatar
from hoox_async._batch.input_reader import BatchInput
from hoox_async._batch.items import KeyAssigner
from hoox_async.errors import InvalidRequest

EDIT = LookEdit(LookRef("avtr_1", "look_1"), "a beach")


def item(keys: KeyAssigner, given: Any, index: int = 0) -> Item:
    found = keys.item(index, given)
    assert isinstance(found, Item)
    return found


def test_a_key_of_the_users_own_is_kept() -> None:
    """Two items with one key of the user's keep it, and the second is marked as repeated."""
    keys = KeyAssigner()
    first, second = item(keys, BatchItem("a", EDIT)), item(keys, BatchItem("a", EDIT))
    assert first.key == "a"
    assert not first.repeated
    assert second.key == "a"
    assert second.repeated


def test_equal_requests_without_keys_get_numbered_keys() -> None:
    """Equal requests without keys get the digest with an ordinal as their keys."""
    keys = KeyAssigner()
    found = [item(keys, EDIT) for _ in range(3)]
    assert [one.key for one in found] == [found[0].digest, found[0].digest + "#2", found[0].digest + "#3"]
    assert not any(one.repeated for one in found)


@given(order=st.permutations(range(6)))
@settings(max_examples=20)
def test_digest_keys_do_not_depend_on_the_order(order: list[int]) -> None:
    """The same requests in another order have the same keys."""
    requests = [LookEdit(EDIT.source, f"prompt {n // 2}") for n in range(6)]
    straight, mixed = KeyAssigner(), KeyAssigner()
    keys = {item(straight, one).key for one in requests}
    assert {item(mixed, requests[n]).key for n in order} == keys


@pytest.mark.parametrize("given", ["text", None, 7, object(), BatchItem("a", "text")])  # type: ignore[arg-type]
def test_what_is_no_request_is_rejected(given: object) -> None:
    """An item that is no request is REJECTED with an `InvalidRequest`."""
    found = KeyAssigner().item(4, given)
    assert isinstance(found, Outcome)
    assert found.state is OutcomeState.REJECTED
    assert isinstance(found.error, InvalidRequest)
    assert found.key in ("item 5", "a")
    assert found.metadata == {}


@pytest.mark.parametrize("key", ["", "  ", 7, None])
def test_a_key_must_be_text(key: Any) -> None:
    """An item whose key is empty or no text is REJECTED; ``None`` is an item without a key."""
    found = KeyAssigner().item(0, BatchItem(key, EDIT))
    if key is None:
        assert isinstance(found, Item)
        return
    assert isinstance(found, Outcome)
    assert isinstance(found.error, InvalidRequest)
    assert found.error.field == "key"


@pytest.mark.parametrize("given", [7, None, EDIT, BatchItem("a", EDIT), "text", b"text", {"a": EDIT}])
def test_an_input_is_an_iterable_of_requests(given: Any) -> None:
    """What is no iterable, a single request, a text and a dict raise `InvalidRequest` at once."""
    with pytest.raises(InvalidRequest):
        BatchInput(given)


async def test_a_list_is_read_in_pages() -> None:
    """A list is read in pages of the asked size, and an empty page is its end."""
    given = BatchInput([EDIT] * 5)
    assert [len(await given.read(2)) for _ in range(4)] == [2, 2, 1, 0]
    assert given.total is not None


async def test_a_generator_that_takes_long_does_not_hold_up_the_loop_for_a_whole_page() -> None:
    """A page ends after 50 ms, so that a slow generator does not block the loop for a whole page."""

    def slow() -> Iterator[PromptAvatar]:
        for n in range(100):
            time.sleep(0.06)
            yield PromptAvatar(f"{n}")

    given = BatchInput(slow())
    assert [len(await given.read(100)) for _ in range(3)] == [1, 1, 1]


async def test_an_async_input_is_read_one_by_one() -> None:
    """Each page of an async input has one item, so that no item waits for a full page."""

    async def slow() -> AsyncIterator[PromptAvatar]:
        for n in range(2):
            yield PromptAvatar(f"p{n}")

    source = BatchInput(slow())
    assert [len(await source.read(100)) for _ in range(3)] == [1, 1, 0]
    assert source.total is None
    assert not source.repeatable


async def test_a_generator_that_is_left_early_is_closed() -> None:
    """Plain and async generators that are left early are closed; a list needs no closing."""
    closed: list[str] = []

    def plain() -> Iterator[LookEdit]:
        try:
            while True:
                yield EDIT
        finally:
            closed.append("plain")

    async def asynchronous() -> AsyncIterator[LookEdit]:
        try:
            while True:
                yield EDIT
        finally:
            closed.append("async")

    for source in (BatchInput(plain()), BatchInput(asynchronous()), BatchInput([EDIT])):
        await source.read(1)
        await source.aclose()
    assert closed == ["plain", "async"]


@pytest.mark.parametrize(
    ("requests", "repeatable"),
    [([EDIT], True), ((EDIT,), True), ({EDIT}, True), ({"a": EDIT}.values(), True), (iter([EDIT]), False)],
)
def test_only_what_costs_nothing_to_read_is_read_twice(requests: Any, repeatable: bool) -> None:
    """Lists, tuples, sets and values of a dict are repeatable, and an iterator is not."""
    assert BatchInput(requests).repeatable is repeatable


def test_pages_of_a_repeatable_input_begin_at_its_start() -> None:
    """`pages` of a repeatable input gives its items from the first one on, with their indexes."""
    given = BatchInput([ImageAvatar([PICTURE])] * 5)
    assert [(index, len(page)) for index, page in given.pages(2)] == [(0, 2), (2, 2), (4, 1)]


def test_the_text_of_a_ref_is_the_same_source_as_the_ref() -> None:
    """An edit whose source is the text of a ref has the key and the digest of the edit of that ref."""
    by_text = item(KeyAssigner(), LookEdit("avtr_1:look_1", "a beach"))
    assert by_text.request == EDIT
    assert by_text.key == item(KeyAssigner(), EDIT).key
    assert (by_text.source_key, by_text.source_ref) == (None, EDIT.source)


def test_a_source_text_that_is_an_earlier_key_and_a_ref_is_rejected() -> None:
    """An edit whose source text is both an earlier item's key and a ref is REJECTED as ambiguous."""
    keys = KeyAssigner()
    item(keys, BatchItem("avtr_1:look_1", PromptAvatar("a host")))
    found = keys.item(1, BatchItem("b", LookEdit("avtr_1:look_1", "a beach")))
    assert isinstance(found, Outcome)
    assert (found.key, found.state) == ("b", OutcomeState.REJECTED)
    assert isinstance(found.error, InvalidRequest)
    assert (found.error.field, found.error.value) == ("source", "avtr_1:look_1")


def test_an_item_may_have_the_text_of_its_own_source_as_its_key() -> None:
    """The source text of an item is a ref even if the item's own key is the same text."""
    found = item(KeyAssigner(), BatchItem("avtr_1:look_1", LookEdit("avtr_1:look_1", "a beach")))
    assert found.source_ref == EDIT.source


def test_a_source_text_that_is_no_ref_is_the_key_of_an_item() -> None:
    """A source text that is no ref is the key of another item, whether that was read yet or not."""
    assert item(KeyAssigner(), LookEdit("alex/podcast", "a beach")).source_key == "alex/podcast"
