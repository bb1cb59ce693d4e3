"""Makes the app: one hub, one session and one studio, which live as long as it runs. Nothing is global."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from hoox_async import Hook, HooxSession
from hoox_async.webhooks import WebhookHub

from .board import Board
from .errors import add_handlers
from .feed import Feed
from .journal import Journal
from .pictures import Pictures
from .routes import router
from .security import SecurityHeaders
from .settings import HOOKS, Settings
from .studio import Studio
from .world import PersistentSandbox

STATIC = Path(__file__).parent / "static"
_SANDBOX_SECRET = "a sandbox has no secrets, and this one outlives a restart"


def create_app(settings: Settings) -> FastAPI:
    """The app. Its lifespan opens and closes everything that it uses."""
    hub = hub_of(settings)
    feed = Feed()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        prepare(settings.data)
        async with AsyncExitStack() as stack:
            board = Board(settings.credits, feed)
            hooks: list[Hook] = [board.on_event]
            if hub is not None:
                await stack.enter_async_context(hub)
                stack.callback(hub.redact_logs())
            session = await stack.enter_async_context(await open_session(settings, stack, hub, hooks))
            journal = Journal(settings.data / "orders.jsonl")
            pictures = Pictures(settings.data / "pictures", session)
            studio = await stack.enter_async_context(Studio(session, board, journal, pictures))
            await studio.resume(settings.data / "looks.db")
            app.state.studio = studio
            yield
            feed.close()

    app = FastAPI(title="Look Studio", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.settings, app.state.feed = settings, feed
    app.add_middleware(SecurityHeaders)
    add_handlers(app)
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    if hub is not None:
        app.mount(HOOKS, hub.asgi_app)
    return app


def hub_of(settings: Settings) -> WebhookHub | None:
    """The hub that receives webhooks; None without a public URL."""
    if settings.public_url is None:
        return None
    secret = settings.webhook_secret or (_SANDBOX_SECRET if settings.sandbox else None)
    return WebhookHub(settings.public_url.rstrip("/") + HOOKS, secret)


async def open_session(
    settings: Settings, stack: AsyncExitStack, hub: WebhookHub | None, hooks: list[Hook]
) -> HooxSession:
    """The session: on the API, or on a sandbox that runs until the stack is closed."""
    store = settings.data / "looks.db"
    if settings.api_key is None:
        world = PersistentSandbox(
            settings.data / "sandbox.pickle", port=settings.sandbox_port, speed=settings.sandbox_speed
        )
        sandbox = await stack.enter_async_context(world.running())
        return sandbox.session(store=store, webhooks=hub, hooks=[*hooks, world.on_event])
    if settings.base_url is not None:
        return HooxSession(
            settings.api_key, base_url=settings.base_url, store=store, webhooks=hub, hooks=hooks
        )
    return HooxSession(settings.api_key, store=store, webhooks=hub, hooks=hooks)


def prepare(folder: Path) -> None:
    """Make the data folder, ignored by git, since prompts and pictures are the customers'."""
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
