"""Decisions about unknowns in a real browser: chosen, kept, and saved as a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_kit import NEEDS_BROWSER, browsed, reload_until, repeated_names, saved
from report_kit import Pictures, details, ready, unknown_create, unknown_edit

from hoox_async import BatchReport, Outcome

pytest.importorskip("playwright.async_api")
if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

pytestmark = [*NEEDS_BROWSER, pytest.mark.slow]
UNKNOWNS = [
    ready("r"),
    unknown_edit("a", "x", "y"),
    unknown_edit("b", "x", "y"),
    unknown_create("c"),
]


@asynccontextmanager
async def decided(folder: Path, outcomes: list[Outcome], *, width: int = 1440) -> AsyncIterator[Page]:
    """The page of these unknowns, in a browser."""
    async with browsed(await write(folder, outcomes), width=width) as (page, _):
        yield page


async def write(folder: Path, outcomes: list[Outcome]) -> Path:
    """Write the page of these unknowns."""
    return await BatchReport(outcomes).write_unknowns_page(
        folder,
        fetch=Pictures().fetch,
        candidates=[details("x"), details("y")],
        resolve_command=["hoox-async", "resolve", "campaign.toml"],
    )


def choice(page: Page, key: str, verdict: str) -> Locator:
    """The button for this decision about this key."""
    return page.locator(f'[data-key="{key}"] .choice[data-verdict="{verdict}"]')


async def says(page: Page, text: str) -> None:
    """Wait until the page sums the decisions up like this."""
    await page.wait_for_function(
        "text => document.getElementById('decided-count').textContent === text", arg=text
    )


async def test_decisions_are_summed_up_and_saved(tmp_path: Path) -> None:
    """The three kinds of decision are counted with what they cost, and the file binds each to its sending."""
    async with decided(tmp_path, UNKNOWNS) as page:
        await says(page, "0 of 3 decided")
        assert await page.locator("#save-decisions").is_disabled()
        await choice(page, "a", "avtr_1:x").click()
        await choice(page, "b", "resend").focus()
        await page.keyboard.press("Enter")
        await choice(page, "c", "drop").click()
        await says(page, "3 of 3 decided: 1 found, 1 made again for 4 credits, 1 left")
        assert await choice(page, "b", "resend").get_attribute("aria-pressed") == "true"
        name, content = await saved(page, "#save-decisions")
        assert (name, content["format"]) == ("decisions.json", "hoox-async decisions 2")
        assert content["decisions"] == [
            {"key": key, "attempt": "attempt-1", "verdict": verdict}
            for key, verdict in (("a", "avtr_1:x"), ("b", "resend"), ("c", "drop"))
        ]


async def test_a_decision_can_be_changed_and_taken_back(tmp_path: Path) -> None:
    """Another choice replaces the first, and the same choice again takes it back."""
    async with decided(tmp_path, UNKNOWNS) as page:
        await choice(page, "a", "resend").click()
        await choice(page, "a", "avtr_1:y").click()
        await says(page, "1 of 3 decided: 1 found")
        assert await choice(page, "a", "resend").get_attribute("aria-pressed") == "false"
        await choice(page, "a", "avtr_1:y").click()
        await says(page, "0 of 3 decided")


async def test_one_look_is_the_result_of_one_request(tmp_path: Path) -> None:
    """A look that is chosen for a second request is not the first one's any more, and that says so."""
    async with decided(tmp_path, UNKNOWNS) as page:
        await choice(page, "a", "avtr_1:x").click()
        await choice(page, "b", "avtr_1:x").click()
        await says(page, "1 of 3 decided: 1 found")
        assert await choice(page, "a", "avtr_1:x").get_attribute("aria-pressed") == "false"
        moved = page.locator('[data-key="a"] .moved')
        assert await moved.inner_text() == "Not decided any more: avtr_1:x is now chosen for b."
        await choice(page, "a", "drop").click()
        assert not await moved.is_visible()


async def test_another_look_can_be_named(tmp_path: Path) -> None:
    """A typed avatar_id:look_id is a decision; of other text it is said what is wrong with it."""
    async with decided(tmp_path, UNKNOWNS) as page:
        field = page.locator('[data-key="c"] .other input')
        await field.fill("avtr_9")
        assert await field.get_attribute("aria-invalid") == "true"
        await says(page, "0 of 3 decided")
        hint = page.locator('[data-key="c"] .hint')
        assert await hint.inner_text() == "Expected avatar_id:look_id, two ids with a colon between them."
        await page.locator('[data-key="a"] .other input').fill("avtr_1:look_0")
        edited = "That is the look that was edited, not the one that was made."
        assert await page.locator('[data-key="a"] .hint').inner_text() == edited
        await says(page, "0 of 3 decided")
        await page.locator('[data-key="a"] .other input').fill("")
        await field.fill("avtr_9:look_9")
        assert await hint.inner_text() == ""
        await says(page, "1 of 3 decided: 1 found")
        await reload_until(page, lambda: says(page, "1 of 3 decided: 1 found"))
        assert await field.input_value() == "avtr_9:look_9"
        await choice(page, "c", "drop").click()
        assert await field.input_value() == ""


