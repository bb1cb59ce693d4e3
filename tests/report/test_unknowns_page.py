"""Unknowns on the pages: each with its candidates, their ages, and the three decisions. Without a browser."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
from report_kit import NOON, Pictures, details, every_state, ready, unknown_create, unknown_edit

from hoox_async import BatchReport, Format, LookEdit, LookRef, LookStatus, Outcome
from hoox_async._report.page_pictures import SheetPicture
from hoox_async._report.unknowns import UnknownCard, looks_of_unknowns, unknown_cards

WORDS = ["hoox-async", "resolve", "my campaign.toml"]


def cards(*outcomes: Outcome) -> list[UnknownCard]:
    """The cards of these outcomes."""
    return unknown_cards(outcomes, {}, {}, WORDS, NOON)


def test_only_unknowns_have_cards_and_know_their_attempt() -> None:
    """There is a card for each unknown and for nothing else, with the id of its last attempt.

    The command that sends it again names that attempt.
    """
    shown = cards(*every_state()[:7], unknown_edit("a", attempt="att_9"), unknown_edit("b"))
    assert [(card.key, card.attempt) for card in shown] == [("a", "att_9"), ("b", "attempt-1")]
    assert shown[0].resend_command.endswith("a resend --attempt att_9")


def test_candidates_are_shown_apart_from_older_looks() -> None:
    """Each look says what is known of its age; of the looks of new avatars no age is known."""
    lost = unknown_edit("a", "new", older=("old",))
    strange = LookRef("avtr_2", "strange")
    edit = attrs.evolve(lost, candidates=(*lost.candidates, strange), unlisted=("avtr_2",))
    create = attrs.evolve(unknown_create("b"), candidates=(strange,), unlisted=("avtr_2",))
    of_edit, of_create = cards(edit, create)
    assert [(look.ref, look.age) for look in of_edit.candidates] == [
        ("avtr_1:new", "not listed before it was sent"),
        ("avtr_2:strange", "age not known"),
    ]
    assert [(look.ref, look.age) for look in of_edit.older] == [("avtr_1:old", "listed before it was sent")]
    assert of_edit.unlisted == ("avtr_2",)
    assert ([look.age for look in of_create.candidates], of_create.unlisted) == (["age not known"], ())


async def test_the_page_folds_older_looks_and_says_where_no_age_is_known(tmp_path: Path) -> None:
    """Older looks stand in closed details with their pictures, the others do not; nothing is preselected."""
    pictures = Pictures()
    known, strange = unknown_edit("a", "x", older=("y",)), unknown_edit("b", "z")
    page = await BatchReport([known, attrs.evolve(strange, unlisted=("avtr_1",))]).write_unknowns_page(
        tmp_path, fetch=pictures.fetch, candidates=[details(name) for name in "xyz"]
    )
    html = page.read_text("utf-8")
    of_known, of_strange = html.split("<article")[1:]
    shown, folded = of_known.split('<details class="older">')
    assert ('data-verdict="avtr_1:x"' in shown, 'data-verdict="avtr_1:y"' in shown) == (True, False)
    assert 'data-verdict="avtr_1:y"' in folded
    assert 'src="small/' in folded.split("</details>")[0]
    said = "were not listed before the request was sent, so they may be older"
    assert (said in of_known, said in of_strange) == (False, True)
    assert 'class="older"' not in of_strange
    assert 'aria-pressed="true"' not in html
    assert len(pictures.asked) == 3


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
        [card] = unknown_cards([attrs.evolve(unknown, request=request)], {}, pictures, WORDS, NOON)
        assert [look.other_format for look in card.candidates] == noted


async def test_the_page_says_what_to_do_if_none_is_it(tmp_path: Path) -> None:
    """Each unknown says what can be done where none of the looks is its result."""
    report = BatchReport([unknown_edit("a", "x"), unknown_create("b")])
    page = await report.write_unknowns_page(tmp_path, fetch=Pictures().fetch, candidates=[details("x")])
    html = page.read_text("utf-8")
    assert html.count("None of these is it?") == 1
    assert html.count("make this page again later") == 2


def test_commands_are_exact_and_quoted_for_a_shell() -> None:
    """Each decision has the command that settles it, with keys and paths quoted."""
    [card] = cards(unknown_edit("alex/it's", "x"))
    base = "hoox-async resolve 'my campaign.toml' 'alex/it'\"'\"'s'"
    assert [card.candidates[0].command, card.resend_command, card.drop_command] == [
        f"{base} avtr_1:x", f"{base} resend --attempt attempt-1", f"{base} drop",
    ]  # fmt: skip


def test_without_a_command_line_the_decisions_are_lines_of_python() -> None:
    """A report without a store shows the calls of the session that settle its unknowns."""
    [card] = unknown_cards([unknown_edit("a", "x")], {}, {}, None, NOON)
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
    [card] = unknown_cards([unknown_edit("a", "x", "y")], {look.ref: look}, {}, None, NOON)
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
        "2 requests may have been paid for", "a scene for a", "A chef, laughing",
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


async def test_a_page_without_unknowns_says_so(tmp_path: Path) -> None:
    """Where nothing is unknown any more, the page that is written again offers no decision."""
    page = await BatchReport([ready("r")]).write_unknowns_page(tmp_path, download=False)
    assert "Nothing is unknown" in page.read_text("utf-8")


async def test_nothing_is_decided_about_a_request_that_may_still_be_answered(tmp_path: Path) -> None:
    """Pages that are written while a batch runs offer no decision about a request that is being sent."""
    soon = datetime.now(UTC) + timedelta(minutes=1)
    late, sent = unknown_edit("late"), unknown_edit("sent")
    report = BatchReport([attrs.evolve(late, answer_by=NOON), attrs.evolve(sent, answer_by=soon)])
    for page in (
        await report.write_contact_sheet(tmp_path / "sheet", download=False),
        await report.write_unknowns_page(tmp_path / "unknowns", download=False),
    ):
        html = page.read_text("utf-8")
        assert "1 request may have been paid for" in html
        assert 'data-key="late"' in html
        assert 'id="unknown-2"' not in html
    assert "Credits at risk</dt><dd" in html
    assert "a scene for sent" not in html


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
