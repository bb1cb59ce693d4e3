"""Look Studio: a small web app on hoox_async. ``python -m examples.look_studio`` runs it.

settings   where it runs and with what
wishes     one look that a customer wants, and an order of several: values
forms      what the page sends, made into orders
journal    the orders, on disk before they are answered
cards      one look on the page
board      every card, each customer's budget; hears the session's events and tells the feed
feed       server-sent events
pictures   saved the moment a look is ready
world      the sandbox, and what it remembers between two runs
studio     what the app does: place an order, follow its looks, resume
routes     HTTP
app        all of it put together, in the lifespan
"""

from .app import create_app
from .settings import Settings

__all__ = ["Settings", "create_app"]
