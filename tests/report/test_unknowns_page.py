"""Unknowns on the pages: each with its candidates, their ages, and the three decisions. Without a browser."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from report_kit import NOON, Pictures, details, every_state, ready, unknown_create, unknown_edit

from hoox_async._api.models import LookRef, LookStatus
from hoox_async._api.requests import Format, LookEdit
from hoox_async._core.intents.outcomes import Outcome
from hoox_async._report import BatchReport
from hoox_async._report.page_pictures import SheetPicture
from hoox_async._report.unknowns import UnknownCard, looks_of_unknowns, unknown_cards

WORDS = ["hoox-async", "resolve", "my campaign.toml"]


def cards(*outcomes: Outcome, **modified_after: float) -> list[UnknownCard]:
    """The cards of these outcomes. Looks that are named have pictures of so many seconds after NOON."""
    pictures = {
        LookRef("avtr_1", look): SheetPicture("p", "s", 90, 160, modified=NOON + timedelta(seconds=seconds))
        for look, seconds in modified_after.items()
    }
    return unknown_cards(outcomes, {}, pictures, WORDS)


def test_only_unknowns_have_cards_and_know_their_attempt() -> None:
    """There is a card for each unknown and for nothing else, with the id of its last attempt.

    The command that sends it again names that attempt.
    """
    shown = cards(*every_state()[:7], unknown_edit("a", attempt="att_9"), unknown_edit("b"))
    assert [(card.key, card.attempt) for card in shown] == [("a", "att_9"), ("b", "attempt-1")]
    assert shown[0].resend_command.endswith("a resend --attempt att_9")


def test_candidates_are_sorted_by_age() -> None:
    """Those without an age come first, then those nearest to the sending; older ones are set apart."""
    [card] = cards(unknown_edit("a", "late", "old", "near", "new"), late=300, old=-7200, near=41)
    assert [(look.ref, look.age) for look in card.candidates] == [
        ("avtr_1:new", "age not known"),
        ("avtr_1:near", "picture made 41 s after it was sent"),
        ("avtr_1:late", "picture made 5 min after it was sent"),
    ]
    assert [(look.ref, look.age) for look in card.older] == [
        ("avtr_1:old", "picture made 2 h before it was sent")
    ]


def test_a_look_in_another_format_is_noted() -> None:
    """A candidate that is horizontal where a vertical one was ordered has that noted, and no other one."""
    unknown = unknown_edit("a", "tall", "wide")
    assert isinstance(unknown.request, LookEdit)
    pictures = {
        LookRef("avtr_1", "tall"): SheetPicture("p", "s", 90, 160),
        LookRef("avtr_1", "wide"): SheetPicture("p", "s", 160, 90),
    }
    for ordered, noted in (
        (Format.VERTICAL, ["", "horizontal"]),
        (Format.HORIZONTAL, ["vertical", ""]),
        (None, ["", ""]),
    ):
        request = attrs.evolve(unknown.request, format=ordered)
        [card] = unknown_cards([attrs.evolve(unknown, request=request)], {}, pictures, WORDS)
        assert [look.other_format for look in card.candidates] == noted


async def test_the_page_says_what_to_do_if_none_is_it(tmp_path: Path) -> None:
    """Each unknown says what can be done where none of the looks is its result."""
    report = BatchReport([unknown_edit("a", "x"), unknown_create("b")])
    page = await report.write_unknowns_page(tmp_path, fetch=Pictures().fetch, candidates=[details("x")])
    html = page.read_text("utf-8")
    assert html.count("None of these is it?") == 1
    assert html.count("make this page again later") == 2


def test_a_picture_of_the_same_second_is_not_older() -> None:
    """Servers tell whole seconds: a picture of the second in which the request was sent may be its own."""
    sent_at = NOON + timedelta(milliseconds=900)
    [card] = cards(unknown_edit("a", "x", sent_at=sent_at), x=0)
    assert [look.age for look in card.candidates] == ["picture made 0 s after it was sent"]


def test_commands_are_exact_and_quoted_for_a_shell() -> None:
    """Each decision has the command that settles it, with keys and paths quoted."""
    [card] = cards(unknown_edit("alex/it's", "x"))
    base = "hoox-async resolve 'my campaign.toml' 'alex/it'\"'\"'s'"
    assert [card.candidates[0].command, card.resend_command, card.drop_command] == [
        f"{base} avtr_1:x", f"{base} resend --attempt attempt-1", f"{base} drop",
    ]  # fmt: skip


def test_without_a_command_line_the_decisions_are_lines_of_python() -> None:
    """A report without a store shows the calls of the session that settle its unknowns."""
    [card] = unknown_cards([unknown_edit("a", "x")], {}, {}, None)
    assert [card.candidates[0].command, card.resend_command, card.drop_command] == [
        "await session.resolve('a', 'avtr_1:x')",
        "await session.resend('a', attempt='attempt-1')",
        "await session.drop('a')",
    ]


@pytest.mark.parametrize(
    ("status", "why", "said"),
    [
        (LookStatus.PENDING, None, "It is still being made"),
        (LookStatus.PROCESSING, None, "It is still being made"),
        (LookStatus.FAILED, "No face", "It could not be made: No face"),
        (LookStatus.FAILED, None, "It could not be made: no reason given"),
        (LookStatus.UNRECOGNIZED, None, "The API gave no picture for this look"),
    ],
)
def test_a_candidate_without_a_picture_says_why(status: LookStatus, why: str | None, said: str) -> None:
    """A candidate without a picture tells its state; one that was not asked for says so."""
    look = details("x", status, **({"why": why} if why else {}))
    [card] = unknown_cards([unknown_edit("a", "x", "y")], {look.ref: look}, {}, None)
    assert [look.problem for look in card.candidates] == [said, "Its picture was not asked for"]


def test_pictures_are_wanted_of_candidates_and_sources_only() -> None:
    """The page shows the candidates and what was edited, also where the source is named by its key."""
    edit = unknown_edit("a", "x")
    assert looks_of_unknowns([ready("r"), edit]) == {LookRef("avtr_1", "look_0"), LookRef("avtr_1", "x")}
    [alex, *_, unknown, _, _] = every_state()
    assert alex.ref in looks_of_unknowns([alex, unknown])


async def test_the_page_shows_unknowns_beside_their_candidates(tmp_path: Path) -> None:
    """The page of unknowns has each prompt, its candidates' pictures and ages, and no other look."""
    pictures = Pictures()
    pictures.modified["https://pictures.test/look_8.jpg"] = NOON + timedelta(seconds=41)
    report = BatchReport([ready("r"), unknown_edit("a", "look_8", "look_9"), unknown_create("b")])
    page = await report.write_unknowns_page(
        tmp_path,
        title="Summer",
        fetch=pictures.fetch,
        candidates=[details("look_8"), details("look_9", LookStatus.PENDING), details("other")],
        resolve_command=WORDS,
    )
    html = page.read_text("utf-8")
    for said in (
        "2 requests may have been paid for", "a scene for a", "A chef, laughing", "picture made 41 s after",
        "It is still being made", "4 credits at risk", "pays 4 credits", "The server answered 500",
        "No new avatar was found that could be its result",
        "resolve &#39;my campaign.toml&#39; a avtr_1:look_8",
    ):  # fmt: skip
        assert said in html
    assert "a scene for r" not in html
    assert pictures.asked == ["https://pictures.test/look_8.jpg"]
    assert re.search(r'<img src="small/[^"]+\.jpg"', html)
    assert not re.search(r"https?://", html)
    assert "unsafe" not in html.split("</title>")[0]


