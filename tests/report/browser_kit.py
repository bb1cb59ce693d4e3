"""Opens pages in a real browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from report_kit import Pictures

from hoox_async import BatchReport, Outcome

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NEEDS_BROWSER = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    # playwright leaves the pipes of the browser's process to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
_SECONDS = 60
_RELOAD_SECONDS = 10
_RELOADS = 6

_launched: list[Browser] = []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[None]:
    """One browser for all tests of a module: starting it takes longer than most of what it shows."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        _launched.append(launched)
        yield
        _launched.remove(launched)
        await launched.close()


class Seen:
    """What the page did besides showing itself."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []


@asynccontextmanager
async def opened(
    folder: Path, outcomes: list[Outcome], *, width: int = 1440
) -> AsyncIterator[tuple[Page, Seen]]:
    """The contact sheet of these outcomes, in a browser. Fails on console errors and on any request."""
    path = await BatchReport(outcomes).write_contact_sheet(folder, title="Summer", fetch=Pictures().fetch)
    async with browsed(path, width=width) as (page, seen):
        yield page, seen


@asynccontextmanager
async def browsed(path: Path, *, width: int = 1440, **context: Any) -> AsyncIterator[tuple[Page, Seen]]:
    """A page on disk, in a fresh context. Fails on console errors and on any request to elsewhere."""
    seen = Seen()
    tabs = await _launched[-1].new_context(viewport={"width": width, "height": 900}, **context)
    try:
        page = await tabs.new_page()
        page.set_default_timeout(_SECONDS * 1000)
        page.on("console", lambda message: seen.said.append(message.text))
        page.on("pageerror", lambda error: seen.said.append(str(error)))
        page.on("request", lambda request: seen.asked.append(request.url))
        await page.goto(path.as_uri())
        yield page, seen
    finally:
        await tabs.close()
    assert seen.said == []
    assert [url for url in seen.asked if not url.startswith((path.parent.as_uri(), "blob:"))] == []


async def reload_until(page: Page, shown: Callable[[], Awaitable[None]]) -> None:
    """Reload the page until it shows this: one that is loaded at once may still read what was stored before.

    Chromium passes what a page stores on to its other processes a moment later.
    """
    from playwright.async_api import TimeoutError as NotShown

    page.set_default_timeout(_RELOAD_SECONDS * 1000)
    for _ in range(_RELOADS):
        await page.reload()
        with suppress(NotShown):
            await shown()
            break
    else:
        await shown()
    page.set_default_timeout(_SECONDS * 1000)


async def saved(page: Page, button: str) -> Any:
    """What the button saves, and the name of its file."""
    async with page.expect_download() as download:
        await page.click(button)
    got = await download.value
    return got.suggested_filename, json.loads(Path(await got.path()).read_text("utf-8"))


async def repeated_names(page: Page) -> list[str]:
    """The accessible names that several buttons, links or fields of the page have."""
    names = await page.evaluate(
        """() => [...document.querySelectorAll("button, a[href], input, select, summary")]
          .filter((node) => !node.closest("dialog, template"))
          .map((node) => node.getAttribute("aria-label") || (node.labels?.[0] || node).textContent)
          .map((name) => name.replace(/\\s+/g, " ").trim())"""
    )
    return sorted({name for name in names if names.count(name) > 1 or not name})
