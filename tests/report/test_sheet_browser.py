"""The contact sheet in a real browser: filters, keyboard, and nothing that leaves the disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_kit import NEEDS_BROWSER, opened
from report_kit import every_state, ready

pytest.importorskip("playwright.async_api")
if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [*NEEDS_BROWSER, pytest.mark.slow]


async def found(page: Page, text: str) -> None:
    """Wait until the page says that it found this many."""
    await page.wait_for_function("text => document.getElementById('found').textContent === text", arg=text)


async def test_filters_narrow_and_clear(tmp_path: Path) -> None:
    """Text, avatar and state filters combine, the number of looks found is shown, and clearing shows all."""
    async with opened(tmp_path, every_state()) as (page, _):
        visible = page.locator(".card:visible")
        await found(page, "10 looks")
        await page.fill("#text", "SCENE alex/podcast")
        await found(page, "1 of 10 looks")
        assert await visible.locator("h3").all_inner_texts() == ["podcast"]
        await page.click("#clear")
        await found(page, "10 looks")
        await page.select_option("#avatar", label="mara (2)")
        await found(page, "2 of 10 looks")
        await page.click("#clear")
        await page.locator("input[value=failed]").focus()
        await page.keyboard.press("Space")
        await page.check("input[value=unknown]")
        await found(page, "2 of 10 looks")
        assert await visible.locator("h3").all_inner_texts() == ["failed", "unknown"]
        await page.fill("#text", "nothing like this")
        await found(page, "0 of 10 looks")
        assert await page.locator("#none").is_visible()


async def test_search_for_an_avatar_shows_its_looks(tmp_path: Path) -> None:
    """A search for the avatar's name finds all its looks, also those without that word."""
    async with opened(tmp_path, every_state()) as (page, _):
        await page.fill("#text", "mara")
        await found(page, "2 of 10 looks")


async def test_viewer_works_by_keyboard_alone(tmp_path: Path) -> None:
    """Enter opens a look, arrows go on and wrap around, Escape closes and focuses the look shown last."""
    async with opened(tmp_path, every_state()) as (page, _):
        title, viewer = page.locator("#viewer-title"), page.locator("#viewer")
        await page.locator("[data-open]").first.focus()
        await page.keyboard.press("Enter")
        assert await viewer.is_visible()
        assert await title.inner_text() == "Avatar"
        assert await page.evaluate("document.getElementById('viewer-picture').naturalWidth >= 0")
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("ArrowRight")
        assert await title.inner_text() == "failed"
        assert "No face found" in await page.locator("#viewer-blank").inner_text()
        await page.keyboard.press("Home")
        await page.keyboard.press("ArrowLeft")
        assert await title.inner_text() == "car"
        assert await page.locator("#viewer-place").inner_text() == "mara · 10 of 10"
        await page.keyboard.press("Escape")
        assert not await viewer.is_visible()
        # the dialog's close event comes a turn after it is gone
        await page.wait_for_function(
            "document.activeElement.closest('.card')?.querySelector('h3').textContent === 'car'"
        )


async def test_viewer_walks_through_what_the_filter_shows(tmp_path: Path) -> None:
    """With a filter, the arrows stay within the looks found; buttons and the backdrop work too."""
    async with opened(tmp_path, every_state()) as (page, _):
        await page.select_option("#avatar", label="mara (2)")
        await found(page, "2 of 10 looks")
        await page.locator(".card:visible [data-open]").first.click()
        assert await page.locator("#viewer-place").inner_text() == "mara · 1 of 2"
        await page.click("#next")
        assert await page.locator("#viewer-place").inner_text() == "mara · 2 of 2"
        await page.click("#next")
        assert await page.locator("#viewer-place").inner_text() == "mara · 1 of 2"
        await page.mouse.click(3, 3)
        assert not await page.locator("#viewer").is_visible()


async def test_slash_goes_to_the_search(tmp_path: Path) -> None:
    """The slash key moves the focus to the search field; typed there, it is a slash."""
    async with opened(tmp_path, every_state()) as (page, _):
        await page.keyboard.press("/")
        await page.keyboard.type("alex/failed")
        assert await page.input_value("#text") == "alex/failed"
        await found(page, "1 of 10 looks")


async def test_hostile_prompts_run_nothing(tmp_path: Path) -> None:
    """Scripts in prompts, keys and ids are text, on the page and in the viewer."""
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    async with opened(tmp_path, [ready(f"../../{evil}", prompt=evil, avatar=evil)]) as (page, _):
        await page.locator("[data-open]").click()
        assert evil in await page.locator("#viewer-prompt").inner_text()
        assert await page.title() == "Summer"


@pytest.mark.parametrize("width", [390, 1440])
async def test_nothing_is_wider_than_the_window(width: int, tmp_path: Path) -> None:
    """On a phone and on a desk the page scrolls in one direction only, whatever the words' length."""
    outcomes = [*every_state(), ready("long/" + "w" * 300, prompt="x" * 500, avatar="a" * 200)]
    async with opened(tmp_path, outcomes, width=width) as (page, _):
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_pictures_are_loaded_lazily(tmp_path: Path) -> None:
    """Of 400 pictures only those near the window are loaded at first."""
    async with opened(tmp_path, [ready(f"a/{n}") for n in range(400)]) as (page, seen):
        await page.wait_for_function("document.images[0].naturalWidth > 0")
        assert 0 < len([url for url in seen.asked if "/small/" in url]) < 200
