"""Look Studio: a small web app on hoox_async. ``python -m examples.look_studio`` runs it.

settings   the app's settings, from the environment
wishes     values: one look that a customer wants (a wish), and an order of several
forms      validates what the page sends, and makes orders of it
journal    a file of all orders, written before the page gets its response
cards      one look on the page, with its state
board      all cards and each customer's budget; handles the session's events, and publishes changes
feed       sends server-sent events to the pages
pictures   saves each picture when its look is ready
world      a sandbox whose looks are kept in a file between two runs
studio     places orders, awaits their looks, and resumes after a restart
routes     the HTTP routes
security   security headers
errors     the library's errors as HTTP responses
app        makes the app: hub, session and studio, opened in its lifespan
"""

from .app import create_app
from .settings import Settings

__all__ = ["Settings", "create_app"]
