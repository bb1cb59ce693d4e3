"""Marks on the contact sheet, in a real browser: by mouse and keyboard, kept, filtered by, and saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_kit import NEEDS_BROWSER, browsed, opened, reload_until, repeated_names, saved
from report_kit import Pictures, every_state, ready

from hoox_async import BatchReport

pytest.importorskip("playwright.async_api")
if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

pytestmark = [*NEEDS_BROWSER, pytest.mark.slow]


def card(page: Page, key: str) -> Locator:
    """The card of this key."""
    return page.locator(f'.card[data-key="{key}"]')


async def marked(page: Page, picked: int, rejected: int) -> None:
    """Wait until the page counts this many marks."""
    await page.wait_for_function(
        "([picked, rejected]) => document.getElementById('picked-count').textContent === picked"
        " && document.getElementById('rejected-count').textContent === rejected",
        arg=[str(picked), str(rejected)],
    )


async def test_marks_by_mouse_and_the_picks_file(tmp_path: Path) -> None:
    """The buttons set, change and remove a mark, and the picks file has the keys in the sheet's order."""
    async with opened(tmp_path, every_state()) as (page, _):
        assert await page.locator("#save-picks").is_disabled()
        pick = card(page, "alex/podcast").locator("[data-mark=picked]")
        await pick.click()
        assert await pick.get_attribute("aria-pressed") == "true"
        await card(page, "alex").locator("[data-mark=picked]").click()
        await card(page, "mara").locator("[data-mark=picked]").click()
        await card(page, "mara").locator("[data-mark=rejected]").click()
        await card(page, "mara/car").locator("[data-mark=rejected]").click()
        await card(page, "mara/car").locator("[data-mark=rejected]").click()
        await marked(page, 2, 1)
        assert await saved(page, "#save-picks") == (
            "picks.json",
            {"format": "hoox-async picks 1", "picked": ["alex", "alex/podcast"], "rejected": ["mara"]},
        )


async def test_after_saving_whole_commands_are_shown(tmp_path: Path) -> None:
    """Once the picks are saved, the page shows the commands that go on, until the marks change."""
    sheet = await BatchReport(every_state()).write_contact_sheet(
        tmp_path,
        fetch=Pictures().fetch,
        picks_commands={
            "Save their pictures": ["hoox-async", "download", "my shop.toml", "--only", "@picks.json"]
        },
    )
    async with browsed(sheet) as (page, _):
        shown = page.locator("#then-picks code")
        await card(page, "alex").locator("[data-mark=picked]").click()
        assert not await shown.is_visible()
        await saved(page, "#save-picks")
        assert await shown.inner_text() == "hoox-async download 'my shop.toml' --only @picks.json"
        await card(page, "mara").locator("[data-mark=rejected]").click()
        assert not await shown.is_visible()
        assert await page.get_by_text("Rejected by you").count() == 0
        assert await card(page, "mara").get_by_label("Turn down mara", exact=True).count() == 1
        assert await repeated_names(page) == []


async def test_only_ready_looks_can_be_marked(tmp_path: Path) -> None:
    """A look that is not ready has no buttons, and the keys do nothing there."""
    async with opened(tmp_path, every_state()) as (page, _):
        assert await page.locator(".card [data-mark]:visible").count() == 8
        await card(page, "alex/failed").locator("[data-open]").focus()
        await page.keyboard.press("p")
        await marked(page, 0, 0)


async def test_marks_by_keyboard(tmp_path: Path) -> None:
    """P and X mark the look that has the focus and the one in the viewer; typed text marks nothing."""
    async with opened(tmp_path, every_state()) as (page, _):
        await card(page, "alex").locator("[data-open]").focus()
        await page.keyboard.press("p")
        await marked(page, 1, 0)
        await page.keyboard.press("Enter")
        viewer = page.locator("#viewer")
        assert await viewer.locator("[data-mark=picked]").get_attribute("aria-pressed") == "true"
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("X")
        await marked(page, 1, 1)
        assert await viewer.locator("[data-mark=rejected]").get_attribute("aria-pressed") == "true"
        await viewer.locator("[data-mark=picked]").click()
        await marked(page, 2, 0)
        await page.keyboard.press("ArrowRight")  # one that failed
        assert await viewer.locator("[data-mark]:visible").count() == 0
        await page.keyboard.press("Escape")
        await page.fill("#text", "xp")
        await page.keyboard.press("Control+p")
        await marked(page, 2, 0)


