"""Look Studio: a small web app on hoox_async. ``python -m examples.look_studio`` runs it.

It is one process with one SQLite store, and stays so: ``examples/production`` is the app for several. What it
needs is the extra ``studio``.

settings   the app's settings, from the environment
wishes     values: one look that a customer wants (a wish), and an order of several
forms      validates what the page sends, and makes orders of it
journal    a file of all orders, written before the page gets its response
cards      one look on the page, with its state
board      all cards and each customer's budget; handles the session's events, and publishes changes
feed       sends server-sent events to the pages
pictures   saves each picture when its look is ready
catalogue  the public avatars to start from, and when each look of the workspace was first seen
candidates the looks that a lost request may have made
world      a sandbox whose looks are kept in a file between two runs
studio     places orders, awaits their looks, settles unknowns, and resumes after a restart
routes     the HTTP routes
security   security headers
errors     errors as HTTP responses, in sentences for people
app        makes the app: hub, session and studio, opened in its lifespan
server     serves the app, and reports in one line why it cannot
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import create_app
    from .settings import Settings

__all__ = ["Settings", "create_app"]


def __getattr__(name: str) -> Any:
    """Import the app when it is used, so that ``__main__`` can report what is not installed."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import app, settings

    return app.create_app if name == "create_app" else settings.Settings