async def test_decisions_are_kept_for_the_sending_that_was_looked_at(tmp_path: Path) -> None:
    """Decisions outlive a reload; a request that was sent again since is to be decided anew."""
    async with decided(tmp_path, UNKNOWNS) as page:
        await choice(page, "a", "resend").click()
        await choice(page, "b", "resend").click()
        await reload_until(page, lambda: says(page, "2 of 3 decided: 2 made again for 8 credits"))
        again = unknown_edit("a", "x", "y", attempt="attempt-2")
        await write(tmp_path, [again, *UNKNOWNS[2:]])
        await reload_until(page, lambda: says(page, "1 of 3 decided: 1 made again for 4 credits"))


async def test_a_page_that_reads_an_older_state_keeps_what_is_stored(tmp_path: Path) -> None:
    """Loading the page writes nothing, since a browser may give it what was stored before its last change."""
    async with decided(tmp_path, UNKNOWNS) as page:
        await choice(page, "a", "resend").click()
        stored = await page.evaluate("JSON.stringify({...localStorage})")
        assert "resend" in stored
        await page.add_init_script("Storage.prototype.getItem = () => null")
        await page.reload()
        await says(page, "0 of 3 decided")
        assert await page.evaluate("JSON.stringify({...localStorage})") == stored


async def test_commands_can_be_copied(tmp_path: Path) -> None:
    """The button beside a command copies it, or selects it where the browser refuses to copy."""
    async with decided(tmp_path, UNKNOWNS) as page:
        await page.locator('[data-key="a"] .commands summary').click()
        await page.evaluate(
            "Object.defineProperty(navigator, 'clipboard',"
            " { value: { writeText: async (text) => { window.copied = text; } }, configurable: true })"
        )
        await page.locator('[data-key="a"] .copy').nth(1).click()
        assert await page.evaluate("copied") == "hoox-async resolve campaign.toml a avtr_1:y"
        await page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
        await page.locator('[data-key="a"] .copy').nth(2).click()
        command = "hoox-async resolve campaign.toml a resend --attempt attempt-1"
        assert await page.evaluate("String(getSelection())") == command


async def test_the_sheet_links_to_the_decision(tmp_path: Path) -> None:
    """On the contact sheet many unknowns are folded up, and the link on a card opens them."""
    sheet = await BatchReport(UNKNOWNS).write_contact_sheet(
        tmp_path, fetch=Pictures().fetch, candidates=[details("x")]
    )
    async with browsed(sheet) as (page, _):
        assert not await choice(page, "b", "drop").is_visible()
        await page.locator('.card[data-key="b"] a[href="#unknown-2"]').click()
        await choice(page, "b", "drop").click()
        await says(page, "1 of 3 decided: 1 left")


async def test_every_control_has_a_name_of_its_own(tmp_path: Path) -> None:
    """No two buttons, links or fields of the page have the same accessible name."""
    async with decided(tmp_path, UNKNOWNS) as page:
        assert await repeated_names(page) == []


@pytest.mark.parametrize("width", [390, 1440])
async def test_no_unknown_is_wider_than_the_window(width: int, tmp_path: Path) -> None:
    """On a phone and on a desk the page scrolls in one direction only, whatever the words' length."""
    long = unknown_edit("k" * 300, "x" * 200, "y")
    async with decided(tmp_path, [long, *UNKNOWNS], width=width) as page:
        await page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
        await choice(page, "a", "avtr_1:x").click()
        await choice(page, "b", "avtr_1:x").click()
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_without_scripts_the_commands_are_there(tmp_path: Path) -> None:
    """Without JavaScript the page offers no button that does nothing; the commands can be read."""
    path = await write(tmp_path, UNKNOWNS)
    async with browsed(path, java_script_enabled=False) as (page, _):
        assert await page.locator("button:visible").count() == 0
        await page.locator('[data-key="b"] .commands summary').click()
        assert await page.get_by_text("hoox-async resolve campaign.toml b drop").is_visible()