async def test_filter_by_mark(tmp_path: Path) -> None:
    """The filters for picked, rejected and unmarked looks combine, and show ready looks only."""
    async with opened(tmp_path, every_state()) as (page, _):
        await card(page, "alex").locator("[data-mark=picked]").click()
        await card(page, "mara").locator("[data-mark=rejected]").click()
        shown = page.locator(".card:visible h3")
        for boxes, titles in (
            (["picked"], ["Avatar"]),
            (["picked", "rejected"], ["Avatar", "Avatar"]),
            (["none"], ["podcast", "car"]),
        ):
            for box in boxes:
                await page.check(f"[name=mark][value={box}]")
            await page.wait_for_function(
                "n => document.getElementById('found').textContent === `${n} of 10 looks`", arg=len(titles)
            )
            assert await shown.all_inner_texts() == titles
            await page.click("#clear")


async def test_marks_are_kept_for_the_same_looks(tmp_path: Path) -> None:
    """Marks outlive a reload and a sheet that is written anew; a look that was made anew has no mark."""
    async with opened(tmp_path, [ready("a"), ready("b")]) as (page, _):
        for key in "ab":
            await card(page, key).locator("[data-mark=picked]").click()
        await reload_until(page, lambda: marked(page, 2, 0))
        again = [ready("a"), ready("b", look="look_2"), ready("c")]
        await BatchReport(again).write_contact_sheet(tmp_path, title="Summer", fetch=Pictures().fetch)
        await reload_until(page, lambda: marked(page, 1, 0))
        assert await card(page, "a").locator("[data-mark=picked]").get_attribute("aria-pressed") == "true"


async def test_two_tabs_of_a_sheet_have_the_same_marks(tmp_path: Path) -> None:
    """A mark that is set in one tab shows in the other, and neither loses the other's."""
    async with opened(tmp_path, [ready("a"), ready("b")]) as (page, _):
        other = await page.context.new_page()
        await other.goto(page.url)
        await card(page, "a").locator("[data-mark=picked]").click()
        await marked(other, 1, 0)
        await card(other, "b").locator("[data-mark=rejected]").click()
        await marked(page, 1, 1)


async def test_marks_of_two_sheets_do_not_mix(tmp_path: Path) -> None:
    """A second sheet with the same keys and looks, in another folder, has marks of its own."""
    other = await BatchReport([ready("a")]).write_contact_sheet(
        tmp_path / "other", title="Summer", fetch=Pictures().fetch
    )
    async with opened(tmp_path / "one", [ready("a")]) as (page, seen):
        await card(page, "a").locator("[data-mark=picked]").click()
        await page.goto(other.as_uri())
        await marked(page, 0, 0)
        await page.go_back()
        await reload_until(page, lambda: marked(page, 1, 0))
        seen.asked.clear()


async def test_marks_where_the_browser_keeps_none(tmp_path: Path) -> None:
    """Without storage, looks can be marked and saved, and the page says that the marks are not kept."""
    async with opened(tmp_path, [ready("a")]) as (page, _):
        await page.add_init_script(
            "Object.defineProperty(window, 'localStorage',"
            " { get() { throw new DOMException('refused', 'SecurityError'); } })"
        )
        await page.reload()
        await card(page, "a").locator("[data-mark=picked]").click()
        assert "does not keep marks" in await page.locator("#marked").inner_text()
        assert (await saved(page, "#save-picks"))[1]["picked"] == ["a"]


async def test_what_others_stored_is_no_mark(tmp_path: Path) -> None:
    """A stored value that is not the page's own is replaced."""
    async with opened(tmp_path, [ready("a")]) as (page, _):
        await card(page, "a").locator("[data-mark=picked]").click()
        for stored in ("no json", "{}", "[1, 2]", "null", '[["a", null]]', '[["a", {"mark": "picked"}]]'):
            await page.evaluate("text => localStorage.setItem(Object.keys(localStorage)[0], text)", stored)
            await reload_until(page, lambda: marked(page, 0, 0))
            await card(page, "a").locator("[data-mark=picked]").click()
            await marked(page, 1, 0)


async def test_hostile_keys_are_marked_and_saved(tmp_path: Path) -> None:
    """Any key can be marked, kept and saved, `__proto__` among them."""
    keys = ["__proto__", "constructor", '"><img src=x>', "a\u2028b"]
    async with opened(tmp_path, [ready(key) for key in keys]) as (page, _):
        for button in await page.locator(".card [data-mark=picked]").all():
            await button.click()
        await reload_until(page, lambda: marked(page, 4, 0))
        assert set((await saved(page, "#save-picks"))[1]["picked"]) == set(keys)


async def test_without_scripts_no_marks_are_offered(tmp_path: Path) -> None:
    """Without JavaScript the sheet shows every look, and nothing that would not work with marks."""
    path = await BatchReport(every_state()).write_contact_sheet(tmp_path, fetch=Pictures().fetch)
    async with browsed(path, java_script_enabled=False) as (page, _):
        assert await page.locator(".card").count() == 10
        assert (
            await page.locator("[data-mark]:visible, #save-picks:visible, [name=mark]:visible").count() == 0
        )
