"""Look Studio in a real browser: what a customer does and sees, and that nothing leaves the machine."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from studio_kit import Studio, studio

from hoox_async.sandbox import Fault, Sandbox

pytest.importorskip("playwright.async_api")
if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Locator, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SHOTS = Path(__file__).parents[2] / ".shots"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),  # starting a browser takes longer than most of what it shows
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    # playwright leaves the pipes of the browser's process to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


Browsing = Callable[..., AbstractAsyncContextManager[tuple["BrowserContext", Studio, Sandbox]]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests; each opens a fresh context."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        await launched.close()


@pytest.fixture
def browsing(browser: Browser, tmp_path: Path) -> Browsing:
    """The app and a browser's context. Leaving fails on any request to elsewhere.

    It also fails on console errors, where ``quiet``: a browser logs each response that is an error.
    """

    @asynccontextmanager
    async def entered(
        *, quiet: bool = True, **options: Any
    ) -> AsyncIterator[tuple[BrowserContext, Studio, Sandbox]]:
        said: list[str] = []
        asked: list[str] = []
        async with studio(tmp_path, **options) as (app, sandbox):
            context = await browser.new_context(viewport={"width": 1440, "height": 900}, base_url=app.base)
            context.set_default_timeout(60_000)
            context.on("console", lambda message: said.append(message.text))
            context.on("weberror", lambda error: said.append(str(error.error)))
            context.on("request", lambda request: asked.append(request.url))
            try:
                yield context, app, sandbox
            finally:
                await context.close()
        assert said == [] or not quiet
        assert {urlsplit(url).netloc for url in asked} == {urlsplit(app.base).netloc}

    return entered


async def opened(context: BrowserContext) -> Page:
    """A page that hears the server."""
    page = await context.new_page()
    await page.goto("/")
    await page.wait_for_selector("html[data-live]")
    return page


async def create_avatar(page: Page, name: str, prompt: str) -> Locator:
    """Create one through the dialog. Its tile, once it is ready."""
    await page.get_by_role("button", name="New").click()
    await page.get_by_role("textbox", name="Name").fill(name)
    await page.get_by_role("textbox", name="Description").fill(prompt)
    await page.get_by_text("2 credits for 1 look").wait_for()
    await page.get_by_role("button", name="Create").click()
    tile = page.locator("#own .tile[data-state=ready]", has_text=name)
    await tile.locator("img").wait_for()
    return tile


async def test_from_an_avatar_to_pictures_in_two_tabs(browsing: Browsing) -> None:
    """Create an avatar, start scenes, see each picture appear; a second tab shows the same, at any width."""
    async with browsing() as (context, _, sandbox):
        page, other = await opened(context), await opened(context)
        tile = await create_avatar(page, "Alex", "Young entrepreneur, confident smile")
        assert await tile.get_by_role("checkbox").is_checked(), "the new avatar is chosen at once"
        sandbox.hold()
        await page.get_by_label("Scenes").fill(
            "podcast studio\n\n<img src=x onerror=alert(1)>\n[fail] nowhere"
        )
        await page.get_by_role("combobox", name="Style").select_option("podcast")
        await page.get_by_text("6 credits for 3 looks").wait_for()
        await page.get_by_role("button", name="Start").dblclick()
        await page.locator(".card[data-state=making]").nth(2).wait_for()
        assert await page.get_by_label("Scenes").input_value() == ""
        await shot(page, "making")
        for charge in sandbox.ledger[1:]:
            sandbox.settle(charge.ref, "failed" if "[fail]" in charge.request["prompt"] else "ready")
        for tab in (page, other):
            await tab.locator(".card[data-state=ready] img.loaded").nth(1).wait_for()
            await tab.locator(".card[data-state=failed]").get_by_text("Could not be made").wait_for()
            await tab.get_by_text("92 of 100 credits left").wait_for()
            await tab.get_by_text("2 of 3 ready").wait_for()
            assert await tab.locator(".card").count() == 4, "the avatar and its three looks"
            assert await tab.locator("#own .tile[data-state=ready]").count() == 1
        assert await page.locator(".prompt", has_text="<img src=x").count() == 1
        assert len(sandbox.ledger) == 4, "a double click is paid once"
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            for width in (1440, 390):
                await page.set_viewport_size({"width": width, "height": 900})
                assert await page.evaluate("document.documentElement.scrollWidth") == width
                await shot(page, f"{scheme}-{width}")


async def test_an_order_over_the_cap_cannot_be_started(browsing: Browsing) -> None:
    """The page says so while the customer types; another customer has own credits."""
    async with browsing(credits=Decimal(3)) as (context, _, sandbox):
        page = await opened(context)
        start = page.get_by_role("button", name="Start")
        assert await start.is_disabled()
        await page.get_by_role("checkbox", name="Ada").check(force=True)
        await page.get_by_label("Scenes").fill("one\ntwo")
        await page.get_by_text("2 looks cost 4 credits, and 3 are left.").wait_for()
        assert await start.is_disabled()
        await page.get_by_label("Scenes").fill("one")
        await page.get_by_text("2 credits for 1 look").wait_for()
        await start.click()
        await page.locator(".card[data-state=ready] img.loaded").wait_for()
        await page.get_by_text("1 of 3 credits left").wait_for()
        await page.get_by_role("button", name="Working as").click()
        await page.get_by_role("textbox", name="Name").fill("Mara")
        await page.get_by_role("button", name="Go on").click()
        await page.get_by_text("3 of 3 credits left").wait_for()
        assert await page.locator(".card").count() == 0
        assert len(sandbox.ledger) == 1


async def test_an_order_that_is_refused_says_why_and_can_be_tried_again(browsing: Browsing) -> None:
    """The card of a look that lacked credits says so, and its button sends it under the same key."""
    async with browsing(sandbox=Sandbox(credits=0)) as (context, _, sandbox):
        page = await opened(context)
        await page.get_by_role("checkbox", name="Ada").check(force=True)
        await page.get_by_label("Scenes").fill("one")
        await page.get_by_role("button", name="Start").click()
        card = page.locator(".card[data-state=unsent]")
        await card.get_by_text("Insufficient credits").wait_for()
        sandbox.space.balance = Decimal(10)
        await card.get_by_role("button", name="Try again").click()
        await page.locator(".card[data-state=ready] img.loaded").wait_for()
        assert len(sandbox.ledger) == 1


async def start(page: Page, scene: str, source: str = "Ada") -> None:
    """Start one scene of somebody of the catalogue."""
    await page.get_by_role("checkbox", name=source, exact=True).check(force=True)
    await page.get_by_label("Scenes").fill(scene)
    await page.get_by_text("2 credits for 1 look").wait_for()
    await page.get_by_role("button", name="Start", exact=True).click()


async def test_an_unknown_is_decided_by_looking(browsing: Browsing) -> None:
    """It counts as one to decide, shows what it may have made, and a double click settles it once.

    The dialog of another tab that shows the same unknown says that it was decided.
    """
    async with browsing(webhooks=False) as (context, _, sandbox):
        page, other = await opened(context), await opened(context)
        sandbox.fail_next("edit", Fault.DROP_AFTER)
        await start(page, "on a stage, blue light")
        await page.get_by_text("0 ready · 1 to decide").wait_for()
        sandbox.settle(sandbox.ledger[0].ref, "ready")
        for tab in (other, page):
            await tab.get_by_role("button", name="Decide about 1 look").click()
            await tab.keyboard.press("Enter")
            dialog = tab.get_by_role("dialog", name="Was this look made?")
            await dialog.get_by_text("on a stage, blue light").wait_for()
            await dialog.get_by_text(re.compile(r"^Sent \d+ s ago")).wait_for()
            await dialog.get_by_text("It may have cost 2 credits").wait_for()
            await dialog.get_by_role("img", name="Look 1").wait_for()
            await dialog.get_by_text("First seen").wait_for()
            await dialog.get_by_text("Costs 2 credits more: 4 credits in all").wait_for()
            await dialog.get_by_text("Costs nothing more. The 2 credits").wait_for()
        await shot(page, "unknown")
        await dialog.get_by_role("button", name="This is it").dblclick()
        await page.locator(".card[data-state=ready] img.loaded").wait_for()
        await page.get_by_text("98 of 100 credits left").wait_for()
        stale = other.get_by_role("dialog", name="Was this look made?")
        await stale.get_by_text("It was decided in another tab").wait_for()
        for name in ("This is it", "Make it again", "Leave it"):
            assert await stale.get_by_role("button", name=name).is_disabled()
        assert len(sandbox.ledger) == 1


async def test_an_unknown_that_is_left_can_be_made_again(browsing: Browsing) -> None:
    """Left, it is no longer to be decided and may have cost credits; then it is made again, paid once."""
    async with browsing(webhooks=False) as (context, _, sandbox):
        page = await opened(context)
        sandbox.fail_next("edit", Fault.DROP_AFTER)
        await start(page, "on a stage")
        await page.get_by_role("button", name="Decide …").click()
        await page.get_by_role("button", name="Leave it").click()
        await page.get_by_text("0 ready · 1 left").wait_for()
        await page.get_by_role("button", name="Make it again …").click()
        dialog = page.get_by_role("dialog", name="Make it again?")
        await dialog.get_by_role("button", name="Make it again").dblclick()
        await page.locator(".card[data-state=ready] img.loaded").wait_for()
        await page.get_by_text("96 of 100 credits left").wait_for()
        assert len(sandbox.ledger) == 2


async def test_a_second_tab_follows_a_change_of_customer(browsing: Browsing) -> None:
    """It shows the new customer, says so, and keeps what was typed, but nothing that is chosen."""
    async with browsing() as (context, _, sandbox):
        page, other = await opened(context), await opened(context)
        await page.get_by_role("checkbox", name="Ada").check(force=True)
        await page.get_by_label("Scenes").fill("typed for Guest")
        await page.get_by_text("2 credits for 1 look").wait_for()
        await other.get_by_role("button", name="Working as").click()
        await other.get_by_role("textbox", name="Name").fill("Zoë")
        await other.get_by_role("button", name="Go on").click()
        await page.get_by_role("alert").get_by_text("Another tab changed from Guest to Zoë").wait_for()
        await page.get_by_role("button", name="Working as Zoë").wait_for()
        assert await page.get_by_label("Scenes").input_value() == "typed for Guest"
        assert await page.get_by_role("button", name="Start", exact=True).is_disabled()
        await page.get_by_role("button", name="OK").click()
        assert await page.get_by_role("alert").count() == 0
        await start(page, "for Zoë")
        await page.locator(".card[data-state=ready] img.loaded").wait_for()
        assert [charge.request["prompt"] for charge in sandbox.ledger] == ["for Zoë"]
        await page.get_by_role("button", name="Working as Zoë").click()
        await page.get_by_role("button", name="Guest", exact=True).click()  # a name of before is one click
        await other.get_by_role("button", name="Working as Guest").wait_for()


async def test_a_page_that_missed_a_change_of_customer_charges_nobody(browsing: Browsing) -> None:
    """Where the change came from no other tab, the server refuses the order, and the page says that."""
    async with browsing(quiet=False) as (context, _, sandbox):
        page = await opened(context)
        await page.get_by_role("checkbox", name="Ada").check(force=True)
        await page.get_by_label("Scenes").fill("a")
        await page.get_by_text("2 credits for 1 look").wait_for()
        await context.request.post("/api/customer", data={"name": "Mara"})
        await page.get_by_role("button", name="Start", exact=True).click()
        await page.get_by_role("alert").get_by_text("Nothing was started or charged").wait_for()
        await page.get_by_role("button", name="Working as Mara").wait_for()
        assert sandbox.ledger == []


async def test_a_look_is_edited_made_again_and_downloaded(browsing: Browsing) -> None:
    """A ready look is the source of the next; a failed one is made again beside it; a picture is a file."""
    async with browsing() as (context, _, sandbox):
        page = await opened(context)
        await start(page, "on a stage")
        card = page.locator(".card[data-state=ready]")
        await card.locator("img.loaded").wait_for()
        async with page.expect_download() as downloading:
            await card.get_by_role("link", name="Download").click()
        assert (await downloading.value).suggested_filename == "Ada-on-a-stage.jpg"
        sandbox.hold()
        await card.get_by_role("button", name="Edit").click()
        assert await page.get_by_label("Scenes").evaluate("e => e === document.activeElement")
        await page.keyboard.type("with glasses")
        await page.get_by_text("2 credits for 1 look").wait_for()
        await page.get_by_role("button", name="Start", exact=True).click()
        making = page.locator(".card[data-state=making]")
        await making.wait_for()
        assert sandbox.ledger[1].request["look_id"] == sandbox.ledger[0].ref.look_id
        sandbox.settle(sandbox.ledger[1].ref, "failed")
        again = page.get_by_role("button", name="Make it again · 2 credits: Ada: with glasses")
        await again.dblclick()
        await making.wait_for()
        sandbox.settle(sandbox.ledger[2].ref, "ready")
        await page.get_by_text("1 of 1 ready").nth(1).wait_for()
        await page.get_by_text("It is made again beside this.").wait_for()
        assert len(sandbox.ledger) == 3


async def test_a_hidden_tab_keeps_no_connection(browsing: Browsing) -> None:
    """A hidden page closes its stream, as a browser has six to one server. Shown again, it is up to date."""
    async with browsing() as (context, app, _):
        page = await opened(context)
        hide = "hidden => {Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
        hide += "document.dispatchEvent(new Event('visibilitychange'))}"
        await page.evaluate(hide, True)
        await app.start("meanwhile")
        await app.until("ready")
        assert await page.locator(".card").count() == 0
        await page.evaluate(hide, False)
        await page.locator(".card[data-state=ready] img.loaded").wait_for()


NAME_OF_FOCUS = """
() => {
  const focused = document.activeElement;
  return focused.getAttribute("aria-label") || focused.labels?.[0]?.innerText || focused.innerText;
}
"""


async def test_the_page_can_be_used_by_keyboard_alone(browsing: Browsing) -> None:
    """Each control is reached in a sensible order and has a name; the dialog returns the focus."""
    async with browsing() as (context, _, _sandbox):
        page = await opened(context)
        await page.get_by_role("checkbox", name="Ada").wait_for(state="attached")
        names = []
        for _ in range(12):
            await page.keyboard.press("Tab")
            names.append(await page.evaluate(NAME_OF_FOCUS))
        assert [re.sub(r"\s+", " ", name.strip()) for name in names[:4]] == [
            "Skip to the looks", "Working as Guest", "New", "Public catalogue"
        ]  # fmt: skip
        assert names[4:10] == ["Ada", "Bruno", "Celeste", "Dario", "Edda", "Fenna"]
        assert names[10:] == ["Scenes", "Style"]
        new = page.get_by_role("button", name="New")
        await new.focus()
        await page.keyboard.press("Enter")
        assert await page.get_by_role("dialog", name="New avatar").is_visible()
        await page.keyboard.press("Escape")
        assert await new.evaluate("e => e === document.activeElement")


async def shot(page: Page, name: str) -> None:
    """A screenshot for people to look at."""
    SHOTS.mkdir(exist_ok=True)
    await page.screenshot(path=SHOTS / f"look-studio-{name}.png", animations="disabled")