async def test_candidates_are_fetched_again_for_their_age(tmp_path: Path) -> None:
    """Written again, the page still tells a picture's age; without a download it has the picture only."""
    pictures = Pictures()
    pictures.modified["https://pictures.test/x.jpg"] = NOON + timedelta(seconds=41)
    report = BatchReport([unknown_edit("a", "x")])
    for _ in range(2):
        page = await report.write_unknowns_page(tmp_path, fetch=pictures.fetch, candidates=[details("x")])
        assert "picture made 41 s after" in page.read_text("utf-8")
    page = await report.write_unknowns_page(tmp_path, download=False, candidates=[details("x")])
    assert "age not known" in page.read_text("utf-8")
    assert 'src="small/' in page.read_text("utf-8")
    assert len(pictures.asked) == 2


async def test_a_page_without_unknowns_says_so(tmp_path: Path) -> None:
    """Where nothing is unknown any more, the page that is written again offers no decision."""
    page = await BatchReport([ready("r")]).write_unknowns_page(tmp_path, download=False)
    assert "Nothing is unknown" in page.read_text("utf-8")


async def test_the_contact_sheet_shows_unknowns_and_counts_them(tmp_path: Path) -> None:
    """The contact sheet offers the same decisions, counts unknowns as unknown, and links to them."""
    report = BatchReport([ready("r"), unknown_edit("a", "x")])
    html = (
        await report.write_contact_sheet(
            tmp_path, fetch=Pictures().fetch, candidates=[details("x")], resolve_command=WORDS
        )
    ).read_text("utf-8")
    assert "1 request may have been paid for" in html
    assert 'href="#unknown-1"' in html
    assert "Unknown <b>1</b>" in html
    assert html.count('data-verdict="avtr_1:x"') == 2
    assert "This is it" in html
    assert "await session" not in html
